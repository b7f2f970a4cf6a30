"""A folder of images: a folder for each split, in it one for each class, in that the images."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from equiprop.data._images import SUFFIXES, Kind, kind_of_image, pixels
from equiprop.data._room import require_room
from equiprop.data._source import Source
from equiprop.data._split import Split, mixed
from equiprop.errors import InputError

_ORDER_SEED = 5001


def read_image_folder(folder: Path, *, train: bool = True) -> Source:
    """The training, validation and test images of `train/CLASS/*`, `validation/CLASS/*` and `test/CLASS/*`.

    The classes are the folders in `train`, sorted by name; names that begin with a dot are passed over. The images of a split,
    sorted by name, are then mixed in an order that depends on their number alone, so that its first ones are of all classes.

    Links are followed, wherever they lead: datasets are often folders of links.

    **Arguments:**

    - `train`: whether the images of training and validation are wanted, too.

    **Returns:** images uint8 `[n, height, width, 3]`, of grey ones `[n, height, width]`, and labels int32 `[n]`.

    **Raises:** `InputError`, naming the file or the folder, where one is missing or empty, a class is not in `train`,
    something is not an image, an image has another size or mode than the first, or all together are more than there is room for.
    """
    if not (folder / "train").is_dir():
        raise InputError(
            f"{folder} has no folder train: it must hold train/CLASS/*.png and test/CLASS/*.png, or the files of the "
            "python version of CIFAR"
        )
    if not (folder / "test").is_dir():
        raise InputError(f"{folder} has no folder test: put images that are not trained on in test/CLASS/*.png")
    classes = {path.name: label for label, path in enumerate(_folders(folder / "train"))}
    found = {
        name: _files(folder / name, classes)
        for name in ("train", "validation", "test")
        if (folder / name).is_dir() or name != "validation"
    }
    first = found["train"][0][0]
    kind = kind_of_image(first, str(first))
    wanted = found if train else {"test": found["test"]}
    require_room(sum(map(len, wanted.values())) * prod(kind.shape), folder)
    splits = {name: _split([files[i] for i in mixed(len(files), _ORDER_SEED)], kind) for name, files in wanted.items()}
    return Source(splits.get("train"), splits.get("validation"), splits["test"], tuple(classes))


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}): check who may read it") from error


def _folders(folder: Path) -> list[Path]:
    """The folders of the classes in the folder of a split."""
    found = _visible(folder)
    if not found:
        raise InputError(f"{folder} is empty: put the images of each class in a folder of its name there")
    for path in found:
        if not path.is_dir():
            raise InputError(f"{path} is not a folder: put the images of each class in a folder of its name")
    return found


def _files(folder: Path, classes: Mapping[str, int]) -> list[tuple[Path, int]]:
    """The images of a split and the label of each."""
    files = []
    for of_class in _folders(folder):
        if of_class.name not in classes:
            raise InputError(
                f"{of_class}: the class {of_class.name!r} is not one of train, which has {', '.join(classes)}"
            )
        paths = _visible(of_class)
        if not paths:
            raise InputError(f"{of_class} is empty: put images ({', '.join(SUFFIXES)}) there, or remove it")
        for path in paths:
            if path.suffix.lower() not in SUFFIXES or not path.is_file():
                raise InputError(f"{path} is not an image file ({', '.join(SUFFIXES)}): convert or remove it")
            files.append((path, classes[of_class.name]))
    return files


def _split(files: list[tuple[Path, int]], kind: Kind) -> Split:
    images = np.empty((len(files), *kind.shape), np.uint8)
    for place, (path, _) in zip(images, files, strict=True):
        place[...] = pixels(path, str(path), kind)
    return Split(images, np.array([label for _, label in files], np.int32))
