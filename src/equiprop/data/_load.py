"""From a name to a dataset, verified and split."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from equiprop.data._arrays import VALIDATION_SEED, canonical
from equiprop.data._catalogue import CATALOGUE, entry, names
from equiprop.data._cifar import CIFAR10, CIFAR100, read_cifar_folder
from equiprop.data._dataset import SPLITS, Dataset
from equiprop.data._image_folder import read_image_folder
from equiprop.data._mnist import in_folder, read_mnist
from equiprop.data._npz import read_npz
from equiprop.data._shards import Shards
from equiprop.data._source import Source
from equiprop.data._split import Split, held_out, strata
from equiprop.data._statistics import statistics
from equiprop.data._store import find
from equiprop.data._tables import SUFFIXES, holds_images, read_image_tables, read_table, read_table_folder, table_files
from equiprop.errors import EquipropError, InputError, suggest
from equiprop.files import expanded
from equiprop.kinds import is_reference, load_reference

_ONE_IN = 10
"""One sample of this many is held out, where nothing says how many."""


def load(name: str) -> Dataset:
    """The dataset of that name in the catalogue, the one in that folder or file, or the one that a function makes.

    Every file of the catalogue that has a published checksum is verified before any is read; what counts is what is in it,
    not how it is compressed. The validation split is held out of the source's training samples by a fixed choice, stratified
    by class, that no seed of a run changes: everyone's runs share it. Of a dataset in shards it is held out of the last one,
    and is at most a tenth of that.

    A folder (`"./digits"` is the one, `"digits"` the dataset) holds one of these:

    - the extracted python version of CIFAR-10 or CIFAR-100, of any number of images: `data_batch_1` to `data_batch_5`,
        `test_batch` and `batches.meta`, or `train`, `test` and `meta`;
    - four idx files, named as those of MNIST, as they are or with `.gz`, there or in a folder `raw`;
    - tables or images in Parquet files as Hugging Face lays them out, `data/train-00000-of-00001.parquet` and the like; or
        `train.csv` and `test.csv`;
    - images, `train/CLASS/*.png` and `test/CLASS/*.png` (or jpg, jpeg, webp, bmp), all of one size, in colour or grey;
        links are followed, wherever they lead.

    A file is one of these:

    - `.npz` with x and y, or x_train, y_train, x_test and y_test;
    - `.csv` or `.parquet` with numbers in columns and the target in one called label, target or y. `file.csv#COLUMN` names
        another one, with commas between several.

    Whole numbers and words in the target are classes, real numbers are targets of a regression, also where all of them are
    whole. A tenth of the training samples
    is held out for validation, and before that another one for the test where there is no test split. There is no checksum to
    verify, and `mean` and `scale` are those of the training samples: see `Dataset.from_arrays`.

    A function is `path/to/file.py:function` or `module:function`. It takes no arguments and returns a `Dataset`, whose
    `checksum` it may leave out. A folder whose name has this form is given with `./` before it.

    **Returns:** the dataset; its arrays are read-only, and each split is in the order of the source (images of a folder are
    mixed: see `read_image_folder`).

    **Raises:** `InputError` where the name is none of these, a file is corrupt or holds more than there is room for in
    memory, or one is missing and cannot be downloaded.
    """
    if name in CATALOGUE:
        return _of_catalogue(name)
    path, target = _path(name)
    if path is None:
        return _of_function(name)
    if path.is_file():
        return _of_arrays(name, *_read_file(path, target))
    if _is_of_tables(path):
        return _of_arrays(name, *read_table_folder(path, target))
    return _of_source(name, _read_folder(path, target))


def load_split(name: str, split: str) -> Split:
    """One split of a dataset. The test split without the training samples, where the source keeps it apart.

    **Raises:** as `load`, and for training samples in shards.
    """
    if split not in SPLITS:
        raise suggest("split", split, SPLITS)
    found = _test_of(name) if split == "test" else None
    if found is None:
        found = load(name).split(split)
    if isinstance(found, Shards):
        raise InputError(
            f"{name} is read from disk file by file", path="split", value=split, hint="choose validation or test"
        )
    return found


def _test_of(name: str) -> Split | None:
    """The test split by itself; `None` where there is no way but to load everything."""
    if name in CATALOGUE:
        return entry(name).read(find(name), train=False).test
    path, target = _path(name)
    if path is None or path.suffix in SUFFIXES or _is_of_tables(path):
        return None
    if path.is_dir():
        return _read_folder(path, target, train=False).test
    given = read_npz(path, train=False)
    if "train" in given:
        return None
    # Words are numbered by those of all splits: only numbers can stand alone.
    x, y = given["test"]
    if isinstance(y, np.ndarray) and y.dtype.kind in "USO":
        return None
    return canonical({"test": (x, y)}, None, allow_nan=False)[0]["test"]


def _of_catalogue(name: str) -> Dataset:
    chosen = entry(name)
    source = chosen.read(find(name))
    assert source.train is not None and source.test is not None
    train, validation = _with_validation(source.train, chosen.validation_images)
    scale = _per_channel(chosen.mean), _per_channel(chosen.scale)
    return Dataset.sealed(name, train, validation, source.test, chosen.classes, *scale)


def _of_function(name: str) -> Dataset:
    try:
        function = load_reference(name)
    except InputError as error:
        raise error.within("dataset") from error
    try:
        made = function()
    except EquipropError:
        raise
    except Exception as error:
        # Whatever a user's function does, the user has to hear of it in one line.
        raise InputError(f"raised {type(error).__name__}: {error}", path="dataset", value=name) from error
    if not isinstance(made, Dataset):
        hint = "return an equiprop.data.Dataset"
        raise InputError(f"gives a {type(made).__name__}, which is no Dataset", path="dataset", value=name, hint=hint)
    return Dataset.sealed(made.name, made.train, made.validation, made.test, made.classes, made.mean, made.scale)


def _of_arrays(name: str, given: dict[str, tuple[Any, Any]], classes: tuple[str, ...] | None) -> Dataset:
    held: dict[str, Any] = {key: given.get(key, 1 / _ONE_IN) for key in ("validation", "test")}
    try:
        return Dataset.from_arrays(*given["train"], **held, classes=classes, name=name)
    except InputError as error:
        raise error.within("dataset", name) from None


def _read_file(path: Path, target: str) -> tuple[dict[str, tuple[Any, Any]], tuple[str, ...] | None]:
    return (read_npz(path), None) if path.suffix == ".npz" else read_table(path, target)


def _is_of_tables(path: Path) -> bool:
    return path.is_dir() and not (path / "train").is_dir() and bool(table_files(path)) and not holds_images(path)


def _read_folder(folder: Path, target: str, *, train: bool = True) -> Source:
    cifar = next((layout for layout in (CIFAR10, CIFAR100) if layout.is_in(folder)), None)
    if cifar is not None and not (folder / "train").is_dir():
        return read_cifar_folder(cifar, folder, train=train)
    idx = in_folder(folder)
    if idx is not None:
        return read_mnist(idx, train=train)
    if table_files(folder):
        return read_image_tables(folder, target, train=train)
    return read_image_folder(folder, train=train)


def _of_source(name: str, source: Source) -> Dataset:
    train, validation, test = source.train, source.validation, source.test
    if test is None:
        raise InputError(
            "has no test split", path="dataset", value=name, hint="put samples that are not trained on there"
        )
    assert train is not None
    if validation is None:
        if len(train) < _ONE_IN:
            raise InputError(
                f"has {len(train)} training samples",
                path="dataset",
                value=name,
                hint=f"there must be at least {_ONE_IN}, of which a tenth is held out for validation",
            )
        train, validation = _with_validation(train, len(train) // _ONE_IN)
    first = train if isinstance(train, Split) else train.load(0)
    return Dataset.sealed(name, train, validation, test, source.classes, *statistics(first.x))


def _path(name: str) -> tuple[Path | None, str]:
    """The folder or the file that is meant, and the columns named behind it; `None` for a function.

    **Raises:** `InputError` where there is none of that name.
    """
    if is_reference(name):
        return None, ""
    place, _, target = name.partition("#")
    try:
        path = expanded(place)
        if not path.exists():
            path, target = expanded(name), ""
        if name and (path.is_dir() or (path.is_file() and path.suffix in (".npz", *SUFFIXES))):
            return path, target
    except OSError as error:  # a name that is too long
        raise InputError(f"is no path ({error.strerror})", path="dataset", value=name) from error
    if name.endswith(".py"):
        raise InputError("does not say which function", path="dataset", value=name, hint=f"give {name}:FUNCTION")
    if any(separator in name for separator in {"/", os.sep}) or path.suffix in (".npz", *SUFFIXES):
        what = "is no folder, and no .npz, .csv or .parquet file" if path.exists() else "does not exist"
        hint = f"give a folder, a file, file.py:function, or one of {', '.join(names())}"
        raise InputError(what, path="dataset", value=name, hint=hint)
    raise suggest("dataset", name, list(names()))


def _with_validation(source: Split | Shards, size: int) -> tuple[Any, Split]:
    """**Returns:** what is kept, and the samples held out for validation.

    `size` of them; of shards from the last one alone, and at most a tenth of that.
    """
    if isinstance(source, Split):
        kept, held = held_out(strata(source.y), size, VALIDATION_SEED)
        return source[kept], source[held]
    last = source.load(len(source.counts) - 1)
    if len(last) < _ONE_IN:
        raise InputError(
            f"the last training file has {len(last)} images: there must be at least {_ONE_IN}, "
            "of which a tenth is held out for validation"
        )
    kept, held = held_out(last.y, min(size, len(last) // _ONE_IN), VALIDATION_SEED)
    validation = Split(np.ascontiguousarray(last.x[held]), last.y[held])
    return source.keep_of_last(kept), validation


def _per_channel(values: float | tuple[float, ...]) -> float | np.ndarray:
    return np.array(values) if isinstance(values, tuple) else values
