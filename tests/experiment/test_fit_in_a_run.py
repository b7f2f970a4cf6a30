"""`fit` that a directory keeps, and several trainings at once from Python."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_fit import FEATURES, TARGETS, hopfield

import equiprop as ep
import toy
from equiprop.errors import InputError, ScheduleWarning
from equiprop.experiment import Trainer, load, resume, train
from equiprop.reporting import read_run as read_any

SYSTEM = hopfield()
OPTIONS = {
    "optimizer": optax.adam(0.01),
    "validation": (FEATURES[:20], TARGETS[:20]),
    "batch_size": 20,
    "epochs": 3,
    "homeostasis": ep.NoHomeostasis(),
    "metrics": ["mse"],
    "quiet": True,
}


def fit(**options):
    given = {"system": SYSTEM, "data": (FEATURES, TARGETS)} | OPTIONS | options
    return ep.fit(**given)


def summary_of(path):
    summary = read_any(path).summary
    assert summary is not None
    return summary


def same(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(p, q) for p, q in pairs if eqx.is_array(p))


def without_times(history):
    return [{k: v for k, v in line.items() if k != "epoch_seconds"} for line in history]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return fit(run=tmp_path_factory.mktemp("kept") / "run", epochs=4)


@pytest.fixture(scope="module")
def unkept():
    return fit(epochs=4)


@pytest.mark.slow
def test_a_directory_keeps_what_memory_does(kept, unkept):
    assert same(kept.system, unkept.system) and same(kept.best, unkept.best)
    assert without_times(kept.history) == without_times(unkept.history)
    run = load(kept.run, like=hopfield(seed=1))
    assert same(run.system, unkept.system) and run.history == kept.history
    assert same(load(kept.run, checkpoint="best", like=hopfield(seed=1)).system, unkept.best)
    summary = summary_of(kept.run)
    assert summary["validation_loss"] == kept.history[-1]["validation_loss"] and summary["test_loss"] is None
    assert 0.9 < summary["cosine_to_adjoint"]["total"] <= 1 and summary["epochs"] == 4


@pytest.mark.slow
def test_a_kept_run_in_the_hand(kept):
    run = load(kept.run, like=hopfield(seed=1))
    outputs = run.predict(FEATURES[:5]).output
    state = ep.relax(kept.system, jnp.asarray(FEATURES[:5]), ep.GaussSeidel()).state
    assert np.allclose(outputs, np.tanh(state)[:, -2:], atol=1e-4)
    assert run.evaluate((FEATURES[:20], TARGETS[:20]))["loss"] == pytest.approx(kept.history[-1]["validation_loss"])
    with pytest.raises(InputError, match=r"its system was given to fit \(.*Hopfield\); give one .*like=system"):
        load(kept.run)
    with pytest.raises(InputError, match="was given arrays, which it does not keep; give inputs"):
        run.evaluate("test")


def test_the_same_call_on_a_finished_run_trains_nothing(kept):
    def told(metrics):
        pytest.fail("an epoch was trained")

    again = fit(run=kept.run, epochs=4, callbacks=[told])
    assert same(again.system, kept.system) and again.history == kept.history


KILLED = """
import sys, os, signal
sys.path.insert(0, sys.argv[1])
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
import equiprop as ep
from test_fit_in_a_run import fit

class Kill(ep.Callback):
    def on_steps(self, epoch, step, loss):
        if epoch == 3 and step >= 1:
            os.kill(os.getpid(), signal.SIGKILL)

