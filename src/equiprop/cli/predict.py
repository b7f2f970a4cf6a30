"""`equiprop predict`."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from equiprop._jax import set_up
from equiprop.cli._console import print_json, print_table, say
from equiprop.cli._options import Output, parse, write_text
from equiprop.cli.evaluate import RunArgument
from equiprop.errors import InputError

_MOST_ROWS = 50


@dataclass(frozen=True)
class _Files(RunArgument):
    files: tyro.conf.Positional[tuple[str, ...]] = ()
    """Images (png, jpg, webp, bmp), .npy, .npz with x, or .csv and .parquet with a column for each number of an input."""


@dataclass(frozen=True)
class Options(Output, _Files):
    out: str | None = None
    """File to write; ends in .csv or .npz."""
    checkpoint: str = "last"
    """last, or best (by validation)."""


def run(arguments: list[str]) -> None:
    options = parse(Options, "predict", arguments, "What a trained system makes of images or tables.")
    if options.out is not None and Path(options.out).suffix not in (".csv", ".npz"):
        raise InputError(f"--out {options.out}: has no ending that is known; choose .csv or .npz")
    from equiprop.data import read_inputs
    from equiprop.experiment import RunDirectory, load

    set_up(RunDirectory.open(options.run).config.training["precision"])
    found = load(options.run, checkpoint=options.checkpoint)
    x, names = read_inputs(options.files, found.data.input_shape)
    predicted = found.predict(x)
    if not isinstance(predicted.output, np.ndarray):
        raise InputError("this run has several outputs: predict from Python, ep.load(run).predict(x)")
    rows = _rows(names, predicted, found.data.classes)
    if options.out is not None:
        _write(Path(options.out), rows, predicted)
    if options.json:
        print_json({"run": options.run, "epoch": found.epoch, "predictions": rows})
    elif not options.quiet and options.out is None:
        columns = [(name, isinstance(value, float)) for name, value in rows[0].items()]
        print_table("", columns, [[_shown(value) for value in row.values()] for row in rows[:_MOST_ROWS]])
        if len(rows) > _MOST_ROWS:
            say(f"and {len(rows) - _MOST_ROWS} more: --out FILE.csv writes all of them")
    lost = int((~predicted.converged).sum())
    if lost and not options.quiet and not options.json:
        say(
            f"{lost} of {len(rows)} did not converge: what is said of them is that of the state in which they were left"
        )


def _rows(names: list[str], predicted: Any, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    output = predicted.output.reshape(len(names), -1).astype(float)
    if predicted.label is not None and classes:
        decided = {
            "class": [classes[i] for i in predicted.label.tolist()],
            "score": output[np.arange(len(names)), predicted.label].tolist(),
        }
    else:
        decided = {f"output_{i}": column.tolist() for i, column in enumerate(output.T)}
    columns = {"input": names, **decided, "converged": predicted.converged.tolist()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else {True: "yes", False: "no"}.get(value, str(value))


def _write(path: Path, rows: list[dict[str, Any]], predicted: Any) -> None:
    if path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue().rstrip("\n"))
        return
    arrays = {"output": predicted.output, "converged": predicted.converged}
    arrays |= {} if predicted.label is None else {"label": predicted.label}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **arrays)
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror})") from error
