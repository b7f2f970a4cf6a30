"""Several devices and several processes: they never wait for each other for ever, and the weights are those of one."""

import json
import signal
import socket

import numpy as np
import pytest
from commands import SMALL, UNDIAGNOSED, Started, epochs, equiprop, parameters, told, until

pytestmark = pytest.mark.slow


# The nudge is made smaller after each epoch, which moves the weights by ten times of what `close` lets pass and more.
ACCURATE = ("--training.gradient-tolerance", "1e-4", "--estimator.nudge", "2", "--optimizer.learning-rate", "0.3")


def close(ours, theirs):
    a, b = parameters(ours), parameters(theirs)
    return a.keys() == b.keys() != set() and all(np.allclose(a[name], b[name], rtol=1e-3, atol=1e-4) for name in a)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "run"
    equiprop("train", *SMALL, *ACCURATE, "--out", out)
    return out


def test_two_devices_with_everything_at_its_default(tmp_path):
    settings = ("--training.epochs", 3, "--training.batch-size", 20, "--training.devices", 2)
    equiprop("train", "--dataset", "digits", *settings, "--out", tmp_path / "run", devices=2)
    assert json.loads(equiprop("evaluate", tmp_path / "run", "--json", devices=2))["samples"] > 0


def test_four_devices_on_fewer_cores(tmp_path, one_device):
    """Twice as many devices as a small machine has cores: what waits holds a core."""
    run = tmp_path / "run"
    equiprop("train", *SMALL, *ACCURATE, "--training.devices", 4, "--out", run, devices=4)
    assert close(run, one_device)


def test_seeds_on_two_devices(tmp_path):
    equiprop("train", *SMALL, *UNDIAGNOSED, "--seeds", 2, "--training.devices", 2, "--out", tmp_path / "run", devices=2)


def job(out, *options, strangers=0, devices=1):
    """Two processes of a job, and strangers who call at its port while it starts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = ("--processes.count", 2, "--processes.coordinator", f"127.0.0.1:{port}")
    first = Started("train", *options, *where, "--processes.index", 0, "--out", out, devices=devices)
    lines: list[socket.socket] = []

    def called():
        try:
            lines.append(socket.create_connection(("127.0.0.1", port)))
        except ConnectionRefusedError:
            return False
        return len(lines) == strangers

    if strangers:
        until(called, first)
        lines[0].close()
        for line in lines[2:]:
            line.sendall(b"rubbish!")
    second = Started("train", *options, *where, "--processes.index", 1, "--out", out, devices=devices)
    return [first, second], lines


def test_two_processes_whoever_else_calls(tmp_path):
    started, lines = job(tmp_path / "run", *SMALL, strangers=4)
    for process in started:
        answer = process.answer()
        assert answer.code == 0, answer
    for line in lines:
        line.close()
    assert (tmp_path / "run" / "summary.json").is_file()


def test_two_processes_of_two_devices_are_one(tmp_path, one_device):
    """Also in what they make of the bar of the gradient, of which the first process tells the second."""
    started, _ = job(tmp_path / "two", *SMALL, *ACCURATE, devices=2)
    for process in started:
        assert process.answer().code == 0
    assert close(tmp_path / "two", one_device)
    for ours, theirs in zip(told(tmp_path / "two"), told(one_device), strict=True):
        assert ours["gradient_bar"] == pytest.approx(theirs["gradient_bar"], rel=0.05)
        assert ours["nudge_factor"] == pytest.approx(theirs["nudge_factor"], rel=0.05) and ours["nudge_factor"] < 1


@pytest.mark.parametrize("lost", [0, 1])
def test_a_process_that_is_killed_is_named_by_the_other_which_ends(tmp_path, lost):
    run = tmp_path / "run"
    started, _ = job(run, *SMALL, *UNDIAGNOSED, "--epochs", 100_000)
    until(lambda: epochs(run) >= 1, started[0])
    started[lost].process.send_signal(signal.SIGKILL)
    answer = started[1 - lost].answer(15)
    assert answer.code == 1, answer
    assert f"process {1 - lost} of 2: process {lost} went away; start all of them again, with --resume" in answer.err
    started[lost].process.communicate()


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_that_does_not_come_is_missed(tmp_path, index):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = ("--processes.count", 2, "--processes.coordinator", f"127.0.0.1:{port}", "--processes.index", index)
    answer = Started("train", *SMALL, *where, "--processes.timeout", 2, "--out", tmp_path / "run").answer()
    assert answer.code == 2 and "not all of them met" in answer.err and answer.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