fit(run=sys.argv[2], epochs=4, callbacks=[Kill()])
"""


@pytest.mark.slow
def test_a_killed_one_goes_on_bit_for_bit(tmp_path, unkept):
    here = Path(__file__).parent
    arguments = [sys.executable, "-c", KILLED, str(here), str(tmp_path / "run")]
    paths = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(arguments, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": paths})
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert len(load(tmp_path / "run", like=SYSTEM).history) == 2
    seen = []
    found = fit(run=tmp_path / "run", epochs=4, callbacks=[lambda metrics: seen.append(metrics["epoch"])])
    assert seen == [3, 4]
    assert same(found.system, unkept.system) and without_times(found.history) == without_times(unkept.history)


@pytest.mark.slow
def test_one_that_has_ended_goes_on_for_more_epochs(tmp_path, unkept):
    fit(run=tmp_path / "run", epochs=2)
    found = fit(run=tmp_path / "run", epochs=4)
    assert same(found.system, unkept.system) and len(found.history) == 4
    with pytest.raises(InputError, match="epochs = 3: 4 are behind it"):
        fit(run=tmp_path / "run", epochs=3)


@pytest.mark.slow
def test_a_schedule_over_other_epochs_is_said(tmp_path):
    options = {"run": tmp_path / "run", "estimator": ep.Centered(ep.Schedule("linear", 0.3, 0.1))}
    fit(epochs=1, **options)
    with pytest.warns(ScheduleWarning, match="linear schedule of estimator.nudge was to end with epoch 1"):
        fit(epochs=2, **options)


class Other(ep.Flip):
    pass


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"estimator": ep.Centered(0.2)}, "was begun with another estimator.nudge; give the arguments of then"),
        ({"batch_size": 10}, "another training.batch_size"),
        ({"key": 1}, "another training.seed"),
        ({"system": hopfield(seed=1)}, "another system"),
        ({"transforms": [lambda x, y, key: (x, y)]}, "another transforms"),
        ({"metrics": []}, "another metrics"),
        ({"data": (FEATURES + 1, TARGETS)}, "has checksum .*, the run began with"),
        ({"homeostasis": ep.JacobianHomeostasis(0.1)}, "another homeostasis"),
        ({"optimizer": ep.SGD(0.1)}, "another optimizer"),
    ],
)
def test_another_call_is_refused(kept, changed, message):
    before = sorted((p, p.stat().st_mtime_ns) for p in kept.run.rglob("*"))
    with pytest.raises(InputError, match=message):
        fit(run=kept.run, **({"epochs": 4} | changed))
    assert sorted((p, p.stat().st_mtime_ns) for p in kept.run.rglob("*")) == before


def test_what_is_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="exists already"):
        fit(run=tmp_path / "file")
    with pytest.raises(InputError, match="x: is tuple; give an array of numbers"):
        fit(run=tmp_path / "run", system=of_pair(), data=((FEATURES, FEATURES), TARGETS), validation=None)
    assert not (tmp_path / "run").exists()


def of_pair():
    return ep.from_force(
        lambda w, u, x: jnp.tanh(x[0]) @ w + x[1][:, :2] - u,
        jnp.ones((3, 2)),
        initial_state=jnp.zeros(2),
        output=lambda r: r,
    )


def test_the_commands_say_what_they_cannot_do_with_it(kept):
    with pytest.raises(InputError, match="was begun by fit; call fit again with the same arguments"):
        resume(kept.run)


@pytest.mark.slow
def test_a_run_of_a_configuration_is_not_gone_on_with(tmp_path):
    train(toy.config(training={"epochs": 1}), tmp_path / "run", dataset=toy.dataset())
    with pytest.raises(InputError, match="was begun with another "):
        fit(run=tmp_path / "run")


@pytest.mark.slow
def test_a_dataset_is_trained_on_as_the_command_does_bit_for_bit(tmp_path):
    settings, data = toy.config(training={"diagnostic_samples": 0}), toy.dataset()
    summary = train(settings, tmp_path / "theirs", dataset=data)
    trainer = Trainer(settings, data)
    parts = trainer.components
    found = ep.fit(
        trainer.system, data, estimator=parts.estimator, homeostasis=parts.homeostasis, solver=parts.solver,
        optimizer=parts.optimizer, epochs=3, batch_size=20, key=trainer.key, run=tmp_path / "ours", quiet=True,
    )  # fmt: skip
    assert same(found.system, load(tmp_path / "theirs", dataset=data).system)
    ours = summary_of(found.run)
    assert ours["test_error_percent"] == summary["test_error_percent"]
    assert load(found.run, like=trainer.system, dataset=data).evaluate()["loss"] == pytest.approx(summary["test_loss"])


@pytest.mark.slow
def test_whole_numbers_reach_the_system_as_they_are(tmp_path):
    """As the words of a sentence: an embedding takes no floats."""

    def force(params, u, x):
        return params["embedding"][x].sum(axis=1) - u

    system = ep.from_force(
        force, {"embedding": jnp.asarray(np.eye(7, 4))}, initial_state=jnp.zeros(4), output=lambda r: r[:, :2]
    )
    words = np.arange(60).reshape(20, 3) % 7
    found = ep.fit(
        system, (words, np.ones((20, 2))), batch_size=10, epochs=1, run=tmp_path / "run", quiet=True,
        homeostasis=ep.NoHomeostasis(),
    )  # fmt: skip
    expected = np.asarray(found.system.params["embedding"])[words].sum(axis=1)[:, :2]
    assert np.allclose(load(tmp_path / "run", like=system).predict(words).output, expected, atol=1e-3)


@pytest.mark.slow
def test_batches_as_they_come_are_kept_too(tmp_path):
    batches = [(FEATURES[i : i + 20], TARGETS[i : i + 20]) for i in (0, 20, 40)]
    half = fit(data=batches, validation=None, run=tmp_path / "run", epochs=1)
    found = fit(data=batches, validation=None, run=tmp_path / "run", epochs=2)
    whole = fit(data=batches, validation=None, epochs=2)
    assert len(half.history) == 1 and same(found.system, whole.system)


@pytest.mark.slow
def test_reports(kept, unkept, tmp_path):
    for result, path in ((kept, kept.run / "report.html"), (unkept, tmp_path / "page.html")):
        written = result.report() if result is kept else result.report(path)
        page = path.read_text()
        assert (
            written == path
            and "an optimizer of Optax" in page
            and "Validation loss" in page.replace("validation", "Validation")
        )


# Several at once.


@pytest.mark.slow
def test_lanes_are_each_bit_for_bit_what_they_are_alone():
    found = ep.fit_lanes(SYSTEM, (FEATURES, TARGETS), key=[0, 1, 2], **OPTIONS)
    for key, lane in enumerate(found):
        alone = fit(key=key)
        assert same(lane.system, alone.system) and without_times(lane.history) == without_times(alone.history)


@pytest.mark.slow
def test_numbers_are_lanes_too():
    estimators = [ep.Centered(nudge) for nudge in (0.05, 0.4)]
    rates = [ep.SGD(0.1), ep.SGD(0.3)]
    options = OPTIONS | {"optimizer": rates, "estimator": estimators, "epochs": 1}
    found = ep.fit_lanes(SYSTEM, (FEATURES, TARGETS), **options)
    for lane, estimator, rate in zip(found, estimators, rates, strict=True):
        assert same(lane.system, fit(estimator=estimator, optimizer=rate, epochs=1).system)
    assert not same(found[0].system, found[1].system)


@pytest.mark.slow
def test_lanes_stop_by_themselves():
    systems = [hopfield(seed=1), SYSTEM]
    stop = ep.EarlyStopping("validation_loss", patience=1, least=0.02)
    found = ep.fit_lanes(systems, (FEATURES, TARGETS), **(OPTIONS | {"epochs": 12, "callbacks": [stop]}))
    alone = [fit(system=system, epochs=12, callbacks=[stop]) for system in systems]
    assert [len(lane.history) for lane in found] == [len(one.history) for one in alone]
    assert all(
        lane.ended.startswith("validation_loss has not improved") == bool(one.ended)
        for lane, one in zip(found, alone, strict=True)
    )


def test_a_lane_that_is_no_number_is_given_up_alone():
    spoilt = eqx.tree_at(lambda s: s.weight, SYSTEM, SYSTEM.weight.at[0, 1].set(jnp.nan))
    found = ep.fit_lanes([SYSTEM, spoilt], (FEATURES, TARGETS), **(OPTIONS | {"epochs": 2}))
    assert len(found[0].history) == 2 and not found[0].ended
    assert "not finite" in found[1].ended and not found[1].history


@pytest.mark.slow
def test_seeds_share_a_directory(tmp_path):
    options = OPTIONS | {"run": tmp_path / "run", "key": [3, 4]}
    found = ep.fit_lanes(SYSTEM, (FEATURES, TARGETS), **options)
    assert [each.run for each in found] == [tmp_path / "run" / "seed-3", tmp_path / "run" / "seed-4"]
    assert same(load(found[1].run, like=SYSTEM).system, fit(key=4).system)
    summary = summary_of(tmp_path / "run")
    assert summary["seeds"] == [3, 4] and summary["std"]["validation_loss"] > 0
    again = ep.fit_lanes(SYSTEM, (FEATURES, TARGETS), **(options | {"epochs": 5}))
    assert all(same(lane.system, fit(key=key, epochs=5).system) for lane, key in zip(again, (3, 4), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "lanes: lists of one length are needed: there is none; give a list of one for each lane"),
        ({"key": [0, 1], "estimator": [ep.Centered()]}, "lists of one length are needed: estimator has 1, key has 2"),
        ({"estimator": [ep.Centered(), ep.OneSided()]}, "lanes: differ in more than their numbers"),
        ({"key": [0, 2], "run": "r"}, "run: several lanes in one run are seeds that follow each other"),
        (
            {"key": [0, 1], "estimator": [ep.Centered(0.1), ep.Centered(0.2)], "run": "r"},
            "seeds that follow each other",
        ),
    ],
)
def test_lanes_that_are_refused(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        ep.fit_lanes(SYSTEM, (FEATURES, TARGETS), **(OPTIONS | options))
    assert not any(tmp_path.iterdir())
