"""The result of a study read back."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equiprop.errors import InputError, printable
from equiprop.files import read_json
from equiprop.reporting._chart import Chart

STUDY, STUDY_SETTINGS = "study.json", "study.toml"

_MEND = "run the study again: it goes on where it stopped"


@dataclass(frozen=True)
class PrintedTable:
    """A table as a person reads it."""

    title: str
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Walk:
    """What a circle of nudges does to a few units, for nudges of several sizes.

    - `sizes`: |β|.
    - `units`: of each its `name`; `real` and `imaginary`, how far it is from where it is without a nudge: a row a size, a number
      for each of so many nudges on the circle, from the real one on; and `exact`, its response to an infinitesimal nudge.
    - `rests`: whether it comes to rest there; shaped as `real`.
    - `errors`, `bars`: for several numbers N of nudges and each size, the relative error of the whole response, and its bar.
    """

    title: str
    sizes: tuple[float, ...]
    units: tuple[Mapping[str, Any], ...]
    rests: tuple[tuple[bool, ...], ...]
    errors: Mapping[str, tuple[float | None, ...]]
    bars: Mapping[str, tuple[float | None, ...]]

    @property
    def best(self) -> tuple[str, float, float | None] | None:
        """N, |β| and the bar where the error is least."""
        found = [
            (error, points, size, bar)
            for points, row in self.errors.items()
            for error, size, bar in zip(row, self.sizes, self.bars[points], strict=True)
            if error is not None
        ]
        return min(found)[1:] if found else None

    def to_json(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Walk":
        """Raises `KeyError`, `TypeError` or `ValueError` where it is not what `to_json` gave."""
        sizes = tuple(_number(each) for each in kept["sizes"])
        rests = tuple(tuple(map(bool, row)) for row in kept["rests"])
        shape = [len(row) for row in rests]
        if len(rests) != len(sizes) or len(set(shape)) != 1 or not shape[0]:
            raise ValueError("circles of different sizes")
        units = []
        for unit in kept["units"]:
            parts = {name: tuple(tuple(map(_known, row)) for row in unit[name]) for name in ("real", "imaginary")}
            if any([len(row) for row in rows] != shape for rows in parts.values()):
                raise ValueError("circles of different sizes")
            units.append({"name": str(unit["name"]), "exact": _number(unit["exact"]), **parts})
        errors, bars = (
            {str(int(points)): tuple(_known(each) for each in row) for points, row in kept[name].items()}
            for name in ("errors", "bars")
        )
        if errors.keys() != bars.keys() or any(len(row) != len(sizes) for row in (*errors.values(), *bars.values())):
            raise ValueError("errors of other sizes")
        if not units or not errors:
            raise ValueError("a walk of nothing")
        return cls(str(kept["title"]), sizes, tuple(units), rests, errors, bars)


@dataclass(frozen=True)
class Study:
    """What the folder of a study holds.

    - `path`: the folder; `name`, `preset`, `seeds`, `date`, `version`: what was run, when, by which version.
    - `question`, `verdict`; `failed`: trainings that failed, and why.
    - `tables`: the last of them what others have published, where there is such.
    - `arms`: the folders of what was trained, as far as they are there.
    """

    path: Path
    name: str
    preset: str
    seeds: int
    date: str
    version: str
    question: str
    verdict: tuple[str, ...]
    failed: Mapping[str, str]
    tables: tuple[PrintedTable, ...]
    charts: tuple[Chart, ...]
    walks: tuple[Walk, ...]
    arms: tuple[Path, ...]

    @property
    def command(self) -> str:
        return f"equiprop study {self.name} --preset {self.preset} --seeds {self.seeds}"


def is_study(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is that of a study, finished or not."""
    try:
        return any((Path(path) / name).is_file() for name in (STUDY, STUDY_SETTINGS))
    except OSError:
        # A name that no file can have.
        return False


def read_study(path: str | os.PathLike[str]) -> Study:
    """Reads the folder that `equiprop study` wrote. Raises `InputError` where it is damaged, or no study."""
    folder = Path(path)
    if not (folder / STUDY).exists() and (folder / STUDY_SETTINGS).exists():
        raise InputError("is a study that has not ended", path="study", value=str(folder), hint=_MEND)
    kept = read_json(folder / STUDY, _MEND)
    try:
        arms = dict.fromkeys(printable(str(row["arm"])) for row in kept["trained"])
        return Study(
            path=folder,
            **{name: str(kept[name]) for name in ("preset", "date", "version", "question")},
            verdict=tuple(str(said) for said in list(kept["verdict"])),
            name=str(kept["study"]),
            seeds=int(kept["seeds"]),
            failed={str(name): str(reason) for name, reason in kept["failed"].items()},
            tables=tuple(map(_table, kept["printed"])),
            charts=tuple(Chart.from_json(each) for each in kept["charts"]),
            walks=tuple(Walk.from_json(each) for each in kept["walks"]),
            arms=tuple(folder / arm for arm in arms if Path(arm).name == arm and (folder / arm).is_dir()),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            "is not the result of a study as this version writes it", path=str(folder / STUDY), hint=_MEND
        ) from error


def _table(kept: Mapping[str, Any]) -> PrintedTable:
    columns = tuple(map(str, kept["columns"]))
    cells = tuple(tuple(map(str, row)) for row in kept["cells"])
    if any(len(row) != len(columns) for row in cells):
        raise ValueError("a row of other columns")
    return PrintedTable(str(kept["title"]), columns, cells)


def _number(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found):
        raise ValueError("no finite number")
    return found


def _known(value: Any) -> float | None:
    return None if value is None else _number(value)
