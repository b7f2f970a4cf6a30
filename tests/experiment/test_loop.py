"""Training: it learns, it stops and goes on bit for bit, and it survives what happens to long runs."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import tomllib
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from equiprop.data import Split, _room
from equiprop.errors import CheckpointWarning, InputError
from equiprop.estimators import ESTIMATORS
from equiprop.experiment import (
    Checkpoints,
    Config,
    Interrupted,
    RunDirectory,
    Trainer,
    _checkpoint,
    check_run,
    load,
    resume,
    train,
)
from equiprop.homeostasis import HOMEOSTASES
from equiprop.solvers import relax
from equiprop.systems import LayeredNetwork, predict
from equiprop.training import Callback, NonFinite, TrainState, _loop, epochs_of, evaluate, on_device
from tiers import quick_where
from toy import config, dataset

DATA = dataset()


def weights(run):
    return [np.asarray(a) for a in jax.tree.leaves(load(run, dataset=DATA).system)]


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was never disturbed, and what it told its callback."""

    class Recorder(Callback):
        def __init__(self):
            self.steps, self.epochs, self.before = [], [], []

        def on_steps(self, epoch, step, loss):
            self.steps.append((epoch, step))

        def on_validation(self, metrics):
            self.before.append((len(self.epochs), "validation_loss" in metrics, "cosine_to_adjoint" in metrics))

        def on_epoch(self, metrics, system):
            assert "cosine_to_adjoint" in metrics
            self.epochs.append(metrics["epoch"])

    out = tmp_path_factory.mktemp("runs") / "whole"
    recorder = Recorder()
    summary = train(config(), out, dataset=DATA, callbacks=[recorder], command="equiprop train")
    return out, summary, recorder


def test_it_learns(finished):
    _, summary, _ = finished
    assert summary["test_error_percent"] < 40
    assert summary["converged_fraction"] > 0.95


def test_run_directory(finished):
    out, summary, recorder = finished
    assert {p.name for p in out.iterdir()} == {
        "config.toml",
        "manifest.json",
        "metrics.jsonl",
        "checkpoints",
        "summary.json",
        "confusion.json",
        ".lock",
    }
    assert Config.from_mapping(tomllib.loads((out / "config.toml").read_text())) == Trainer(config(), DATA).config
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["dataset_checksum"] == "checksum-0" and manifest["command"] == "equiprop train"
    assert manifest["versions"]["jax"] == jax.__version__ and "CPU cores" in manifest["device"]
    assert any("2309.02214" in c for c in manifest["citations"])
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [m["epoch"] for m in metrics] == [1, 2, 3] == recorder.epochs
    assert recorder.steps[-1] == (3, 6)
    assert recorder.before == [(0, True, False), (1, True, False), (2, True, False)]
    assert json.loads((out / "summary.json").read_text()) == summary
    names = sorted(p.name for p in (out / "checkpoints").iterdir())
    assert names[-2:] == [f"epoch-{epoch:04d}-step-000000.safetensors" for epoch in (2, 3)]
    assert names[-3] == f"best-epoch-{summary['best_epoch']:04d}.safetensors" and len(names) <= 4


def test_contract_of_summary_and_metrics(finished):
    out, summary, _ = finished
    populations, connections = {"hidden_1", "output"}, {"hidden_1->output"}
    for key in (
        "test_error_percent", "validation_error_percent", "train_error_percent", "epochs", "seconds", "dataset", "estimator",
        "homeostasis", "converged_fraction", "cosine_to_adjoint", "gradient_norm_ratio", "symmetry", "certificate_angle_deg",
        "certificate_reason", "weight_angle_deg",
    ):  # fmt: skip
        assert key in summary
    assert set(summary["cosine_to_adjoint"]) == populations | {"total"}
    assert connections | {"input->hidden_1"} <= set(summary["gradient_norm_ratio"])
    assert set(summary["weight_angle_deg"]) == connections
    line = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    for key in (
        "epoch",
        "epoch_seconds",
        "train_loss",
        "validation_error_percent",
        "converged_fraction",
        "cosine_to_adjoint",
    ):
        assert key in line
    assert line["converged_fraction"] + line["oscillating_fraction"] + line["max_steps_fraction"] + line[
        "diverged_fraction"
    ] == pytest.approx(1)


@pytest.mark.slow
def test_evaluation_is_counted_by_hand(finished):
    """The error of a restored network, sample by sample in NumPy, over a batch that does not divide the split."""
    out, summary, _ = finished
    found = load(out, dataset=DATA)
    images = on_device(DATA.test, DATA, np.float32)
    state = eqx.filter_jit(relax)(found.system, images.batch(jnp.arange(40))[0], found.trainer.components.solver).state
    wrong = np.asarray(predict(found.system, state)).argmax(axis=1) != DATA.test.y
    assert summary["test_error_percent"] == pytest.approx(100 * wrong.mean())
    part = eqx.tree_at(lambda i: (i.x, i.y), images, (images.x[:7], images.y[:7]))
    assert evaluate(found.system, part, found.trainer.components.solver)["error_percent"] == pytest.approx(
        100 * wrong[:7].mean()
    )


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_does_not(finished, tmp_path):
    out, _, _ = finished
    train(config(), tmp_path / "again", dataset=DATA)
    assert same(weights(out), weights(tmp_path / "again"))
    train(config(training={"seed": 1, "epochs": 1}), tmp_path / "other", dataset=DATA)
    assert not same(weights(out), weights(tmp_path / "other"))


