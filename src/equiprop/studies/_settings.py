"""What a study trains and measures: `experiments/studies/NAME.toml`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import tomli_w

from equiprop.data import DatasetInfo
from equiprop.errors import InputError, suggest, unknown_key
from equiprop.experiment import Config, anchored, make_system, overlaid, read_tables
from equiprop.files import read_toml
from equiprop.reporting import flatten

PRESETS = ("quick", "standard", "paper")

_KEYS = ("config", "arms", "measure", "presets")
_OF_PRESET = ("seeds", "arms", "each", "config", "measure")


@dataclass(frozen=True)
class Arm:
    """One of the trainings that a study compares.

    - `changes`: keys of the configuration, dotted, and the values that they have in this arm alone.
    - `choose`: keys with lists of values, of which the best by validation of the first seed is taken.
    - `chosen_by`: another arm, whose values are taken.
    - `values`: keys and values of which there is an arm each, `family` being what they are called together.
    """

    name: str
    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    choose: Mapping[str, list[Any]] = field(default_factory=dict)
    chosen_by: str = ""
    family: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def each(self, lists: Mapping[str, list[Any]]) -> Iterator["Arm"]:
        """An arm for every combination of the values of some keys; itself where there is none."""
        for values in product(*lists.values()):
            given = dict(zip(lists, values, strict=True))
            yield replace(
                self,
                name="-".join([self.name, *map(_short, values)]),
                label=self._label_for(given),
                changes={**self.changes, **given},
                family=self.name,
                values=given,
            )

    def _label_for(self, given: Mapping[str, Any]) -> str:
        """The label with what is in braces in it, or with the values after it."""
        short = {key.rpartition(".")[2]: _short(value) for key, value in given.items()}
        if "{" not in self.label:
            return ", ".join([self.label, *(f"{key.replace('_', ' ')} {value}" for key, value in short.items())])
        try:
            return self.label.format_map(short)
        except (LookupError, ValueError):
            hint = f"in braces stand {', '.join(short)}"
            raise InputError("is no format", path=("arms", self.name, "label"), value=self.label, hint=hint) from None


@dataclass(frozen=True)
class StudySettings:
    """What a study does with one of its presets.

    - `base`: tables of a configuration, which all arms begin from.
    - `arms`: by name.
    - `seeds`: how many trainings of each.
    - `measure`: what the measurements of the study need to know.
    """

    name: str
    preset: str
    base: Mapping[str, Any]
    arms: Mapping[str, Arm]
    seeds: int
    measure: Mapping[str, Any]

    @classmethod
    def read(
        cls, name: str, preset: str = "standard", *, seeds: int | None = None, path: Path | None = None
    ) -> "StudySettings":
        """**Arguments:**

        - `seeds`: in place of those of the preset.
        - `path`: of the file, in place of the one that belongs to the study.

        Raises `InputError` for a preset or a key that there is not, and for what no configuration has.
        """
        path = path_of(name) if path is None else path
        if preset not in PRESETS:
            raise suggest("preset", preset, PRESETS)
        try:
            return cls._of_tables(name, preset, read_toml(path), path.parent, seeds)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def _of_tables(
        cls, name: str, preset: str, tables: dict[str, Any], folder: Path, seeds: int | None
    ) -> "StudySettings":
        _require_keys((), tables, _KEYS)
        for key in ("arms", "measure"):
            _require_table((key,), tables.get(key, {}))
        for each, table in tables.get("arms", {}).items():
            _require_table(("arms", each), table)
        presets = tables.get("presets", {})
        _require_keys(("presets",), presets, PRESETS)
        own = presets.get(preset, {})
        _require_keys(("presets", preset), own, _OF_PRESET)
        base = tables.get("config", {})
        base = read_tables(folder / base) if isinstance(base, str) else anchored(base, folder)
        base = overlaid(base, flatten(own.get("config", {})))
        families = list(own.get("arms", tables.get("arms", {})))
        for each in families:
            if each not in tables.get("arms", {}):
                raise suggest(("presets", preset, "arms"), each, list(tables["arms"]))
        own_lists = own.get("each", {})
        _require_keys(("presets", preset, "each"), own_lists, tuple(families))
        chosen: dict[str, Arm] = {}
        for each in families:
            for arm in _arms(each, anchored(tables["arms"][each], folder), own_lists.get(each)):
                chosen[arm.name] = arm
        count = own.get("seeds", 1) if seeds is None else seeds
        if not isinstance(count, int) or count < 1:
            raise InputError("must be a number of seeds, at least 1", path="seeds", value=count)
        for arm in chosen.values():
            if arm.chosen_by and (arm.chosen_by not in chosen or not chosen[arm.chosen_by].choose):
                raise InputError(
                    "is no arm of this preset that chooses", path=("arms", arm.name, "chosen_by"), value=arm.chosen_by
                )
        measure = {**tables.get("measure", {}), **own.get("measure", {})}
        for path, named in (("arms",), families), (("measure", "arms"), measure.get("arms", families)):
            if not named:
                raise InputError("names no arm", path=path)
        for each in measure.get("arms", ()):
            if each not in (*families, *chosen):
                raise suggest(("measure", "arms"), each, [*families, *chosen])
        settings = cls(name, preset, base, chosen, count, measure)
        for arm in chosen.values():
            try:
                settings.config_of(arm)
            except InputError as error:
                raise error.within(arm.name).within("arms") from None
        return settings

    def measures(self, arm: Arm) -> bool:
        """Whether runs of this arm are measured: those that `measure.arms` names, by default all."""
        named = self.measure.get("arms")
        return named is None or arm.name in named or arm.family in named

    def config_of(self, arm: Arm, choice: Mapping[str, Any] | None = None) -> Config:
        """The configuration of all seeds of an arm, with the values that were chosen."""
        given = {**arm.changes, **({} if choice is None else choice)}
        return Config.from_mapping(overlaid(self.base, {**given, "training.seeds": self.seeds}))

    def check(self, arm: Arm, data: DatasetInfo) -> None:
        """Raises `InputError` for an arm of which no system can be made for such data. Nothing is computed."""
        try:
            config = self.config_of(arm)
            eqx.filter_eval_shape(make_system, config.system, data, key=jax.random.key(0), dtype=jnp.float32)
        except InputError as error:
            raise error.within(arm.name).within("arms") from None

    def to_toml(self) -> str:
        """Everything that its results follow from."""
        arms = {
            each.name: {"changes": dict(each.changes), "choose": dict(each.choose), "chosen_by": each.chosen_by}
            for each in self.arms.values()
        }
        tables = {"study": self.name, "preset": self.preset, "seeds": self.seeds, "config": dict(self.base)}
        return tomli_w.dumps({**tables, "arms": arms, "measure": dict(self.measure)})


def _arms(name: str, table: dict[str, Any], lists: dict[str, Any] | None) -> Iterator[Arm]:
    """An arm of a file, or for each of the values of its table `each`; a preset has others."""
    label, choose, chosen_by = table.pop("label", name), table.pop("choose", {}), table.pop("chosen_by", "")
    lists = flatten({**table.pop("each", {}), **({} if lists is None else lists)})
    for key, values in lists.items():
        if not isinstance(values, list) or not values:
            raise InputError("must be a list of values", path=("arms", name, "each", key), value=values)
    arm = Arm(name, label, flatten(table), flatten(choose), chosen_by)
    yield from arm.each(lists) if lists else [arm]


def _short(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def _require_table(path: tuple[str, ...], table: Any) -> None:
    if not isinstance(table, Mapping):
        raise InputError("must be a table", path=path, value=table)


def _require_keys(path: tuple[str, ...], table: Any, known: tuple[str, ...]) -> None:
    _require_table(path, table)
    for key in table:
        if key not in known:
            raise unknown_key(path, key, known)


def path_of(name: str) -> Path:
    """The settings of one of our studies: beside the package as it is installed, or in the repository."""
    for folder in (Path(__file__).parent / "settings", Path(__file__).parents[3] / "experiments" / "studies"):
        if (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    raise InputError(f"the study {name} has no settings", hint="give a file by --settings")
