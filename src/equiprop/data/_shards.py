"""Training samples that are too many for memory: file by file."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from equiprop.data._split import Split
from equiprop.errors import InputError

_IMAGES_AT_A_TIME = 256


@dataclass(frozen=True, eq=False)
class Shards:
    """The samples of a training split, shard by shard; each shard is one file, read when it is asked for.

    Nothing is kept between two calls of `load`: a caller who lets go of one shard before the third is loaded has at
    most two files in memory, whatever the size of the whole.

    **Arguments:**

    - `counts`: how many samples each shard has.
    - `input_shape`: of one input.
    - `checksum`: sha256 (hex) that tells these files from others; what it is taken over is said where they are read.
    - `read`: makes the shard of an index, of which `load` takes care.
    """

    counts: tuple[int, ...]
    input_shape: tuple[int, ...]
    checksum: str
    read: Callable[[int], Split]
    target_shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        """How many samples all shards have together."""
        return sum(self.counts)

    def load(self, index: int) -> Split:
        """The inputs `[counts[index], *input_shape]` and targets of one shard, read from its file.

        Arrays are read-only and nobody else's; the inputs may lie in memory in the file's order of axes (a transposed
        view): take batches by index, and copy no more than is needed at once.

        **Raises:** `InputError` where there is no such shard, its file cannot be read, or it is no longer the file
        that it was.
        """
        if not 0 <= index < len(self.counts):
            raise InputError(f"does not exist; there are {len(self.counts)}, from 0", path="shard", value=index)
        split = self._checked(index)
        split.x.setflags(write=False)
        split.y.setflags(write=False)
        return split

    def _checked(self, index: int) -> Split:
        split = self.read(index)
        if len(split) != self.counts[index] or split.input_shape != self.input_shape:
            raise InputError(
                f"shard {index} now has {len(split)} inputs {list(split.input_shape)}, and had {self.counts[index]} "
                f"{list(self.input_shape)}: its file was changed, load the dataset again"
            )
        return split

    def keep_of_last(self, kept: np.ndarray) -> "Shards":
        """The same shards, the last with only those of its samples whose indices, ascending, are given."""
        last = len(self.counts) - 1
        return replace(self, counts=(*self.counts[:-1], len(kept)), read=partial(_read_but_keep, self, last, kept))


def _read_but_keep(whole: Shards, last: int, kept: np.ndarray, index: int) -> Split:
    split = whole._checked(index)
    return Split(_keep(split.x, kept), split.y[kept]) if index == last else split


def _keep(images: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """`images[kept]`, for ascending indices; where the images can be written, without a second array of their size."""
    if not images.flags.writeable:
        return images[kept]
    for start in range(0, len(kept), _IMAGES_AT_A_TIME):
        part = kept[start : start + _IMAGES_AT_A_TIME]
        images[start : start + len(part)] = images[part]  # an index is never below its place: nothing needed is lost
    return images[: len(kept)]


def checksum_of_files(paths: Sequence[Path], labels: Sequence[np.ndarray]) -> str:
    """The sha256 (hex) over the name, the size in bytes and the labels of each file, not over the pixels."""
    digest = hashlib.sha256()
    for path, each in zip(paths, labels, strict=True):
        digest.update(f"{path.name} {path.stat().st_size} {len(each)}\n".encode())
        digest.update(np.ascontiguousarray(each, dtype="<i4").data)
    return digest.hexdigest()
