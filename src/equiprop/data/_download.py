"""One file from the first of its mirrors that serves it: whole and verified in its place, or not there at all."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from equiprop.data._catalogue import DataFile
from equiprop.errors import EquipropError

Progress = Callable[[str, int, int], None]
"""Called while a file arrives, with its name, the bytes that have arrived, and the bytes it has in all."""

_CONNECT_SECONDS = 10
_SILENCE_SECONDS = 30
_CHUNK_BYTES = 1 << 16

_REASONS = {
    "ConnectionError": "no connection",
    "ConnectTimeout": "no answer",
    "ReadTimeout": "no answer",
    "ChunkedEncodingError": "the connection broke off",
    "ContentDecodingError": "it serves another file",
    "PermissionError": "the folder cannot be written",
}


class DownloadError(EquipropError):
    """No mirror gave the file; the message says why, mirror by mirror."""


def download(file: DataFile, folder: Path, progress: Progress | None = None) -> None:
    """Puts `file` into `folder`, replacing what has its name there.

    The bytes go to a temporary file of the same folder and take the file's name only when their checksum is the
    published one, so that an interruption leaves neither a part of the new file nor a gap where the old one was.

    **Raises:** `DownloadError` where no mirror gives the published file.
    """
    import pooch

    reasons = []
    for url in file.urls:
        get = pooch.HTTPDownloader(
            chunk_size=_CHUNK_BYTES,
            timeout=(_CONNECT_SECONDS, _SILENCE_SECONDS),
            # The checksum is that of the published file: the server must not compress it once more.
            headers={"Accept-Encoding": "identity"},
        )
        # pooch documents any function of a URL, a path and itself as a downloader; its annotations ask for more.
        downloader: Any = partial(_arrive, get, file, progress)
        try:
            with _quiet(pooch.get_logger()):
                path = pooch.retrieve(
                    url, known_hash=file.checksum, fname=file.filename, path=folder, downloader=downloader
                )
        except (OSError, ValueError) as error:
            reasons.append(f"{urlsplit(url).hostname}: {_reason(error)}")
        else:
            # Temporary files are private to the user; a data folder is often shared.
            Path(path).chmod(0o644)
            return
    raise DownloadError("; ".join(reasons))


def _arrive(get: Any, file: DataFile, progress: Progress | None, url: str, path: str, of: Any) -> None:
    with Path(path).open("wb") as opened:
        get(url, _Arriving(opened, file, progress), of)


class _Arriving:
    """A file to write, no longer than the published one, whatever a server sends."""

    def __init__(self, opened: Any, file: DataFile, progress: Progress | None) -> None:
        self._opened, self._file, self._progress = opened, file, progress
        self._arrived = 0

    def write(self, chunk: bytes) -> None:
        self._arrived += len(chunk)
        if 0 < self._file.size < self._arrived:
            raise ValueError("is longer than the published file")
        self._opened.write(chunk)
        if self._progress:
            self._progress(self._file.filename, self._arrived, self._file.size)

    def flush(self) -> None:
        """pooch calls it after each chunk; closing does as well."""


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keeps pooch from printing: its logger writes each download to stderr."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: OSError | ValueError) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    if isinstance(error, OSError):
        return _REASONS.get(type(error).__name__) or error.strerror or type(error).__name__
    return "what it serves is not the published file (wrong checksum)"
