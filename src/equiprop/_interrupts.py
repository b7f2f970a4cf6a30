"""Ctrl-C, SIGTERM and a watch over a program that may compute for minutes on end."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread

# A terminal, a scheduler and the commands in between may each pass on the same signal.
SAME_SECONDS = 1.0
_PATIENCE_SECONDS = 3.5
# For what is worth to be waited for.
_LONGEST_SECONDS = 60.0
_TICK = 0.1
# So long at one thing is said, and again after twice the time.
_SILENT_SECONDS = 300.0


@dataclass(frozen=True)
class _Part:
    what: str
    waited_for: bool
    then: Callable[[], str]


_doing: list[_Part] = []


@contextmanager
def doing(what: str, *, waited_for: bool = False, then: Callable[[], str] = str) -> Iterator[None]:
    """What the program is at in the block, or in the function that this decorates, to be said if it is ended meanwhile.

    **Arguments:**

    - `waited_for`: whether it is let come to its end, within a minute.
    - `then`: says how to go on afterwards.
    """
    _doing.append(_Part(what, waited_for, then))
    try:
        yield
    finally:
        _doing.pop()


def end_in_time() -> None:
    """Ends this process with 130, seconds after Ctrl-C or SIGTERM, if it has not ended by itself, and says what it was at.

    Python hears a signal only between two instructions of its main thread, and a compiled call may be minutes away from the next.
    Until then it is watched: what it has been at for five minutes without an end is named, and again after twice the time.

    For programs of our own, from their main thread: a library does not end the program that uses it.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    # Where nothing better is done, one is as good as the other.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    Thread(target=_end, args=(heard, told), daemon=True).start()


def _end(heard: socket.socket, told: socket.socket) -> None:
    _watch(heard)
    heard.settimeout(_TICK)
    began, again = time.monotonic(), False
    until = began + _PATIENCE_SECONDS
    while time.monotonic() < min(until, began + _LONGEST_SECONDS) and not again:
        again = _asks(heard) and time.monotonic() > began + SAME_SECONDS
        if any(part.waited_for for part in _doing):
            until = time.monotonic() + _PATIENCE_SECONDS
    parts = list(_doing)
    at = f", in {', '.join(part.what for part in parts)}, which does not stop half way" if parts else ""
    said = "; ".join([f"interrupted{at}", *filter(None, (part.then() for part in parts))])
    _say(said)
    told.close()
    os._exit(130)


def _watch(heard: socket.socket) -> None:
    """Until there is a signal that asks for the end."""
    heard.settimeout(_SILENT_SECONDS / 10)
    last, since, silent = None, time.monotonic(), _SILENT_SECONDS
    while not _asks(heard):
        parts = list(_doing)
        part = parts[-1] if parts else None
        if part is None or part is not last:
            last, since, silent = part, time.monotonic(), _SILENT_SECONDS
        elif time.monotonic() - since > silent:
            at = ", ".join(part.what for part in parts)
            minutes = (time.monotonic() - since) / 60
            _say(
                f"still in {at}, for {minutes:.0f} minutes; to compile a large system may take as long, and Ctrl-C ends it"
            )
            silent *= 2


def _say(what: str) -> None:
    sys.stderr.write(f"equiprop: {what}\n")
    sys.stderr.flush()


def _asks(heard: socket.socket) -> bool:
    """Whether there is a signal that asks for the end, within the time-out."""
    try:
        return heard.recv(1)[0] in (signal.SIGINT, signal.SIGTERM)
    except TimeoutError:
        return False
