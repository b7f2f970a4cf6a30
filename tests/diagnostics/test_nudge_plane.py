"""States under complex nudges, against the linear equations that they solve."""

import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.diagnostics import nudge_plane
from equiprop.errors import InputError
from equiprop.numerics import SquaredError
from equiprop.solvers import Jacobi, relax
from equiprop.systems import from_force

W = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)) * 0.3)
X = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)))
Y = jnp.asarray(np.random.default_rng(2).normal(size=(3, 4)))
SYSTEM = from_force(
    lambda p, u, x: x + u @ p.T - u, W, initial_state=jnp.zeros(4), output=lambda r: r, cost=SquaredError()
)
SOLVER = Jacobi(tolerance=1e-10, max_steps=2000)
NUDGES = jnp.asarray([0.0, 0.3, -0.2, 0.2j, 0.1 - 0.3j, 40.0])


def test_every_state_solves_its_equations_and_what_does_not_come_to_rest_is_said():
    found = nudge_plane(SYSTEM, X, Y, NUDGES, solver=SOLVER)
    for place, nudge in enumerate(np.asarray(NUDGES)[:-1]):
        # x + W u − u − β(u − y) = 0.
        matrix = (1 + nudge) * np.eye(4) - np.asarray(W)
        wanted = np.linalg.solve(matrix, np.asarray(X + nudge * Y).T).T
        np.testing.assert_allclose(found.activity[place], wanted, atol=1e-8)
        assert found.converged[place].all()
    # Synchronous steps of a force with slope −41 explode.
    assert not found.converged[-1].any()
    np.testing.assert_allclose(found.activity[0].real, relax(SYSTEM, X, SOLVER).state, atol=1e-8)


def test_nudges_are_a_vector():
    with pytest.raises(InputError, match="nudges"):
        nudge_plane(SYSTEM, X, Y, NUDGES[None], solver=SOLVER)
