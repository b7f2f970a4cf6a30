"""From a name to a dataset, verified and split."""

import os
from pathlib import Path

import numpy as np

from equiprop.data._catalogue import CATALOGUE, entry, names
from equiprop.data._cifar import CIFAR10, CIFAR100, read_cifar_folder
from equiprop.data._dataset import Dataset, Shards, Split, checksum_of
from equiprop.data._image_folder import read_image_folder
from equiprop.data._split import held_out
from equiprop.data._statistics import pixel_statistics
from equiprop.data._store import find
from equiprop.errors import EquipropError, InputError, suggest
from equiprop.kinds import is_reference, load_reference

_VALIDATION_SEED = 5000
_ONE_IN = 10
"""One image of this many is held out, where the catalogue does not say how many."""


def load(name: str) -> Dataset:
    """The dataset of that name in the catalogue, the one in that folder, or the one that a function makes.

    Every file of the catalogue that has a published checksum is verified before any is read. The validation split is
    held out of the source's training images by a fixed choice, stratified by class, that no seed of a run changes:
    everyone's runs share it. Of a dataset in shards it is held out of the last one, and is at most a tenth of that.

    A folder (`"./digits"` is the one, `"digits"` the dataset) holds either of two:

    - the extracted python version of CIFAR-10 or CIFAR-100, of any number of images: `data_batch_1` to `data_batch_5`,
        `test_batch` and `batches.meta`, or `train`, `test` and `meta`;
    - images, `train/CLASS/*.png` and `test/CLASS/*.png` (or jpg, jpeg, webp, bmp), all of one size, in colour or grey.

    A tenth of the training images is held out, by the same rule, unless there is `validation/CLASS/*.png`. There is no
    checksum to verify, and `mean` and `scale` are those of the training images (`pixel_statistics`).

    A function is `path/to/file.py:function` or `module:function`. It takes no arguments and returns a `Dataset`, whose
    `checksum` it may leave out. A folder whose name has this form is given with `./` before it.

    **Returns:** the dataset; its arrays are read-only, and each split is in the order of the source (of a folder of images,
    mixed: see `read_image_folder`).

    **Raises:** `InputError` where the name is neither in the catalogue nor a folder nor a function that returns a
    `Dataset`, a file is corrupt, or a file is missing and cannot be downloaded.
    """
    if name in CATALOGUE:
        return _of_catalogue(name)
    return _of_function(name) if is_reference(name) else _of_folder(name, _folder(name))


def _of_catalogue(name: str) -> Dataset:
    chosen = entry(name)
    source, test = chosen.read(find(name))
    size = chosen.validation_images
    train, validation = _hold_out_of_last(source, size) if isinstance(source, Shards) else _hold_out(source, size)
    return _made(name, train, validation, test, chosen.classes, _per_channel(chosen.mean), _per_channel(chosen.scale))


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
    return _made(made.name, made.train, made.validation, made.test, made.classes, made.mean, made.scale)


def _of_folder(name: str, folder: Path) -> Dataset:
    cifar = next((layout for layout in (CIFAR10, CIFAR100) if layout.is_in(folder)), None)
    if cifar is None or (folder / "train").is_dir():
        source, validation, test, classes = read_image_folder(folder)
    else:
        source, test, classes = read_cifar_folder(cifar, folder)
        validation = None
    if validation is None:
        if len(source) < _ONE_IN:
            raise InputError(
                f"has {len(source)} training images",
                path="dataset",
                value=name,
                hint=f"there must be at least {_ONE_IN}, of which a tenth is held out for validation",
            )
        source, validation = _hold_out(source, len(source) // _ONE_IN)
    return _made(name, source, validation, test, classes, *pixel_statistics(source.images))


def _folder(name: str) -> Path:
    """The folder that is meant. **Raises:** `InputError` where there is none of that name."""
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if name.endswith(".py"):
        raise InputError("does not say which function", path="dataset", value=name, hint=f"give {name}:FUNCTION")
    if any(separator in name for separator in {"/", os.sep}):
        what = "is not a folder" if path.exists() else "does not exist"
        hint = f"give a folder, file.py:function, or one of {', '.join(names())}"
        raise InputError(what, path="dataset", value=name, hint=hint)
    raise suggest("dataset", name, list(names()))


def _hold_out(source: Split, size: int) -> tuple[Split, Split]:
    """**Returns:** what is kept, and the `size` images held out for validation."""
    kept, held = held_out(source.labels, size, _VALIDATION_SEED)
    return Split(source.images[kept], source.labels[kept]), Split(source.images[held], source.labels[held])


def _hold_out_of_last(source: Shards, size: int) -> tuple[Shards, Split]:
    """As `_hold_out`, from the last shard alone, and of that at most a tenth."""
    last = source.load(len(source.counts) - 1)
    if len(last) < _ONE_IN:
        raise InputError(
            f"the last training file has {len(last)} images: there must be at least {_ONE_IN}, "
            "of which a tenth is held out for validation"
        )
    kept, held = held_out(last.labels, min(size, len(last) // _ONE_IN), _VALIDATION_SEED)
    validation = Split(np.ascontiguousarray(last.images[held]), last.labels[held])
    return source.keep_of_last(kept), validation


def _per_channel(values: float | tuple[float, ...]) -> float | np.ndarray:
    return np.array(values) if isinstance(values, tuple) else values


def _made(
    name: str,
    train: Split | Shards,
    validation: Split,
    test: Split,
    classes: tuple[str, ...],
    mean: float | np.ndarray,
    scale: float | np.ndarray,
) -> Dataset:
    splits = [split for split in (train, validation, test) if isinstance(split, Split)]
    arrays = [array for split in splits for array in (split.images, split.labels)]
    for array in (*arrays, mean, scale):
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        classes=classes,
        mean=mean,
        scale=scale,
        checksum=checksum_of(train, validation, test),
    )
