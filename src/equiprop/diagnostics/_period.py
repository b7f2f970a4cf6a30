"""The period of a relaxation that does not come to an equilibrium."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver
from equiprop.systems import Free, System


def period(system: System, x: Any, state: PyTree, solver: AbstractSolver, *, longest: int = 8) -> Int[Array, " batch"]:
    """After how many sweeps each sample comes back to where it is, up to `longest`; 1 at equilibrium, 0 if it does not come back.

    A sample has come back when, after it had left, it is nearer than a tenth of its largest excursion so far.
    """
    field = Free(system, system.injection(x))

    def sweep(u: PyTree, _: None) -> tuple[PyTree, Array]:
        moved = solver.sweep(field, u)[0]
        return moved, trees.norm(trees.subtract(moved, state))

    _, distances = jax.lax.scan(sweep, state, length=longest)
    floor = solver.tolerance * (1 + trees.norm(state))
    still = (distances <= floor).all(axis=0)
    # At its first sweep a sample is as far as it ever was, so that it can be back at the second at the earliest.
    excursion = jax.lax.cummax(distances, axis=0)
    near = (distances <= jnp.maximum(0.1 * excursion, floor)) & (excursion > floor)
    nearest = distances <= jnp.append(distances[1:], jnp.full_like(distances[:1], jnp.inf), axis=0)
    back = near & nearest
    return jnp.select([still, back.any(axis=0)], [1, jnp.argmax(back, axis=0) + 1], 0).astype(jnp.int32)
