"""Printing: progress, tables, JSON."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from equiprop.errors import printable

_MANY = 100
_NARROW = 4


def print_json(document: Any) -> None:
    """One JSON document; what JSON has no number for becomes null."""
    print(json.dumps(plain(document), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case float():
            return value if math.isfinite(value) else None
    return value


def say(text: str, *, stderr: bool = False) -> None:
    """A line, in which every name is printable."""
    print(printable(text), file=sys.stderr if stderr else sys.stdout)


def warn(text: object) -> None:
    """A line on standard error."""
    say(f"equiprop: warning: {text}", stderr=True)


def print_table(title: str, columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> None:
    """A table; each column is a heading and whether it holds numbers."""
    console, title = stdout_console(), printable(title)
    columns = [(printable(heading), numeric) for heading, numeric in columns]
    rows = [list(map(printable, row)) for row in rows]
    if len(rows) > _MANY:
        _print_long(title, columns, rows, console.width)
        return
    table = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for heading, numeric in columns:
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _print_long(title: str, columns: Sequence[tuple[str, bool]], rows: list[list[str]], width: int) -> None:
    """A table of so many rows that Rich would take seconds to lay it out, in the same form."""
    headings = [heading for heading, _ in columns]
    widths = [max(map(cell_len, cells)) for cells in zip(headings, *rows, strict=True)]
    while sum(widths) + 3 * len(widths) > width and max(widths) > _NARROW:
        widths[widths.index(max(widths))] -= 1
    folded = cache(lambda text, most: wrap(text, most) if cell_len(text) > most else [text])
    lines = [title, ""] if title else [""]
    for row in (headings, ["─" * most for most in widths], *rows):
        for parts in zip_longest(*map(folded, row, widths), fillvalue=""):
            cells = []
            for part, most, (_, numeric) in zip(parts, widths, columns, strict=True):
                space = " " * (most - cell_len(part))
                cells.append(space + part if numeric else part + space)
            lines.append(f" {'   '.join(cells)}".rstrip())
    print("\n".join([*lines, ""]))


def print_side_by_side(headings: Sequence[str], names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    """A table with a row for every quantity in `headings` and a column for each of `names`: many figures of few things."""
    rows = [[heading, *(column[i] for column in columns)] for i, heading in enumerate(headings)]
    print_table("", [("", False), *((name, True) for name in names)], rows)


def stdout_console(stderr: bool = False) -> Console:
    """A pipe has no width of its own; folding lines there to 80 columns would only make them harder to read.

    What is in brackets or between colons is text, not markup: much of it is names.
    """
    plain_text = partial(Console, stderr=stderr, highlight=False, markup=False, emoji=False)
    console = plain_text()
    return console if console.is_terminal else plain_text(width=160)


def format_number(value: float | None, digits: int = 3) -> str:
    """A number for reading; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    if value != 0 and not 10**-digits <= abs(value) < 1e5:
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def progress(quiet: bool = False) -> Progress:
    """A bar with the time left, on standard error so that standard output stays clean."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )
