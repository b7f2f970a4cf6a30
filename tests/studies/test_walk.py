"""Circles of nudges against the closed form of a linear system, and against small differences of a network with mobilities."""

import math

import jax.numpy as jnp
import numpy as np

from equiprop.numerics import SquaredError
from equiprop.reporting import Walk
from equiprop.solvers import Jacobi
from equiprop.studies._walk import walk
from equiprop.systems import from_force
from networks import batch, network

W = np.random.default_rng(0).normal(size=(4, 4)) * 0.3
X, Y = (np.random.default_rng(seed).normal(size=(1, 4)) for seed in (1, 2))
SOLVER = Jacobi(tolerance=1e-10, max_steps=2000, nudged_max_steps=2000)


def _rest(nudge: complex) -> np.ndarray:
    """x + W u − u − β(u − y) = 0."""
    return np.linalg.solve((1 + nudge) * np.eye(4) - W, (X + nudge * Y)[0])


def test_a_walk_is_that_of_the_closed_form():
    system = from_force(
        lambda p, u, x: x + u @ p.T - u,
        jnp.asarray(W),
        initial_state=jnp.zeros(4),
        output=lambda r: r,
        cost=SquaredError(),
    )
    sizes = [0.1, 0.3, 60.0]
    found = walk(
        "linear", system, jnp.asarray(X), jnp.asarray(Y), solver=SOLVER, sizes=sizes, angles=8, points=[1, 2, 4]
    )
    slope = np.linalg.solve(np.eye(4) - W, Y[0] - _rest(0))
    most = int(np.argmax(np.abs(slope)))
    (unit,) = found.units
    assert unit["name"] == f"unit[{most}]" and math.isclose(unit["exact"], slope[most], rel_tol=1e-4)
    for place, size in enumerate(sizes[:2]):
        for k in range(8):
            moved = (_rest(size * np.exp(2j * np.pi * k / 8)) - _rest(0))[most]
            assert abs(unit["real"][place][k] - moved.real) < 1e-3 * abs(moved)
            assert abs(unit["imaginary"][place][k] - moved.imag) < 1e-3 * abs(moved)
        for n in (1, 2, 4):
            turns = np.exp(2j * np.pi * np.arange(n) / n)
            ours = np.mean([(_rest(size * turn) - _rest(0)) / (size * turn) for turn in turns], axis=0)
            off = np.linalg.norm(ours - slope) / np.linalg.norm(slope)
            assert math.isclose(found.errors[str(n)][place], off, rel_tol=0.01)
            bar = found.bars[str(n)][place]
            assert bar is not None and bar > 0.5 * off
    # So large a nudge makes synchronous steps explode.
    assert found.rests[0] == (True,) * 8 and not any(found.rests[2])
    assert [found.errors[n][2] for n in ("1", "2", "4")] == [None] * 3
    assert found.best is not None and found.best[:2] == ("4", 0.1)
    assert Walk.from_json(found.to_json()) == found


def test_responses_are_those_of_the_activity_where_parts_are_less_mobile():
    system, (x, y) = network("general"), batch(n=1)
    found = walk("general", system, x, y, solver=SOLVER, sizes=[0.01], angles=2, points=[2], units=2)
    assert len(found.units) == 2
    for unit in found.units:
        ahead, back = unit["real"][0]
        assert math.isclose((ahead - back) / 0.02, unit["exact"], rel_tol=2e-3)
