"""Pickled batches of images, read without running anything that a pickle may ask to run.

A pickle is a program for a small machine with a stack, which can call whatever it names, and ask for any amount of memory
or depth of nesting in a few bytes. The files of CIFAR and of downsampled ImageNet need little of it: a dictionary of
numbers, text, flat lists of these, and of arrays, for which they name only how NumPy puts one together. This is a machine
that can do that, and nothing else.
"""

import codecs
import os
import pickle
import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FunctionType, NoneType
from typing import Any

import numpy as np

from equiprop.data._room import require_room
from equiprop.errors import InputError
from equiprop.files import no_file

_FAULTS = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What reading a damaged or foreign pickle may raise."""
_MOST_INSTRUCTIONS = 2**23
"""Some fifty times as many as a file of ImageNet has, each of which makes a hundred bytes or so."""


def read_pickle(file: Any, where: str) -> dict[str, Any]:
    """The dictionary a pickle holds, written by Python 2 or 3; its arrays are NumPy's, of numbers only.

    **Arguments:**

    - `file`: opened for reading bytes.
    - `where`: what messages call it.

    **Returns:** keys as text; Python 2's strings, other than keys, stay bytes.

    **Raises:** `InputError` where it is no whole pickle, asks for anything but numbers, text, flat lists of these and
    arrays of numbers, or holds no dictionary of them.
    """
    size = file.seek(0, os.SEEK_END)
    require_room(size, where)
    file.seek(0)
    try:
        content = _Machine(file, size).run()
    except _FAULTS as error:
        reason = (str(error) or type(error).__name__).partition("\n")[0][:200]
        raise InputError(f"{where} is not a pickle of images ({reason}): get the official file again") from error
    if not isinstance(content, dict):
        raise InputError(f"{where} holds a {type(content).__name__}, not a dictionary: get the official file again")
    return {as_text(key): value.value if isinstance(value, _Array) else value for key, value in content.items()}


def read_pickle_file(path: Path) -> dict[str, Any]:
    """`read_pickle` of a file. **Raises:** `InputError` as it does, and where the file cannot be read."""
    if no_file(path):
        raise InputError(f"{path} is {no_file(path)}: put the official file there")
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

    def build(self, state: Any) -> None:
        order: Any = as_text(state[1])
        self.value = self.value.newbyteorder(order)


class _Array:
    """Stands for `numpy.ndarray`, which is made empty first and is then given its shape, type and bytes."""

    def __init__(self, *_: Any) -> None:
        self.value = np.empty(0, np.uint8)

    def build(self, state: Any) -> None:
        _, shape, dtype, by_columns, data = state
        self.value = np.frombuffer(data, dtype.value).reshape(shape, order="F" if by_columns else "C")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """Stands for the function that makes an array at once, from protocol 5 on."""
    made = _Array()
    made.build((None, shape, dtype, order == "F", data))
    return made


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
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}

_PLAIN = {NoneType, bool, int, float, bytes, str}
_MAY_HOLD: dict[type, set[type]] = {
    list: _PLAIN,
    dict: _PLAIN | {list, _Array},
    # The arguments of what is called.
    tuple: _PLAIN | {bytearray, tuple, _Type, type, FunctionType},
}


def _checked(kind: type, values: Iterable[Any]) -> Any:
    """**Raises:** where a list, tuple or dictionary may not hold these."""
    strange = {*map(type, values)} - _MAY_HOLD[kind]
    if strange:
        raise pickle.UnpicklingError(f"it has a {strange.pop().__name__} in a {kind.__name__}")
    return values


class _Machine:
    """What a pickle is a program for."""

    def __init__(self, file: Any, size: int) -> None:
        self._file, self._size = file, size
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What is on the stack at the end."""
        for _ in range(_MOST_INSTRUCTIONS):
            code = self.take(1)
            if code == b".":
                return self.stack.pop()
            if code in _VALUES:
                self.stack.append(_VALUES[code](self))
            elif code in _ACTIONS:
                _ACTIONS[code](self)
            else:
                raise pickle.UnpicklingError(f"it has the instruction {code!r}")
        raise pickle.UnpicklingError(f"it has more than {_MOST_INSTRUCTIONS} instructions")

    def take(self, count: int) -> bytes:
        # A file cannot hold more than its size: asked for more, Python would first make room for it.
        found = self._file.read(count) if count <= self._size else b""
        if len(found) < count:
            raise EOFError("it ends early")
        return found

    def line(self) -> bytes:
        found = self._file.readline()
        if not found.endswith(b"\n"):
            raise EOFError("it ends early")
        return found.rstrip(b"\r\n")

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def counted(self, size: int) -> bytes:
        """Bytes, after their number in `size` bytes."""
        return self.take(self.number(size))

    def text(self, size: int) -> str:
        return self.counted(size).decode("utf-8", "surrogatepass")

    def named(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'!r}")
        return _NAMES[module, name]

    def since_mark(self) -> list[Any]:
        """Takes what has been put on the stack since the last mark."""
        return self.last(len(self.stack) - self.marks.pop())

    def last(self, count: int) -> list[Any]:
        """Takes that many from the stack."""
        if not 0 <= count <= len(self.stack):
            raise IndexError("its stack is empty")
        start = len(self.stack) - count
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def store(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        """Adds to the list on top of the stack."""
        top = self.stack[-1]
        if type(top) is not list:
            raise pickle.UnpicklingError(f"it appends to a {type(top).__name__}")
        top += _checked(list, values)

    def update(self, pairs: list[Any]) -> None:
        """Adds to the dictionary on top of the stack."""
        top = self.stack[-1]
        if type(top) is not dict:
            raise pickle.UnpicklingError(f"it sets a key of a {type(top).__name__}")
        top.update(_dict(pairs))

    def call(self) -> None:
        function, arguments = self.last(2)
        if type(function) not in (type, FunctionType) or type(arguments) is not tuple:
            raise pickle.UnpicklingError(f"it calls a {type(function).__name__}")
        self.stack.append(function(*arguments))

    def build(self) -> None:
        made, state = self.last(2)
        if type(made) not in (_Array, _Type):
            raise pickle.UnpicklingError(f"it builds a {type(made).__name__}")
        made.build(state)
        self.stack.append(made)


def _tuple(values: list[Any]) -> tuple[Any, ...]:
    if any(type(value) is tuple and tuple in map(type, value) for value in values):
        raise pickle.UnpicklingError("it has tuples in tuples in tuples")
    return tuple(_checked(tuple, values))


def _dict(pairs: list[Any]) -> dict[Any, Any]:
    keys = pairs[::2]
    if not {*map(type, keys)} <= {bytes, str}:
        raise pickle.UnpicklingError("it has keys that are no text")
    return dict(zip(keys, _checked(dict, pairs[1::2]), strict=True))


def _integer(text: bytes) -> int:
    return {b"00": False, b"01": True}[text] if text in (b"00", b"01") else int(text)


def _escaped(text: bytes) -> bytes:
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise pickle.UnpicklingError("it has text without quotes")
    return codecs.escape_decode(text[1:-1])[0]


# The instructions that a pickle of images has, of the protocols 0 to 5, by their bytes (`pickletools` describes each).
_VALUES: dict[bytes, Callable[[_Machine], Any]] = {
    b"N": lambda _: None,
    b"\x88": lambda _: True,
    b"\x89": lambda _: False,
    b"I": lambda m: _integer(m.line()),
    b"K": lambda m: m.number(1),
    b"M": lambda m: m.number(2),
    b"J": lambda m: m.number(4, signed=True),
    b"L": lambda m: int(m.line().rstrip(b"L")),
    b"\x8a": lambda m: m.number(m.number(1), signed=True),
    b"\x8b": lambda m: m.number(m.number(4), signed=True),
    b"F": lambda m: float(m.line()),
    b"G": lambda m: struct.unpack(">d", m.take(8))[0],
    b"S": lambda m: _escaped(m.line()),
    b"U": lambda m: m.counted(1),
    b"T": lambda m: m.counted(4),
    b"C": lambda m: m.counted(1),
    b"B": lambda m: m.counted(4),
    b"\x8e": lambda m: m.counted(8),
    b"\x96": lambda m: bytearray(m.counted(8)),
    b"V": lambda m: m.line().decode("raw-unicode-escape"),
    b"\x8c": lambda m: m.text(1),
    b"X": lambda m: m.text(4),
    b"\x8d": lambda m: m.text(8),
    b"]": lambda _: [],
    b"l": lambda m: _checked(list, m.since_mark()),
    b"}": lambda _: {},
    b"d": lambda m: _dict(m.since_mark()),
    b")": lambda _: (),
    b"t": lambda m: _tuple(m.since_mark()),
    b"\x85": lambda m: _tuple(m.last(1)),
    b"\x86": lambda m: _tuple(m.last(2)),
    b"\x87": lambda m: _tuple(m.last(3)),
    b"g": lambda m: m.memo[int(m.line())],
    b"h": lambda m: m.memo[m.number(1)],
    b"j": lambda m: m.memo[m.number(4)],
    b"c": lambda m: m.named(m.line().decode(), m.line().decode()),
    b"\x93": lambda m: m.named(*m.last(2)),
}
_ACTIONS: dict[bytes, Callable[[_Machine], Any]] = {
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"a": lambda m: m.extend(m.last(1)),
    b"e": lambda m: m.extend(m.since_mark()),
    b"s": lambda m: m.update(m.last(2)),
    b"u": lambda m: m.update(m.since_mark()),
    b"p": lambda m: m.store(int(m.line())),
    b"q": lambda m: m.store(m.number(1)),
    b"r": lambda m: m.store(m.number(4)),
    b"\x94": lambda m: m.store(len(m.memo)),
    b"R": lambda m: m.call(),
    b"b": lambda m: m.build(),
    b"\x80": lambda m: m.take(1),
    b"\x95": lambda m: m.take(8),
}
