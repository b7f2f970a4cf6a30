"""Several processes as one job, on one machine or on many, by JAX's own distributed engine."""

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

import jax

from equiprop.errors import InputError

_SHUTDOWN_SECONDS = 10


@dataclass(frozen=True)
class ProcessSettings:
    """Which process of how many this one is. No part of a run's configuration: the weights are the same for any number."""

    coordinator: str = ""
    """HOST:PORT at which process 0 listens for the others, the same for all."""
    count: int = 1
    """Processes of the job; all are started with the same options but for their index."""
    index: int = 0
    """Of this process, from 0; process 0 writes the run directory."""
    timeout: int = 60
    """Seconds to wait for the others to start."""


def join(config: ProcessSettings, on_loss: Callable[[str], None]) -> None:
    """Waits for the other processes of the job. To be called before anything is computed.

    **Arguments:**

    - `on_loss`: called with a message, from a thread of its own, when another process goes away. It has to end this one:
      what this process waits for will not come.

    Raises `InputError` for an index that cannot be, or if the others do not answer in time.
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
    if not (host and port.isdigit() and 0 < int(port) < 2**16):
        raise InputError(
            f"processes.coordinator = {config.coordinator!r}: must be HOST:PORT of process 0, PORT from 1 to 65535"
        )
    try:
        jax_port = _call_in(int(port), config) if config.index == 0 else _call(host, int(port), config)
    except OSError as error:
        reason = "did not answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise InputError(
            f"processes.count = {config.count}: not all of them met at {config.coordinator} within {config.timeout} s "
            f"({reason}); start every index from 0 to {config.count - 1} with the same count and coordinator, or raise "
            "processes.timeout"
        ) from error
    jax.distributed.initialize(
        f"{host}:{jax_port}",
        config.count,
        config.index,
        initialization_timeout=config.timeout,
        shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
    )
    for line in _lines:
        line.settimeout(None)
        Thread(target=_listen, args=(line, config, on_loss), daemon=True).start()


_FINISHED = b"."
_HELLO = struct.Struct("!II")
_PORT = struct.Struct("!I")

_lines: list[socket.socket] = []
"""From process 0 one to every other process, from each of those one to process 0, open as long as the job lasts.

JAX's own service does not say that a process is missing but aborts, and notices the loss of one after a minute or two, for which
time a collective in progress waits.
"""


def _call_in(port: int, config: ProcessSettings) -> int:
    """In process 0: waits until all others have called, and tells them the port of JAX's service, which is the answer."""
    deadline = time.monotonic() + config.timeout
    seen = {0}
    with socket.create_server(("", port)) as server:
        while len(seen) < config.count:
            server.settimeout(max(deadline - time.monotonic(), 1e-3))
            line, _ = server.accept()
            line.settimeout(config.timeout)
            index, count = _HELLO.unpack(_exactly(line, _HELLO.size))
            if count != config.count or index in seen:
                line.close()
                raise InputError(
                    f"processes.index = {index}, processes.count = {count}: called process 0 of {config.count}, where "
                    f"{sorted(seen)} are already; give every process an index of its own and the same count"
                )
            seen.add(index)
            _lines.append(line)
    with socket.create_server(("", 0)) as free:
        jax_port = free.getsockname()[1]
    for line in _lines:
        line.sendall(_PORT.pack(jax_port))
    return jax_port


def _call(host: str, port: int, config: ProcessSettings) -> int:
    """In another process: calls process 0, which may not be there yet."""
    deadline = time.monotonic() + config.timeout
    while True:
        try:
            line = socket.create_connection((host, port), config.timeout)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    _lines.append(line)
    line.sendall(_HELLO.pack(config.index, config.count))
    return _PORT.unpack(_exactly(line, _PORT.size))[0]


def _exactly(line: socket.socket, size: int) -> bytes:
    heard = b""
    while len(heard) < size:
        more = line.recv(size - len(heard))
        if not more:
            raise ConnectionError("the other end hung up")
        heard += more
    return heard


def _listen(line: socket.socket, config: ProcessSettings, on_loss: Callable[[str], None]) -> None:
    """Notices at once when the process at the other end goes away."""
    try:
        heard = line.recv(1)
    except OSError:
        heard = b""
    if heard != _FINISHED:
        on_loss(
            f"process {config.index} of {config.count}: another process of the job went away; start all of them again, "
            "with --resume and the run directory to go on from its last checkpoint"
        )


def leave() -> None:
    """Tells the other processes that this one ends as agreed."""
    for line in _lines:
        with suppress(OSError):
            line.sendall(_FINISHED)
