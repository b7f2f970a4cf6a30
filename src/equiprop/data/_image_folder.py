"""A folder of images: a folder for each split, in it one for each class, in that the images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from equiprop.data._dataset import Split
from equiprop.data._split import mixed
from equiprop.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_MODES = ("RGB", "L")
_ORDER_SEED = 5001


@dataclass(frozen=True)
class _Kind:
    """What all images must be like: the first one of the training images.

    **Arguments:**

    - `path`: of that image.
    - `size`: width and height, in pixels.
    - `mode`: Pillow's name for it, `"RGB"` or `"L"`.
    """

    path: Path
    size: tuple[int, int]
    mode: str

    @property
    def shape(self) -> tuple[int, ...]:
        width, height = self.size
        return (height, width, 3) if self.mode == "RGB" else (height, width)


def read_image_folder(folder: Path) -> tuple[Split, Split | None, Split, tuple[str, ...]]:
    """The training, validation and test images of `train/CLASS/*`, `validation/CLASS/*` and `test/CLASS/*`.

    The classes are the folders in `train`, sorted by name; names that begin with a dot are passed over. The images of a split,
    sorted by name, are then mixed in an order that depends on their number alone, so that its first ones are of all classes.

    **Returns:** the three splits, the second `None` where there is no folder `validation`, and the classes. Images are
    uint8 `[n, height, width, 3]`, of grey ones `[n, height, width]`, and labels int32 `[n]`.

    **Raises:** `InputError`, naming the file or the folder, where one is missing or empty, a class is not in `train`,
    something is not an image, an image has another size or mode than the first, or Pillow is not installed.
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
    kind = _kind(found["train"][0][0])
    splits = {name: _split([files[i] for i in mixed(len(files), _ORDER_SEED)], kind) for name, files in found.items()}
    return splits["train"], splits.get("validation"), splits["test"], tuple(classes)


def _visible(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.name)


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


def _kind(path: Path) -> _Kind:
    with _opened(path) as image:
        kind = _Kind(path, image.size, image.mode)
    if kind.mode not in _MODES:
        raise InputError(f"{path} has mode {kind.mode}: images must be RGB or grey (L), convert them")
    return kind


def _split(files: list[tuple[Path, int]], kind: _Kind) -> Split:
    images = np.empty((len(files), *kind.shape), np.uint8)
    for place, (path, _) in zip(images, files, strict=True):
        place[...] = _pixels(path, kind)
    return Split(images, np.array([label for _, label in files], np.int32))


def _pixels(path: Path, kind: _Kind) -> np.ndarray:
    with _opened(path) as image:
        # Both are known from the file's header, before any pixel is decoded.
        if image.size != kind.size:
            raise InputError(
                f"{path} is {_times(image.size)} pixels and {kind.path} is {_times(kind.size)}: "
                "all images must have one size, resize them"
            )
        if image.mode != kind.mode:
            raise InputError(
                f"{path} has mode {image.mode} and {kind.path} has {kind.mode}: all images must have one, convert them"
            )
        try:
            return np.asarray(image)
        except (OSError, EOFError, SyntaxError, ValueError) as error:
            raise InputError(f"{path} is a damaged image ({error}): replace or remove it") from error


def _opened(path: Path) -> Any:
    """An image whose pixels are not yet decoded."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError("reading a folder of images needs Pillow: install it with `pip install pillow`") from error
    try:
        return Image.open(path)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no image that can be read: replace or remove it") from error


def _times(size: tuple[int, int]) -> str:
    width, height = size
    return f"{width} by {height}"
