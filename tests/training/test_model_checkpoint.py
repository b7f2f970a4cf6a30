"""Parameters that are written as a training goes on."""

import jax
import numpy as np
import optax
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import equiprop as ep
from equiprop.errors import InputError
from equiprop.training import _parameter_files, named_parameters

SYSTEMS = [ep.mlp(3, (4,), 2, key=jax.random.key(seed)) for seed in range(5)]


def plan(history=(), **more):
    return ep.Plan(10, 1, len(history), 0, tuple(history), {}, **more)


def lines(values, name="validation_loss"):
    return [{"epoch": epoch, name: value} for epoch, value in enumerate(values, 1)]


def train(callback, values, name="validation_loss", *, before=0):
    """Tells it of epochs, each with a system of its own; those before `before` are history."""
    told = lines(values, name)
    callback.on_start(plan(told[:before]))
    for line in told[before:]:
        callback.on_epoch(line, SYSTEMS[line["epoch"] - 1])


def read(path):
    if path.suffix == ".safetensors":
        return load_file(path)
    with np.load(path) as file:
        return dict(file)


def holds(path, system):
    found, expected = read(path), named_parameters(system)
    return set(found) == set(expected) and all(np.array_equal(found[name], a) for name, a in expected.items())


def is_of(path, epoch):
    return holds(path, SYSTEMS[epoch - 1])


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_the_best_epoch_is_in_the_file(tmp_path, suffix):
    path = tmp_path / "new" / f"best.{suffix}"
    train(ep.ModelCheckpoint(path), [3.0, 1.0, None, float("nan"), 2.0])
    assert is_of(path, 2) and [each.name for each in path.parent.iterdir()] == [path.name]
    if suffix == "safetensors":
        with safe_open(path, "numpy") as file:
            assert file.metadata() == {"epoch": "2", "validation_loss": "1.0"}


def test_a_larger_value_is_better_where_that_was_said(tmp_path):
    train(ep.ModelCheckpoint(tmp_path / "w.npz", "score", larger_is_better=True), [1.0, 3.0, 2.0, 3.0], "score")
    assert is_of(tmp_path / "w.npz", 2)


def test_every_few_epochs_each_in_a_file_of_its_own(tmp_path):
    train(ep.ModelCheckpoint(tmp_path / "w-{epoch:03d}.npz", every=2), [1.0, 2.0, 3.0, 4.0, 5.0], "anything")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w-002.npz", "w-004.npz"]
    assert is_of(tmp_path / "w-002.npz", 2) and is_of(tmp_path / "w-004.npz", 4)


def test_a_training_that_goes_on_keeps_its_best(tmp_path):
    path = tmp_path / "w.npz"
    train(ep.ModelCheckpoint(path), [2.0, 1.0])
    train(ep.ModelCheckpoint(path), [2.0, 1.0, 1.5], before=2)
    assert is_of(path, 2)
    train(ep.ModelCheckpoint(path), [2.0, 1.0, 1.5, 0.5], before=3)
    assert is_of(path, 4)
    path.unlink()
    train(ep.ModelCheckpoint(path), [2.0, 1.0, 1.5], before=2)
    assert is_of(path, 3)


@pytest.mark.slow
def test_several_trainings_side_by_side_have_files_of_their_own(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    options = {"optimizer": optax.sgd(0.1), "homeostasis": ep.NoHomeostasis(), "epochs": 2, "batch_size": 20}
    given = {"validation": (x, y), "quiet": True, "key": [0, 1]} | options
    monitored = ep.ModelCheckpoint(tmp_path / "w-{lane}.npz", "validation_error_percent")
    results = ep.fit_lanes(SYSTEMS[0], (x, y), callbacks=[monitored], **given)
    for lane, result in enumerate(results):
        assert holds(tmp_path / f"w-{lane}.npz", result.best)
    with pytest.raises(
        InputError, match=r"2 trainings side by side would write the same file; put \{lane\} in its name"
    ):
        ep.ModelCheckpoint(tmp_path / "w.npz").on_start(plan(lanes=2))


def test_what_cannot_be_is_said(tmp_path):
    for path, message in (
        ("w.pt", r"path = 'w.pt': has no ending that is known; choose .safetensors or .npz"),
        ("w-{step}.npz", r"path = 'w-\{step\}.npz': cannot be filled in; only \{epoch\} and \{lane\}"),
        ("w-{.npz", "cannot be filled in"),
    ):
        with pytest.raises(InputError, match=message):
            ep.ModelCheckpoint(path)
    with pytest.raises(InputError, match="every = 0: must be at least 1"):
        ep.ModelCheckpoint("w.npz", every=0)
    with pytest.raises(InputError, match=r"monitor = 'validation_los': .*did you mean 'validation_loss'"):
        train(ep.ModelCheckpoint(tmp_path / "w.npz", "validation_los"), [1.0])


def test_a_full_disk_is_said_and_the_file_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "w.npz"
    train(ep.ModelCheckpoint(path), [1.0])

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_parameter_files, "write_atomically", full)
    with pytest.raises(InputError, match=r"w.npz: cannot be written \(No space left on device\)"):
        train(ep.ModelCheckpoint(path), [1.0, 0.5], before=1)
    assert is_of(path, 1) and list(tmp_path.iterdir()) == [path]
