"""What labels are, in whatever they are kept: files, arrays, tables and datasets of other libraries."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from equiprop.errors import InputError

_MOST_CLASSES = 2**20
"""A single label that is a wrong number would else be that many outputs of a network."""


def are_labels(y: Any) -> bool:
    """Whether targets are labels of classes: whole numbers `[n]`. Real numbers are none, not even where all of them are whole."""
    return isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "iu"


def as_labels(y: np.ndarray, first: int = -(2**31), last: int = 2**31 - 1, where: str = "y") -> np.ndarray:
    """Labels as int32.

    **Arguments:**

    - `first`, `last`: the lowest and the highest that there may be.
    - `where`: what messages call them.

    **Raises:** `InputError` where they are no labels, or one lies outside.
    """
    if not are_labels(y):
        raise InputError(f"its labels are {y.dtype} {list(y.shape)}", path=where, hint="they must be whole numbers [n]")
    wrong = np.flatnonzero((y < first) | (y > last))
    if wrong.size:
        raise InputError(f"label {wrong[0]} is {y[wrong[0]]}", path=where, hint=f"labels go from {first} to {last}")
    return y.astype(np.int32, copy=False)


def numbered(labels: Iterable[np.ndarray], where: str = "y") -> tuple[str, ...]:
    """Names of the classes of labels that have none: their numbers.

    **Raises:** `InputError` where a label is below 0, or so large that it can hardly be that of a class.
    """
    bounds = [(int(y.min()), int(y.max())) for y in labels if y.size]
    lowest, highest = min((low for low, _ in bounds), default=0), max((high for _, high in bounds), default=-1)
    if lowest < 0 or highest >= _MOST_CLASSES:
        hint = f"number the classes from 0, to {_MOST_CLASSES - 1} at most"
        raise InputError(f"labels go from {lowest} to {highest}", path=where, hint=hint)
    return tuple(map(str, range(highest + 1)))