class StopAt(Callback):
    """Presses Ctrl-C, or sends another signal, when the given step is done, in calls of one step."""

    def __init__(self, epoch, step, number=signal.SIGINT):
        self.at, self.number = (epoch, step), number

    def on_steps(self, epoch, step, loss):
        if (epoch, step) == self.at:
            signal.raise_signal(self.number)


@pytest.fixture
def single_steps(monkeypatch):
    monkeypatch.setattr(_loop, "_CALL_SECONDS", 0.0)


@pytest.mark.parametrize("at", [(1, 1), (2, 4), (3, 6)])
def test_interrupt_and_resume_bit_for_bit(finished, tmp_path, single_steps, at):
    whole, summary, _ = finished
    out = tmp_path / "run"
    with pytest.raises(Interrupted, match=f"interrupted in epoch {at[0]} after step {at[1]} of 6") as stop:
        train(config(), out, dataset=DATA, callbacks=[StopAt(*at)])
    assert stop.value.run == out
    assert not (out / "summary.json").exists()
    resumed = resume(out, dataset=DATA)
    assert same(weights(whole), weights(out))
    assert resumed["test_error_percent"] == summary["test_error_percent"]
    ours, theirs = ([json.loads(x) for x in (d / "metrics.jsonl").read_text().splitlines()] for d in (whole, out))
    for a, b in zip(ours, theirs, strict=True):
        assert {k: v for k, v in a.items() if k != "epoch_seconds"} == {
            k: v for k, v in b.items() if k != "epoch_seconds"
        }


@pytest.mark.slow
def test_a_run_may_go_on_in_pieces(finished, tmp_path, single_steps):
    """Where a run is computed is no part of what it is; sums are then taken in another order."""
    whole, _, _ = finished
    with pytest.raises(Interrupted):
        train(config(), tmp_path / "run", dataset=DATA, callbacks=[StopAt(3, 4)])
    resume(tmp_path / "run", dataset=DATA, changes={"training.micro_batches": 2})
    assert all(
        np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(weights(whole), weights(tmp_path / "run"), strict=True)
    )


@pytest.mark.slow
def test_a_controlled_strength_and_noise_go_on_where_they_were(tmp_path, single_steps):
    """What the controller remembers and what the estimator draws are part of what a checkpoint restores."""
    sections = {
        "homeostasis": {"strength": {"hold": "symmetry", "target": 0.6}},
        "estimator": {"kind": "continuous_time", "points": 2, "noise": 0.01, "steps_per_point": 5},
        "training": {"diagnostic_samples": 0},
    }
    with pytest.raises(Interrupted):
        train(config(**sections), tmp_path / "whole", dataset=DATA, callbacks=[StopAt(3, 1)])
    with pytest.raises(Interrupted):
        train(config(**sections), tmp_path / "run", dataset=DATA, callbacks=[StopAt(1, 4)])
    with pytest.raises(Interrupted):
        resume(tmp_path / "run", dataset=DATA, callbacks=[StopAt(3, 1)])
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "run"))
    strengths = [
        [
            json.loads(line)["homeostasis_strength"]
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "run")
    ]
    assert strengths[0] == strengths[1] and strengths[0][0] != strengths[0][1]


@pytest.mark.slow
def test_a_warm_start_saves_sweeps_and_goes_on_bit_for_bit(finished, tmp_path, single_steps):
    """From the second epoch on; what a step remembers is the equilibrium of each of its samples, in half precision."""
    warm = config(training={"warm_start": True})
    train(warm, tmp_path / "whole", dataset=DATA)
    with pytest.raises(Interrupted):
        train(warm, tmp_path / "run", dataset=DATA, callbacks=[StopAt(2, 4)])
    resume(tmp_path / "run", dataset=DATA)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "run"))
    told = [
        [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        for out in (finished[0], tmp_path / "whole")
    ]
    sweeps = np.array([[epoch["relaxation_steps"] for epoch in run] for run in told])
    assert sweeps[0, 0] == sweeps[1, 0] and (sweeps[1, 1:] < sweeps[0, 1:]).all()
    assert np.allclose([a["train_loss"] for a in told[0]], [b["train_loss"] for b in told[1]], rtol=1e-3)
    trainer = Trainer(warm, DATA)
    before = trainer.advance(trainer.initial_train_state(), trainer.samples, 5)
    after = trainer.advance(jax.tree.map(jnp.copy, before), trainer.samples, 1)
    x, _ = trainer.samples.batch(jnp.arange(120))
    rested = eqx.filter_jit(relax)(before.system, x, trainer.components.solver).state
    for old, new, u in zip(*map(jax.tree.leaves, (before.equilibria, after.equilibria, rested)), strict=True):
        seen = np.asarray((old != new).any(axis=1))
        assert new.dtype == jnp.float16 and seen.sum() == 20
        assert np.allclose(new[seen], u[seen], atol=2e-3)


@pytest.mark.slow
def test_a_warm_start_in_pieces_is_the_same():
    weights, kept = zip(*(
        (jax.tree.leaves(eqx.filter(end.system, eqx.is_inexact_array)), jax.tree.leaves(end.equilibria))
        for pieces in (1, 2)
        for trainer in [Trainer(config(training={"warm_start": True, "micro_batches": pieces}), DATA)]
        for end in [trainer.advance(trainer.initial_train_state(), trainer.samples, 3)]
    ), strict=True)  # fmt: skip
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(*weights, strict=True))
    assert all(np.allclose(a, b, atol=2e-3) for a, b in zip(*kept, strict=True))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_ways_to_be_stopped_are_heard_and_their_handlers_put_back(tmp_path, single_steps, number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="interrupted in epoch 1 after step 1 of 6"):
        train(config(), tmp_path / "run", dataset=DATA, callbacks=[StopAt(1, 1, number)])
    assert RunDirectory.open(tmp_path / "run").checkpoints.about().step == 1
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_split_without_images_is_refused_before_the_work(tmp_path, name):
    empty = Split(DATA.validation.x[:0], DATA.validation.y[:0])
    with pytest.raises(InputError, match=f"dataset = 'toy': its {name} split is empty"):
        train(config(), tmp_path / "run", dataset=dataclasses.replace(DATA, **{name: empty}))
    assert not (tmp_path / "run").exists()


