"""Many chips at once are each of them alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.estimators import Adjoint, Centered, estimate
from equiprop.hardware import Device, Mismatch, Perfect, Readout, Units, monte_carlo
from equiprop.solvers import GaussSeidel
from networks import batch, network

SOLVER = GaussSeidel(tolerance=1e-10)
X, Y = batch(n=6)


def flat(tree):
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(tree)])


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.slow
def test_each_chip_is_that_chip_alone():
    system = network("tied")
    device = Device(mismatch=Mismatch(gain=0.2), units=Units(gain=0.1), readout=Readout(noise=1e-3))
    found = monte_carlo(device, system, X, Y, Centered(0.05), chips=3, seed=4, solver=SOLVER)
    assert found.error_percent is not None
    ideal = flat(estimate(system, X, Y, Adjoint(), solver=SOLVER).gradient)
    for lane, key in enumerate(jax.random.split(jax.random.key(4), 3)):
        made, read = jax.random.split(key)
        chip = device.instance(system, made)
        learnt = estimate(chip, X, Y, Centered(0.05), solver=SOLVER, key=read)
        true = flat(estimate(chip, X, Y, Adjoint(), solver=SOLVER).gradient)
        np.testing.assert_allclose(found.cosine[lane], cosine(flat(learnt.gradient), true), rtol=1e-6)
        np.testing.assert_allclose(found.cosine_to_ideal[lane], cosine(flat(learnt.gradient), ideal), rtol=1e-6)
        np.testing.assert_allclose(found.cost[lane], learnt.cost.mean(), rtol=1e-9)
        wrong = np.asarray(chip.cost.scores(chip.output(chip.activity(learnt.equilibrium.state)))).argmax(axis=1) != Y
        np.testing.assert_allclose(found.error_percent[lane], 100 * wrong.mean(), rtol=1e-5)
    assert found.cosine.std() > 1e-6
    assert "cosine to ideal" in str(found) and "±" in str(found)


@pytest.mark.slow
def test_chips_that_are_perfect_are_all_alike():
    found = monte_carlo(Perfect(), network("tied"), X, Y, Centered(1e-4), chips=2, solver=SOLVER)
    np.testing.assert_allclose(
        jnp.stack([found.cosine, found.norm_ratio, found.cosine_to_ideal, found.converged]), 1, rtol=1e-6
    )


def test_there_is_one_chip_at_least():
    with pytest.raises(InputError, match="chips = 0: must be a number of chips, at least 1"):
        monte_carlo(Perfect(), network("tied"), X, Y, chips=0)
