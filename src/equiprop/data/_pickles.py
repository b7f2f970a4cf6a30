"""Pickled batches of images, read without running anything that a pickle may ask to run.

A pickle is a program that calls whatever it names. The files of CIFAR and of downsampled ImageNet name only how NumPy
puts an array together; here those names stand for the few lines below, and any other name is refused.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from equiprop.errors import InputError

_FAULTS = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What reading a damaged or foreign pickle may raise."""


def read_pickle(file: Any, where: str) -> dict[str, Any]:
    """The dictionary a pickle holds, written by Python 2 or 3; its arrays are NumPy's, of numbers only.

    **Arguments:**

    - `file`: opened for reading bytes.
    - `where`: what messages call it.

    **Returns:** keys as text; Python 2's strings, other than keys, stay bytes.

    **Raises:** `InputError` where it is no whole pickle, asks for anything but numbers, text, lists, dictionaries and
    arrays of numbers, or holds no dictionary.
    """
    try:
        content = _Unpickler(file, encoding="bytes").load()
    except _FAULTS as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{where} is not a pickle of images ({reason}): get the official file again") from error
    if not isinstance(content, dict):
        raise InputError(f"{where} holds a {type(content).__name__}, not a dictionary: get the official file again")
    return {
        as_text(key): value.value if isinstance(value, _Array) else value
        for key, value in content.items()
        if isinstance(key, str | bytes)
    }


def read_pickle_file(path: Path) -> dict[str, Any]:
    """`read_pickle` of a file. **Raises:** `InputError` as it does, and where the file cannot be read."""
    try:
        with path.open("rb") as file:
            return read_pickle(file, str(path))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: put the official file there") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path") from error


def as_text(value: str | bytes) -> str:
    """Text, which Python 2 pickled as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else value


class _Type:
    """Stands for `numpy.dtype`, for types of numbers."""

    def __init__(self, code: Any, *_: Any) -> None:
        code = as_text(code)
        if not re.fullmatch("[biuf][1248]", code):
            raise pickle.UnpicklingError(f"it has an array of type {code!r}")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order: Any = as_text(state[1])
        self.value = self.value.newbyteorder(order)


class _Array:
    """Stands for `numpy.ndarray`, which is made empty first and is then given its shape, type and bytes."""

    def __init__(self, *_: Any) -> None:
        self.value = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, by_columns, data = state
        self._fill(data, dtype, shape, "F" if by_columns else "C")

    def _fill(self, data: Any, dtype: Any, shape: Any, order: Any) -> None:
        self.value = np.frombuffer(data, dtype.value).reshape(shape, order=order)


class _BufferedArray(_Array):
    """Stands for the function that makes an array at once, from protocol 5 on."""

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> None:
        self._fill(data, dtype, shape, order)


def _encode(text: Any, encoding: Any) -> bytes:
    """Stands for `_codecs.encode`, through which Python 3 writes bytes for Python 2."""
    if as_text(encoding) != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    # NumPy 2 renamed `numpy.core`; each version writes its own name.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _BufferedArray for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _NAMES:
            raise pickle.UnpicklingError(f"it asks for {f'{module_name}.{global_name}'!r}")
        return _NAMES[module_name, global_name]
