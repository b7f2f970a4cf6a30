"""`equiprop evaluate`."""

import sys
from dataclasses import dataclass
from typing import Any

import tyro

from equiprop.cli._console import print_json, print_table
from equiprop.cli._jax import set_up
from equiprop.cli._options import Output, parse
from equiprop.errors import InputError


@dataclass(frozen=True)
class RunArgument:
    run: tyro.conf.Positional[str]
    """Run directory."""


@dataclass(frozen=True)
class Options(Output, RunArgument):
    split: str = "test"
    """train, validation or test."""
    checkpoint: str = "last"
    """last, or best (by validation)."""


_MOST_CLASSES = 20


def run(arguments: list[str]) -> None:
    options = parse(Options, "evaluate", arguments, "The error of a trained system on a split, and of each class.")
    from equiprop.experiment import RunDirectory, load

    directory = RunDirectory.open(options.run)
    set_up(directory.config.training["precision"])
    found = load(options.run, checkpoint=options.checkpoint)
    result = found.evaluate(options.split)
    try:
        directory.write_confusion(options.split, found.epoch, found.data.classes, result)
    except InputError as error:
        print(f"equiprop: warning: {error}", file=sys.stderr)
    samples = found.data.counts.get(options.split)
    document = {
        "run": options.run,
        "dataset": found.config.dataset,
        "split": options.split,
        "checkpoint": options.checkpoint,
        "epoch": found.epoch,
        "samples": sum(samples) if isinstance(samples, tuple) else samples,
        **result,
    }
    if options.json:
        print_json(document)
    elif not options.quiet:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    error = document.get("error_percent")
    judged = f"loss {document['loss']:.4g}" if error is None else f"error {error:.2f} %"
    print(
        f"{document['dataset']} {document['split']}, {document['samples']} samples, after epoch {document['epoch']}: "
        f"{judged}, converged {100 * document['converged_fraction']:.2f} %, {document['sweeps']:.1f} sweeps a sample"
    )
    if "confusion" not in document:
        return
    rows = [_row(i, name, document) for i, name in enumerate(document["class_error_percent"])]
    rows.sort(key=lambda row: -float(row[2]))
    title = "" if len(rows) <= _MOST_CLASSES else f"the {_MOST_CLASSES} of {len(rows)} classes with the largest errors"
    columns = [("class", False), ("samples", True), ("error (%)", True), ("most often taken for", False)]
    print_table(title, columns, rows[:_MOST_CLASSES])


def _row(index: int, name: str, document: dict[str, Any]) -> list[str]:
    taken = list(document["confusion"][index])
    taken[index] = 0
    most = max(range(len(taken)), key=taken.__getitem__)
    other = list(document["class_error_percent"])[most]
    wrong = f"{other} ({taken[most]})" if taken[most] else "–"
    return [name, str(document["class_samples"][index]), f"{document['class_error_percent'][name]:.2f}", wrong]
