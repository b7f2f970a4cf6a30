"""The layout of the MNIST family: training images, training labels, test images, test labels, one idx file each."""

from pathlib import Path

from equiprop.data._idx import read_idx
from equiprop.data._labels import as_labels, numbered
from equiprop.data._source import Source
from equiprop.data._split import Split
from equiprop.errors import InputError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
"""Their usual names, as they are or with `.gz`."""


def read_mnist(paths: tuple[Path, ...], *, train: bool = True) -> Source:
    """The training and the test images of four idx files, given in the order above.

    **Arguments:**

    - `train`: whether the training images are wanted, too.

    **Returns:** both as stored, images uint8 `[n, rows, columns]` (28 by 28 in MNIST and Fashion-MNIST, from 0, the
    background, to 255) and labels int32 `[n]`; the classes are numbers.

    **Raises:** `InputError` where a file is not the idx file it should be.
    """
    test = _split(*paths[2:])
    source = _split(*paths[:2]) if train else None
    return Source(
        source, None, test, numbered([split.y for split in (source, test) if split is not None], str(paths[3]))
    )


def _split(images: Path, labels: Path) -> Split:
    found = as_labels(read_idx(labels), 0, where=str(labels))
    return Split(read_idx(images), found)


def in_folder(folder: Path) -> tuple[Path, ...] | None:
    """The four files where they lie in a folder, or in torchvision's folder `raw` in it; `None` where they do not."""
    for place in (folder, folder / "raw"):
        found = [next((p for p in (place / name, place / f"{name}.gz") if p.is_file()), None) for name in FILES]
        if any(found):
            missing = [name for name, path in zip(FILES, found, strict=True) if path is None]
            if missing:
                raise InputError(f"{place} has no {missing[0]}, with or without .gz: put it there")
            return tuple(path for path in found if path is not None)
    return None
