"""Downsampled ImageNet, 32 by 32: ten files of training images and one of validation images, as npz or as pickles."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from equiprop.data._npy import Npz
from equiprop.data._pickles import read_pickle_file
from equiprop.data._rows import IMAGE_SHAPE, channels_last, check_rows, labels_of, rows_of, value_of
from equiprop.data._shards import Shards, checksum_of_files
from equiprop.data._source import Source
from equiprop.data._split import Split

CLASSES = 1000
_FIRST_LABEL = 1
_MEND = "get the official file again"


def _layouts() -> tuple[tuple[str, ...], ...]:
    """The ways the files can lie in the dataset's folder: each archive in a folder of its own, or not, npz or pickles."""
    return tuple(
        (*(f"{train}train_data_batch_{i}{suffix}" for i in range(1, 11)), f"{validation}val_data{suffix}")
        for suffix, kind in ((".npz", "_npz"), ("", ""))
        for train in (f"Imagenet32_train{kind}/", "")
        for validation in ("", f"Imagenet32_val{kind}/")
    )


LAYOUTS = _layouts()


def read_imagenet(paths: tuple[Path, ...], *, train: bool = True) -> Source:
    """The training images as one shard a file, and the official validation images as the test split.

    Every file is looked through once, and no pixel of the training images stays in memory: of an npz only the labels
    and the header of the images are read, of pickles one file at a time. `Shards.load` reads into one array, of an npz
    and of a pickle alike; only where a part of a pickle is kept (`Shards.keep_of_last`) are there two for a context.

    The shards' checksum is taken over each file's name, its size in bytes and its labels, not over the pixels.

    **Arguments:**

    - `paths`: the files, the one of the validation images last; `.npz` is NumPy's archive, any other a pickle. Each has
        `data`, uint8 `[n, 3072]` as in CIFAR, and `labels` from 1 to 1000, for any n.
    - `train`: whether the training images are wanted, too.

    **Returns:** both with images uint8 `[n, 32, 32, 3]` and labels int32 `[n]` from 0 to 999.

    **Raises:** `InputError`, naming the file, where it is damaged, its images have another size or a label lies
    outside.

    Chrabaszcz, Loshchilov and Hutter (2017), A downsampled variant of ImageNet as an alternative to the CIFAR datasets,
    arXiv:1707.08819.
    """
    *files, test = paths
    if not train:
        return Source(None, None, _read(test), ())
    labels = [_labels(path) for path in files]
    shards = Shards(
        counts=tuple(len(each) for each in labels),
        input_shape=IMAGE_SHAPE,
        checksum=checksum_of_files(files, labels),
        read=partial(_read_one, tuple(files)),
    )
    return Source(shards, None, _read(test), ())


def _read_one(paths: tuple[Path, ...], index: int) -> Split:
    return _read(paths[index])


def _read(path: Path) -> Split:
    if path.suffix == ".npz":
        with Npz(path, _MEND) as archive:
            values = {key: archive.read(_name(archive, key)) for key in ("data", "labels")}
    else:
        values = read_pickle_file(path)
    rows = rows_of(values, str(path))
    return Split(channels_last(rows), _zero_based(values, len(rows), path))


def _labels(path: Path) -> np.ndarray:
    """The labels of a file whose images are in order, without keeping these."""
    if path.suffix != ".npz":
        return _read(path).y
    with Npz(path, _MEND) as archive:
        shape, dtype = archive.header(_name(archive, "data"))
        check_rows(shape, dtype, str(path))
        return _zero_based({"labels": archive.read(_name(archive, "labels"))}, shape[0], path)


def _name(archive: Npz, key: str) -> str:
    return value_of({name: name for name in archive.names}, key, str(archive.path))


def _zero_based(values: dict[str, Any], images: int, path: Path) -> np.ndarray:
    return labels_of(value_of(values, "labels", str(path)), images, _FIRST_LABEL, CLASSES, str(path))
