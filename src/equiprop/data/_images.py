"""Image files, and images within other files, by Pillow: all of one size and mode, and of four formats only."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from equiprop.data._room import read_whole
from equiprop.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
# Others that Pillow knows start programs of their own, such as Ghostscript, or are read by code that few files have tried.
_MODES = ("RGB", "L")


@dataclass(frozen=True)
class Kind:
    """What all images must be like: the first one.

    **Arguments:**

    - `where`: what messages call that image.
    - `size`: width and height, in pixels.
    - `mode`: Pillow's name for it, `"RGB"` or `"L"`.
    """

    where: str
    size: tuple[int, int]
    mode: str

    @property
    def shape(self) -> tuple[int, ...]:
        width, height = self.size
        return (height, width, 3) if self.mode == "RGB" else (height, width)


def kind_of_image(source: Path | bytes, where: str) -> Kind:
    """**Raises:** `InputError` where it is no image, or neither RGB nor grey."""
    with _opened(source, where) as image:
        kind = Kind(where, image.size, image.mode)
    if kind.mode not in _MODES:
        raise InputError(f"{where} has mode {kind.mode}: images must be RGB or grey (L), convert them")
    return kind


def pixels(source: Path | bytes, where: str, kind: Kind) -> np.ndarray:
    """uint8 `kind.shape`. **Raises:** `InputError` where the image is damaged, or of another size or mode."""
    with _opened(source, where) as image:
        # Both are known from the file's header, before any pixel is decoded.
        if image.size != kind.size:
            raise InputError(
                f"{where} is {_times(image.size)} pixels and {kind.where} is {_times(kind.size)}: "
                "all images must have one size, resize them"
            )
        if image.mode != kind.mode:
            raise InputError(
                f"{where} has mode {image.mode} and {kind.where} has {kind.mode}: all images must have one, convert them"
            )
        try:
            return np.asarray(image)
        except (OSError, EOFError, SyntaxError, ValueError) as error:
            raise InputError(f"{where} is a damaged image ({error}): replace or remove it") from error


def _opened(source: Path | bytes, where: str) -> Any:
    """An image whose pixels are not yet decoded."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError("reading images needs Pillow: install it with `pip install pillow`") from error
    try:
        # Not from the file itself, in which Pillow makes room for as much as a damaged length says.
        content = io.BytesIO(source if isinstance(source, bytes) else read_whole(source))
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(content, formats=_FORMATS)
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f"{where} has more than {Image.MAX_IMAGE_PIXELS} pixels: resize it, or remove it if it is damaged"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{where} is no image that can be read (png, jpeg, webp or bmp): replace or remove it"
        ) from error


def _times(size: tuple[int, int]) -> str:
    width, height = size
    return f"{width} by {height}"
