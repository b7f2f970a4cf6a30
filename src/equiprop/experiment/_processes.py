"""Several processes as one job, on one machine or on many, by JAX's own distributed engine.

JAX's service does not say that a process is missing but aborts this one, and notices the loss of one after a minute or two, for
which time a collective in progress may wait. So the processes first meet by themselves, at the coordinator's port, and keep these
connections open as long as the job lasts: that of a process that ends, however it does, ends at once.
"""

import hashlib
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from threading import Thread

import jax

from equiprop.errors import EquipropError, InputError

_SHUTDOWN_SECONDS = 10


@dataclass(frozen=True)
class ProcessSettings:
    """Which process of how many this one is. No part of a run's configuration: the weights are the same for any number."""

    coordinator: str = ""
    """HOST:PORT at which process 0 listens for the others, the same for all; at an address alone, for a name everywhere."""
    count: int = 1
    """Processes of the job; all are started with the same options but for their index."""
    index: int = 0
    """Of this process, from 0; process 0 writes the run directory."""
    timeout: int = 60
    """Seconds to wait for the others to start."""


def join(config: ProcessSettings, on_loss: Callable[[str], None], job: str = "") -> None:
    """Waits for the other processes of the job. To be called before anything is computed.

    **Arguments:**

    - `on_loss`: called with a message, from a thread of its own, when another process goes away. It has to end this one:
      what this process waits for will not come.
    - `job`: what all of them are to do; one that was started for something else is sent away.

    Raises `InputError` for an index that cannot be, or if the others do not answer in time; `EquipropError` if JAX cannot start.
    """
    if config.count < 1:
        raise InputError(f"processes.count = {config.count}: must be at least 1")
    if not 0 <= config.index < config.count:
        raise InputError(f"processes.index = {config.index}: must be from 0 to {config.count - 1}")
    if config.timeout < 1:
        raise InputError(f"processes.timeout = {config.timeout}: must be at least 1")
    if config.count == 1:
        if config.coordinator:
            raise InputError(
                f"processes.coordinator = {config.coordinator!r}: one process has none; give processes.count"
            )
        return
    host, _, port = config.coordinator.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise InputError(
            f"processes.coordinator = {config.coordinator!r}: must be HOST:PORT of process 0, PORT from 1 to 65535"
        )
    try:
        jax_port = (_called if config.index == 0 else _call)(host, int(port), config, _token(config, job))
    except OSError as error:
        raise InputError(
            f"processes.count = {config.count}: not all of them met at {config.coordinator} within {config.timeout} s "
            f"({error.strerror or error}); start every index from 0 to {config.count - 1} with the same options, or raise "
            "processes.timeout"
        ) from error
    for index, line in _lines.items():
        _notice(line)
        _listeners.append(Thread(target=_listen, args=(line, index, config, on_loss), daemon=True))
        _listeners[-1].start()
    # JAX's handler of SIGTERM would take the place of the one that ends a training in order.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            f"{host}:{jax_port}",
            config.count,
            config.index,
            coordinator_bind_address=f"{_own_address(host) or '[::]'}:{jax_port}",
            initialization_timeout=config.timeout,
            shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
        )
    except RuntimeError as error:
        raise EquipropError(f"process {config.index} of {config.count}: JAX does not start ({error})") from error


# A caller says whose job it belongs to and its index, and hears the same and the port of JAX's service; port 0 sends it away.
_CALL, _ANSWER = b"eq-calls", b"eq-heard"
_WORD = struct.Struct("!8s32sI")
# At its end a process says that it ends as agreed, or which one is lost.
_END = struct.Struct("!I")
_AGREED = 2**32 - 1
# A collective fails at once where another process is lost; that it is lost is heard of soon after that.
_NOTICE_SECONDS = 3.0

_lines: dict[int, socket.socket] = {}
"""By index: from process 0 one to every other process, from each of those one to process 0."""
_listeners: list[Thread] = []


def _token(config: ProcessSettings, job: str) -> bytes:
    """What a process of another job does not say."""
    return hashlib.sha256(f"{config.coordinator} {config.count} {job}".encode()).digest()


def _own_address(host: str) -> str:
    """An address is listened at alone; empty for a name, which need not mean here what others reach this machine by."""
    with suppress(ValueError):
        return str(ip_address("127.0.0.1" if host == "localhost" else host))
    return ""


