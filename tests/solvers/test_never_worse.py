"""The default solver against plain sweeps, on 512 random networks: nothing is lost, and there is less to do."""

from itertools import cycle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.solvers import GaussSeidel, relax
from equiprop.systems import mlp
from many_networks import KINDS, family, outcomes
from tiers import quick_where

ACTIVATIONS = ("tanh", "shifted_sigmoid", "dsilu", "relu")
PER_KIND = 64
QUICK = ("loop", "one population")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "activation"),
    quick_where(lambda kind, _: kind in QUICK, zip((*KINDS, "one population"), cycle(ACTIVATIONS))),
)
def test_it_settles_what_plain_sweeps_settle_in_no_more_of_them(kind, activation):
    """Free, and under complex nudges; any angle and strength of the feedback, gains up to where most samples never settle."""
    networks = family(kind, activation, PER_KIND, samples=6)
    for phase, plain, default in outcomes(networks, GaussSeidel(damping=0.0), GaussSeidel()):
        ours, theirs = np.asarray(default.converged), np.asarray(plain.converged)
        assert theirs.mean() > 0.3 and not (theirs & ~ours).any(), phase
        both = ours & theirs
        assert np.asarray(default.steps)[both].mean() <= np.asarray(plain.steps)[both].mean(), phase


@pytest.mark.slow
def test_it_does_not_climb_where_the_force_grows():
    """Asymmetric weights of gain 2: the factor that symmetric weights would want lets twelve samples wander about."""
    system = mlp(16, (6, 6), 4, activation="tanh", gain=2.0, key=jax.random.key(0), dtype=jnp.float32)
    x = jnp.asarray(np.random.default_rng(0).random((32, 16)), jnp.float32)
    plain, default = relax(system, x, GaussSeidel(damping=0.0)), relax(system, x, GaussSeidel())
    assert plain.converged.all() and default.converged.all()
    assert default.steps.max() <= 30 and default.steps.mean() <= plain.steps.mean()
