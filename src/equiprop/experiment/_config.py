"""Configurations: which member of each family, and its settings. What a class takes is read from the class itself."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import tomli_w

from equiprop import kinds
from equiprop.errors import InputError, unknown_key
from equiprop.estimators import ESTIMATORS
from equiprop.experiment._legacy import modernised
from equiprop.experiment._settings import TrainingSettings
from equiprop.files import read_toml
from equiprop.hardware import DEVICES
from equiprop.homeostasis import HOMEOSTASES
from equiprop.kinds import Family, kind_of, label_of, load_reference, place_of
from equiprop.numerics import Settings, text
from equiprop.numerics.settings import build, decode, defaults_of, encode, idle, keys_of, settings_of
from equiprop.reporting import flatten
from equiprop.solvers import SOLVERS
from equiprop.systems import RECIPES
from equiprop.training import OPTIMIZERS

SECTIONS: dict[str, tuple[Family, str]] = {
    "system": (RECIPES, "mlp"),
    "solver": (SOLVERS, "gauss_seidel"),
    "estimator": (ESTIMATORS, "centered"),
    "reference": (ESTIMATORS, "adjoint"),
    "homeostasis": (HOMEOSTASES, "auto"),
    "optimizer": (OPTIMIZERS, "sgd"),
    "hardware": (DEVICES, "perfect"),
}
"""The sections of a configuration: the family that each chooses from, and what it chooses by default."""

_USUAL = {"reference": {"clip": float("inf")}}
"""Where a section has another default than the class: what is compared with is not clipped."""

WHERE = ("training.devices", "training.micro_batches")
"""The keys that say where and in what pieces a run is computed, and not what."""

MAY_CHANGE = (*WHERE, "training.epochs", "training.patience")
"""The keys that may change when a run goes on."""


class Given(Settings):
    """An object of the user's own that `fit` was given, and that no configuration can make again."""

    kind: ClassVar[str] = "given"

    object: str = text("", "What it is.")


@dataclass(frozen=True)
class Choice:
    """A member of a family and its settings.

    - `kind`: as the configuration names it.
    - `member`: the class, or a function of the user's own that makes a system.
    - `values`: every setting, as a file spells it.
    """

    section: str
    kind: str
    member: Any
    values: dict[str, Any]

    @classmethod
    def of(cls, section: str, table: Mapping[str, Any], *, complete: bool = False) -> "Choice":
        """From the table of a configuration.

        **Arguments:**

        - `complete`: the table may hold the settings of all members of the family, as those of version 0.1 do.

        Raises `InputError` for a kind that does not exist, a key that it does not take, or a value of another type.
        """
        family, default = SECTIONS[section]
        given = dict(table)
        kind = given.pop("kind", default)
        if not isinstance(kind, str):
            raise InputError("must be text", path=(section, "kind"), value=kind)
        member = member_of(section, kind)
        takes = settings_of(member)
        for key in [key for key in given if key not in takes]:
            if complete and any(key in settings_of(other) for other in family.members().values()):
                del given[key]
            else:
                raise not_taken(section, kind, key, takes)
        try:
            usual = defaults_of(member) | _USUAL.get(section, {})
            values = _merged(usual, decode(member, given))
            if complete:
                # What had no effect in a run is refused today.
                values |= {name: usual[name] for name in idle(member, values)}
        except InputError as error:
            raise error.within(section) from None
        return cls(section, kind, member, values)

    @classmethod
    def of_object(cls, section: str, chosen: Any) -> "Choice":
        """Of an object that has been made already; `Given` where a configuration cannot make it again."""
        of = type(chosen)
        if isinstance(chosen, Settings):
            try:
                found = cls.of(section, {"kind": kind_of(chosen), **encode(chosen)})
            except InputError:
                found = None
            if found is not None and found.member is of:
                return found
        name = vars(of).get("label") or place_of(of)
        return cls(section, Given.kind, Given, {"object": name})

    @property
    def is_given(self) -> bool:
        """Whether only who gave the object to `fit` can make it again."""
        return self.member is Given

    def create(self) -> Any:
        """The object. Raises `InputError` for a value that is not allowed, and for one that no configuration can make."""
        if self.is_given:
            reason = f"was given to fit as an object ({self.values['object']}), which no configuration can make again"
            raise InputError(reason, path=(self.section, "kind"), value=self.kind)
        try:
            return build(self.member, self.values)
        except InputError as error:
            raise error.within(self.section) from None

    def switched(self, kind: str) -> "Choice":
        """Another member of the family, with those of these settings that it takes."""
        return Choice.of(self.section, {"kind": kind} | _taken_by(self.section, kind, self.values))

    @property
    def label(self) -> str:
        """How it is called in a sentence."""
        return self.values["object"].rpartition(":")[2] if self.is_given else label_of(self.member)

    def cited(self) -> tuple[str, ...]:
        """The papers behind it, as it is set."""
        if self.is_given:
            return ()
        made = self.create() if isinstance(self.member, type) else self.member
        return made.cited() if isinstance(made, Settings) else getattr(made, "citation", ())

    def to_mapping(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.values}