def _called(host: str, port: int, config: ProcessSettings, token: bytes) -> int:
    """In process 0: waits until all others have called, and tells them the port of JAX's service, which is the answer.

    Nobody is waited for in particular, so that a stranger, silent or not, does no harm. Raises `OSError` if the port cannot be
    listened at, or one has not called in time.
    """
    deadline = time.monotonic() + config.timeout
    callers: set[socket.socket] = set()
    with socket.create_server((_own_address(host), port)) as server, selectors.DefaultSelector() as heard:
        heard.register(server, selectors.EVENT_READ)
        while len(_lines) < config.count - 1:
            missing = [str(index) for index in range(1, config.count) if index not in _lines]
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {', '.join(missing)} did not call")
            for key, _ in heard.select(0.1):
                if key.fileobj is server:
                    caller, _ = server.accept()
                    callers.add(caller)
                    heard.register(caller, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket) and not _is_welcome(key.fileobj, config, token):
                    heard.unregister(key.fileobj)
                    key.fileobj.close()
        for stranger in callers - {*_lines.values()}:
            stranger.close()
    with socket.create_server((_own_address(host), 0)) as free:
        jax_port = free.getsockname()[1]
    for line in _lines.values():
        line.sendall(_WORD.pack(_ANSWER, token, jax_port))
    return jax_port


def _is_welcome(line: socket.socket, config: ProcessSettings, token: bytes) -> bool:
    """Whether who has said something belongs to the job; its line is then among those that are kept."""
    try:
        said = line.recv(_WORD.size + 1)
    except OSError:
        said = b""
    for index in [index for index, other in _lines.items() if other is line]:
        # It has called before: what is heard of it now is its end, and another may come in its place.
        del _lines[index]
        return False
    if len(said) != _WORD.size or not said.startswith(_CALL):
        return False
    _, theirs, index = _WORD.unpack(said)
    if theirs != token or index in _lines or not 0 < index < config.count:
        with suppress(OSError):
            line.sendall(_WORD.pack(_ANSWER, token, 0))
        return False
    _lines[index] = line
    return True


def _call(host: str, port: int, config: ProcessSettings, token: bytes) -> int:
    """In another process: calls process 0, which may not be there yet, until it answers.

    Raises `OSError` if it does not in time, `InputError` if it sends this process away.
    """
    deadline = time.monotonic() + config.timeout
    while True:
        with ExitStack() as failed:
            try:
                left = max(deadline - time.monotonic(), 0.1)
                line = failed.enter_context(socket.create_connection((host, port), left))
                line.settimeout(left)
                line.sendall(_WORD.pack(_CALL, token, config.index))
                word, theirs, jax_port = _WORD.unpack(_exactly(line, _WORD.size))
                if word == _ANSWER and not jax_port:
                    raise InputError(
                        f"processes.index = {config.index}: process 0 of {config.count} at {config.coordinator} does not want "
                        "it, as it has one of that index, or was started for something else",
                        hint="give every process an index of its own, and the same options but for that",
                    )
                if (word, theirs) != (_ANSWER, token):
                    raise ConnectionError("what answers there is not process 0 of this job")
            except OSError as error:
                if isinstance(error, socket.gaierror) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                failed.pop_all()
                _lines[0] = line
                return jax_port


def _exactly(line: socket.socket, size: int) -> bytes:
    heard = b""
    while len(heard) < size:
        more = line.recv(size - len(heard))
        if not more:
            raise ConnectionError("the other end hung up")
        heard += more
    return heard


def _notice(line: socket.socket) -> None:
    """Lets also the loss of a machine, which says no goodbye, be heard of within ten seconds."""
    line.settimeout(None)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # These have other names on some systems, or none.
    for name, value in (("TCP_KEEPIDLE", 3), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 5)):
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _listen(line: socket.socket, index: int, config: ProcessSettings, on_loss: Callable[[str], None]) -> None:
    """Notices at once when a process goes away, and says so to the others."""
    try:
        (lost,) = _END.unpack(_exactly(line, _END.size))
    except OSError:
        lost = index
    if lost != _AGREED:
        _say(lost)
        on_loss(f"process {config.index} of {config.count}: process {lost} went away")


def _say(end: int) -> None:
    for line in _lines.values():
        with suppress(OSError):
            line.sendall(_END.pack(end))


@contextmanager
def ending_together() -> Iterator[None]:
    """What all processes do in the block: they end as agreed after it; whatever else ends one of them stops the others.

    An `EquipropError` that is no `InputError` is agreed on.
    """
    try:
        yield
    except InputError:
        raise
    except EquipropError:
        _say(_AGREED)
        raise
    except (jax.errors.JaxRuntimeError, ValueError):
        # JAX's complaint of a process that is lost, which is of either class, is not what there is to say of that: the listener
        # ends this one first.
        for listener in _listeners:
            listener.join(_NOTICE_SECONDS / len(_listeners))
        raise
    _say(_AGREED)
