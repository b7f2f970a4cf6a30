"""Graphs read from TOML and JSON files."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from equiprop.errors import InputError, unknown_key
from equiprop.files import read_json, read_toml
from equiprop.kinds import anchored
from equiprop.numerics.settings import Setting
from equiprop.systems._topology import Connection, Population, Topology


def read_topology(path: str | Path) -> Topology:
    """The graph in a TOML or JSON file, see `topology_from_mapping`.

    Raises `InputError` for a file that is missing or does not parse, or what is wrong in it.
    """
    try:
        tables = read_topology_tables(path)
    except InputError as error:
        # It names the file itself.
        raise InputError(f"topology {error}") from None
    try:
        return topology_from_mapping(tables)
    except InputError as error:
        raise InputError(f"topology {path}: {error}") from None


def read_topology_tables(path: str | Path) -> dict[str, Any]:
    """The tables of the file, in which every `file.py:name` is usable from anywhere. Raises `InputError`."""
    path = Path(path)
    return anchored(read_json(path) if path.suffix == ".json" else read_toml(path), path.parent)


def topology_from_mapping(data: Mapping[str, Any]) -> Topology:
    """The graph of a table: `output`, a table `populations` by name, a list `connections` of tables.

    Raises `InputError` naming the key that is unknown, missing or of the wrong type.
    """
    for key in data:
        if key not in ("output", "populations", "connections"):
            raise unknown_key((), key, ["output", "populations", "connections"])
    populations, connections = data.get("populations"), data.get("connections")
    if not isinstance(populations, Mapping) or not isinstance(connections, list):
        raise InputError("needs a table 'populations' and a list 'connections'")
    return Topology(
        tuple(_at(("populations", name), _population, name, table) for name, table in populations.items()),
        tuple(_at((f"connections[{i}]",), _connection, table) for i, table in enumerate(connections)),
        data.get("output", "output"),
    )


def _at(path: tuple[str, ...], make: Any, *given: Any) -> Any:
    try:
        return make(*given)
    except InputError as error:
        raise error.within(*path) from None


def _population(name: str, data: Any) -> Population:
    table = _table(data)
    if "size" not in table:
        raise InputError("is missing", path="size")
    settings = {"activation": Setting("text"), "mobility": Setting("number")}
    size = _size(table.pop("size"))
    return Population(name, size, **_decoded(table, settings, ["size"]))


def _connection(data: Any) -> Connection:
    table = _table(data)
    settings = {
        "source": Setting("text"),
        "target": Setting("text"),
        "feedback": Setting("text"),
        "angle": Setting("number"),
        "kind": Setting("text"),
        "residual": Setting("flag"),
    }
    assert set(settings) == {f.name for f in fields(Connection)} - {"settings"}
    for key in ("source", "target"):
        if key not in table:
            raise InputError("is missing", path=key)
    own = {key: value for key, value in table.items() if key not in settings}
    return Connection(**_decoded({k: v for k, v in table.items() if k in settings}, settings), **own)


def _decoded(table: dict[str, Any], settings: dict[str, Setting], besides: list[str] | None = None) -> dict[str, Any]:
    found = {}
    for key, value in table.items():
        if key not in settings:
            raise unknown_key((), key, [*(besides or []), *settings])
        found[key] = _at((key,), settings[key].decode, value)
    return found


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"must be a table, not {value!r}")
    return dict(value)


def _size(value: Any) -> int | tuple[int, int, int]:
    match value:
        case bool():
            pass
        case int():
            return value
        case [int(), int(), int()]:
            height, width, channels = value
            return height, width, channels
    raise InputError("must be a whole number, or a list of height, width and channels", path="size", value=value)
