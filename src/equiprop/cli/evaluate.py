"""`equiprop evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from equiprop._jax import set_up
from equiprop.cli._console import print_json, print_table, say, warn
from equiprop.cli._options import Output, parse
from equiprop.errors import InputError
from equiprop.reporting import mean_of


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
    from equiprop.experiment import RunDirectory, seed_folders

    config = RunDirectory.open(options.run).config
    set_up(config.training["precision"])
    several = config.training.get("seeds", 1) > 1
    folders = list(map(str, seed_folders(options.run, config))) if several else [options.run]
    documents = [_evaluated(folder, options) for folder in folders]
    if options.json:
        print_json({"run": options.run, "seeds": documents, **_means(documents)} if several else documents[0])
    elif not options.quiet:
        for document in documents:
            _print(document, classes=not several)
        if several:
            _print_means(_means(documents), len(documents))


def _evaluated(run: str, options: Options) -> dict[str, Any]:
    from equiprop.experiment import RunDirectory, load

    directory = RunDirectory.open(run)
    found = load(run, checkpoint=options.checkpoint)
    result = found.evaluate(options.split)
    try:
        directory.write_confusion(
            options.split, found.epoch, found.data.classes, result, found.samples(options.split).x
        )
    except InputError as error:
        warn(error)
    samples = found.data.counts.get(options.split)
    return {
        "run": run,
        "dataset": found.config.dataset,
        "split": options.split,
        "checkpoint": options.checkpoint,
        "epoch": found.epoch,
        "samples": sum(samples) if isinstance(samples, tuple) else samples,
        **result,
    }


_OF_SEEDS = ("error_percent", "loss", "converged_fraction", "sweeps", "class_error_percent")


def _means(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Over the seeds, with their standard deviations."""
    return mean_of([{key: each[key] for key in _OF_SEEDS if key in each} for each in documents])


def _print_means(means: dict[str, Any], seeds: int) -> None:
    key, unit, digits = ("error_percent", " %", 2) if "error_percent" in means else ("loss", "", 4)
    spread = means["std"][key]
    name = key.removesuffix("_percent")
    say(f"{seeds} seeds: {name} {means[key]:.{digits}f} ± {spread:.{digits}f}{unit}")


def _print(document: dict[str, Any], *, classes: bool) -> None:
    error = document.get("error_percent")
    judged = f"loss {document['loss']:.4g}" if error is None else f"error {error:.2f} %"
    seed = "" if classes else f"{Path(document['run']).name}: "
    say(
        f"{seed}{document['dataset']} {document['split']}, {document['samples']} samples, after epoch {document['epoch']}: "
        f"{judged}, converged {100 * document['converged_fraction']:.2f} %, {document['sweeps']:.1f} sweeps a sample"
    )
    if not classes or "confusion" not in document:
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