def test_training_in_a_thread(tmp_path):
    """Outside of the main thread signals cannot be caught; training works all the same."""
    answers = []
    job = threading.Thread(
        target=lambda: answers.append(train(config(training={"epochs": 1}), tmp_path / "run", dataset=DATA))
    )
    job.start()
    job.join()
    assert answers[0]["epochs"] == 1


class Away(Callback):
    """Removes the run directory while its second epoch is trained, or puts another in its place."""

    def __init__(self, run, replaced):
        self.run, self.replaced = run, replaced

    def on_steps(self, epoch, step, loss):
        if (epoch, step) == (2, 6):
            shutil.rmtree(self.run)
            if self.replaced:
                self.run.mkdir()
                (self.run / ".lock").touch()


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_directory_that_is_removed_or_replaced_is_not_written_to(tmp_path, single_steps, seeds, replaced):
    run = tmp_path / "run"
    again = config(training={"seeds": seeds})
    with pytest.raises(InputError, match=f"^run {run}.*: was removed or replaced while it was trained; nothing more"):
        train(again, run, dataset=DATA, callbacks=[Away(run, replaced)])
    assert [path.name for path in run.rglob("*")] == [".lock"] if replaced else not run.exists()


def test_a_checkpoint_makes_no_run_directory(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        Checkpoints(tmp_path / "gone" / "checkpoints", config()).save(
            Trainer(config(), DATA).initial_train_state(), seconds=0.0
        )
    assert not (tmp_path / "gone").exists()


def test_a_signal_that_comes_twice_at_once_is_one(tmp_path, single_steps):
    """A terminal and what runs a command may both pass it on."""

    class Twice(Callback):
        def on_steps(self, epoch, step, loss):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="interrupted in epoch 1 after step 1 of 6"):
        train(config(), tmp_path / "run", dataset=DATA, callbacks=[Twice()])


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_compilation_cache_dir", sys.argv[3])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
import os, signal
from toy import config, dataset
from equiprop.experiment import train
from equiprop.training import Callback, _loop

_loop._CALL_SECONDS = 0.0

class Kill(Callback):
    def on_steps(self, epoch, step, loss):
        if (epoch, step) == (3, 2):
            os.kill(os.getpid(), signal.SIGKILL)

