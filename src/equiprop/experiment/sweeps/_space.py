"""What a sweep varies: dotted keys of a configuration, with the values that each may take."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from equiprop.errors import InputError, nearest, unknown_key
from equiprop.experiment._config import SECTIONS, Config, all_keys, member_of, overlaid
from equiprop.experiment._settings import TrainingSettings
from equiprop.numerics.settings import settings_of

_MOST = 2**20
"""So many trainings nobody waits for; a grid of more is a slip, which would fill the memory."""

_OF_RANGE = ("from", "to", "step", "log")


@dataclass(frozen=True)
class Values:
    """The values of one key, one after the other."""

    values: tuple[Any, ...]

    def distribution(self, optuna: Any) -> Any:
        """Lists and tables stand in the storage as JSON text."""
        return optuna.distributions.CategoricalDistribution([_stored(value) for value in self.values])

    def value_of(self, stored: Any) -> Any:
        """Raises `InputError` for what is none of them."""
        for value in self.values:
            if _stored(value) == stored:
                return value
        raise InputError("is none of its values", value=stored)

    def listed(self) -> list[Any]:
        return list(self.values)

    def table(self) -> Any:
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """All numbers between two, or those that are whole steps apart.

    - `log`: whether they are drawn evenly by their logarithms.
    """

    start: float
    end: float
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        return all(isinstance(n, int) for n in (self.start, self.end, self.step or 0))

    def distribution(self, optuna: Any) -> Any:
        if self.whole:
            return optuna.distributions.IntDistribution(self.start, self.end, log=self.log, step=self.step or 1)
        return optuna.distributions.FloatDistribution(self.start, self.end, log=self.log, step=self.step)

    def value_of(self, stored: Any) -> Any:
        """Raises `InputError` for what is no number."""
        if not isinstance(stored, int | float):
            raise InputError("is no number", value=stored)
        return stored

    def listed(self) -> list[Any]:
        """Raises `InputError` where they have no end, or are more than `_MOST`."""
        if not self.whole and self.step is None:
            raise InputError("has no end of values", hint="give a list, or a step")
        step = self.step or 1
        count = (self.end - self.start) / step + 1e-9
        if count >= _MOST:
            raise InputError(f"has more than {_MOST:,} values", hint="give a larger step")
        return [self.start + i * step for i in range(int(count) + 1)]

    def table(self) -> Any:
        given = {"from": self.start, "to": self.end, "step": self.step, "log": self.log or None}
        return {name: value for name, value in given.items() if value is not None}


def _stored(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple | Mapping) else value


def space_of(tables: Mapping[str, Any], base: Config) -> dict[str, Values | Range]:
    """The `[parameters]` of a sweep: dotted keys, or tables in tables, with lists of values or `{from, to, step, log}`.

    Raises `InputError` for a key that no configuration has, values of another type than it takes, and a range without an end.
    """
    found = {}
    for key, given in _flat(tables):
        if key not in all_keys():
            hint = nearest(key, all_keys()) or "equiprop train --help lists them"
            raise InputError("no configuration has such a key", path=("parameters", key), hint=hint)
        try:
            found[key] = _values(given)
        except InputError as error:
            raise error.within(key).within("parameters") from None
    if not found:
        hint = 'name keys and their values, such as "estimator.nudge" = [0.05, 0.5]'
        raise InputError("is missing or empty", path="parameters", hint=hint)
    for key, values in found.items():
        _require_taken(key, values, found, base)
    # By name: a sampler draws in this order, whatever that of the file.
    return dict(sorted(found.items()))


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, Mapping) and "from" not in value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _values(given: Any) -> Values | Range:
    if isinstance(given, list):
        if not given:
            raise InputError("is empty", hint="give at least one value")
        if any(given.index(value) != i for i, value in enumerate(given)):
            raise InputError("names a value twice", value=given)
        return Values(tuple(given))
    if not isinstance(given, Mapping):
        raise InputError("must be a list of values or a table such as {from = 0.01, to = 1.0, log = true}", value=given)
    unknown = [name for name in given if name not in _OF_RANGE]
    if unknown:
        raise unknown_key((), unknown[0], _OF_RANGE)
    start, end, step, log = (given.get(name) for name in _OF_RANGE)
    for name, number in (("from", start), ("to", end), *([("step", step)] if step is not None else [])):
        if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
            raise InputError("must be a finite number", path=name, value=number)
    assert isinstance(start, int | float) and isinstance(end, int | float)
    if not start < end:
        raise InputError(f"must be above from = {start}", path="to", value=end)
    if log and (start <= 0 or step is not None):
        raise InputError("goes with a positive from and no step", path="log", value=True)
    if step is not None and step <= 0:
        raise InputError("must be positive", path="step", value=step)
    return Range(start, end, step, bool(log))


def _require_taken(key: str, values: Values | Range, space: Mapping[str, Any], base: Config) -> None:
    """Raises `InputError` where no kind of the sweep takes a key, or it takes no such values."""
    section, _, name = key.partition(".")
    some = values.listed() if isinstance(values, Values) else [values.start, values.end]
    if section not in SECTIONS or name == "kind":
        kinds: list[str | None] = [None]
    else:
        chosen = space.get(f"{section}.kind")
        kinds = [getattr(base, section).kind] if chosen is None else chosen.listed()
    refused: list[InputError] = []
    for kind in kinds:
        given = {} if kind is None else {f"{section}.kind": kind}
        try:
            for value in some:
                changed = base.changed({**given, key: value})
                if section in SECTIONS and name != "kind":
                    getattr(changed, section).create()
                elif section == "training":
                    TrainingSettings(**changed.training)
            return
        except InputError as error:
            refused.append(error)
    raise refused[0].within("parameters")


def grid(space: Mapping[str, Values | Range]) -> list[dict[str, Any]]:
    """Every combination, as it is stored; the last key changes fastest.

    Raises `InputError` for a range without an end, and for more than `_MOST`.
    """
    listed = []
    for key, values in space.items():
        try:
            found = values.listed()
        except InputError as error:
            raise error.within(key).within("parameters") from None
        listed.append([_stored(value) if isinstance(values, Values) else value for value in found])
    if math.prod(map(len, listed)) > _MOST:
        raise InputError(f"has more than {_MOST:,} combinations", path="parameters", hint="give fewer values")
    return [dict(zip(space, combination, strict=True)) for combination in itertools.product(*listed)]


def values_of(space: Mapping[str, Values | Range], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a trial, as a configuration has them. Raises `InputError` for those that it cannot have been given."""
    found = {}
    for key, value in stored.items():
        if key not in space:
            raise InputError("is nothing that this sweep varies", path=key, value=value)
        try:
            found[key] = space[key].value_of(value)
        except InputError as error:
            raise error.within(key) from None
    return found


def config_of(base: Mapping[str, Any], space: Mapping[str, Values | Range], stored: Mapping[str, Any]) -> Config:
    """The configuration of a trial. A key that its kind has no use for is left out of it. Raises `InputError`."""
    given = values_of(space, stored)
    tables = overlaid(base, {key: value for key, value in given.items() if key.endswith(".kind")})
    kinds = {section: tables.get(section, {}).get("kind", default) for section, (_, default) in SECTIONS.items()}
    taken = {}
    for key, value in given.items():
        section, _, name = key.partition(".")
        known = settings_of(TrainingSettings) if section == "training" else {}
        if section in SECTIONS:
            known = settings_of(member_of(section, kinds[section]))
        if section == "dataset" or name == "kind" or name.partition(".")[0] in known:
            taken[key] = value
    return Config.from_mapping(overlaid(base, taken))
