"""Files that are whole or not there, and text that a person or another program may have written."""

import errno
import json
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from equiprop.errors import InputError

T = TypeVar("T")

_UNFINISHED = ".unfinished-"

LARGEST_TOML = 2**22
LARGEST_JSON = 2**28
"""In bytes: far more than any configuration, graph or record of a long run has."""


@contextmanager
def replaced_by(path: Path) -> Iterator[Path]:
    """A file to write in the block, in the same folder, which then takes the place of `path`, safe from a loss of power.

    `path` is the old one or the new one, never half of either, whatever happens meanwhile. Raises `OSError`.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """As `replaced_by`, of what is at hand; text as UTF-8, what is no text in it (in the name of a file) escaped."""
    with replaced_by(path) as temporary:
        temporary.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def make_folder(path: Path, *, parents: bool = False) -> None:
    """Makes a folder, if it is not there, that outlives a loss of power.

    Raises `OSError`, also where the folder around it is missing and `parents` are not to be made.
    """
    path.mkdir(parents=parents, exist_ok=True)
    _sync_folder(path.parent)


def is_unfinished(path: Path) -> bool:
    """Whether it is what a killed process left half written."""
    return path.name.startswith(_UNFINISHED)


def why_not_written(error: BaseException) -> str:
    """The reason in a few words, also where a library wraps that of the system in words of its own."""
    full = os.strerror(errno.ENOSPC)
    if full in str(error):
        return full
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _sync_folder(folder: Path) -> None:
    # Windows opens no folders, and some network file systems sync none.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def expanded(path: str) -> Path:
    """A path in which `~` is the home folder. Raises `InputError` where there is none, as in some containers."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: there is no such home folder", hint="give the whole path") from error


def read_toml(path: str | Path, hint: str = "") -> dict[str, Any]:
    """The tables of a TOML file.

    **Arguments:**

    - `hint`: how to mend a file that is damaged.

    Raises `InputError` for what is no file, cannot be read, is too large, or what `parse_toml` refuses.
    """
    return _read(path, "TOML", LARGEST_TOML, parse_toml, hint)


def read_json(path: str | Path, hint: str = "") -> dict[str, Any]:
    """The object in a JSON file. Arguments and errors as of `read_toml`."""
    return _read(path, "JSON", LARGEST_JSON, parse_json, hint)


def read_text(path: str | Path, hint: str = "") -> str:
    """What is in a text file, with the ends of lines that Python has. Arguments and errors as of `read_toml`."""
    return _read(path, "text", LARGEST_TOML, _decoded, hint).replace("\r\n", "\n")


def _read(path: str | Path, language: str, largest: int, parse: Callable[[bytes], T], hint: str) -> T:
    content = read_bytes(path, largest)
    try:
        return parse(content)
    except ValueError as error:
        raise InputError(f"is not valid {language} ({error})", path=str(path), hint=hint) from error


def no_file(path: Path) -> str:
    """What is there in the place of a file: a folder, or what would wait to be opened until somebody writes into it; empty for a
    file, and where there is nothing."""
    if path.is_file() or not path.exists():
        return ""
    return "a folder" if path.is_dir() else "a device or a pipe"


def read_bytes(path: str | Path, largest: int = LARGEST_JSON) -> bytes:
    """What is in a file. Raises `InputError` for what is no file, cannot be read, or holds more than `largest` bytes."""
    try:
        # As Python's own functions: those of pathlib take as long as reading, and many thousand runs are read at a time.
        about = os.stat(path)  # noqa: PTH116
        mode, size, content = about.st_mode, about.st_size, b""
        # Opening a pipe would wait for somebody to write into it.
        if stat.S_ISREG(mode) and size <= largest:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                content = file.read()
    except (OSError, ValueError) as error:
        # A name that no file can have is a `ValueError`, whose words are not the same in every Python.
        why = error.strerror if isinstance(error, OSError) else "no file can have this name"
        raise InputError(f"cannot be read ({why})", path=str(path)) from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise InputError(f"is {what}", path=str(path), hint="give a file")
    if size > largest:
        reason = f"has {size:,} bytes, more than the {largest:,} that are read"
        raise InputError(reason, path=str(path), hint="is it the right file?")
    return content


_DEEPEST = 64
# For a dotted key of 50,000 parts tomllib takes a minute. Nothing is looked at twice, however the text is made.
_PART = r"""(?:(?<![\w-])[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{_DEEPEST}}}")
_TOO_DEEP = f"tables or lists are nested more than {_DEEPEST} deep"
_TOO_LONG = "a whole number has more than 64 bits"


def parse_toml(text: str | bytes) -> dict[str, Any]:
    """The tables of TOML. Raises `ValueError` with the reason, also for what is nested deeply and for numbers of many digits."""
    text = _decoded(text)
    if _LONG_KEY.search(text):
        raise ValueError(_TOO_DEEP)
    try:
        found = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        # Of some thousand digits Python complains in words of its own.
        raise ValueError(_TOO_LONG if "set_int_max_str_digits" in str(error) else str(error)) from None
    _check(found, _DEEPEST)
    return found


def parse_json(text: str | bytes) -> dict[str, Any]:
    """The object of JSON, in which `NaN` and `Infinity` are numbers, as Python writes them.

    Raises `ValueError` as `parse_toml`, and for anything but an object, and for a key that is there twice.
    """
    text = _decoded(text)
    try:
        found = _JSON.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {type(found).__name__}")
    # Looking at every value takes as long as parsing it, and few texts can be nested as deep.
    if text.count("[") + text.count("{") > _DEEPEST:
        _check(found, _DEEPEST)
    return found


def toml_value(text: str) -> Any:
    """A single value as TOML writes it. Raises `ValueError` as `parse_toml`."""
    found = parse_toml(f"value = {text}")
    if list(found) != ["value"]:
        raise ValueError("is more than one value")
    return found["value"]


def _decoded(text: str | bytes) -> str:
    try:
        return (text if isinstance(text, str) else text.decode()).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _whole(digits: str) -> int:
    value = int(digits) if len(digits) <= 20 else 2**63
    if not -(2**63) <= value < 2**63:
        raise ValueError(_TOO_LONG)
    return value


# Made once: many thousand runs are read at a time.
_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole)


def _check(value: Any, deepest: int) -> None:
    """Raises `ValueError` for what is nested deeply, and for a whole number beyond 64 bits."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(_TOO_LONG)
    if not isinstance(value, dict | list):
        return
    if not deepest:
        raise ValueError(_TOO_DEEP)
    for each in value.values() if isinstance(value, dict) else value:
        _check(each, deepest - 1)