train(config(), sys.argv[1], dataset=dataset(), callbacks=[Kill()])
"""


@pytest.mark.slow
def test_kill_in_mid_epoch_and_resume_bit_for_bit(finished, tmp_path):
    whole, _, _ = finished
    out = tmp_path / "run"
    here = Path(__file__).parents[1]
    cache = jax.config.jax_compilation_cache_dir
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(out), str(here), cache], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_lo')
    resume(out, dataset=DATA)
    assert same(weights(whole), weights(out))
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 3


def test_resuming_a_finished_run_changes_nothing(finished):
    out, summary, _ = finished
    before = weights(out)
    again = resume(out, dataset=DATA)
    assert same(before, weights(out))
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in summary.items() if k != "seconds"}


def test_occupied_folder_is_refused(finished):
    out, _, _ = finished
    with pytest.raises(InputError, match="exists already; give a new folder, or continue that run with --resume"):
        train(config(), out, dataset=DATA)


def test_not_a_run(tmp_path):
    with pytest.raises(InputError, match="is not a run directory"):
        resume(tmp_path, dataset=DATA)
    (tmp_path / "config.toml").write_text("dataset = ")
    with pytest.raises(InputError) as damaged:
        RunDirectory.open(tmp_path)
    assert str(damaged.value).startswith(f"{tmp_path / 'config.toml'}: is not valid TOML (Invalid value")


def test_other_configuration_and_other_data_are_refused(tmp_path, single_steps):
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(config(), out, dataset=DATA, callbacks=[StopAt(1, 2)])
    text = (out / "config.toml").read_text()
    (out / "config.toml").write_text(text.replace("nudge = 0.3", "nudge = 0.4"))
    with pytest.raises(InputError, match=r"belongs to another configuration, estimator\.nudge differ"):
        resume(out, dataset=DATA)
    (out / "config.toml").write_text(text)
    with pytest.raises(InputError, match="has checksum checksum-1, the run began with checksum-0"):
        resume(out, dataset=dataset(1))


def test_damaged_checkpoint_is_refused(finished, tmp_path):
    """A changed number in the arrays does not pass for the weights."""
    trainer = Trainer(config(), DATA)
    checkpoints = Checkpoints(tmp_path / "c", config())
    state = trainer.initial_train_state()
    path = checkpoints.save(state, seconds=1.5)
    about = checkpoints.about()
    assert about.path == path and about.seconds == 1.5
    back = checkpoints.restore(about, trainer.initial_train_state())
    assert same(
        [np.asarray(a) for a in jax.tree.leaves(back.system)], [np.asarray(a) for a in jax.tree.leaves(state.system)]
    )
    whole = path.read_bytes()
    for other in (
        whole.replace(b'"seconds":"1.5"', b'"seconds":"2.5"'),
        whole.replace(b'"epoch":"0"', b'"epoch":"1"'),
        whole[:-1] + bytes([whole[-1] ^ 1]),
    ):
        assert other != whole
        path.write_bytes(other)
        with pytest.raises(InputError, match="is damaged"):
            checkpoints.newest(trainer.initial_train_state())
    for other in (
        b"",
        whole[:100],
        whole[:-1],
        whole.replace(b"checkpoint, version 1", b"checkpoint, version 0"),
        b"[" * 99,
    ):
        path.write_bytes(other)
        with pytest.raises(InputError, match=r"checkpoint .*: cannot be read \(.+\)") as stop:
            checkpoints.about()
        assert "\n" not in str(stop.value)


def test_a_checkpoint_is_a_file_that_other_programs_read(finished):
    """Under the names that the parameters have in the system."""
    best = load_file(max((finished[0] / "checkpoints").glob("best-*")))
    system = load(finished[0], dataset=DATA, checkpoint="best").system
    assert isinstance(system, LayeredNetwork)
    for name, weight in system.weights.items():
        assert np.array_equal(best[f"system.weights.{name}"], weight)


def test_checkpoints_are_ordered_by_number(tmp_path):
    for name in ("epoch-9999-step-000000", "epoch-10000-step-000000", "epoch-0002-step-9999999"):
        (tmp_path / f"{name}.safetensors").touch()
    with pytest.raises(InputError, match="epoch-10000-step-000000"):
        Checkpoints(tmp_path, config()).about()


def test_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint"):
        Checkpoints(tmp_path, config()).about()


def test_a_checkpoint_is_on_the_disk_before_the_older_one_is_removed(tmp_path, monkeypatch):
    """Its bytes, then its name, then the entry in the folder: power may be lost at any moment."""
    checkpoints = Checkpoints(tmp_path / "c", config())
    state = Trainer(config(), DATA).initial_train_state()
    later = [eqx.tree_at(lambda s: s.epoch, state, state.epoch + n) for n in range(3)]
    paths = [checkpoints.save(each, seconds=0.0) for each in later[:2]]
    done = []
    sync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def noted(what, function):
        def call(first, *rest, **named):
            of_file = isinstance(first, Path) or not stat.S_ISDIR(os.fstat(first).st_mode)
            done.append((what, (first.name if first in paths else "new") if of_file else "folder"))
            return function(first, *rest, **named)

        return call

    monkeypatch.setattr(os, "fsync", noted("sync", sync))
    monkeypatch.setattr(Path, "replace", noted("name", replace))
    monkeypatch.setattr(Path, "unlink", noted("remove", unlink))
    checkpoints.save(later[2], seconds=0.0)
    begun = done.index(("sync", "new"))
    assert done[begun : begun + 3] == [("sync", "new"), ("name", "new"), ("sync", "folder")]
    assert [each for each in done if each[0] == "remove" and each[1] != "new"] == [("remove", paths[0].name)]
    assert done.index(("remove", paths[0].name)) > begun + 2


def test_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    trainer = Trainer(config(), DATA)
    checkpoints = Checkpoints(tmp_path / "c", config())
    state = trainer.initial_train_state()
    first = checkpoints.save(state, seconds=0.0)
    monkeypatch.setattr(_checkpoint, "save_file", _no_space)
    later: TrainState = eqx.tree_at(lambda s: s.epoch, state, state.epoch + 1)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); the checkpoint .* is intact"):
        checkpoints.save(later, seconds=0.0)
    monkeypatch.undo()
    assert checkpoints.about().path == first
    assert [p.name for p in (tmp_path / "c").iterdir()] == [first.name]


def _no_space(*_):
    raise OSError(28, os.strerror(28))


@pytest.mark.slow
def test_non_finite_weights_stop_the_run(tmp_path):
    """A learning rate that overflows: named, with the last good checkpoint and advice, and nothing after it."""
    wild = config(optimizer={"learning_rate": 1e30, "momentum": 0.0}, homeostasis={"strength": 1e10})
    out = tmp_path / "run"
    with pytest.raises(
        NonFinite, match=r"no longer finite; the last good checkpoint is in .*run; try a smaller"
    ) as stop:
        train(wild, out, dataset=DATA)
    assert "\n" not in str(stop.value) and RunDirectory.open(out).checkpoints.about().epoch == 0
    assert all(np.isfinite(a).all() for a in weights(out))


def test_best_is_selected_by_validation(finished):
    out, summary, _ = finished
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    errors = [m["validation_error_percent"] for m in metrics]
    assert summary["best_epoch"] == 1 + int(np.argmin(errors))
    best = load(out, checkpoint="best", dataset=DATA)
    assert best.epoch == summary["best_epoch"]
    images = on_device(DATA.test, DATA, np.float32)
    error = evaluate(best.system, images, best.trainer.components.solver)["error_percent"]
    assert error == pytest.approx(summary["best_test_error_percent"])
    with pytest.raises(InputError, match="checkpoint = 'worst'"):
        load(out, checkpoint="worst", dataset=DATA)


def test_limit_uses_fewer_samples():
    assert Trainer(config(training={"limit": 50}), DATA).steps_per_epoch == 2


@pytest.mark.parametrize(
    ("batch_size", "epochs"),
    [(1, 17), (2, 34), (20, 100)],  # 120 samples: 2,000 steps in 17 and 34 epochs, and never more than 100
)
def test_few_samples_get_more_epochs(batch_size, epochs):
    own = config(training={"epochs": "auto", "batch_size": batch_size})
    assert Trainer(own, DATA).config.training["epochs"] == epochs


def test_many_samples_get_ten_epochs():
    assert epochs_of("auto", 900) == 10


QUICK = ("one_sided", "neumann", "recurrent_backprop", "contrastive_hebbian")
CLAMPING = ("coupled_learning", "contrastive_hebbian", "clamped_response")
COMBINATIONS = [
    ({"kind": "one_sided", "nudge": 0.05, "error_bar": "companion"}, {"kind": "none"}),
    (
        {"kind": "centered", "tolerance": 0.5, "retries": 1},
        {"kind": "jacobian", "strength": {"hold": "symmetry", "target": 0.9}},
    ),
    (
        {"kind": "holomorphic", "nudge": "auto", "points": "auto", "tolerance": 0.01},
        {"kind": "auto", "strength": {"schedule": "cosine", "from": 1.0, "to": 0.1}},
    ),
    (
        {"kind": "continuous_time", "points": 2, "noise": 0.01, "steps_per_point": 10},
        {"kind": "local", "strength": {"schedule": "warmup", "from": 1.0, "to": 0.1}},
    ),
    ({"kind": "harmonic_balance", "harmonics": 1}, {"kind": "none"}),
    ({"kind": "exact_response"}, {"kind": "rotation", "probes": 1}),
    ({"kind": "recurrent_backprop"}, {"kind": "kolen_pollack"}),
    ({"kind": "neumann", "terms": 5}, {"kind": "weight_mirror"}),
    (
        {"kind": "unrolled", "steps": 3, "whole": True},
        {"kind": "jacobian", "strength": {"schedule": "linear", "from": 1.0, "to": 0.1}},
    ),
    (
        {"kind": "corrected", "points": 4},
        {"kind": "jacobian", "strength": {"hold": "angle", "target": 20.0}},
    ),
    (
        {"kind": "dyadic"},
        {"kind": "antisymmetric", "strength": {"schedule": "cosine", "from": 1.0, "to": 0.1}, "balanced": True},
    ),
    ({"kind": "adjoint"}, {"kind": "jacobian", "norm_term": False}),
    ({"kind": "coupled_learning"}, {"kind": "antisymmetric"}),
    ({"kind": "contrastive_hebbian"}, {"kind": "antisymmetric"}),
    ({"kind": "clamped_response"}, {"kind": "response", "probes": 2, "linear_solver": {"restart": 10}}),
]


def test_every_estimator_and_homeostasis_is_tried():
    assert {e["kind"] for e, _ in COMBINATIONS} == set(ESTIMATORS.members())
    assert {h["kind"] for _, h in COMBINATIONS} == set(HOMEOSTASES.members())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "homeostasis"),
    quick_where(lambda estimator, _: estimator["kind"] in QUICK, COMBINATIONS),
    ids=lambda section: section["kind"],
)
def test_every_estimator_and_homeostasis_trains_by_name(estimator, homeostasis):
    """Two steps in single precision move every weight, everything stays finite, and nothing becomes double."""
    # A readout that is trained has no output to clamp at.
    cost = "squared_error" if estimator["kind"] in CLAMPING else "softmax_readout"
    sections = {"system": {"hidden": (8,), "cost": cost}, "estimator": estimator, "homeostasis": homeostasis}
    sections |= {"solver": {"nudged_max_steps": 100}}
    trainer = Trainer(config(**sections), DATA)
    before = trainer.initial_train_state()
    after = trainer.advance(trainer.initial_train_state(), trainer.samples, 2)
    assert int(after.step) == 2 and np.isfinite(after.totals.cost)
    for a, b in zip(jax.tree.leaves(before.system), jax.tree.leaves(after.system), strict=True):
        assert b.dtype == np.float32 and np.isfinite(b).all() and not np.array_equal(a, b)


@pytest.mark.slow
def test_other_systems_and_solvers_train():
    sections = {
        "system": {"kind": "loop", "hidden": (8, 6), "gain": 1.0},
        "estimator": {"kind": "adjoint"},
        "solver": {"kind": "jacobi", "damping": 0.3},
    }
    trainer = Trainer(config(**sections), DATA)
    before, after = trainer.initial_train_state(), trainer.advance(trainer.initial_train_state(), trainer.samples, 6)
    assert 0 < float(after.totals.cost) / 6 < 30
    for a, b in zip(jax.tree.leaves(before.system), jax.tree.leaves(after.system), strict=True):
        assert np.isfinite(b).all() and not np.array_equal(a, b)


def test_progress_is_told_step_by_step(tmp_path, single_steps):
    told = []

    class Listener(Callback):
        def on_steps(self, epoch, step, loss):
            told.append((epoch, step))

    train(config(training={"epochs": 1}), tmp_path / "run", dataset=DATA, callbacks=[Listener()])
    assert told == [(1, step) for step in range(1, 7)]


@pytest.mark.slow
def test_two_processes_cannot_train_the_same_run(tmp_path, single_steps):
    """The lock is the operating system's: a process that is killed leaves none behind."""
    out = tmp_path / "run"

    class Meddler(Callback):
        def on_steps(self, epoch, step, loss):
            with pytest.raises(InputError, match="another process is training it; wait for its end or stop it"):
                resume(out, dataset=DATA)

    train(config(training={"epochs": 1}), out, dataset=DATA, callbacks=[Meddler()])
    assert resume(out, dataset=DATA)["epochs"] == 1


