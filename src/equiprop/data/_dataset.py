"""What a dataset is: three splits of images and labels, of which training may be in shards, and the scale of an input."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from equiprop.errors import InputError, suggest

_IMAGES_AT_A_TIME = 256


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

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of one image."""
        return self.images.shape[1:]


@dataclass(frozen=True, eq=False)
class Shards:
    """The images of a training split, shard by shard; each shard is one file, read when it is asked for.

    Nothing is kept between two calls of `load`: a caller who lets go of one shard before the third is loaded has at
    most two files in memory, whatever the size of the whole.

    **Arguments:**

    - `counts`: how many images each shard has.
    - `image_shape`: of one image.
    - `checksum`: sha256 (hex) that tells these files from others; what it is taken over is said where they are read.
    - `read`: makes the shard of an index, of which `load` takes care.
    """

    counts: tuple[int, ...]
    image_shape: tuple[int, ...]
    checksum: str
    read: Callable[[int], Split]

    def __len__(self) -> int:
        """How many images all shards have together."""
        return sum(self.counts)

    def load(self, index: int) -> Split:
        """The images `[counts[index], *image_shape]` and labels of one shard, read from its file.

        Arrays are read-only and nobody else's; the images may lie in memory in the file's order of axes (a transposed
        view): take batches by index, and copy no more than is needed at once.

        **Raises:** `InputError` where there is no such shard, its file cannot be read, or it is no longer the file
        that it was.
        """
        if not 0 <= index < len(self.counts):
            raise InputError(f"does not exist; there are {len(self.counts)}, from 0", path="shard", value=index)
        split = self._checked(index)
        split.images.setflags(write=False)
        split.labels.setflags(write=False)
        return split

    def _checked(self, index: int) -> Split:
        split = self.read(index)
        if len(split) != self.counts[index] or split.image_shape != self.image_shape:
            raise InputError(
                f"shard {index} now has {len(split)} images {list(split.image_shape)}, and had {self.counts[index]} "
                f"{list(self.image_shape)}: its file was changed, load the dataset again"
            )
        return split

    def keep_of_last(self, kept: np.ndarray) -> "Shards":
        """The same shards, the last with only those of its images whose indices, ascending, are given."""
        last = len(self.counts) - 1
        return replace(self, counts=(*self.counts[:-1], len(kept)), read=partial(_read_but_keep, self, last, kept))


def _read_but_keep(whole: Shards, last: int, kept: np.ndarray, index: int) -> Split:
    split = whole._checked(index)
    return Split(_keep(split.images, kept), split.labels[kept]) if index == last else split


def _keep(images: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """`images[kept]`, for ascending indices; where the images can be written, without a second array of their size."""
    if not images.flags.writeable:
        return images[kept]
    for start in range(0, len(kept), _IMAGES_AT_A_TIME):
        part = kept[start : start + _IMAGES_AT_A_TIME]
        images[start : start + len(part)] = images[part]  # an index is never below its place: nothing needed is lost
    return images[: len(kept)]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification dataset; a network's input is `(images - mean) / scale`.

    **Arguments:**

    - `name`: the name in the catalogue, the folder it was read from, or what a user's own source calls it.
    - `train`, `validation`, `test`: the splits; `train` is a `Split`, or `Shards` where it is too large for memory. The
        validation images are held out of the source's training images unless it has its own, so that nothing is ever
        selected on the test split.
    - `classes`: the name of each class, in the order of the labels.
    - `mean`, `scale`: in units of the stored pixels; a number, or an array that broadcasts against an image (one value
        per channel where channels come last).
    - `checksum`: sha256 (hex) over the pixels and labels of the three splits, see `checksum_of`; `load` fills it in.

    **Raises:** `InputError` where the splits' images differ in shape or a label is not the index of a class (those of
    shards are checked by whoever reads the files).
    """

    name: str
    train: Split | Shards
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: float | np.ndarray
    scale: float | np.ndarray
    checksum: str = ""

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            shape = self.split(name).image_shape
            if shape != self.image_shape:
                raise InputError(
                    f"the images of {name} are {list(shape)}, those of train {list(self.image_shape)}",
                    path="dataset",
                    value=self.name,
                    hint="they must be the same",
                )
        for name in ("train", "validation", "test"):
            split = self.split(name)
            labels = split.labels if isinstance(split, Split) else np.empty(0, np.int32)
            if labels.size and not (labels.min() >= 0 and labels.max() < self.n_classes):
                raise InputError(
                    f"the labels of {name} go from {labels.min()} to {labels.max()}",
                    path="dataset",
                    value=self.name,
                    hint=f"with {self.n_classes} classes they must lie in 0 to {self.n_classes - 1}",
                )

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of one image, without the batch axis."""
        return self.train.image_shape

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    def split(self, name: str) -> Split | Shards:
        """The split called `train`, `validation` or `test`. **Raises:** `InputError` for any other name."""
        splits: dict[str, Split | Shards] = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise suggest("split", name, list(splits))
        return splits[name]


def checksum_of(train: Split | Shards, validation: Split, test: Split) -> str:
    """The sha256 (hex, 64 digits) of every pixel and label, split by split in this order, whatever the machine.

    Each split counts with its shape, its pixels and its labels (as little-endian int32), so that a different image, a
    different label and a different choice of the validation images each change it. Shards, whose pixels are many
    gigabytes, count with how many images each has and with their own checksum instead.
    """
    digest = hashlib.sha256()
    for split in (train, validation, test):
        if isinstance(split, Shards):
            digest.update(repr((split.counts, split.image_shape, split.checksum)).encode())
            continue
        digest.update(repr(tuple(split.images.shape)).encode())
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels, dtype="<i4").data)
    return digest.hexdigest()
