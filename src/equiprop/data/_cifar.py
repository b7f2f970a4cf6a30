"""The python version of CIFAR-10 and CIFAR-100: the archive as it is downloaded, or the folder that is in it."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from equiprop.data._pickles import as_text, read_pickle, read_pickle_file
from equiprop.data._rows import channels_last, labels_of, rows_of, value_of
from equiprop.data._source import Source
from equiprop.data._split import Split
from equiprop.data._tars import files_in
from equiprop.errors import InputError


@dataclass(frozen=True)
class Cifar:
    """How one of the two is laid out: names of files, and of what is in them.

    **Arguments:**

    - `folder`: the folder in the archive.
    - `train`, `test`, `meta`: its files.
    - `labels`: the key of a batch's labels.
    - `names`: the key of the classes' names.
    """

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str

    @property
    def batches(self) -> tuple[str, ...]:
        """The files with images, the test images last."""
        return (*self.train, self.test)

    def is_in(self, folder: Path) -> bool:
        """Whether any of the files lies in a folder."""
        return any((folder / name).is_file() for name in (*self.batches, self.meta))


CIFAR10 = Cifar(
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
    labels="labels",
    names="label_names",
)
CIFAR100 = Cifar(
    folder="cifar-100-python",
    train=("train",),
    test="test",
    meta="meta",
    labels="fine_labels",
    names="fine_label_names",
)

_Batch = tuple[np.ndarray, np.ndarray]


def read_cifar(layout: Cifar, classes: int, paths: tuple[Path, ...], *, train: bool = True) -> Source:
    """The training and the test images, from the archive alone or from the batch files with the test images last.

    The archive is read as it is; nothing is unpacked.

    **Arguments:**

    - `train`: whether the training images are wanted, too.

    **Returns:** both in the order of the files, images uint8 `[n, 32, 32, 3]` and labels int32 `[n]` (of CIFAR-100 the
    fine ones).

    **Raises:** `InputError`, naming the file, where it is damaged or its images or labels are not what they should be.

    Krizhevsky (2009), Learning multiple layers of features from tiny images.
    """
    wanted = layout.batches if train else (layout.test,)
    if len(paths) == 1:
        batches = _of_archive(layout, classes, paths[0], wanted)
    else:
        by_name = dict(zip(layout.batches, paths, strict=True))
        batches = [
            _batch(layout, classes, read_pickle_file(path), str(path)) for path in (by_name[name] for name in wanted)
        ]
    return Source(_joined(batches[:-1]) if train else None, None, _joined(batches[-1:]), ())


def read_cifar_folder(layout: Cifar, folder: Path, *, train: bool = True) -> Source:
    """The training images, the test images and the classes of an extracted folder, of any number of images.

    **Raises:** `InputError`, naming the file, where one is missing, damaged, or holds something else.
    """
    classes = _names(layout, folder / layout.meta)
    found = read_cifar(layout, len(classes), tuple(folder / name for name in layout.batches), train=train)
    return replace(found, classes=classes)


def _of_archive(layout: Cifar, classes: int, path: Path, wanted: tuple[str, ...]) -> list[_Batch]:
    places = {f"{layout.folder}/{name}": name for name in wanted}
    found: dict[str, _Batch] = {}
    for member, content in files_in(path, places.__contains__):
        where = f"{path}: {member}"
        found[places[member]] = _batch(layout, classes, read_pickle(io.BytesIO(content), where), where)
        if len(wanted) == 1:
            break
    for name in wanted:
        if name not in found:
            raise InputError(f"{path} has no {layout.folder}/{name}: get the official file again")
    return [found[name] for name in wanted]


def _batch(layout: Cifar, classes: int, values: Mapping[str, Any], where: str) -> _Batch:
    rows = rows_of(values, where)
    return rows, labels_of(value_of(values, layout.labels, where), len(rows), 0, classes, where)


def _names(layout: Cifar, path: Path) -> tuple[str, ...]:
    names = value_of(read_pickle_file(path), layout.names, str(path))
    if not isinstance(names, list) or not names or not all(isinstance(name, str | bytes) for name in names):
        raise InputError(f"{path}: its {layout.names!r} are no list of names: get the official file again")
    return tuple(as_text(name) for name in names)


def _joined(batches: list[_Batch]) -> Split:
    rows = np.concatenate([rows for rows, _ in batches])
    return Split(np.ascontiguousarray(channels_last(rows)), np.concatenate([labels for _, labels in batches]))
