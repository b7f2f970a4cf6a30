"""The scale of a system's input, from the samples it is trained on."""

from typing import Any

import numpy as np

from equiprop.data._split import mapped

_AT_A_TIME = 1024
_PIXELS = np.arange(256)
_SPREADS = 1.5
"""Standard deviations that make a system's input 1."""


def statistics(x: Any) -> tuple[Any, Any]:
    """Mean and 1.5 standard deviations, in units of the stored numbers.

    Of each feature of a table `[n, features]`, of each channel of images `[n, height, width, channels]`, of all numbers together
    of anything else. Of a dictionary, dictionaries of these.

    What never varies gets scale 1, so that dividing by it changes nothing. Numbers that are not finite have no part.

    **Returns:** `(mean, scale)`, each a number or an array float64.
    """
    found = mapped(lambda a: _of_pixels(a) if a.dtype == np.uint8 and a.ndim > 2 else _of_numbers(a), x)
    return mapped(lambda pair: pair[0], found), mapped(lambda pair: pair[1], found)


def _of_pixels(images: np.ndarray) -> tuple[float | np.ndarray, float | np.ndarray]:
    """Of uint8 `[n, height, width]` or `[n, height, width, channels]`, n at least 1."""
    coloured = images if images.ndim == 4 else images.reshape(*images.shape[:2], -1, 1)
    # Counting values is exact, and needs no array of floats eight times as large as the images.
    counts = np.zeros((coloured.shape[-1], len(_PIXELS)), np.int64)
    for start in range(0, len(coloured), _AT_A_TIME):
        part = coloured[start : start + _AT_A_TIME]
        for channel, count in enumerate(counts):
            count += np.bincount(part[..., channel].ravel(), minlength=len(_PIXELS))
    fractions = counts / counts.sum(axis=1, keepdims=True)
    mean = fractions @ _PIXELS
    spread = np.sqrt(np.sum(fractions * (_PIXELS - mean[:, None]) ** 2, axis=1))
    varies = np.count_nonzero(counts, axis=1) > 1
    return _as_stored(mean, spread, varies, images.ndim == 4)


def _of_numbers(values: np.ndarray) -> tuple[float | np.ndarray, float | np.ndarray]:
    several = values.ndim in (2, 4)
    columns = values.reshape(-1, values.shape[-1]) if several else values.reshape(-1, 1)
    known = np.isfinite(columns)
    number = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, columns, 0).sum(axis=0, dtype=np.float64) / number
    square = np.zeros_like(mean)
    for start in range(0, len(columns), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        square += np.square(np.where(known[part], columns[part] - mean, 0)).sum(axis=0)
    spread = np.sqrt(square / number)
    # A column of one number, whose mean is rounded, has a spread of rounding.
    varies = spread > 1e-12 * np.maximum(np.abs(mean), np.finfo(np.float64).tiny)
    return _as_stored(mean, spread, varies, several)


def _as_stored(mean: np.ndarray, spread: np.ndarray, varies: np.ndarray, several: bool) -> Any:
    scale = np.where(varies, _SPREADS * spread, 1.0)
    return (mean, scale) if several else (float(mean[0]), float(scale[0]))
