"""Several processes meet, agree, notice each other's end, and compute what one would."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from test_loop import StopAt

from equiprop.errors import InputError
from equiprop.experiment import Interrupted, ProcessSettings, load, train
from equiprop.experiment import _processes as processes
from equiprop.training import agree, is_primary, on_primary
from toy import config, dataset

ONE_EPOCH = {"training": {"epochs": 1, "diagnostic_samples": 0, "seed": 3, "precision": "float64"}}

ONE_OF_TWO = """
import sys
index, port, out, tests = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
sys.path.insert(0, tests)
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)
from equiprop.experiment import Interrupted, ProcessSettings, train
from equiprop.experiment._processes import ending_together, join
join(ProcessSettings(f"localhost:{port}", 2, index), lambda message: None)
assert jax.device_count() == 4 and jax.local_device_count() == 2
from test_processes import ONE_EPOCH
from equiprop.training import _loop
from toy import config, dataset
import itertools, signal
_loop._CALL_SECONDS = 0.0
calls, loss = itertools.count(1), _loop._loss

def loss_and_signal(totals):
    if index and next(calls) == 5:
        signal.raise_signal(signal.SIGINT)
    return loss(totals)

_loop._loss = loss_and_signal
try:
    with ending_together():
        # What one process is asked for after step 5, all of them do at the next.
        train(config(**ONE_EPOCH), out, dataset=dataset())
except Interrupted as error:
    assert str(error.run) == ("None" if index else out), error
    sys.exit()
sys.exit("was not interrupted")
"""


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.slow
def test_two_processes_of_two_devices_train_the_same_weights(tmp_path):
    """Ctrl-C in one of them stops both at the same step, and their checkpoint is read by one process with one device."""
    here, port = Path(__file__).parent, str(free_port())
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(here), os.environ.get("PYTHONPATH")])),
    }
    command = [sys.executable, "-c", ONE_OF_TWO]
    started = [
        subprocess.Popen(
            [*command, str(index), port, str(tmp_path / "two"), str(here.parent)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        for index in range(2)
    ]
    for process in started:
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
    with pytest.raises(Interrupted):
        train(config(**ONE_EPOCH), tmp_path / "one", dataset=dataset(), callbacks=[StopAt(1, 6)])
    two, one = (load(tmp_path / name, dataset=dataset()).system for name in ("two", "one"))
    for a, b in zip(jax.tree.leaves(two), jax.tree.leaves(one), strict=True):
        assert np.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.fixture
def lines(monkeypatch):
    """What `processes` keeps of each call, apart from the module's own."""
    kept: dict[int, socket.socket] = {}
    monkeypatch.setattr(processes, "_lines", kept)
    yield kept
    for line in kept.values():
        line.close()


class Meeting:
    """Process 0 of `count` in a thread of its own, and what it answers."""

    def __init__(self, count, timeout=10, job=""):
        self.port = free_port()
        self.config = ProcessSettings(f"localhost:{self.port}", count, 0, timeout)
        self.token = processes._token(self.config, job)
        self.answer: Any = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            self.answer = processes._called("localhost", self.port, self.config, self.token)
        except OSError as error:
            self.answer = error

    def stranger(self, said=b""):
        """Someone who calls as soon as the port is open."""
        while True:
            try:
                line = socket.create_connection(("localhost", self.port))
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        line.sendall(said)
        return line

    def caller(self, index, token=None):
        """A process of the job, or of another; it holds its own end of the line, not that of process 0."""
        line = self.stranger(processes._WORD.pack(processes._CALL, token or self.token, index))
        line.settimeout(10)
        return line

    def told(self, line):
        return processes._WORD.unpack(processes._exactly(line, processes._WORD.size))[2]

    def end(self):
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.answer


def test_all_are_told_the_same_port(lines):
    meeting = Meeting(3)
    callers = [meeting.caller(index) for index in (1, 2)]
    port = meeting.end()
    assert [meeting.told(line) for line in callers] == [port, port] and set(lines) == {1, 2}
    for line in callers:
        line.close()


def test_strangers_do_no_harm(lines):
    """One that hangs up, one that says something else, and one that says nothing."""
    meeting = Meeting(2)
    meeting.stranger().close()
    strangers = [meeting.stranger(said) for said in (b"rubbish!", b"GET / HTTP/1.1\r\n" * 9, b"")]
    caller = meeting.caller(1)
    began = time.monotonic()
    assert meeting.told(caller) == meeting.end() and time.monotonic() - began < 5
    for line in (caller, *strangers):
        line.close()


def test_who_does_not_belong_is_sent_away_and_the_job_starts(lines):
    meeting = Meeting(3)
    first = meeting.caller(1)
    others = [(1, None), (0, None), (3, None), (2, processes._token(meeting.config, "another job"))]
    for index, token in others:
        with meeting.caller(index, token) as line:
            assert meeting.told(line) == 0
    second = meeting.caller(2)
    assert meeting.told(second) == meeting.told(first) == meeting.end()
    for line in (first, second):
        line.close()


