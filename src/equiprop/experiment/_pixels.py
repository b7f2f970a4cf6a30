"""Inputs as pictures, where they are some."""

from typing import Any

import numpy as np

_LARGEST = 64


def pixels_of(stored: Any, sample: int) -> dict[str, Any]:
    """One input as `pixels`, rows of whole numbers from 0, its least value, to 255; nothing where it is no image.

    Of an image of more than 64 rows or columns every second, third … is kept.

    **Arguments:**

    - `stored`: the inputs of a split; images are `[n, height, width]` or `[n, height, width, 1 or 3]`.
    """
    shape = getattr(stored, "shape", ())
    if len(shape) not in (3, 4) or min(shape[1:3]) < 2 or (len(shape) == 4 and shape[3] not in (1, 3)):
        return {}
    image = np.asarray(stored[sample], np.float32)
    step = -(-max(image.shape[:2]) // _LARGEST)
    image = image[::step, ::step]
    low, high = float(image.min()), float(image.max())
    scaled = 255 * (image - low) / (high - low) if high > low else np.zeros_like(image)
    if image.ndim == 3 and image.shape[2] == 1:
        scaled = scaled[..., 0]
    return {"pixels": np.round(scaled).astype(int).tolist()}
