"""Run directories as a table of SQL: which of them, in which order, over seeds, and whatever else a query asks."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from equiprop.errors import InputError, nearest
from equiprop.files import toml_value
from equiprop.reporting._differences import as_toml
from equiprop.reporting._run import Run, scan_runs
from equiprop.reporting._seeds import each_once, over_seeds
from equiprop.reporting._table import COLUMNS, Column
from equiprop.reporting._values import flatten, labels

_FORMATS = {".csv": "format csv, header", ".parquet": "format parquet"}
_HARMLESS: dict[str, Any] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "lock_configuration": "true",
}
"""A query reaches no file, no network, no variable of Python, and cannot change that."""


def query_runs(
    root: str | os.PathLike[str] = "runs",
    *,
    where: str | Iterable[str] = (),
    sort: str = "run",
    over_seeds: bool = False,
) -> "RunTable":
    """The runs at or below `root`; see `RunTable` for the columns.

        table = ep.reporting.query_runs("runs", where="test_error_percent < 5 and estimator.kind = 'holomorphic'")
        table.sql("select estimator.nudge, avg(test_error_percent) as error from runs group by all").rows()

    Of a directory of several seeds the runs in it are listed, and itself only where they are gone, so that nothing counts twice.
    The configuration is that in the manifest of a run; the epochs are read only of runs without a summary.

    **Arguments:**

    - `where`: SQL conditions over the columns, or `key=value` without spaces as in a configuration file; all must hold.
    - `sort`: a column; runs that do not have it come last. By default `run`: by path.
    - `over_seeds`: finished runs that differ in `training.seed` alone become one, with the means of their summaries, the
      standard deviations in `std.NAME` and the seeds in `seeds`. A seed that was trained again is in a row of its own. `where`
      holds of the single runs, `sort` of the means.

    **Raises** `InputError` where `root` is not a folder, a column does not exist, or a condition is no SQL.
    """
    table = RunTable(_told_apart(each_once(scan_runs(root))))
    table = table.where([where] if isinstance(where, str) else where)
    return (table.over_seeds() if over_seeds else table).sorted(sort)


@dataclass(frozen=True)
class Selection:
    """Columns by name: how DuckDB calls the type of each, and its values."""

    types: dict[str, str]
    values: dict[str, list[Any]]

    def rows(self) -> list[dict[str, Any]]:
        """Each row by the names of the columns."""
        return [dict(zip(self.values, row, strict=True)) for row in zip(*self.values.values(), strict=True)]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes a `.csv` or `.parquet` file; its folder is made. **Raises** `InputError` where that cannot be."""
        import duckdb

        file = Path(path)
        if file.suffix not in _FORMATS:
            raise InputError(f"must end in {' or '.join(_FORMATS)}", path="out", value=str(path))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with _database({}) as database:
                _load(database, self)
                target = _quoted(str(file.absolute()), "'")
                database.execute(f"copy runs to {target} ({_FORMATS[file.suffix]})")
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", path="out", value=str(path)) from error
        except duckdb.Error as error:
            raise InputError(f"cannot be written ({_first_line(error)})", path="out", value=str(path)) from error


