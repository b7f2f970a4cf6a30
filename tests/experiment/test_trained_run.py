"""A run in the hand: it predicts, is judged and is taken elsewhere, without the data where they are not needed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import equiprop as ep
from equiprop.data import Dataset, _load
from equiprop.errors import InputError
from equiprop.experiment import RunDirectory, Trainer, load, train
from equiprop.reporting import read_run
from equiprop.solvers import relax
from equiprop.systems import predict
from toy import config, dataset

SOURCE = "from toy import dataset\n\n\ndef make():\n    return dataset(7)\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a data set that can be found again."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "mine.py").write_text(SOURCE)
    train(config().changed({"dataset": f"{folder / 'mine.py'}:make"}), folder / "run")
    return folder / "run"


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that may not be read."""

    def never(name: str) -> Dataset:
        raise AssertionError(f"{name} was read")

    for module in ("_trained_run", "_trainer"):
        monkeypatch.setattr(f"equiprop.experiment.{module}.load_dataset", never)


@pytest.mark.slow
def test_nothing_is_read_to_load_and_to_predict(run: Path, no_data: None) -> None:
    found = load(run)
    assert (found.epoch, found.checkpoint, len(found.history)) == (3, "last", 3)
    assert found.data.classes == ("a", "b", "c") and found.data.input_shape == (4, 4)
    images = dataset(7).test.x
    predicted = found.predict(images, batch_size=7)
    x = (images / 255.0).astype(np.float32)
    expected = predict(found.system, eqx.filter_jit(relax)(found.system, x, found.solver).state)
    np.testing.assert_allclose(predicted.output, expected, atol=2e-3)
    np.testing.assert_array_equal(predicted.label, np.argmax(predicted.output, axis=1))
    assert len(predicted) == 40 and predicted.converged.dtype == bool
    with pytest.raises(InputError, match=r"x: holds inputs of shape \(4, 3\); this run takes \(4, 4\)"):
        found.predict(images[:, :, :3])


def test_the_system_is_that_of_the_checkpoint(run: Path) -> None:
    last, best = load(run), load(run, checkpoint="best")
    state = RunDirectory.open(run).checkpoints.newest(last.trainer.initial_train_state())[1]
    for ours, kept in zip(jax.tree.leaves(last.system), jax.tree.leaves(state.system), strict=True):
        np.testing.assert_array_equal(ours, kept)
    assert best.epoch == json.loads((run / "summary.json").read_text())["best_epoch"] == len(best.history)
    assert "MLP" in repr(last) or "after epoch 3 (last)" in repr(last)


def test_confusion_is_counted_by_hand(run: Path) -> None:
    found, split = load(run), dataset(7).test
    result = found.evaluate("test")
    label = found.predict(split.x).label
    assert label is not None
    expected = np.zeros((3, 3), int)
    for right, taken in zip(split.y, label, strict=True):
        expected[right, taken] += 1
    np.testing.assert_array_equal(found.confusion(), expected)
    assert result["class_samples"] == np.bincount(split.y).tolist()
    for i, name in enumerate("abc"):
        wrong = np.mean(label[split.y == i] != i)
        assert result["class_error_percent"][name] == pytest.approx(100 * wrong)
    assert result["error_percent"] == pytest.approx(100 * np.mean(label != split.y))
    assert result["error_percent"] == json.loads((run / "summary.json").read_text())["test_error_percent"]
    scores = np.asarray(found.predict(split.x).output)
    margins = scores.max(axis=1) - scores[np.arange(len(scores)), split.y]
    wrong = [at for at in np.argsort(-margins) if label[at] != split.y[at]][:12]
    assert [each["sample"] for each in result["mistakes"]] == wrong and wrong
    for each in result["mistakes"]:
        at = each["sample"]
        assert (each["class"], each["taken_for"]) == (split.y[at], label[at])
        assert each["margin"] == pytest.approx(margins[at], rel=1e-4)
    kept = read_run(run).confusion["test"]
    assert kept.counts == tuple(map(tuple, expected.tolist())) and [each.sample for each in kept.mistakes] == wrong
    first = split.x[wrong[0]].astype(float)
    expected_pixels = 255 * (first - first.min()) / (first.max() - first.min())
    np.testing.assert_allclose(kept.mistakes[0].pixels, expected_pixels, atol=0.51)
    own = found.evaluate((split.x[:10], split.y[:10]))
    assert own["error_percent"] == pytest.approx(100 * np.mean(label[:10] != split.y[:10]))


@pytest.mark.slow
def test_the_training_samples_are_not_read_for_the_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = dataset(3)
    np.savez(
        tmp_path / "d.npz", x_train=arrays.train.x, y_train=arrays.train.y, x_test=arrays.test.x, y_test=arrays.test.y
    )
    train(config(training={"epochs": 1}).changed({"dataset": str(tmp_path / "d.npz")}), tmp_path / "run")
    reference = load(tmp_path / "run").trainer.dataset
    monkeypatch.setattr(_load, "load", None)
    monkeypatch.setattr("equiprop.experiment._trained_run.load_dataset", None)
    found = load(tmp_path / "run")
    assert found.evaluate()["error_percent"] == load(tmp_path / "run", dataset=reference).evaluate()["error_percent"]
    np.savez(
        tmp_path / "d.npz",
        x_train=arrays.train.x,
        y_train=arrays.train.y,
        x_test=arrays.test.x[::-1],
        y_test=arrays.test.y,
    )
    with pytest.raises(InputError, match="its test split is not what the run was trained with"):
        load(tmp_path / "run").evaluate()


