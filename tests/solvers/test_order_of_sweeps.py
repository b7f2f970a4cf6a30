"""What one sweep carries through a chain, and what over-relaxed ones do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equiprop as ep
from equiprop.estimators._circle import displaced
from equiprop.estimators._problem import Problem
from equiprop.numerics import trees
from equiprop.solvers import relax_field
from equiprop.systems import Free, Nudged


@pytest.fixture(scope="module")
def problem():
    system = ep.mlp(6, (5, 5, 5, 5), 3, activation="tanh", feedback_gain=0.5, key=jax.random.key(0))
    x, y = jax.random.normal(jax.random.key(1), (2, 6)), jnp.asarray([0, 2])
    solver = ep.GaussSeidel(tolerance=1e-12)
    injection = system.injection(x)
    free = relax_field(Free(system, injection), system.initial_state(x), solver)
    return Problem(system, x, injection, y, free, solver)


def test_one_sweep_brings_the_input_to_the_output(problem):
    """All but what comes back is then there: the forward pass of the chain."""
    system, field = problem.system, Free(problem.system, problem.injection)
    swept, _ = ep.GaussSeidel(damping=0.0).sweep(field, system.initial_state(problem.x))
    before, names = np.asarray(problem.x), [p.name for p in system.topology.relaxing]
    for source, target in zip(["input", *names], names, strict=False):
        before = before @ np.asarray(system.weights[f"{source}->{target}"])
        assert np.allclose(swept[target], before)
        before = np.tanh(before)


def test_one_sweep_brings_a_nudge_to_every_layer(problem):
    nudges = jnp.full((1, 2), 0.1)
    as_displacement = displaced(problem, nudges)
    nowhere = jax.tree.map(jnp.zeros_like, problem.free.state)
    nudged = Nudged(Free(problem.system, problem.injection), problem.system, problem.target, nudges[0])
    for field, start in ((as_displacement, nowhere), (nudged, problem.free.state)):
        swept, _ = ep.GaussSeidel(damping=0.0).sweep(field, start)
        moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), swept, start)
        assert all(size > 1e-9 for size in moved.values()), moved


def test_over_relaxed_sweeps_go_further_and_end_at_the_same(problem):
    """u + ω·F, block by block, as damped sweeps with 1 − ω for the damping."""
    field, start = Free(problem.system, problem.injection), problem.system.initial_state(problem.x)
    longer = ep.Anderson(relaxation=0.7).sweep(field, start)[0]
    expected = ep.GaussSeidel(damping=0.3).sweep(field, start)[0]
    assert trees.max_abs(trees.subtract(longer, expected)).max() < 1e-14
    end = ep.relax(problem.system, problem.x, ep.Anderson(depth=5, relaxation=1.4, tolerance=1e-12))
    assert end.converged.all()
    assert trees.max_abs(trees.subtract(end.state, problem.free.state)).max() < 1e-10
