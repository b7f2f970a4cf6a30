"""How much a file may make of itself in memory: a few bytes can ask for any number of them."""

import os
from pathlib import Path

from equiprop.errors import InputError

_SHARE = 0.75
"""Of the machine's memory, what one dataset may take."""
_NOT_SAID = 2**36
"""The memory of a machine that does not say how much it has."""


def require_room(size: int, where: object) -> None:
    """**Raises:** `InputError` where the `size` bytes that `where` says it holds are more than this machine has room for."""
    room = _room()
    if size > room:
        raise InputError(
            f"{where} takes {_gib(size)} GiB of memory, and this machine has room for {_gib(room)}: get it anew if it is "
            "damaged, or give less at a time"
        )


def read_whole(path: Path) -> bytes:
    """The content of a file. **Raises:** `OSError`, and `InputError` as `require_room`."""
    require_room(path.stat().st_size, path)
    return path.read_bytes()


def _room() -> int:
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # as on Windows
        memory = _NOT_SAID
    return int(_SHARE * memory)


def _gib(size: int) -> str:
    return f"{min(size, 2**90) / 2**30:.3g}"
