"""Files that are whole or not there."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_UNFINISHED = ".unfinished-"


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
    """As `replaced_by`, of what is at hand."""
    with replaced_by(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


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
