"""Runs on imperfect devices: a chip is what a checkpoint holds, and what goes on."""

import json
import signal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import toy
from equiprop.errors import InputError
from equiprop.experiment import Interrupted, load, resume, train
from equiprop.hardware import Chip, Device, Mismatch, PhaseCoding, Readout
from equiprop.solvers import relax
from equiprop.systems import predict
from equiprop.training import SGD, Callback, _loop, diagnose, evaluate, parameter_groups
from networks import network

DATA = toy.dataset()
DEVICE = {
    "kind": "device",
    "quantisation": {"bits": 6, "rounding": "stochastic"},
    "programming": {"noise": 0.01},
    "mismatch": {"gain": 0.1},
    "readout": {"noise": 0.01},
    "update": {"variation": 0.1},
}


def config(**sections):
    plain = {"training": {"diagnostic_samples": 0, "audit_samples": 0, "epochs": 2}, "hardware": DEVICE}
    return toy.config(**{name: plain.get(name, {}) | sections.get(name, {}) for name in plain | sections})


class Stop(Callback):
    """Interrupts, as Ctrl-C does, in the second epoch."""

    def on_steps(self, epoch, step, loss):
        if (epoch, step) == (2, 2):
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("hardware") / "run"
    train(config(), path, dataset=DATA)
    return path


def arrays(system):
    return [np.asarray(a) for a in jax.tree.leaves(eqx.filter(system, eqx.is_array))]


def test_learning_rates_are_named_as_without_a_device():
    plain = network("untied")
    rates = {"readout": 0.1, "input->hidden_1": 0.2}
    right = jax.tree.leaves(parameter_groups(plain))
    for coding in ("none", "two_units"):
        chip = Device(mismatch=Mismatch(gain=0.1), coding=PhaseCoding(scheme=coding)).instance(plain)
        assert jax.tree.leaves(parameter_groups(chip)) == right and set(rates) < set(right)
        moved = SGD(learning_rate=1e-6, learning_rates=rates).transformation(chip, 1)
        ones = jax.tree.map(jnp.ones_like, eqx.filter(chip, eqx.is_inexact_array))
        updates, _ = moved.update(ones, moved.init(ones), ones)
        by_group = dict(zip(right, jax.tree.leaves(updates), strict=True))
        assert {name for name in by_group if np.all(np.abs(by_group[name]) > 0.01)} == set(rates)


@pytest.mark.slow
def test_a_checkpoint_holds_the_chip(finished):
    run = load(finished, dataset=DATA)
    assert isinstance(run.system, Chip)
    # Every step wrote the weights anew.
    assert int(run.system.written) == 2 * 6
    again = load(finished, dataset=DATA)
    for a, b in zip(arrays(run.system), arrays(again.system), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(run.predict(DATA.test.x).output, again.predict(DATA.test.x).output)
    summary = json.loads((finished / "summary.json").read_text())
    assert run.evaluate("test")["error_percent"] == summary["test_error_percent"]


def test_errors_are_those_of_what_is_read(finished):
    run = load(finished, dataset=DATA)
    quiet, noisy = (
        evaluate(Device(readout=Readout(noise=noise)).instance(run.system.system, 0), run.samples("test"), run.solver)
        for noise in (1e-6, 100.0)
    )
    assert noisy["loss"] > 10 * quiet["loss"] and noisy["error_percent"] > quiet["error_percent"]


@pytest.mark.slow
def test_a_chip_whose_readings_are_noisy_is_diagnosed(finished):
    run = load(finished, dataset=DATA)
    exact = predict(run.system, relax(run.system, run.samples("test").batch(jnp.arange(8))[0], run.solver).state)
    assert float(jnp.abs(run.predict(DATA.test.x[:8]).output - exact).max()) > 1e-4
    found = diagnose(run.system, run.trainer.validation, run.trainer.components, 8, 0)
    assert sum(found["analyticity"].values()) == pytest.approx(1) and found["gradient_bar_causes"]["noise"] > 0


@pytest.mark.slow
def test_seeds_are_chips_of_their_own(finished, tmp_path):
    other, same = (config(training={"seed": 3}), config(training={"seed": 3}, hardware={"seed": 2}))
    first = load(finished, dataset=DATA).system
    chips = []
    for name, each in (("other", other), ("same", same)):
        train(each, tmp_path / name, dataset=DATA)
        chips.append(load(tmp_path / name, dataset=DATA).system)
    assert not np.array_equal(first.key, chips[0].key)
    # The seed of the first run was 2.
    np.testing.assert_array_equal(first.key, chips[1].key)


@pytest.mark.slow
def test_interrupted_on_a_chip_it_goes_on_bit_for_bit(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(_loop, "_CALL_SECONDS", 0.0)
    with pytest.raises(Interrupted):
        train(config(), tmp_path / "run", dataset=DATA, callbacks=[Stop()])
    resume(tmp_path / "run", dataset=DATA)
    ours, theirs = (arrays(load(path, dataset=DATA).system) for path in (tmp_path / "run", finished))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_what_was_trained_ideally_goes_on_a_chip_and_a_chip_goes_on_as_itself(finished, tmp_path):
    train(
        toy.config(training={"epochs": 1, "diagnostic_samples": 0, "audit_samples": 0}),
        tmp_path / "ideal",
        dataset=DATA,
    )
    ideal = load(tmp_path / "ideal", dataset=DATA).system
    tiny = {"optimizer": {"learning_rate": 1e-12}, "homeostasis": {"strength": 0.0}}
    still = {"hardware": {"update": {}}}
    for start in ("ideal", finished):
        path = tmp_path / f"from_{getattr(start, 'name', start)}"
        given = config(
            training={"start": str(tmp_path / start), "epochs": 1}, **tiny, **(still if start == "ideal" else {})
        )
        train(given, path, dataset=DATA)
        found = load(path, dataset=DATA).system
        wanted = ideal if start == "ideal" else load(finished, dataset=DATA).system
        if start == "ideal":
            for name, weight in found.weights.items():
                np.testing.assert_allclose(weight, wanted.weights[name], rtol=1e-5, atol=1e-7)
        else:
            np.testing.assert_array_equal(found.key, wanted.key)
            assert int(found.written) == int(wanted.written) + 6


def test_a_part_that_there_is_not_is_said():
    with pytest.raises(InputError, match=r"hardware\.mismatch: there is no key 'gian'"):
        config(hardware={"mismatch": {"gian": 0.1}})
    with pytest.raises(InputError, match=r"hardware\.mismatch = 0\.1: must be a table"):
        config(hardware={"mismatch": 0.1})
