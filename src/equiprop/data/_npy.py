"""NumPy's files, `.npy` and `.npz`: the one place that opens them.

A header is compared with the bytes that follow it before an array is made of it, and nothing is ever unpickled.
"""

import math
import os
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from equiprop.data._room import require_room
from equiprop.errors import InputError

_FAULTS = (
    EOFError,
    KeyError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What a damaged or foreign file may raise, of its zip or of its arrays."""
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SUFFIX = ".npy"
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
"""Those that the length of a header has, by its version."""
_LONGEST_HEADER = 10_000
_HEADER = re.compile(
    r"\{(?:\s*(?:'descr': *'(?P<type>[<>|=]?[biufcSU]\d{1,9})'|'fortran_order': *(?:True|False)"
    r"|'shape': *\((?P<shape>(?:\d{1,19}L?(?:, *|(?=\))))*)\)),?)*\s*\}\s*"
)


class Npz:
    """An archive that is open.

    **Arguments:**

    - `mend`: what a person can do about a damaged one.

    **Raises:** `InputError` here and from every method, naming the file, where it is damaged, holds anything but plain arrays of
    numbers or words, or more than there is room for in memory.
    """

    def __init__(self, path: Path, mend: str = "save it anew with numpy.savez") -> None:
        self.path = path
        self._mend = mend
        self._taken = 0
        with _whole(path, "npz", mend):
            self._archive = zipfile.ZipFile(path)

    def __enter__(self) -> "Npz":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    @property
    def names(self) -> list[str]:
        """Those of its arrays."""
        return [name.removesuffix(_SUFFIX) for name in self._archive.namelist() if name.endswith(_SUFFIX)]

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, which is not read."""
        with self._member(name) as (file, size):
            return _header(file, size)

    def read(self, name: str) -> np.ndarray:
        with self._member(name) as (file, size):
            _header(file, size)
        self._taken += size
        require_room(self._taken, self.path)
        with self._member(name) as (file, _):
            return _array(file)

    @contextmanager
    def _member(self, name: str) -> Iterator[tuple[Any, int]]:
        with _whole(self.path, "npz", self._mend):
            found = self._archive.getinfo(name + _SUFFIX)
            if found.compress_type not in _PACKED:
                raise ValueError(f"{name} is packed as NumPy packs nothing")
            with self._archive.open(found) as file:
                yield file, found.file_size


def read_npy(path: Path) -> np.ndarray:
    """The array in a `.npy` file. **Raises:** as `Npz`."""
    with _whole(path, "npy", "save it anew with numpy.save"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        _header(file, size)
        require_room(size, path)
        file.seek(0)
        return _array(file)


def _header(file: Any, size: int) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array that is a file of `size` bytes by itself."""
    # NumPy evaluates a header as Python, which may raise anything: it gets to see only what it might have written itself.
    version = np.lib.format.read_magic(file)
    if version not in _LENGTH_BYTES:
        raise ValueError(f"its version is {version}")
    length = int.from_bytes(file.read(_LENGTH_BYTES[version]), "little")
    found = _HEADER.fullmatch(file.read(min(length, _LONGEST_HEADER)).decode("latin1"))
    if found is None or not found["type"] or found["shape"] is None:
        raise ValueError("its header is not that of an array of numbers or words")
    shape = tuple(map(int, re.findall(r"\d+", found["shape"])))
    dtype = np.dtype(found["type"])
    left = size - file.tell()
    if not dtype.itemsize or math.prod(shape) * dtype.itemsize != left:
        raise ValueError(f"an array said to be {dtype} {list(shape)} has {left} bytes")
    return shape, dtype


def _array(file: Any) -> np.ndarray:
    found = np.lib.format.read_array(file, allow_pickle=False)
    if found.dtype.kind == "U":
        # NumPy keeps any number as a letter, and Python fails at one that is none.
        letters = np.ascontiguousarray(found).reshape(-1).view(f"{found.dtype.str[0]}u4")
        if np.any((letters > sys.maxunicode) | ((letters >= 0xD800) & (letters < 0xE000))):
            raise ValueError("its words are no text")
    return found


@contextmanager
def _whole(path: Path, kind: str, mend: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})", hint="check the path") from error
    except _FAULTS as error:
        reason = (str(error) or type(error).__name__).partition("\n")[0][:200]
        raise InputError(f"{path} is not a whole {kind} file ({reason})", hint=mend) from error
