"""The layout of the MNIST family: training images, training labels, test images, test labels, one idx file each."""

from pathlib import Path

import numpy as np

from equiprop.data._dataset import Split
from equiprop.data._idx import read_idx


def read_mnist(paths: tuple[Path, ...]) -> tuple[Split, Split]:
    """The training and the test images of four idx files, given in the order above.

    **Returns:** both as stored, images uint8 `[n, rows, columns]` (28 by 28 in MNIST and Fashion-MNIST, from 0, the
    background, to 255) and labels int32 `[n]`.

    **Raises:** `InputError` where a file is not the idx file it should be.
    """
    train_images, train_labels, test_images, test_labels = (read_idx(path) for path in paths)
    return (
        Split(train_images, train_labels.astype(np.int32)),
        Split(test_images, test_labels.astype(np.int32)),
    )
