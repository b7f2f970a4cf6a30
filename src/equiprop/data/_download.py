"""One file from the first of its mirrors that serves it: whole and verified in its place, or not there at all."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        # pooch documents any object with these methods as a progress bar; its annotations say bool.
        bar: Any = _Bar(file, progress) if progress else False
        downloader: Any = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=_CHUNK_BYTES,
            timeout=(_CONNECT_SECONDS, _SILENCE_SECONDS),
            # The checksum is that of the published file: the server must not compress it once more.
            headers={"Accept-Encoding": "identity"},
        )
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


class _Bar:
    """What pooch takes for a progress bar: it counts in whole chunks, then sets itself back and adds the total."""

    def __init__(self, file: DataFile, progress: Progress) -> None:
        self.total = file.size
        self._file = file
        self._progress = progress
        self._done = 0

    def update(self, count: int) -> None:
        self._done = min(self._done + count, self._file.size)
        self._progress(self._file.filename, self._done, self._file.size)

    def reset(self) -> None:
        """Keeps the count, so that what is shown never goes back."""

    def close(self) -> None:
        """There is nothing to close: the caller owns what is shown."""


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
