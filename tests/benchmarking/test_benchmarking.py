"""The baselines compute what they say, and every case runs and is timed."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from equiprop.benchmarking import Case, cases, feedforward, measure, plain
from equiprop.errors import InputError
from equiprop.estimators import ESTIMATORS, Centered, Holomorphic, estimate
from equiprop.experiment import Trainer
from equiprop.solvers import FixedIterations
from equiprop.systems import LayeredNetwork, Stage, convolutional
from toy import config, dataset

SGD = optax.sgd(1.0)


@pytest.fixture(scope="module")
def trainer():
    return Trainer(config(system={"hidden": (8, 6)}, training={"precision": "float64"}), dataset())


def convolutions():
    """One of them residual."""
    stages = (Stage(3, pool=2), Stage(3, residual=True), Stage(4, kernel=2, padding="valid"))
    topology = convolutional((4, 4, 1), stages, activation="dsilu", feedback_gain=0.5)
    return LayeredNetwork.create(topology, classes=3, key=jax.random.key(0))


def gradient(make, trainer, system):
    """What one step of plain gradient descent at learning rate one subtracts."""
    state = SGD.init(eqx.filter(system, eqx.is_inexact_array))
    after, _ = jax.jit(make)(system, state, trainer.samples)
    return jax.tree.map(lambda a, b: np.asarray(a - b), system, after)


@pytest.mark.slow
def test_feedforward_is_backpropagation_of_the_forward_chain(trainer):
    """Against the chain written out by hand."""
    x, labels = trainer.samples.batch(jnp.arange(20))
    s = trainer.system
    act = lambda z: 1 / (1 + jnp.exp(-4 * z + 2))  # noqa: E731

    def cost(forward, readout):
        r = x.reshape(20, -1)
        for i, (w, b) in enumerate(forward):
            r = act(r @ w + b)
            del i
        logits = r @ readout[0] + readout[1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    names = ["input->hidden_1", "hidden_1->hidden_2", "hidden_2->output"]
    forward = [(s.weights[n], s.biases[n.split("->")[1]]) for n in names]
    (expected, _) = jax.jit(jax.grad(cost, argnums=(0, 1)))(forward, (s.cost.weight, s.cost.bias))
    found = gradient(feedforward(SGD, 20, 1), trainer, s)
    for (w, b), name in zip(expected, names, strict=True):
        assert np.allclose(found.weights[name], w, atol=1e-12)
        assert np.allclose(found.biases[name.split("->")[1]], b, atol=1e-12)
    assert not found.weights["output->hidden_2"].any()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "points"), [("chain", 1), ("chain", 2), ("chain", 6), ("convolutions", 2)])
def test_plain_is_the_estimate_by_fixed_steps(trainer, kind, points):
    """All phases, complex weights: the same gradient as half of the circle in real arithmetic."""
    system = trainer.system if kind == "chain" else convolutions()
    x, labels = trainer.samples.batch(jnp.arange(20))
    estimator = Centered(nudge=0.3) if points == 2 else Holomorphic(nudge=0.3, points=points)
    estimator = dataclasses.replace(estimator, unconverged="keep", clip=float("inf"))
    if points > 1:
        estimator = dataclasses.replace(estimator, branch_switch="keep")
    solver = FixedIterations(max_steps=150, nudged_max_steps=60)
    answer = estimate(system, x, labels, estimator, solver=solver)
    found = gradient(plain(SGD, 20, 1, points=points, nudge=0.3, nudged_steps=60), trainer, system)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(answer.gradient), strict=True):
        assert np.allclose(a, b, atol=1e-9)


def test_every_case_is_timed(trainer):
    chosen = cases(trainer, trainer.system, ("parts",), steps=1)
    told, rounds = [], []
    timings = measure(chosen, rounds=2, least_seconds=0.0, on_case=told.append, on_round=rounds.append)
    assert [t.name for t in timings] == told == [c.name for c in chosen] and rounds == [0, 1]
    for timing in timings:
        assert 0 < timing.fastest <= timing.milliseconds <= timing.slowest
        assert timing.compile_seconds > 0 and timing.bytes


@pytest.mark.slow
def test_what_is_scheduled_is_as_at_the_start_of_training():
    def results(nudge):
        own = Trainer(config(estimator={"nudge": nudge}, training={"precision": "float64"}), dataset())
        found = {case.name: case for case in cases(own, own.system, ("steps", "parts"), steps=1)}
        chosen = [found[name] for name in ("step, plain N = 2", "estimate at equilibrium, centered")]
        return [jax.jit(case.function)(*case.arguments) for case in chosen]

    scheduled, constant = results({"schedule": "linear", "from": 0.2, "to": 0.1}), results(0.2)
    for a, b in zip(jax.tree.leaves(scheduled), jax.tree.leaves(constant), strict=True):
        assert np.allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_estimators_that_the_system_refuses_are_not_timed(trainer):
    def names(own):
        return [case.name.removeprefix("estimate, ") for case in cases(own, own.system, ("estimators",))]

    squared = Trainer(config(system={"cost": "squared_error"}, training={"precision": "float64"}), dataset())
    assert names(squared) == list(ESTIMATORS.members())
    x, labels = trainer.samples.batch(jnp.arange(20))
    for kind in set(ESTIMATORS.members()) - set(names(trainer)):
        with pytest.raises(InputError):
            estimate(trainer.system, x, labels, trainer.config.estimator.switched(kind).create(), key=trainer.key)
    assert {"adjoint", "centered", "holomorphic", "unrolled"} <= set(names(trainer))


def test_memory_is_that_of_the_program():
    x = jnp.ones((256, 256))
    (timing,) = measure([Case("powers", lambda x: jax.lax.fori_loop(0, 50, lambda _, y: y @ x, x), (x,), 50)], rounds=1)
    assert timing.bytes is not None and 2 * x.nbytes <= timing.bytes <= 6 * x.nbytes