def member_of(section: str, kind: str) -> Any:
    """The class, or the user's function that makes a system. Raises `InputError` if there is none."""
    if kind == Given.kind:
        return Given
    try:
        if section == "system" and ":" in kind:
            found = load_reference(kind)
            if not callable(found):
                raise InputError("is not a function that makes a system")
            return found
        return SECTIONS[section][0].find(kind)
    except InputError as error:
        raise InputError(error.reason, path=(section, "kind"), value=kind, hint=error.hint) from None


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over `defaults`, table by table where both are."""
    result = dict(defaults)
    for key, value in given.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if both and key != "learning_rates" else value
    return result


def _taken_by(section: str, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that another kind takes, too, with values that it allows."""
    takes, found = settings_of(member_of(section, kind)), {}
    for key, value in values.items():
        try:
            if key in takes and (isinstance(value, Mapping | list | tuple) or takes[key].complaint(value) is None):
                found[key] = takes[key].decode(value)
            elif key in takes and value == takes[key].word:
                found[key] = value
        except InputError:
            # A word that one kind knows, another may not.
            continue
    return found


def not_taken(section: str, kind: str, key: str, takes: Iterable[str]) -> InputError:
    """An `InputError` for a key that a kind does not take, with the kinds that do."""
    family = SECTIONS[section][0]
    others = [name for name, other in family.members().items() if _has(other, key)]
    if others:
        return InputError(
            f"is not used by {section}.kind = {kind!r}, which takes {', '.join(takes) or 'no settings'}",
            path=(section, key),
            hint=f"leave it out, or choose {' or '.join(others)}",
        )
    return unknown_key((section,), key, ["kind", *takes], all_keys())


def _has(kind: Any, key: str) -> bool:
    """Whether a kind takes a key, or a table of that name."""
    return any(f"{known}.".startswith(f"{key}.") for known in keys_of(kind))


def all_keys() -> list[str]:
    """The dotted keys of all sections and all kinds."""
    keys = ["dataset", *(f"training.{key}" for key in keys_of(TrainingSettings))]
    for section, (family, _) in SECTIONS.items():
        if section != "reference":
            names = dict.fromkeys(key for member in family.members().values() for key in keys_of(member))
            keys += [f"{section}.kind", *(f"{section}.{key}" for key in names)]
    return keys


def usual(section: str) -> Any:
    """A field that holds what a section is where nothing is said."""
    return field(default_factory=lambda: Choice.of(section, {}))