@pytest.mark.parametrize(("where", "at"), [(_checkpoint, "_about"), (Checkpoints, "restore")])
def test_a_checkpoint_that_is_replaced_while_it_is_looked_at(tmp_path, monkeypatch, where, at):
    """As by a run that goes on: the newer one is read in its place."""
    trainer = Trainer(config(), DATA)
    checkpoints = Checkpoints(tmp_path / "c", config())
    state = trainer.initial_train_state()
    checkpoints.save(state, seconds=0.0)
    whole, replaced = getattr(where, at), []

    def replace_first(*arguments):
        if not replaced:
            replaced.append(True)
            for later in (1, 2):
                checkpoints.save(eqx.tree_at(lambda s: s.epoch, state, state.epoch + later), seconds=0.0)
        return whole(*arguments)

    monkeypatch.setattr(where, at, replace_first)
    assert checkpoints.newest(trainer.initial_train_state())[0].epoch == 2
    replaced.clear()
    assert checkpoints.about().epoch == 2


def _spoil(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["epoch", "best"])
def test_where_the_newest_checkpoint_is_damaged_the_one_before_is_read_and_that_is_said(finished, tmp_path, kind):
    """A run goes on from it and ends as one that was never damaged; what it puts aside is kept."""
    out, summary, _ = finished
    run = tmp_path / "run"
    shutil.copytree(out, run)
    assert {finding.fault for finding in check_run(run)} == {""}
    newest = max((run / "checkpoints").glob(f"{kind}-*"))
    _spoil(newest)
    checkpoint = "best" if kind == "best" else "last"
    assert [finding.part for finding in check_run(run) if finding.fault] == [f"checkpoints/{newest.name}"]
    with pytest.warns(CheckpointWarning, match=f"{newest.name}: is damaged.*; {kind}-.* is read in its place"):
        assert (
            load(run, dataset=DATA, checkpoint=checkpoint).epoch < load(out, dataset=DATA, checkpoint=checkpoint).epoch
        )
    with pytest.warns(CheckpointWarning, match=f"{newest.name}: is damaged"):
        again = resume(run, dataset=DATA)
    assert newest.with_suffix(".aside").exists() and not any(finding.fault for finding in check_run(run))
    if kind == "epoch":
        assert again | {"seconds": 0} == summary | {"seconds": 0} and same(weights(run), weights(out))
        (cut,) = (run / "metrics-cut.jsonl").read_text().splitlines()
        assert cut == (out / "metrics.jsonl").read_text().splitlines()[-1]
    else:
        assert (
            again["best_epoch"] < summary["best_epoch"] and again["test_error_percent"] == summary["test_error_percent"]
        )


