"""Where the files of a dataset lie, and whether they are the published ones, byte for byte."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from equiprop.data._catalogue import DataFile, entry
from equiprop.data._download import DownloadError, Progress, download
from equiprop.errors import InputError

_VARIABLE = "EQUIPROP_DATA_DIR"
_DIGITS_SHOWN = 12


@dataclass(frozen=True)
class FileState:
    """A file of a dataset and what is in its place.

    **Arguments:**

    - `filename`: its published name.
    - `path`: where it is looked for.
    - `state`: `"ok"`, `"missing"`, or `"corrupt: "` and what is wrong with it.
    """

    filename: str
    path: Path
    state: str

    @property
    def ok(self) -> bool:
        return self.state == "ok"


def data_directory() -> Path:
    """The data folder: `EQUIPROP_DATA_DIR`, or where that is not set (or empty) the user's cache folder for equiprop.

    The files of a dataset are in the folder of its name there. The cache folder is made when it is first needed;
    `EQUIPROP_DATA_DIR` must be there.

    **Raises:** `InputError` where `EQUIPROP_DATA_DIR` does not name a folder.
    """
    given = os.environ.get(_VARIABLE)
    if not given:
        import pooch

        return Path(pooch.os_cache("equiprop"))
    folder = Path(given).expanduser().absolute()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{_VARIABLE} = {given!r} {what}: make that folder, or set {_VARIABLE} to one that exists")
    return folder


def verify(name: str) -> list[FileState]:
    """The state of each file of a dataset, from its size and its sha256; nothing is downloaded or changed.

    **Returns:** one state per file, in the order of the catalogue; none for a built-in dataset.

    **Raises:** `InputError` where the dataset is not known or the data folder is not there.
    """
    files = entry(name).files
    if not files:
        return []
    folder = data_directory() / name
    return [FileState(file.filename, folder / file.filename, _state(folder / file.filename, file)) for file in files]


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Downloads each file of a dataset that is missing or corrupt; those that are as published stay as they are.

    **Arguments:**

    - `name`: a dataset of the catalogue; for a built-in one there is nothing to download.
    - `progress`: called with the file's name, the bytes that have arrived and its size in bytes.

    **Returns:** the dataset's folder. A built-in dataset has no files there, and may have no folder.

    **Raises:** `InputError` where the dataset is not known, the data folder is not there or cannot be written, or no
    mirror serves the published file. A file that cannot be had leaves nothing behind.
    """
    for file, found in zip(entry(name).files, verify(name), strict=True):
        if not found.ok:
            _get(name, file, found, progress)
    return data_directory() / name


def find(name: str) -> tuple[Path, ...]:
    """The files of a dataset, every one verified, the missing ones downloaded first.

    **Returns:** the paths in the order of the catalogue; none for a built-in dataset.

    **Raises:** `InputError` as `fetch` does, and where a file is corrupt: only `fetch` replaces what is already there.
    """
    states = verify(name)
    corrupt = [state for state in states if state.state.startswith("corrupt")]
    if corrupt:
        faults = "; ".join(f"{state.path} is {state.state}" for state in corrupt)
        raise InputError(f"{name}: {faults}: delete it and run `equiprop data fetch {name}`")
    for file, found in zip(entry(name).files, states, strict=True):
        if not found.ok:
            _get(name, file, found, None)
    return tuple(state.path for state in states)


def _state(path: Path, file: DataFile) -> str:
    try:
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
            size = opened.tell()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"corrupt: it cannot be read ({error.strerror})"
    if (size, found) == (file.size, file.sha256):
        return "ok"
    return (
        f"corrupt: sha256 {found[:_DIGITS_SHOWN]} ({size} bytes), "
        f"expected {file.sha256[:_DIGITS_SHOWN]} ({file.size} bytes)"
    )


def _get(name: str, file: DataFile, found: FileState, progress: Progress | None) -> None:
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