def usual_training() -> dict[str, Any]:
    """What `[training]` holds where nothing is said."""
    return defaults_of(TrainingSettings)


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on. Replayable: the same configuration and versions give the same weights."""

    dataset: str = "digits"
    system: Choice = usual("system")
    solver: Choice = usual("solver")
    estimator: Choice = usual("estimator")
    reference: Choice = usual("reference")
    homeostasis: Choice = usual("homeostasis")
    optimizer: Choice = usual("optimizer")
    hardware: Choice = usual("hardware")
    training: dict[str, Any] = field(default_factory=usual_training)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], *, complete: bool = False) -> "Config":
        """From nested tables, those of version 0.1 too.

        **Arguments:**

        - `complete`: as of `Choice.of`, for what was written by a run.

        Raises `InputError` naming the key that is unknown, not used or of the wrong type.
        """
        tables = modernised(data, quiet=complete)
        names = [f.name for f in dataclasses.fields(cls)]
        values: dict[str, Any] = {}
        for name, table in tables.items():
            if name not in names:
                raise unknown_key((), name, names, all_keys())
            if name == "dataset":
                if not isinstance(table, str):
                    raise InputError("must be text", path=name, value=table)
                values[name] = table
                continue
            if not isinstance(table, Mapping):
                raise InputError(f"must be a table [{name}]", path=name, value=table)
            values[name] = _training(table) if name == "training" else Choice.of(name, table, complete=complete)
        return cls(**values)

    @classmethod
    def from_file(cls, path: str | Path) -> "Config":
        """From a TOML file. Raises `InputError`."""
        tables = read_tables(path)
        try:
            return cls.from_mapping(tables)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def changed(self, given: Mapping[str, Any]) -> "Config":
        """With other values of some dotted keys: see `overlaid`. Another kind has its own defaults."""
        return Config.from_mapping(overlaid(self._chosen(), given))

    def _chosen(self) -> dict[str, Any]:
        """`to_mapping` without what is only a default of its kind."""
        tables = self.to_mapping()
        for section in SECTIONS:
            usual = defaults_of(getattr(self, section).member)
            tables[section] = {k: v for k, v in tables[section].items() if not (k in usual and usual[k] == v)}
        return tables

    def with_object(self, section: str, chosen: Any) -> "Config":
        """With an object that has been made already in a section."""
        return dataclasses.replace(self, **{section: Choice.of_object(section, chosen)})

    def to_mapping(self) -> dict[str, Any]:
        """Nested tables of plain values."""
        sections = {name: getattr(self, name).to_mapping() for name in SECTIONS}
        return {"dataset": self.dataset, **sections, "training": dict(self.training)}

    def to_toml(self) -> str:
        """Complete TOML, every key of the chosen kinds with its value; reading it gives the same configuration."""
        return tomli_w.dumps(self.to_mapping())


def _training(table: Mapping[str, Any]) -> dict[str, Any]:
    for key in table:
        if key not in settings_of(TrainingSettings):
            raise unknown_key("training", key, settings_of(TrainingSettings), all_keys())
    try:
        return defaults_of(TrainingSettings) | decode(TrainingSettings, table)
    except InputError as error:
        raise error.within("training") from None


def read_tables(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file, with the files that it names made usable from anywhere. Raises `InputError`."""
    return anchored(read_toml(path), Path(path).parent)


def anchored(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Tables in which relative `system.topology`, and every `file.py:name`, are those in a folder."""
    result = kinds.anchored(data, folder)
    for section, key in (("system", "topology"), ("training", "start")):
        table = result.get(section)
        if isinstance(table, dict) and table.get(key):
            table[key] = str((folder / str(table[key])).absolute())
    return result


def overlaid(tables: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Tables with other values of some dotted keys.

    Who asks for another kind than the tables have does not ask for what only that kind has a use for.
    """
    result = {name: dict(table) if isinstance(table, Mapping) else table for name, table in tables.items()}
    for section, (_, default) in SECTIONS.items():
        kind = given.get(f"{section}.kind")
        table = result.get(section, {})
        if isinstance(kind, str) and isinstance(table, dict) and kind != table.get("kind", default):
            kept = _taken_by(section, kind, {k: v for k, v in table.items() if k != "kind"})
            result[section] = {"kind": kind, **kept}
    for key, value in given.items():
        _set(result, key.split("."), value)
    return result


def _set(tables: dict[str, Any], path: list[str], value: Any) -> None:
    *above, last = path
    for name in above:
        below = tables.get(name)
        tables[name] = tables = dict(below) if isinstance(below, Mapping) else {}
    tables[last] = value


def differences(a: Config, b: Config) -> list[str]:
    """The dotted keys in which two configurations differ."""
    flat_a, flat_b = flatten(a.to_mapping()), flatten(b.to_mapping())
    return [key for key in flat_a | flat_b if flat_a.get(key) != flat_b.get(key)]


def schedules(config: Config) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tables that stand in the place of a number for a schedule of it, by dotted key."""

    def found(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if {"schedule", "from", "to"} <= set(table):
            yield prefix, table
            return
        for key, value in table.items():
            if isinstance(value, Mapping):
                yield from found(f"{prefix}.{key}" if prefix else key, value)

    yield from found("", config.to_mapping())
