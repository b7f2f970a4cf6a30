"""Where the files of a dataset lie, and whether what is in them is what was published, byte for byte."""

import gzip
import hashlib
import io
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equiprop.data._catalogue import DataFile, Entry, entry
from equiprop.data._download import DownloadError, Progress, download
from equiprop.data._tars import files_in
from equiprop.errors import InputError
from equiprop.files import expanded, no_file

_VARIABLE = "EQUIPROP_DATA_DIR"
_DIGITS_SHOWN = 12


@dataclass(frozen=True)
class FileState:
    """A file of a dataset and what is in its place.

    **Arguments:**

    - `filename`: its published name.
    - `path`: where it is looked for.
    - `state`: `"ok"`, its checksum being the published one; `"present"`, where it is there and no checksum was compared
        (`glance`, or none is published); `"missing"`; or `"corrupt: "` and what is wrong with it.
    """

    filename: str
    path: Path
    state: str

    @property
    def ok(self) -> bool:
        return self.state in ("ok", "present")


def data_directory() -> Path:
    """The data folder: `EQUIPROP_DATA_DIR`, or where that is not set (or empty) the user's cache folder for equiprop.

    The files of a dataset are in the folder of its name there. The cache folder is made when it is first needed;
    `EQUIPROP_DATA_DIR` must be there.

    **Raises:** `InputError` where `EQUIPROP_DATA_DIR` does not name a folder, or is not set and there is no home folder.
    """
    given = os.environ.get(_VARIABLE)
    if not given:
        import pooch

        try:
            folder = Path(pooch.os_cache("equiprop"))
        except RuntimeError:
            folder = Path()
        if not folder.is_absolute():
            raise InputError(f"there is no home folder to keep datasets in: set {_VARIABLE} to a folder")
        return folder
    folder = expanded(given).absolute()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{_VARIABLE} = {given!r} {what}: make that folder, or set {_VARIABLE} to one that exists")
    return folder


def verify(name: str) -> list[FileState]:
    """The state of each file of a dataset, from its size and its checksum; nothing is downloaded or changed.

    Where a dataset has several sets of files that would do, such as an archive or what is in it, it is the one that is
    there; of those that are there in part the fullest; and where there is none, the one that `fetch` gets.

    **Returns:** one state per file, in the order of the catalogue; none for a built-in dataset.

    **Raises:** `InputError` where the dataset is not known or the data folder is not there.
    """
    return _states(entry(name), hashed=True)


def glance(name: str) -> list[FileState]:
    """As `verify`, in no time: from the size alone, where it is published, and no file is read."""
    return _states(entry(name), hashed=False)


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Downloads each file of a dataset that is missing or corrupt; those that are as published stay as they are.

    Where a complete set of other files that would do is there, such as an archive's content, there is nothing to do.

    **Arguments:**

    - `name`: a dataset of the catalogue; for a built-in one there is nothing to download.
    - `progress`: called with the file's name, the bytes that have arrived and its size in bytes.

    **Returns:** the dataset's folder. A built-in dataset has no files there, and may have no folder.

    **Raises:** `InputError` where the dataset is not known, the data folder is not there or cannot be written, or no
    mirror serves the published file. A file that cannot be had leaves nothing behind.
    """
    chosen = entry(name)
    folder = data_directory() / name
    states = _states(chosen, hashed=True)
    if all(state.ok for state in states):
        return folder
    if any(file.urls for file in chosen.files):
        states = [_state(folder, file, hashed=True) for file in chosen.files]
    for found in states:
        if not found.ok:
            _get(chosen, found, progress)
    return folder


def find(name: str) -> tuple[Path, ...]:
    """The files of a dataset, every one verified, the missing ones downloaded first.

    **Returns:** the paths in the order of the catalogue, of the set of files that `verify` looks at; none for a built-in
    dataset.

    **Raises:** `InputError` as `fetch` does, and where a file is corrupt: only `fetch` replaces what is already there.
    """
    chosen = entry(name)
    states = _states(chosen, hashed=True)
    corrupt = [state for state in states if state.state.startswith("corrupt")]
    if corrupt:
        faults = "; ".join(f"{state.path} is {state.state}" for state in corrupt)
        raise InputError(f"{name}: {faults}: delete it and run `equiprop data fetch {name}`")
    for found in states:
        if not found.ok:
            _get(chosen, found, None)
    return tuple(state.path for state in states)


def _states(chosen: Entry, hashed: bool) -> list[FileState]:
    if not chosen.files:
        return []
    folder = data_directory() / chosen.name

    def fraction_there(files: tuple[DataFile, ...]) -> float:
        return sum(_is_there(_place(folder, file)) for file in files) / len(files)

    files = max((chosen.files, *chosen.alternatives), key=fraction_there)  # the first of equals
    return [_state(folder, file, hashed) for file in files]


def _place(folder: Path, file: DataFile) -> Path:
    """Where a file lies, also one beside the dataset's folder when that is not there."""
    return Path(os.path.normpath(folder / file.filename))


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _state(folder: Path, file: DataFile, hashed: bool) -> FileState:
    path = _place(folder, file)
    return FileState(file.filename, path, _describe(path, file, hashed))


