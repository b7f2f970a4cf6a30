"""No program of the library calls LAPACK, which up to JAX 0.10 may wait for itself for ever (`equiprop.numerics.small`)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from equiprop.diagnostics import certificate
from equiprop.estimators import ESTIMATORS, Adjoint, estimate
from equiprop.experiment import Trainer
from equiprop.homeostasis import HOMEOSTASES
from equiprop.solvers import SOLVERS, relax
from equiprop.systems import mlp
from networks import CLASSES, INPUTS, batch, network
from toy import config, dataset

X, Y = batch()
KEY = jax.random.key(0)


def calls_lapack(function, *arguments):
    program = eqx.filter_jit(function).lower(*arguments)  # pyright: ignore[reportFunctionMemberAccess]
    return "lapack" in program.as_text()


def test_this_would_find_it():
    assert calls_lapack(jnp.linalg.qr, jnp.ones((2, 3, 3)))


CLAMPING = {"clamped_response", "contrastive_hebbian", "coupled_learning"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ESTIMATORS.members())
def test_estimators(kind):
    system = network("tied") if kind not in CLAMPING else mlp(INPUTS, (5,), CLASSES, cost="squared_error", key=KEY)
    estimator = ESTIMATORS.members()[kind]()
    assert not calls_lapack(lambda s: estimate(s, X, Y, estimator, key=KEY), system)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOLVERS.members())
def test_solvers(kind):
    solver = SOLVERS.members()[kind]()
    assert not calls_lapack(lambda s: relax(s, X, solver).state, network("untied"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(HOMEOSTASES.members()) - {"auto"}))
def test_the_training_step_with_each_homeostasis(kind):
    trainer = Trainer(config(homeostasis={"kind": kind}), dataset())

    state = trainer.initial_train_state()
    job = trainer.job(trainer.samples, state)
    assert not calls_lapack(lambda state: job.steps(state, jnp.asarray(1, jnp.int32)), state)


@pytest.mark.slow
def test_the_certificate():
    system = network("untied")
    assert not calls_lapack(lambda s: certificate(s, X, s.initial_state(X), key=KEY), system)


def test_derivatives_of_an_equilibrium():
    def loss(system):
        return relax(system, X).state["output"].sum()

    assert not calls_lapack(eqx.filter_grad(loss), network("untied"))


def test_the_exact_gradient():
    assert not calls_lapack(lambda s: estimate(s, X, Y, Adjoint()).gradient, network("untied"))
