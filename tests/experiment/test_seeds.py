"""Seeds side by side: each is, bit for bit, the run of its seed by itself; together they stop, go on and are summarised."""

import dataclasses
import json
import math
import statistics
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.data import Shards
from equiprop.errors import InputError
from equiprop.experiment import Interrupted, RunDirectory, Trainer, load, resume, train
from equiprop.training import Callback, Lanes, NonFinite, _loop, as_callback
from toy import config, dataset

DATA = dataset()
THREE = {"training": {"seeds": 3}}


def weights(run: Path) -> list[np.ndarray]:
    return [np.asarray(a) for a in jax.tree.leaves(load(run, dataset=DATA).system)]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Any:
    class Recorder(Callback):
        def __init__(self) -> None:
            self.told: list[dict[str, Any]] = []

        def on_epoch(self, metrics: Any, system: Any) -> None:
            self.told.append(dict(metrics))

    out, recorder = tmp_path_factory.mktemp("runs") / "three", Recorder()
    summary = train(config(**THREE), out, dataset=DATA, callbacks=[recorder])
    return out, summary, recorder.told


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 4])
def test_each_seed_is_the_run_by_itself_bit_for_bit(together: Any, tmp_path: Path, seed: int) -> None:
    alone = train(config(training={"seed": seed}), tmp_path / "alone", dataset=DATA)
    ours = together[0] / f"seed-{seed}"
    assert same(weights(ours), weights(tmp_path / "alone"))
    timed = ("seconds",)
    summary = json.loads((ours / "summary.json").read_text())
    assert {k: v for k, v in summary.items() if k not in timed} == {k: v for k, v in alone.items() if k not in timed}
    for mine, theirs in zip(lines(ours), lines(tmp_path / "alone"), strict=True):
        assert {**mine, "epoch_seconds": 0} == {**theirs, "epoch_seconds": 0}
    assert load(ours, checkpoint="best", dataset=DATA).epoch == alone["best_epoch"]


def test_the_summary_is_the_mean_with_its_deviation(together: Any) -> None:
    out, summary, told = together
    each = [json.loads((out / f"seed-{seed}" / "summary.json").read_text()) for seed in (2, 3, 4)]
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["seeds"] == [2, 3, 4] and summary["failed_seeds"] == {}
    errors = [one["test_error_percent"] for one in each]
    assert summary["test_error_percent"] == pytest.approx(statistics.fmean(errors))
    assert summary["std"]["test_error_percent"] == pytest.approx(statistics.stdev(errors))
    cosines = [one["cosine_to_adjoint"]["total"] for one in each]
    assert summary["cosine_to_adjoint"]["total"] == pytest.approx(statistics.fmean(cosines))
    assert summary["std"]["cosine_to_adjoint"]["total"] == pytest.approx(statistics.stdev(cosines))
    without = [(one, seed) for one, seed in zip(each, (2, 3, 4), strict=True) if one["certificate_angle_deg"] is None]
    if without:
        assert summary["certificate_angle_deg"] is None
        assert summary["certificate_reason"] == f"seed {without[0][1]}: {without[0][0]['certificate_reason']}"
    assert [line["epoch"] for line in lines(out)] == [1, 2, 3] and lines(out) == told
    losses = [lines(out / f"seed-{seed}")[1]["train_loss"] for seed in (2, 3, 4)]
    assert told[1]["train_loss"] == pytest.approx(statistics.fmean(losses))


def test_the_directory_of_several_is_no_run_by_itself(together: Any) -> None:
    with pytest.raises(InputError, match=r"holds 3 runs, one for each seed; give one of them, such as .*seed-2"):
        load(together[0], dataset=DATA)