def test_one_that_is_started_anew_takes_its_place(lines):
    meeting = Meeting(3)
    meeting.caller(1).close()
    with meeting.caller(1) as again, meeting.caller(2) as other:
        assert meeting.told(again) == meeting.told(other) == meeting.end()


@pytest.mark.slow
def test_a_process_that_is_sent_away_says_why(lines):
    meeting = Meeting(2, timeout=2)
    with pytest.raises(InputError, match=r"^processes.index = 1: process 0 of 2 at .* does not want it"):
        processes.join(replace(meeting.config, index=1, timeout=5), lambda message: None, "another job")
    assert isinstance(meeting.end(), TimeoutError)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_process_that_does_not_come_is_missed(lines, index):
    address = f"localhost:{free_port()}"
    with pytest.raises(InputError, match=f"not all of them met at {address} within 1 s") as error:
        processes.join(ProcessSettings(address, 2, index, timeout=1), lambda message: None)
    assert "\n" not in str(error.value)
    assert index or "process 1 did not call" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("says", [b"", b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3, a banner of another service\r\n"])
def test_another_service_at_the_port_is_not_taken_for_process_0(lines, says):
    def serve():
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            kept.append(line)
            with suppress(OSError):
                line.sendall(says)

    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        service = threading.Thread(target=serve, daemon=True)
        service.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match=f"not all of them met at {address} within 1 s"):
            processes.join(ProcessSettings(address, 2, 1, timeout=1), lambda message: None)
        server.shutdown(socket.SHUT_RDWR)
        service.join()
    for line in kept:
        line.close()


def test_an_address_is_listened_at_alone():
    assert processes._own_address("localhost") == processes._own_address("127.0.0.1") == "127.0.0.1"
    assert processes._own_address("node7") == ""


@pytest.mark.parametrize("end", ["as agreed", "lost", "of another"])
def test_the_end_of_another_process(lines, end):
    """One that leaves as agreed is not missed; one whose line goes dead is, and so is one of which process 0 says so."""
    lost = []
    ours, lines[1] = socket.socketpair()
    others, lines[2] = socket.socketpair()
    if end == "as agreed":
        with processes.ending_together():
            pass
    elif end == "of another":
        lines[1].sendall(processes._END.pack(2))
    lines.pop(1).close()
    processes._listen(ours, 1, ProcessSettings("", 3, 0), lost.append)
    who = {"as agreed": [], "lost": [1], "of another": [2]}[end]
    assert lost == [f"process 0 of 3: process {index} went away" for index in who]
    others.settimeout(10)
    said = processes._END.unpack(processes._exactly(others, processes._END.size))
    assert said == ((processes._AGREED,) if end == "as agreed" else tuple(who))
    for line in (ours, others):
        line.close()


@pytest.mark.parametrize("complaint", [ValueError("Gloo AllGather failed"), jax.errors.JaxRuntimeError("UNKNOWN")])
def test_what_a_collective_complains_of_waits_for_the_one_who_says_that_another_is_lost(lines, monkeypatch, complaint):
    said = threading.Event()
    listener = threading.Timer(0.2, said.set)
    monkeypatch.setattr(processes, "_listeners", [listener])
    listener.start()
    with pytest.raises(type(complaint)), processes.ending_together():
        raise complaint
    assert said.is_set()


def test_a_fault_of_one_process_stops_the_others(lines):
    ours, lines[1] = socket.socketpair()
    with pytest.raises(InputError), processes.ending_together():
        raise InputError("of this process alone")
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    ours.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "processes.count = 0: must be at least 1"),
        ({"count": 2, "index": 2}, "processes.index = 2: must be from 0 to 1"),
        ({"count": 2}, "processes.coordinator = '': must be HOST:PORT"),
        ({"count": 2, "coordinator": "here:door"}, "processes.coordinator = 'here:door': must be HOST:PORT"),
        ({"count": 2, "coordinator": "here:65536"}, "processes.coordinator = 'here:65536': must be HOST:PORT"),
        ({"coordinator": "here:1"}, "processes.coordinator = 'here:1': one process has none"),
        ({"count": 2, "coordinator": "here:1", "timeout": 0}, "processes.timeout = 0: must be at least 1"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=message):
        processes.join(ProcessSettings(**options), lambda message: None)


def test_one_process_agrees_with_itself():
    assert agree(True, 7) == (True, 7) and is_primary()
    assert on_primary(lambda: 3) == 3
    with pytest.raises(InputError):
        on_primary(lambda: (_ for _ in ()).throw(InputError("no")))