class RunTable:
    """Runs as the rows of a table.

    - `runs`: in order, each with a name that tells it from the others.
    - `names`: of the columns: `path`, `state`, `warnings`; those of `COLUMNS`; every setting as `section.key`; what is in the
      summaries, nested tables with dots, as `cosine_to_adjoint.total`.

    A column is of numbers, truths, texts or lists of them; one that holds several kinds, such as `auto` and numbers, is of texts.
    """

    def __init__(self, runs: Sequence[Run], whole: "RunTable | None" = None) -> None:
        self.runs = list(runs)
        self._whole = whole or self

    def _only(self, places: Iterable[int]) -> "RunTable":
        """Some of the rows, with all columns, of the same types."""
        places = list(places)
        table = RunTable([self.runs[at] for at in places], self._whole)
        if "_flat" in vars(self):
            table._flat = [self._flat[at] for at in places]
        return table

    @property
    def names(self) -> dict[str, str]:
        """The columns, each with how it is called in `_flat`: SQL does not tell capital letters from small ones, keys do."""
        return self._whole._names

    @cached_property
    def _names(self) -> dict[str, str]:
        keys = (key for several in dict.fromkeys(map(tuple, self._flat)) for key in several)
        return _distinct(dict.fromkeys([*_OF_A_RUN, *keys]))

    @cached_property
    def _flat(self) -> list[dict[str, Any]]:
        return [flatten(run.config | _beside(run.summary or {}, run.config)) for run in self.runs]

    def columns(self, names: Iterable[str] | None = None) -> Selection:
        """Some columns, by default all."""
        names = list(self.names if names is None else names)
        types = {n: _OF_A_RUN[n][0] if n in _OF_A_RUN else _type_of(self._whole._values(n)) for n in names}
        values = {name: self._values(name) for name in names}
        return Selection(types, {n: _as_text(v) if "VARCHAR" in types[n] else v for n, v in values.items()})

    def _values(self, name: str) -> list[Any]:
        if name in _OF_A_RUN:
            return list(map(_OF_A_RUN[name][1], self.runs))
        key = self.names[name]
        return [flat.get(key) for flat in self._flat]

    def where(self, conditions: Iterable[str]) -> "RunTable":
        """The runs of which all conditions hold. **Raises** `InputError` for one that is no SQL, or of no column."""
        kept = set(range(len(self.runs)))
        for text in conditions:
            setting = _KEY_AND_VALUE.fullmatch(text)
            kept &= self._with_setting(text, *setting.groups()) if setting else self._of_which(text)
        return self if len(kept) == len(self.runs) else self._only(sorted(kept))

    def _of_which(self, condition: str) -> set[int]:
        with self._asked("where", condition), _database() as database:
            text = self._with_quotes(condition)
            query = f"select rowid from runs where ({text}\n)"
            _load(database, self._asked_for(database, text, query))
            # Refuses what is more than one condition.
            database.table("runs").filter(text)
            return {row for (row,) in database.execute(query).fetchall()}

    def _with_setting(self, text: str, key: str, value: str) -> set[int]:
        """Where a setting is `value`, written as in a configuration file; quotes may be left out."""
        wanted = flatten({key: _from_toml(value)}) or {key: {}}
        unknown = [name for name in wanted if name not in self.names]
        if unknown and self.runs:
            raise self._unknown("where", text, unknown[0])
        columns = [(self._values(name), each) for name, each in wanted.items() if name in self.names]
        return {at for at in range(len(self.runs)) if all(_is(values[at], each, value) for values, each in columns)}

    def over_seeds(self) -> "RunTable":
        """Finished runs that differ in their seed alone as one."""
        return RunTable(_told_apart(over_seeds(self.runs))) if self.runs else self

    def sorted(self, key: str) -> "RunTable":
        """By a column, the runs without it last. **Raises** `InputError` if there is none of that name."""
        if key == COLUMNS[0].key:
            return self
        if key not in _OF_A_RUN and key not in self.names:
            raise self._unknown("sort", key, key)
        with _database() as database:
            _load(database, self.columns([key]))
            order = database.execute(f"select rowid from runs order by {_quoted(key)} nulls last, rowid").fetchall()
        return self._only(at for (at,) in order)

    def sql(self, query: str) -> Selection:
        """What a query of the table `runs` gives. It can read nothing else, and write nothing.

        **Raises** `InputError` for anything but one SELECT, and with DuckDB's reason for a query that fails.
        """
        import duckdb

        with self._asked("sql", query), _database() as database:
            statements = database.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                reason = "must be one statement, and read only: one that begins with select, from or with"
                raise InputError(reason, path="sql", value=query)
            text = self._with_quotes(query)
            _load(database, self._asked_for(database, text, text))
            answer = database.sql(text)
            names = list(_distinct(answer.columns))
            types = dict(zip(names, map(str, answer.types), strict=True))
            rows = answer.fetchall()
        return Selection(types, {name: [row[at] for row in rows] for at, name in enumerate(names)})

    def _asked_for(self, database: Any, text: str, query: str) -> Selection:
        """The columns that a text of a query may speak of, and the first: loading all of them takes longer than the query."""
        if not _names_its_columns(database, query):
            return self.columns()
        rest, found = text.lower(), {next(iter(self.names))}
        for name in sorted(self.names, key=len, reverse=True):
            written = _quoted(name.lower())[1:-1]
            if written in rest:
                rest = rest.replace(written, " ")
                found.add(name)
        return self.columns(name for name in self.names if name in found)

    def _with_quotes(self, text: str) -> str:
        """SQL in which `section.key` may stand without quotes."""
        by_name = {name.lower(): name for name in self.names}

        def quoted(token: re.Match[str]) -> str:
            parts = (token["name"] or "").split(".")
            # Before it may stand the name of the table, after it a function.
            for start, stop in product((0, 1), range(len(parts), 1, -1)):
                name = by_name.get(".".join(parts[start:stop]).lower())
                if name is not None and "." in name:
                    return ".".join([*parts[:start], _quoted(name), *parts[stop:]])
            return token[0]

        return _TOKEN.sub(quoted, text)

    @contextmanager
    def _asked(self, what: str, text: str) -> Iterator[None]:
        """Turns DuckDB's complaint of a text into one line."""
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            reason = _first_line(error)
            unknown = _UNKNOWN.search(reason)
            if unknown:
                first = unknown[1] or unknown[2]
                whole = re.search(rf"\b{re.escape(first)}(\.\w+)+", text)
                raise self._unknown(what, text, whole[0] if whole else first) from None
            hint = next((hint for words, hint in _HINTS.items() if words in reason), "")
            raise InputError(reason, path=what, value=text, hint=hint) from None

    def _unknown(self, what: str, text: str, name: str) -> InputError:
        by_last = {each.rpartition(".")[2]: each for each in reversed(self.names)}
        near = get_close_matches(name.rpartition(".")[2], by_last, n=1)
        hint = f"did you mean {by_last[near[0]]!r}?" if near else "settings are named section.key, as estimator.kind"
        return InputError(f"there is no column {name!r}", path=what, value=text, hint=nearest(name, self.names) or hint)


