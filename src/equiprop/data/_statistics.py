"""The scale of a network's input, from the images it is trained on."""

import numpy as np

_IMAGES_AT_A_TIME = 1024
_VALUES = np.arange(256)


def pixel_statistics(images: np.ndarray) -> tuple[float | np.ndarray, float | np.ndarray]:
    """Mean and 1.5 standard deviations of the pixels, in units of the stored pixels.

    A channel that never varies gets scale 1, so that dividing by it changes nothing.

    **Arguments:**

    - `images`: uint8 `[n, height, width]` or `[n, height, width, channels]`, n at least 1.

    **Returns:** `(mean, scale)`, two numbers, or two arrays float64 `[channels]` where there are channels.
    """
    coloured = images if images.ndim == 4 else images[..., None]
    # Counting values is exact, and needs no array of floats eight times as large as the images.
    counts = np.zeros((coloured.shape[-1], len(_VALUES)), np.int64)
    for start in range(0, len(coloured), _IMAGES_AT_A_TIME):
        part = coloured[start : start + _IMAGES_AT_A_TIME]
        for channel, count in enumerate(counts):
            count += np.bincount(part[..., channel].ravel(), minlength=len(_VALUES))
    fractions = counts / counts.sum(axis=1, keepdims=True)
    mean = fractions @ _VALUES
    spread = np.sqrt(np.sum(fractions * (_VALUES - mean[:, None]) ** 2, axis=1))
    varies = np.count_nonzero(counts, axis=1) > 1
    scale = np.where(varies, 1.5 * spread, 1.0)
    return (mean, scale) if images.ndim == 4 else (float(mean[0]), float(scale[0]))