def test_a_run_of_version_0_1_says_nothing_of_its_data_and_reads_them(run: Path, tmp_path: Path) -> None:
    old = shutil.copytree(run, tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["data"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    found, today = load(old), load(run)
    assert found.data.to_mapping() == today.data.to_mapping()
    assert found.evaluate("validation") == today.evaluate("validation")


@pytest.mark.slow
def test_a_run_that_names_no_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    np.savez(tmp_path / "d.npz", x=x, y=np.tanh(x @ rng.normal(size=(3, 2))))
    given = {"dataset": str(tmp_path / "d.npz"), "system.cost": "squared_error", "training.epochs": 2}
    summary = train(config().changed(given), tmp_path / "run")
    assert summary["test_error_percent"] is None and summary["test_loss"] > 0
    assert summary["best_epoch"] == 1 + int(
        np.argmin([line["validation_loss"] for line in load(tmp_path / "run").history])
    )
    found = load(tmp_path / "run")
    assert found.predict(x[:5]).output.shape == (5, 2)
    assert "confusion" not in found.evaluate()
    assert not (tmp_path / "run" / "confusion.json").exists()
    with pytest.raises(InputError, match="the targets of this run name no classes"):
        found.confusion()


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_what_is_exported_are_the_parameters_by_their_paths(run: Path, tmp_path: Path, suffix: str) -> None:
    found = load(run)
    path = found.export(tmp_path / "new" / f"w.{suffix}")
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    arrays = dict(np.load(path)) if suffix == "npz" else load_file(path)
    assert set(arrays) >= {"weights.input->hidden_1", "weights.output->hidden_1", "biases.output"}
    np.testing.assert_array_equal(arrays["weights.input->hidden_1"], found.system.weights["input->hidden_1"])
    if suffix == "safetensors":
        with safe_open(path, "numpy") as file:
            assert file.metadata()["epoch"] == "3" and "[system]" in file.metadata()["config"]
    with pytest.raises(InputError, match=r"path = .*: has no ending that is known; choose .safetensors or .npz"):
        found.export(tmp_path / "w.txt")


def test_another_system_is_refused(run: Path) -> None:
    other = ep.mlp(16, (9,), 3, key=jax.random.key(0))
    with pytest.raises(InputError, match="holds an array of float32"):
        load(run, like=other)


@pytest.mark.slow
def test_averaged_parameters_are_those_that_are_evaluated(tmp_path: Path) -> None:
    train(config(training={"average": 0.9, "epochs": 2}), tmp_path / "run", dataset=dataset())
    found = load(tmp_path / "run", dataset=dataset())
    state = RunDirectory.open(tmp_path / "run").checkpoints.newest(found.trainer.initial_train_state())[1]
    ours = found.system.weights["input->hidden_1"]
    assert state.average is not None
    np.testing.assert_array_equal(ours, state.average.weights["input->hidden_1"])
    assert np.abs(ours - state.system.weights["input->hidden_1"]).max() > 1e-4
    assert (
        found.evaluate()["error_percent"]
        == json.loads((tmp_path / "run" / "summary.json").read_text())["test_error_percent"]
    )


@pytest.mark.slow
def test_patience_stops_a_run(tmp_path: Path) -> None:
    summary = train(
        config(training={"patience": 1, "epochs": 40}, optimizer={"learning_rate": 1e-9}),
        tmp_path / "run",
        dataset=dataset(),
    )
    assert summary["epochs"] == 2
    assert load(tmp_path / "run", dataset=dataset()).history[-1]["stopped"] == (
        "validation_error_percent has not improved for 1 epoch"
    )


_PEAK = """
import resource, sys
import numpy
import equiprop as ep
run = ep.load(sys.argv[1])
for split in sys.argv[2:]:
    run.evaluate(split)
run.predict(numpy.zeros((200, 64, 64), "uint8"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10))
"""
# A process counts the memory of the one that started it: so it is started by a small one.
_SMALL = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', *sys.argv[1:]]).returncode)"


@pytest.mark.slow
def test_the_peak_memory_of_evaluate_is_without_the_training_samples(tmp_path: Path) -> None:
    """160 MB of training images: with them the peak is higher by at least as much, and without them it is not."""
    rng = np.random.default_rng(0)
    small, large = rng.integers(0, 256, (200, 64, 64), dtype=np.uint8), np.zeros((40_000, 64, 64), np.uint8)
    large[:, :2] = rng.integers(0, 256, (40_000, 2, 64), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x_train=large, y_train=np.arange(40_000) % 3, x_test=small, y_test=np.arange(200) % 3)
    given = {"dataset": str(tmp_path / "d.npz"), "training.limit": 200, "training.epochs": 1}
    train(config().changed(given), tmp_path / "run")

    def peak(*splits: str) -> int:
        command = [sys.executable, "-c", _SMALL, _PEAK, str(tmp_path / "run"), *splits]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])

    without, test, whole = peak(), peak("test"), peak("validation")
    assert test < without + 60
    assert whole > test + 140


@pytest.mark.slow
def test_a_training_is_judged_by_as_many_samples_as_are_asked_for(run: Path, tmp_path: Path) -> None:
    """A run by itself still has them all."""
    settings = load(run).config.changed({"training.evaluation_limit": 7, "training.epochs": 2})
    trainer = Trainer(settings)
    assert len(trainer.validation) == len(trainer.test) == 7
    summary = train(settings, tmp_path / "run")
    found, split = load(tmp_path / "run"), dataset(7).test
    label = found.predict(split.x).label
    assert label is not None
    assert summary["test_error_percent"] == pytest.approx(100 * np.mean(label[:7] != split.y[:7]))
    assert found.evaluate("test")["error_percent"] == pytest.approx(100 * np.mean(label != split.y))
    assert sum(map(sum, read_run(tmp_path / "run").confusion["test"].counts)) == 7