@pytest.mark.parametrize("checkpoint", ["epoch", "best"])
def test_a_checkpoint_with_a_damaged_header_is_told_of_once(finished, tmp_path, checkpoint):
    """It is looked for before the data are read, and read after: said once all the same."""
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    newest = max((run / "checkpoints").glob(f"{checkpoint}-*"))
    whole = newest.read_bytes()
    newest.write_bytes(whole[:9] + b"\0" * 9 + whole[18:])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        load(run, dataset=DATA, checkpoint="best" if checkpoint == "best" else "last")
        resume(run, dataset=DATA)
    of_loading, of_resuming = [str(each.message) for each in told if issubclass(each.category, CheckpointWarning)]
    assert f"{newest.name}: cannot be read" in of_loading and f"{newest.name}: cannot be read" in of_resuming


def test_a_run_whose_best_checkpoints_are_lost_goes_on_and_says_so(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    for path in (run / "checkpoints").glob("best-*"):
        _spoil(path)
    with pytest.warns(CheckpointWarning, match="the best system is lost"):
        again = resume(run, dataset=DATA)
    lost = {name: None for name in again if name.startswith("best_")}
    assert len(lost) == 5 and again | {"seconds": 0} == finished[1] | lost | {"seconds": 0}


def test_a_run_of_which_no_checkpoint_is_whole_is_refused(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    for path in (run / "checkpoints").glob("epoch-*"):
        _spoil(path)
    with pytest.raises(InputError, match=r"epoch-0003-step-000000\.safetensors: is damaged"):
        resume(run, dataset=DATA)


@pytest.mark.parametrize(
    ("name", "damage", "fault"),
    [
        ("manifest.json", lambda text: text[:-20], "is not valid JSON"),
        ("metrics.jsonl", lambda text: text.replace('{"epoch": 2,', '{"epoch": 4,'), "the line of epoch 2 is missing"),
        (
            "metrics.jsonl",
            lambda text: text + '{"epoch": 1000000000}',
            "the line of epoch 4 is missing or damaged, 999999996",
        ),
        ("metrics.jsonl", lambda text: text + "null\n[1]\n", "line 4 cannot be read, 2 in all"),
        ("manifest.json", lambda text: json.dumps(json.loads(text) | {"versions": []}), "'versions' is no table"),
        ("manifest.json", lambda text: text.replace('"mean": ', '"mean": ["a"], "was": '), "'data' cannot be read"),
        (
            "manifest.json",
            lambda text: text.replace('"scale": ', '"scale": 1' + 400 * "0" + ', "was": '),
            "is not valid JSON",
        ),
        ("summary.json", lambda text: "[]", "is not valid JSON (expected an object, got list)"),
        ("confusion.json", lambda text: text[:-5], "is not valid JSON"),
    ],
)
def test_what_is_not_whole_in_a_run_directory_is_named(finished, tmp_path, name, damage, fault):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    (run / name).write_text(damage((run / name).read_text()))
    wrong = {finding.part: finding.fault for finding in check_run(run) if finding.fault}
    assert name in wrong and fault in wrong[name] and set(wrong) <= {name, "sources"}


@pytest.mark.parametrize(
    "sources", [[], None, {"a": {"b": [1]}}, {"nowhere.py:x": "0"}, {"sys:x": "0"}, {"not_there:x": "0"}]
)
def test_sources_that_are_none_are_refused(finished, tmp_path, sources):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"sources": sources}))
    assert {finding.part for finding in check_run(run) if finding.fault} == {"sources"}
    with pytest.raises(InputError):
        load(run, dataset=DATA)


