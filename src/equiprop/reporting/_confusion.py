"""Which classes a run takes for which, and its most confident mistakes, as `confusion.json` keeps them."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from equiprop.errors import InputError
from equiprop.files import read_json

CONFUSION = "confusion.json"

_MOST_MISTAKES = 12
_LARGEST = 256


@dataclass(frozen=True)
class Mistake:
    """A sample of the class `right` that is taken for another one, and its pixels, where it is an image."""

    sample: int
    right: str
    taken_for: str
    margin: float
    pixels: Sequence[Any] = ()

    @property
    def png(self) -> str:
        """The pixels as a picture in base64; empty where there are none."""
        if not self.pixels:
            return ""
        import numpy as np
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(np.asarray(self.pixels, np.uint8)).save(buffer, format="PNG")
        return base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class Confusion:
    """How many samples of each class (rows) were taken for each class (columns), after so many epochs, and the mistakes."""

    epoch: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    mistakes: tuple[Mistake, ...] = ()

    def pairs(self, most: int) -> list[tuple[str, str, int, int]]:
        """What is confused most often: a class, the one it is taken for, how many times, of how many."""
        found = [
            (self.classes[i], self.classes[j], count, sum(row))
            for i, row in enumerate(self.counts)
            for j, count in enumerate(row)
            if i != j and count
        ]
        return sorted(found, key=lambda pair: -pair[2])[:most]


def read_confusion(folder: Path) -> tuple[dict[str, Confusion], list[str]]:
    """What a run directory keeps of confused classes by split, and a warning where it is not what it should be.

    Of several seeds the sum of the counts, and the mistakes of the first.
    """
    if (folder / CONFUSION).exists():
        return _read(folder / CONFUSION)
    seeds = [_read(path) for path in sorted(folder.glob(f"seed-*/{CONFUSION}"))]
    warnings = list(dict.fromkeys(warning for _, more in seeds for warning in more))
    found = [each for each, _ in seeds if each]
    return {
        split: _sum([each[split] for each in found if split in each]) for split in (found[0] if found else {})
    }, warnings


def _sum(seeds: Sequence[Confusion]) -> Confusion:
    same = [each for each in seeds if each.classes == seeds[0].classes]
    counts = tuple(
        tuple(map(sum, zip(*rows, strict=True))) for rows in zip(*(each.counts for each in same), strict=True)
    )
    return Confusion(seeds[0].epoch, seeds[0].classes, counts, seeds[0].mistakes)


def _read(file: Path) -> tuple[dict[str, Confusion], list[str]]:
    try:
        return {str(split): _confusion(kept) for split, kept in read_json(file).items()}, []
    except (InputError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}, [f"{CONFUSION} is damaged and ignored; `equiprop evaluate` writes it anew"]


def _confusion(kept: Mapping[str, Any]) -> Confusion:
    classes = tuple(map(str, kept["classes"]))
    counts = tuple(tuple(map(_count, row)) for row in kept["confusion"])
    if {len(counts), *map(len, counts)} != {len(classes)}:
        raise ValueError("it is not square")
    mistakes = [_mistake(each, classes) for each in kept.get("mistakes", [])[:_MOST_MISTAKES]]
    return Confusion(str(kept.get("epoch", "–")), classes, counts, tuple(mistakes))


def _mistake(kept: Mapping[str, Any], classes: Sequence[str]) -> Mistake:
    right, taken_for = (classes[_count(kept[name])] for name in ("class", "taken_for"))
    return Mistake(_count(kept["sample"]), right, taken_for, float(kept["margin"]), _pixels(kept.get("pixels", [])))


def _pixels(rows: Any) -> Any:
    """Rows of equal length, of numbers or of three numbers, from 0 to 255."""
    if len(rows) > _LARGEST or len({len(row) for row in rows}) > 1 or any(len(row) > _LARGEST for row in rows):
        raise ValueError("no image")
    dots = [dot for row in rows for dot in row]
    coloured = bool(dots) and isinstance(dots[0], list)
    if coloured and {len(dot) for dot in dots} != {3}:
        raise ValueError("no colours")
    if any(_count(each) > 255 for each in (chain.from_iterable(dots) if coloured else dots)):
        raise ValueError("no pixels")
    return rows


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("no count")
    return value
