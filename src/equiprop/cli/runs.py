"""`equiprop runs`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from equiprop.cli._console import print_json, print_table
from equiprop.cli._options import Output, parse
from equiprop.errors import InputError
from equiprop.reporting import COLUMNS, Run, comparison_rows, find_runs

_SHOWN = (
    "run",
    "estimator",
    "homeostasis",
    "epochs",
    "test_error_percent",
    "cosine_total",
    "symmetry",
    "converged_percent",
)


@dataclass(frozen=True)
class Options(Output):
    folder: tyro.conf.Positional[str] = "runs"
    """Folder that is searched for run directories."""
    where: tuple[str, ...] = ()
    """Only runs whose configuration has key=value, such as estimator.kind=centered; several must all hold."""
    sort: str = "run"
    """Column to sort by."""


def run(arguments: list[str]) -> None:
    options = parse(Options, "runs", arguments, "Lists the runs below a folder.")
    if not Path(options.folder).is_dir():
        raise InputError(f"folder = {options.folder!r}: is not a folder; give the one that holds the runs")
    conditions = [_condition(text) for text in options.where]
    found = find_runs(options.folder)
    for path, _ in conditions:
        if found and all(_setting(r, path) is None for r in found):
            raise InputError(f"--where {'.'.join(path)}: no run in {options.folder} has such a setting")
    runs = [r for r in found if all(_holds(r, *c) for c in conditions)]
    keys = [column.key for column in COLUMNS]
    if options.sort not in keys:
        raise InputError(f"--sort = {options.sort!r}: choose one of {', '.join(keys)}")
    rows = comparison_rows(runs)
    rows.sort(key=lambda row: _order(row.values[options.sort]))
    if options.json:
        about = [{"path": str(r.run.path), "state": r.run.state, "warnings": r.run.warnings} for r in rows]
        print_json({"runs": [a | row.values for a, row in zip(about, rows, strict=True)]})
    elif not options.quiet:
        for run in runs:
            if not run.config:
                print(f"{run.path}: {'; '.join(run.warnings)}")
        named = all(row.values["test_error_percent"] is not None or row.run.state == "unfinished" for row in rows)
        shown = [i for i, key in enumerate(keys) if key in _SHOWN or (key == "test_loss" and not named)]
        print_table(
            f"{len(rows)} runs in {options.folder}",
            [(COLUMNS[i].title, COLUMNS[i].numeric) for i in shown],
            [[row.texts[i] for i in shown] for row in rows],
        )


def _condition(text: str) -> tuple[list[str], str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise InputError(f"--where {text!r}: must be key=value, such as estimator.kind=centered")
    return key.split("."), value


def _setting(run: Run, path: list[str]) -> Any:
    current: Any = run.config
    for key in path:
        current = current.get(key) if isinstance(current, dict) else None
    return current


def _holds(run: Run, path: list[str], value: str) -> bool:
    """Whether the setting is `value`, written as in a configuration file; quotes may be left out."""
    setting = _setting(run, path)
    if isinstance(setting, str):
        return setting == value.strip("'\"")
    try:
        return setting is not None and setting == tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return False


def _order(value: Any) -> tuple[bool, bool, Any]:
    return (value is None, isinstance(value, str), value if value is not None else 0)