@pytest.mark.parametrize(
    ("instead", "fault"),
    [
        (lambda path: path.rename(path.with_name("epoch-0007-step-000000.safetensors")), "not what its name says"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "a device or a pipe"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ],
)
def test_what_is_no_checkpoint_of_its_name_is_damaged(finished, tmp_path, instead, fault):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    instead(run / "checkpoints" / "epoch-0003-step-000000.safetensors")
    wrong = [finding.fault for finding in check_run(run) if finding.part.startswith("checkpoints/epoch")]
    assert any(fault in each for each in wrong)
    with pytest.warns(CheckpointWarning, match=fault):
        assert load(run, dataset=DATA).epoch < 3


def test_what_a_killed_process_left_is_removed(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / ".unfinished-12345678").write_bytes(b"half")
    resume(tmp_path / "run", dataset=DATA)
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


@pytest.mark.slow
def test_a_run_is_looked_at_on_any_number_of_devices_and_with_its_own_data_only(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    text = (out / "config.toml").read_text()
    (out / "config.toml").write_text(text.replace("devices = 0", "devices = 64"))
    assert "devices = 64" in (out / "config.toml").read_text() and load(out, dataset=DATA).epoch == 3
    with pytest.raises(InputError, match="has checksum checksum-1, the run began with checksum-0"):
        load(out, dataset=dataset(1))
    smaller = Trainer(config(system={"hidden": (4,)}), DATA)
    checkpoints = Checkpoints(out / "checkpoints", Trainer(config(), DATA).config)
    with pytest.raises(InputError, match="are these the data that the run was trained on"):
        checkpoints.restore(checkpoints.about(), smaller.initial_train_state())


def test_metrics_hold_an_epoch_once(finished, tmp_path):
    run = RunDirectory(tmp_path, config())
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "a": 1}\n{"epoch": 2}\n{"epoch": 1, "a": 2}\n{"epo')
    assert run.metrics_until(1) == [{"epoch": 1, "a": 2}]
    assert (tmp_path / "metrics.jsonl").read_text() == '{"epoch": 1, "a": 2}\n'


@pytest.mark.parametrize("damage", [lambda lines: lines[:1], lambda lines: [], lambda lines: [lines[0], "x", lines[2]]])
def test_a_run_that_lost_lines_of_its_metrics_is_not_gone_on_with(finished, tmp_path, damage):
    """Its summary would hold figures of another epoch."""
    shutil.copytree(finished[0], tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text("\n".join(damage(path.read_text().splitlines())))
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    with pytest.raises(InputError, match=r"metrics\.jsonl: the line of epoch \d is missing or damaged"):
        resume(tmp_path / "run", dataset=DATA)
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()} == before


def test_a_folder_of_images_is_found_again_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    RunDirectory.create("run", dataclasses.replace(config(), dataset="./images"), DATA.info, "")
    monkeypatch.chdir(tmp_path / "images")
    assert RunDirectory.open(tmp_path / "run").config.dataset == str(tmp_path / "images")


@pytest.mark.slow
def test_numbers_that_change_over_training_are_what_they_are_at_each_epoch(tmp_path):
    """A scheduled nudge and damping: in the step, in what is measured after an epoch, and in what is looked at later."""
    fall = {"schedule": "linear", "from": 0.3, "to": 0.1}
    sections = {"estimator": {"nudge": fall}, "solver": {"damping": fall}, "training": {"epochs": 2}}
    summary = train(config(**sections), tmp_path / "run", dataset=DATA)
    assert summary["cosine_to_adjoint"]["total"] is not None and summary["converged_fraction"] == 1
    trainer = load(tmp_path / "run", dataset=DATA).trainer
    middle = trainer.at_epoch(trainer.components, 1)
    assert np.allclose([middle.estimator.nudge, middle.solver.damping], 0.2)
    assert tomllib.loads((tmp_path / "run" / "config.toml").read_text())["estimator"]["nudge"] == fall
    with pytest.raises(InputError, match=r"optimizer\.schedule = 'cosine': learning_rate is a schedule already"):
        Trainer(config(optimizer={"learning_rate": fall, "schedule": "cosine"}), DATA)


@pytest.mark.parametrize(("name", "bits"), [("F8_E4M3", 8), ("F4", 4), ("F128", 128)])
def test_numbers_that_numpy_has_not_are_a_damaged_checkpoint(finished, tmp_path, name, bits):
    """A header that names them, of the right sizes; the checkpoint before it is read."""
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    newest = sorted((run / "checkpoints").glob("epoch-*"))[-1]
    content = newest.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    array = next(about for key, about in header.items() if key != "__metadata__" and about["shape"])
    begin, end = array["data_offsets"]
    array |= {"dtype": name, "shape": [8 * (end - begin) // bits]}
    changed = json.dumps(header).encode()
    newest.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + length :])
    with pytest.warns(CheckpointWarning, match="is damaged|cannot be read"):
        assert load(run, dataset=DATA).epoch < 3


@pytest.mark.slow
def test_a_checkpoint_of_the_first_version_is_read_and_does_not_go_on(finished, tmp_path):
    """A folder with the arrays by position, written here by TensorStore, as Orbax did then."""
    import tensorstore as ts

    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    *others, old = sorted((run / "checkpoints").glob("epoch-*"))
    for other in others:
        other.unlink()
    arrays = {f"{i:04d}": np.asarray(a) for i, a in enumerate(jax.tree.leaves(load(run, dataset=DATA).system))}
    arrays |= {f"{len(arrays):04d}": np.asarray(3, np.int32)}
    folder = old.with_suffix("")
    for name, array in arrays.items():
        store = {"driver": "ocdbt", "base": f"file://{folder / 'arrays'}/", "path": f"{name}/"}
        kind = {"shape": array.shape, "dtype": str(array.dtype)}
        ts.open({"driver": "zarr", "kvstore": store}, create=True, **kind).result().write(array).result()
    hasher = hashlib.sha256()
    for name, array in arrays.items():
        # A number was digested as a vector.
        hasher.update(f"{name} {array.dtype.str} {array.shape or (1,)}\n".encode() + array.tobytes())
    about = {"epoch": 3, "step": 0, "seconds": 0.0, "digest": hasher.hexdigest()}
    about["config"] = RunDirectory.open(run).config.to_mapping()
    (folder / "about.json").write_text(json.dumps(about))
    expected = weights(run)
    old.unlink()
    assert same(weights(run), expected) and load(run, dataset=DATA).epoch == 3
    with pytest.raises(InputError, match=r"written by version 0\.1, and does not go on; .* by --from"):
        resume(run, dataset=DATA)
    (folder / "about.json").write_text(json.dumps(about | {"digest": "0" * 64}))
    with pytest.raises(InputError, match="is damaged"):
        load(run, dataset=DATA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_room, "_room", lambda: 16)
        with pytest.raises(InputError, match="GiB of memory, and this machine has room for"):
            load(run, dataset=DATA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorstore", None)
        with pytest.raises(InputError, match=r"takes TensorStore to read; pip install .*\[tensorstore\]"):
            load(run, dataset=DATA)
