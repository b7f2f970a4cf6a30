"""Tar archives, compressed or not, read as they are: nothing is unpacked."""

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from equiprop.data._room import require_room
from equiprop.errors import InputError

_FAULTS = (EOFError, OSError, OverflowError, ValueError, lzma.LZMAError, tarfile.TarError, zlib.error)


def files_in(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """The name and the content of each file of a wanted name in an archive, in its order: going back in a compressed one means
    decompressing it again.

    **Raises:** `InputError` where it is damaged, or such a file is larger than there is room for.
    """
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and wanted(member.name):
                    require_room(member.size, f"{path}: {member.name}")
                    content = archive.extractfile(member)
                    assert content is not None
                    yield member.name, content.read()
    except InputError:
        raise
    except _FAULTS as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is not a whole archive ({reason}): get the official file again") from error