def _value_in(column: Column) -> Callable[[Run], Any]:
    return lambda run: column.value(column.of(run))


_OF_A_RUN: dict[str, tuple[str, Callable[[Run], Any]]] = {
    "path": ("VARCHAR", lambda run: str(run.path)),
    "state": ("VARCHAR", lambda run: run.state),
    "warnings": ("VARCHAR[]", lambda run: list(run.warnings)),
    **{column.key: ("DOUBLE" if column.numeric else "VARCHAR", _value_in(column)) for column in COLUMNS},
}
"""The columns that are more than a setting or an entry of the summary: how DuckDB calls their types, and their values."""

_HINTS = {
    "Table with name": "the table is called runs",
    "explicit cast": "where some runs have a word, numbers are text, too: write try_cast(NAME as double)",
}
_UNKNOWN = re.compile(
    r'Referenced (?:column|table) "(.*)" not found|Cannot extract field .* from expression "(.*)" because'
)
_KEY_AND_VALUE = re.compile(r"""((?:[\w.]|->)+)=(?!=)([^\s'"()<>=]+|'[^']*'|"[^"]*"|\[[^\]]*\]|\{[^}]*\})""")
_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)+)""", re.DOTALL
)
"""Strings, names in quotes and comments, so that nothing in them is taken for a name; and names with dots."""


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    named = zip(runs, labels(runs), strict=True)
    return [run if run.name == label else replace(run, name=label) for run, label in named]


def _beside(more: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in more.items() if key not in table}


def _from_toml(value: str) -> Any:
    try:
        return toml_value(value)
    except ValueError:
        return value


def _is(setting: Any, wanted: Any, text: str) -> bool:
    return setting == wanted or (isinstance(setting, str) and setting == text.strip("'\""))


def _type_of(values: Iterable[Any]) -> str:
    """The type of DuckDB that holds them all."""
    known = [value for value in values if value is not None]
    kinds = set(map(type, known))
    if kinds == {list}:
        return f"{_type_of([each for value in known for each in value])}[]"
    if kinds == {bool}:
        return "BOOLEAN"
    if kinds == {int} and min(known) >= -(2**63) and max(known) < 2**63:
        return "BIGINT"
    return "DOUBLE" if kinds <= {int, float} else "VARCHAR"


def _as_text(value: Any) -> Any:
    """A value, or lists of them, as text."""
    if isinstance(value, list):
        return list(map(_as_text, value))
    if value is None:
        return value
    # DuckDB takes UTF-8 alone, which a file name need not be.
    return (value if isinstance(value, str) else as_toml(value)).encode("utf-8", "backslashreplace").decode()


@contextmanager
def _database(settings: dict[str, Any] = _HARMLESS) -> Iterator[Any]:
    """DuckDB, in memory."""
    import duckdb

    with duckdb.connect(config={"threads": "2"} | settings) as database:
        yield database


def _load(database: Any, columns: Selection) -> None:
    """Makes the table `runs`."""
    made = ", ".join(f"unnest(?::{kind}[]) as {_quoted(name)}" for name, kind in columns.types.items())
    database.execute(f"create table runs as select {made}", list(columns.values.values()))


def _names_its_columns(database: Any, query: str) -> bool:
    """Whether a query asks for no column that its text does not name: by a star, a row as a whole, or what lists columns."""
    ((tree,),) = database.execute("select json_serialize_sql(?::varchar)", [query]).fetchall()
    rows = ["runs", *re.findall(r'\{"type":"\w+","alias":"([^"]+)"', tree)]
    whole = any(f'"column_names":["{row.lower()}"]' in tree.lower() for row in rows)
    unnamed = any(mark in tree for mark in ('"error":true', "STAR", "NATURAL", "TABLE_FUNCTION"))
    return not (whole or unnamed) and set(re.findall(r'"table_name":"([^"]*)"', tree.lower())) <= {"runs", ""}


def _distinct(names: Iterable[str]) -> dict[str, str]:
    """Names that differ also without regard to capital letters, each with what it was."""
    found: dict[str, str] = {}
    taken = set()
    for name in names:
        other = name
        while other.lower() in taken:
            other += "_"
        taken.add(other.lower())
        found[other] = name
    return found


def _quoted(name: str, sign: str = '"') -> str:
    return sign + name.replace(sign, sign * 2) + sign


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
