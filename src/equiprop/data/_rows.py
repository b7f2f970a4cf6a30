"""The layout that CIFAR and downsampled ImageNet share: a row of 3072 bytes an image, its red plane first."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from equiprop.data._labels import as_labels
from equiprop.errors import InputError

IMAGE_SHAPE = (32, 32, 3)
_VALUES = 3072


def channels_last(rows: np.ndarray) -> np.ndarray:
    """The images `[n, 32, 32, 3]` of rows `[n, 3072]`, as a view: the red, the green and the blue plane, row by row."""
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def value_of(values: Mapping[str, Any], key: str, where: str) -> Any:
    """The value of a key of a file. **Raises:** `InputError`, with the keys that are there, where it is not."""
    if key not in values:
        raise InputError(
            f"{where} has no {key!r}, only {', '.join(sorted(values)) or 'nothing'}: get the official file again"
        )
    return values[key]


def rows_of(values: Mapping[str, Any], where: str) -> np.ndarray:
    """The images of a file as its rows, uint8 `[n, 3072]`. **Raises:** `InputError` where they are not that."""
    rows = value_of(values, "data", where)
    if not isinstance(rows, np.ndarray):
        raise InputError(f"{where}: its 'data' is a {type(rows).__name__}, not an array: get the official file again")
    check_rows(rows.shape, rows.dtype, where)
    return rows


def check_rows(shape: tuple[int, ...], dtype: np.dtype, where: str) -> None:
    """**Raises:** `InputError` where an array of that shape and type is not uint8 `[n, 3072]`."""
    if dtype != np.uint8 or len(shape) != 2 or shape[1] != _VALUES:
        raise InputError(
            f"{where}: its images are {dtype} {list(shape)}: they must be uint8 [n, {_VALUES}], three planes of 32 by 32"
        )


def labels_of(values: Any, images: int, first: int, classes: int, where: str) -> np.ndarray:
    """Labels as indices of classes, int32 `[images]`.

    **Arguments:**

    - `values`: as the file has them, a list or an array.
    - `images`: how many there must be.
    - `first`: the file's number of the first class.
    - `classes`: how many there are.
    - `where`: the file.

    **Raises:** `InputError` where these are not that many whole numbers from `first` to `first + classes - 1`.
    """
    # Of a list of numbers and long words NumPy would make an array in which each takes as much as the longest.
    if not isinstance(values, np.ndarray) and (not isinstance(values, list) or {*map(type, values)} - {int}):
        raise InputError(f"{where}: its labels are no list of whole numbers: get the official file again")
    labels = as_labels(np.asarray(values), first, first + classes - 1, where)
    if len(labels) != images:
        raise InputError(f"{where}: it has {len(labels)} labels and {images} images: get the official file again")
    return labels - np.int32(first)
