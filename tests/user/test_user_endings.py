"""Ctrl-C, SIGTERM, kill -9, a run directory that goes away and a full disk: a run always ends, says why, and goes on."""

import signal
import time

import pytest
from commands import SMALL, UNDIAGNOSED, Started, epochs, equiprop, same, until

pytestmark = pytest.mark.slow

ENDLESS = (*SMALL, *UNDIAGNOSED, "--epochs", 100_000)
# It is five seconds on a machine that has nothing else to do.
SOON = 15
# One relaxation of so many steps, whatever the residual: in single precision that may well become zero.
LONG_STEP = ("--solver.kind", "fixed_iterations", "--solver.max-steps", 100_000_000)


def test_ctrl_c_leaves_a_checkpoint_in_mid_epoch_that_goes_on(tmp_path):
    run = tmp_path / "run"
    training = Started("train", *ENDLESS, "--out", run)
    until(lambda: epochs(run) >= 1, training)
    answer, seconds = training.signalled(signal.SIGINT)
    assert answer.code == 130 and seconds < SOON
    assert f"continue with: equiprop train --resume {run}" in answer.err and answer.err.count("\n") == 1
    equiprop("train", "--resume", run, "--epochs", epochs(run) + 1, "--quiet")


@pytest.mark.parametrize(("number", "devices"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_a_signal_is_heard_in_a_compiled_call_that_lasts_for_minutes(tmp_path, number, devices):
    run = tmp_path / "run"
    settings = (*ENDLESS, *LONG_STEP, "--hidden", 500, "--training.devices", devices)
    training = Started("train", *settings, "--out", run, devices=devices)
    until(lambda: any(run.glob("checkpoints/epoch-*")), training)
    time.sleep(5)
    answer, seconds = training.signalled(number)
    assert answer.code == 130 and seconds < SOON
    assert f"the run {run}, epoch 1 of 100000, step 1 of 10, which does not stop half way" in answer.err
    assert f"the last checkpoint is whole, continue with: equiprop train --resume {run}" in answer.err
    assert any(run.glob("checkpoints/epoch-*")) and not any(run.glob("checkpoints/.*"))


def test_ctrl_c_before_the_first_step_tells_how_to_go_on(tmp_path):
    run = tmp_path / "run"
    training = Started("train", *ENDLESS, "--out", run)
    until(lambda: any(run.glob("checkpoints/epoch-*")), training)
    answer, _ = training.signalled(signal.SIGINT)
    assert answer.code == 130 and f"continue with: equiprop train --resume {run}" in answer.err, answer


def test_kill_and_resume_is_the_run_that_was_never_killed(tmp_path):
    """With Ctrl-C in between, too."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    settings = (*SMALL, *UNDIAGNOSED, "--epochs", 300)
    equiprop("train", *settings, "--out", whole)
    for number in (signal.SIGKILL, signal.SIGINT):
        before = epochs(run)
        training = Started("train", *(("--resume", run, "--quiet") if before else (*settings, "--out", run)))
        until(lambda before=before: epochs(run) > before + 20, training)
        assert training.signalled(number)[0].code == (130 if number == signal.SIGINT else -number)
    assert epochs(run) < 300
    equiprop("train", "--resume", run, "--quiet")
    assert same(whole, run)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_directory_that_is_removed_is_not_made_anew(tmp_path, seeds):
    run = tmp_path / "run"
    training = Started("train", *ENDLESS, "--seeds", seeds, "--out", run)
    until(lambda: epochs(run) >= 1, training)
    run.rename(tmp_path / "away")
    answer = training.answer()
    assert answer.code == 2 and "was removed or replaced while it was trained" in answer.err
    assert answer.err.count("\n") == 1 and not run.exists()


def test_a_full_disk_is_told_and_the_run_goes_on_where_there_is_room(tmp_path):
    """A limit on the size of a file is a disk that is full for what is larger."""
    run = tmp_path / "run"
    equiprop("train", *SMALL, *UNDIAGNOSED, "--out", run)
    kept = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    size = min(map(len, kept.values())) // 2
    answer = Started("train", "--resume", run, "--epochs", 4, "--quiet", file_bytes=size).answer()
    # Before it the compiler's cache says of itself that its disk is full.
    assert answer.code == 2 and "cannot be written" in answer.err.splitlines()[-1], answer
    assert {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()} == kept
    equiprop("train", "--resume", run, "--epochs", 4, "--quiet")
    assert epochs(run) == 4