class Stop(Callback):
    """Asks to stop in the middle of the second epoch."""

    def on_steps(self, epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (2, 3):
            import signal

            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_interrupted_together_they_go_on_bit_for_bit(together: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(_loop, "_CALL_SECONDS", 0.0)
    with pytest.raises(Interrupted, match="interrupted in epoch 2 after step"):
        train(config(**THREE), tmp_path / "run", dataset=DATA, callbacks=[Stop()])
    assert (tmp_path / "run" / "summary.json").exists() is False
    summary = resume(tmp_path / "run", dataset=DATA)
    for seed in (2, 3, 4):
        assert same(weights(tmp_path / "run" / f"seed-{seed}"), weights(together[0] / f"seed-{seed}"))
        best = [
            load(run / f"seed-{seed}", checkpoint="best", dataset=DATA).epoch for run in (tmp_path / "run", together[0])
        ]
        assert best[0] == best[1]
    assert summary["test_error_percent"] == together[1]["test_error_percent"]
    assert len(lines(tmp_path / "run")) == 3


@pytest.mark.slow
def test_killed_between_epochs_they_go_on_from_the_last_common_one(
    together: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """What was written of an epoch for some of the seeds before the kill is written anew for all."""

    class Killed(BaseException):
        pass

    original = RunDirectory.append

    def append(self: RunDirectory, metrics: Any, lane: int = 0) -> None:
        if lane == 0 and metrics["epoch"] == 2 and self.path.name == "seed-3":
            raise Killed
        original(self, metrics, lane)

    monkeypatch.setattr(RunDirectory, "append", append)
    with pytest.raises(Killed):
        train(config(**THREE), tmp_path / "run", dataset=DATA)
    monkeypatch.setattr(RunDirectory, "append", original)
    assert [len(lines(tmp_path / "run" / f"seed-{seed}")) for seed in (2, 3, 4)] == [2, 1, 1]
    resume(tmp_path / "run", dataset=DATA)
    for seed in (2, 3, 4):
        assert same(weights(tmp_path / "run" / f"seed-{seed}"), weights(together[0] / f"seed-{seed}"))
        assert len(lines(tmp_path / "run" / f"seed-{seed}")) == 3


@pytest.fixture
def third_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of the third of three seeds stop being numbers in the first step."""
    advance = Lanes.advance

    def broken(self: Lanes, lanes: Any, states: Any, samples: Any, steps: int) -> Any:
        found = advance(self, lanes, states, samples, steps)
        lost = [jax.tree.map(lambda a: a * jnp.nan, state.system) for state in found]
        return [
            dataclasses.replace(state, system=nan) if lane == 2 else state
            for lane, state, nan in zip(lanes, found, lost, strict=True)
        ]

    monkeypatch.setattr(Lanes, "advance", broken)


@pytest.mark.slow
def test_a_seed_that_stops_being_numbers_is_given_up_and_the_others_go_on(
    third_is_broken: None, tmp_path: Path
) -> None:
    said = r"1 of 3 seeds were given up, the others are trained; seed 4: epoch 1, step 1: the weights or the loss"
    with pytest.raises(NonFinite, match=said):
        train(config(**THREE), tmp_path / "run", dataset=DATA)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["seeds"] == [2, 3] and list(summary["failed_seeds"]) == ["4"]
    assert not (tmp_path / "run" / "seed-4" / "summary.json").exists()


@pytest.mark.slow
def test_a_seed_that_was_given_up_stays_so_when_the_others_go_on(
    third_is_broken: None, together: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_loop, "_CALL_SECONDS", 0.0)
    with pytest.raises(Interrupted):
        train(config(**THREE), tmp_path / "run", dataset=DATA, callbacks=[Stop()])
    with pytest.raises(NonFinite, match="1 of 3 seeds were given up, the others are trained; seed 4: its weights"):
        resume(tmp_path / "run", dataset=DATA)
    assert [len(lines(tmp_path / "run" / f"seed-{seed}")) for seed in (2, 3, 4)] == [3, 3, 0]
    assert same(weights(tmp_path / "run" / "seed-2"), weights(together[0] / "seed-2"))


@pytest.mark.slow
def test_patience_stops_each_seed_by_itself(tmp_path: Path) -> None:
    given = config(training={"seeds": 2, "patience": 1, "epochs": 6}, optimizer={"learning_rate": 0.3})
    train(given, tmp_path / "run", dataset=DATA)
    for seed in (2, 3):
        train(given.changed({"training.seeds": 1, "training.seed": seed}), tmp_path / f"{seed}", dataset=DATA)
        assert len(lines(tmp_path / "run" / f"seed-{seed}")) == len(lines(tmp_path / f"{seed}"))
        assert same(weights(tmp_path / "run" / f"seed-{seed}"), weights(tmp_path / f"{seed}"))


@pytest.mark.slow
def test_one_program_of_all_lanes_gives_what_each_gives() -> None:
    """`jax.vmap` over lanes, as on an accelerator; sums are taken in another order."""
    trainers = [Trainer(config(training={"seed": seed}), DATA) for seed in (2, 3)]
    results = []
    for stacked in (True, False):
        lanes = Lanes(trainers, stacked=stacked)
        states = [trainer.initial_train_state() for trainer in trainers]
        states = lanes.advance([0, 1], states, trainers[0].samples, 5)
        results.append([np.asarray(a) for s in states for a in jax.tree.leaves(s.system)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert math.isfinite(sum(float(a.sum()) for a in results[0]))


def test_lanes_of_other_programs_are_refused() -> None:
    one, other = (Trainer(config(system={"hidden": [n]}), DATA) for n in (8, 9))
    with pytest.raises(InputError, match="lanes: differ in more than their numbers"):
        Lanes([one, other])


def test_data_in_shards_have_one_seed_at_a_time(tmp_path: Path) -> None:
    shards = Shards((120,), (4, 4), "x", lambda _: DATA.train)
    with pytest.raises(InputError, match=r"training.seeds = 3: toy is read from disk file by file; train one seed"):
        train(config(**THREE), tmp_path / "run", dataset=dataclasses.replace(DATA, train=shards))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_seeds_that_ended_at_different_epochs_go_on_each_as_by_itself(tmp_path: Path) -> None:
    """With more patience the one that is behind catches up, and each is still the run by itself."""
    given = {"seed": 0, "seeds": 2, "patience": 1, "epochs": 8, "diagnostic_samples": 0}
    first, more = config(training=given, optimizer={"learning_rate": 0.1}), {"training.patience": 5}
    train(first, tmp_path / "run", dataset=DATA)
    lengths = [len(lines(tmp_path / "run" / f"seed-{seed}")) for seed in (0, 1)]
    assert lengths[0] < lengths[1], "choose other seeds: these do not show it"
    told: list[float] = []
    seen = as_callback(lambda metrics: told.append(metrics["epoch"]))
    resume(tmp_path / "run", dataset=DATA, callbacks=[seen], changes=more)
    # A mean is one over seeds of the same epoch.
    assert told == list(range(lengths[0] + 1, int(told[-1]) + 1))
    for seed in (0, 1):
        alone = tmp_path / str(seed)
        train(first.changed({"training.seeds": 1, "training.seed": seed}), alone, dataset=DATA)
        resume(alone, dataset=DATA, changes=more)
        assert same(weights(tmp_path / "run" / f"seed-{seed}"), weights(alone))
    means = lines(tmp_path / "run")
    assert [line["epoch"] for line in means] == list(range(1, len(means) + 1))
    each = [lines(tmp_path / "run" / f"seed-{seed}") for seed in (0, 1)]
    for i, line in enumerate(means):
        assert line["train_loss"] == pytest.approx(statistics.fmean(e[i]["train_loss"] for e in each if i < len(e)))
