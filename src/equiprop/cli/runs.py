"""`equiprop runs`."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import tyro

from equiprop.cli._console import print_json, print_table, say
from equiprop.cli._options import Output, check_folder, parse
from equiprop.errors import InputError
from equiprop.reporting import COLUMNS, RunTable, Selection, query_runs

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
_ERROR = next(column for column in COLUMNS if column.key == "test_error_percent")


@dataclass(frozen=True)
class Options(Output):
    folder: tyro.conf.Positional[str] = "runs"
    """Folder that is searched for run directories."""
    where: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """Only runs of which this holds: SQL over the columns, such as "test_error_percent < 5 and estimator.kind = 'centered'", or
    key=value, such as estimator.kind=centered; several must all hold."""
    sort: str | None = None
    """Column to sort by: one of the table, a setting such as estimator.nudge, or a key of the summary; by default the path."""
    over_seeds: bool = False
    """Runs that differ in training.seed alone as one row: means ± standard deviations."""
    sql: str | None = None
    """A query of the table 'runs', such as "select estimator.kind, avg(test_error_percent) from runs group by all"."""
    out: str | None = None
    """A .csv or .parquet file to write, with all columns, instead of printing."""


def run(arguments: list[str]) -> None:
    options = parse(Options, "runs", arguments, "Lists the runs below a folder, or what is asked of them.")
    if not Path(options.folder).is_dir():
        raise InputError(f"folder = {options.folder!r}: is not a folder; give the one that holds the runs")
    if options.sql is not None and options.sort is not None:
        raise InputError("--sort: has no effect on --sql", hint="write order by into the query")
    check_folder(None if options.out is None else str(Path(options.out).parent))
    try:
        with _without_collecting():
            _answer(options)
    except InputError as error:
        raise error.innermost({name: f"--{name}" for name in ("where", "sort", "sql", "out")}) from None


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Many thousand runs are kept as they are read: looking for garbage among them, also at the end, takes half the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()
            gc.enable()


def _answer(options: Options) -> None:
    where = [condition for conditions in options.where for condition in conditions]
    table = query_runs(options.folder, where=where, sort=options.sort or "run", over_seeds=options.over_seeds)
    found = None if options.sql is None else table.sql(options.sql)
    if options.out is not None:
        written = table.columns() if found is None else found
        written.write(options.out)
        if options.json:
            print_json({"out": options.out, "rows": len(written)})
        elif not options.quiet:
            say(f"table: {options.out} ({len(written)} rows)")
    elif options.json:
        print_json({"runs": _documents(table, options)} if found is None else {"rows": _for_json(found.rows())})
    elif not options.quiet:
        if found is None:
            _print_runs(table, options)
        else:
            print_table("", _headings(found), _texts(found))


def _documents(table: RunTable, options: Options) -> list[dict[str, Any]]:
    found = []
    for each in table.runs:
        about = {"path": str(each.path), "state": each.state, "warnings": each.warnings}
        about |= {column.key: column.value(column.of(each)) for column in COLUMNS}
        if options.over_seeds:
            about |= {key: (each.summary or {}).get(key) for key in ("seeds", "std")}
        found.append(about)
    return found


def _for_json(value: Any) -> Any:
    """What SQL has more kinds of than JSON: numbers as numbers, dates and the like as text."""
    match value:
        case dict():
            return {str(key): _for_json(each) for key, each in value.items()}
        case list() | tuple():
            return [_for_json(each) for each in value]
        case Decimal():
            return float(value)
        case bool() | int() | float() | str() | None:
            return value
    return str(value)


def _print_runs(table: RunTable, options: Options) -> None:
    for each in table.runs:
        if not each.config:
            say(f"{each.path}: {'; '.join(each.warnings)}")
    named = all(_ERROR.of(each).number is not None or each.state == "unfinished" for each in table.runs)
    wanted = {*_SHOWN, options.sort} if named else {*_SHOWN, options.sort, "test_loss"}
    shown = [column for column in COLUMNS if column.key in wanted]
    headings = [(column.title, column.numeric) for column in shown]
    rows = [[column.of(each).text for column in shown] for each in table.runs]
    if options.over_seeds:
        headings.insert(1, ("seeds", True))
        for row, each in zip(rows, table.runs, strict=True):
            seeds = (each.summary or {}).get("seeds")
            row.insert(1, str(len(seeds) if isinstance(seeds, list) else 1))
    if options.sort is not None and all(options.sort != column.key for column in COLUMNS):
        (added,) = _headings(asked := table.columns([options.sort]))
        headings.append(added)
        rows = [[*row, *more] for row, more in zip(rows, _texts(asked), strict=True)]
    print_table(f"{len(rows)} {'rows' if options.over_seeds else 'runs'} in {options.folder}", headings, rows)


def _headings(found: Selection) -> list[tuple[str, bool]]:
    """The names of the columns, and whether they hold numbers."""
    return [
        (name, all(v is None or (isinstance(v, int | float | Decimal) and not isinstance(v, bool)) for v in values))
        for name, values in found.values.items()
    ]


def _texts(found: Selection) -> list[list[str]]:
    return [[_text(value) for value in row.values()] for row in found.rows()]


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
