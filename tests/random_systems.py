"""Hundreds of random asymmetric systems with their exact error vectors by NumPy, for the calibration of error bars."""

import functools

import jax.numpy as jnp
import numpy as np

from equiprop.solvers import Jacobi
from equiprop.systems import from_force

SYSTEMS, UNITS, READ = 300, 10, 4
SOLVER = Jacobi(tolerance=1e-7, max_steps=2000, nudged_max_steps=2000, damping=0.3)


def _activity(u):
    return 0.5 + 0.5 * jnp.tanh(2 * u - 1)


@functools.cache
def random_systems():
    """As many random asymmetric systems as samples: each brings its own matrix as its input, and a target of its own size.

    Gains from 0.2 to 1.4, from symmetric to independent weights, pulls from a twentieth to five.
    """
    rng = np.random.default_rng(7)
    random = rng.normal(size=(SYSTEMS, UNITS, UNITS)) / UNITS**0.5
    symmetric = (random + np.swapaxes(random, 1, 2)) / 2
    asymmetry, gain = rng.uniform(0, 1, SYSTEMS), rng.uniform(0.2, 1.4, SYSTEMS)
    matrix = gain[:, None, None] * (symmetric + asymmetry[:, None, None] * (random - symmetric))
    system = from_force(
        lambda p, u, x: jnp.einsum("bij,bj->bi", x["w"].astype(u.dtype), _activity(u)) + p + x["b"] - u,
        jnp.zeros(()),
        initial_state=jnp.zeros(UNITS),
        activity=_activity,
        output=lambda r: r[:, :READ],
    )
    size = np.exp(rng.uniform(np.log(0.05), np.log(5), (SYSTEMS, 1)))
    x = {"w": jnp.asarray(matrix), "b": jnp.asarray(rng.normal(size=(SYSTEMS, UNITS)) / 2)}
    return system, x, jnp.asarray(size * rng.normal(size=(SYSTEMS, READ)))


def exact(system, x, y, state, *, transpose):
    """−J⁻¹∇C or −J⁻ᵀ∇C of every system, by NumPy."""
    u = np.asarray(state, float)
    r = 0.5 + 0.5 * np.tanh(2 * u - 1)
    jacobian = np.asarray(x["w"]) - np.einsum("bi,ij->bij", 1 / (4 * r * (1 - r)), np.eye(UNITS))
    jacobian = np.swapaxes(jacobian, 1, 2) if transpose else jacobian
    cost_gradient = np.concatenate([r[:, :READ] - np.asarray(y), np.zeros((SYSTEMS, UNITS - READ))], axis=1)
    return -np.linalg.solve(jacobian, cost_gradient[..., None])[..., 0]