def _describe(path: Path, file: DataFile, hashed: bool) -> str:
    algorithm, _, expected = file.checksum.partition(":")
    compared = hashed and bool(expected)
    repacked = bool(file.content or file.members)
    if no_file(path):
        return f"corrupt: it is {no_file(path)}"
    try:
        with path.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            found = hashlib.file_digest(opened, algorithm).hexdigest() if compared else expected
        if found == expected and (file.size in (0, size) or (repacked and not compared)):
            return "ok" if compared else "present"
        if compared and repacked and _holds(path, file):
            return "ok"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"corrupt: it cannot be read ({error.strerror})"
    if not compared:
        return f"corrupt: {size} bytes, expected {file.size}"
    published = f" ({file.size} bytes)" if file.size else ""
    return (
        f"corrupt: {algorithm} {found[:_DIGITS_SHOWN]} ({size} bytes), expected {expected[:_DIGITS_SHOWN]}{published}"
    )


def _holds(path: Path, file: DataFile) -> bool:
    """Whether what is in the file is what was published, however it is packed."""
    try:
        if file.content:
            return _digest_of(_content(path), file.content)
        wanted = {member.filename: member.checksum for member in file.members}
        found = [
            name
            for name, content in files_in(path, wanted.__contains__)
            if _digest_of(io.BytesIO(content), wanted[name])
        ]
    except (EOFError, InputError, gzip.BadGzipFile, zlib.error):
        return False
    return {*found} == {*wanted}


def _content(path: Path) -> Any:
    """A file to read, decompressed if it is compressed."""
    with path.open("rb") as opened:
        compressed = opened.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")


def _digest_of(file: Any, checksum: str) -> bool:
    algorithm, _, expected = checksum.partition(":")
    with file:
        return hashlib.file_digest(file, algorithm).hexdigest() == expected


def _get(chosen: Entry, found: FileState, progress: Progress | None) -> None:
    name = chosen.name
    layouts = (chosen.files, *chosen.alternatives)
    file = next(file for files in layouts for file in files if file.filename == found.filename)
    if not file.urls:
        what = "is not" if found.state == "missing" else f"is {found.state},"
        how = chosen.obtain or f"put it there, or run `equiprop data fetch {name}` for the whole dataset"
        raise InputError(f"{name}: {file.filename} {what} in {data_directory() / name}: {how}")
    folder = found.path.parent
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{name}: the folder {folder} cannot be made ({error.strerror}): set {_VARIABLE} to a folder you can write"
        ) from error
    try:
        download(file, folder, progress)
    except DownloadError as error:
        # Only what this call made, and only if it is still empty: another process may be downloading here too.
        if made:
            with suppress(OSError):
                folder.rmdir()
        what = (
            f"is not in {folder} and could not be downloaded"
            if found.state == "missing"
            else f"in {folder} is {found.state} and could not be replaced"
        )
        raise InputError(
            f"{name}: {file.filename} {what} ({error}): run `equiprop data fetch {name}` where there is network, "
            f"or set {_VARIABLE} to a folder that holds {name}/{file.filename}"
        ) from error
