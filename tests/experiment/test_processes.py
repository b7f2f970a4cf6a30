"""Several processes meet, agree, notice each other's end, and compute what one would."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

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
from equiprop.experiment._processes import join, leave
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
    # What one process is asked for after step 5, all of them do at the next.
    train(config(**ONE_EPOCH), out, dataset=dataset())
except Interrupted as error:
    assert str(error.run) == ("None" if index else out), error
    leave()
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
        "PYTHONPATH": str(here),
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
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
    with pytest.raises(Interrupted):
        train(config(**ONE_EPOCH), tmp_path / "one", dataset=dataset(), callbacks=[StopAt(1, 6)])
    two, one = (load(tmp_path / name, dataset=dataset()).system for name in ("two", "one"))
    for a, b in zip(jax.tree.leaves(two), jax.tree.leaves(one), strict=True):
        assert np.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.fixture
def lines(monkeypatch):
    """What `processes` keeps of each call, apart from the module's own."""
    kept: list[socket.socket] = []
    monkeypatch.setattr(processes, "_lines", kept)
    yield kept
    for line in kept:
        line.close()


def meet(count, callers, port, timeout=5):
    """Process 0 in this thread and the `callers` (index and count) in others; what process 0 answers and what they are told."""
    told = {}

    def call(index, their_count):
        try:
            told[index] = processes._call("localhost", port, ProcessSettings("", their_count, index, timeout))
        except OSError as error:
            told[index] = error

    threads = [threading.Thread(target=call, args=caller) for caller in callers]
    for thread in threads:
        thread.start()
    try:
        answer = processes._call_in(port, ProcessSettings("", count, 0, timeout))
    except InputError:
        for line in processes._lines:
            line.close()
        raise
    finally:
        for thread in threads:
            thread.join()
    return answer, told


def test_all_are_told_the_same_port(lines):
    port, told = meet(3, [(1, 3), (2, 3)], free_port())
    assert told == {1: port, 2: port}


@pytest.mark.parametrize(("callers", "index"), [([(1, 3)], 1), ([(0, 2)], 0)])
def test_who_does_not_belong_is_named(lines, callers, index):
    with pytest.raises(
        InputError, match=rf"processes.index = {index}, processes.count = {callers[0][1]}: called process 0"
    ):
        meet(2, callers, free_port())


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_that_does_not_come_is_missed(lines, index):
    address = f"localhost:{free_port()}"
    with pytest.raises(InputError, match=f"not all of them met at {address} within 1 s") as error:
        processes.join(ProcessSettings(address, 2, index, timeout=1), lambda message: None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("goodbye", [True, False])
def test_the_end_of_another_process(lines, goodbye):
    """One that leaves as agreed is not missed; one whose line goes dead is."""
    lost = []
    ours, theirs = socket.socketpair()
    lines.append(theirs)
    if goodbye:
        processes.leave()
    theirs.close()
    processes._listen(ours, ProcessSettings("", 2, 1), lost.append)
    ours.close()
    if goodbye:
        assert not lost
    else:
        assert "another process of the job went away" in lost[0] and "--resume" in lost[0]


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
