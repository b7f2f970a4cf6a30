"""What a dataset is once it is in memory: three splits of images and labels, and the scale of a network's input."""

import hashlib
from dataclasses import dataclass

import numpy as np

from equiprop.errors import InputError, suggest


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, as stored.

    **Arguments:**

    - `images`: uint8 `[n, *image_shape]`, the pixels as the source stores them.
    - `labels`: int32 `[n]`, the index of each image's class.

    **Raises:** `InputError` where the two do not have these types and shapes.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim < 2:
            raise InputError(
                f"a split's images are {self.images.dtype} {list(self.images.shape)}: "
                "they must be uint8 [n, *image_shape]"
            )
        if self.labels.dtype != np.int32 or self.labels.shape != self.images.shape[:1]:
            raise InputError(
                f"a split's labels are {self.labels.dtype} {list(self.labels.shape)}: "
                f"they must be int32 [{len(self.images)}], one for each image"
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification dataset; a network's input is `(images - mean) / scale`.

    **Arguments:**

    - `name`: the name in the catalogue.
    - `train`, `validation`, `test`: the splits. The validation images are held out of the source's training images, so
        that nothing is ever selected on the test split.
    - `classes`: the name of each class, in the order of the labels.
    - `mean`, `scale`: in units of the stored pixels; a number, or an array that broadcasts against an image (one value
        per channel where channels come last).
    - `checksum`: sha256 (hex) over the pixels and labels of the three splits, see `checksum_of`.

    **Raises:** `InputError` where the splits' images differ in shape or a label is not the index of a class.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: float | np.ndarray
    scale: float | np.ndarray
    checksum: str

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            shape = self.split(name).images.shape[1:]
            if shape != self.image_shape:
                raise InputError(
                    f"dataset {self.name!r}: the images of {name} are {list(shape)}, "
                    f"those of train {list(self.image_shape)}: they must be the same"
                )
        for name in ("train", "validation", "test"):
            labels = self.split(name).labels
            if labels.size and not (labels.min() >= 0 and labels.max() < self.n_classes):
                raise InputError(
                    f"dataset {self.name!r}: the labels of {name} go from {labels.min()} to {labels.max()}: "
                    f"with {self.n_classes} classes they must lie in 0 to {self.n_classes - 1}"
                )

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of one image, without the batch axis."""
        return self.train.images.shape[1:]

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    def split(self, name: str) -> Split:
        """The split called `train`, `validation` or `test`. **Raises:** `InputError` for any other name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise suggest("split", name, list(splits))
        return splits[name]


def checksum_of(train: Split, validation: Split, test: Split) -> str:
    """The sha256 (hex, 64 digits) of every pixel and label, split by split in this order, whatever the machine.

    Each split counts with its shape, its pixels and its labels (as little-endian int32), so that a different image, a
    different label and a different choice of the validation images each change it.
    """
    digest = hashlib.sha256()
    for split in (train, validation, test):
        digest.update(repr(tuple(split.images.shape)).encode())
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels, dtype="<i4").data)
    return digest.hexdigest()
