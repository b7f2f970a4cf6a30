"""The period of a relaxation that does not come to rest."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver
from equiprop.systems import System


def period(system: System, x: Any, state: PyTree, solver: AbstractSolver, *, longest: int = 8) -> Int[Array, " batch"]:
    """After how many sweeps each sample comes back to where it is, up to `longest`; 1 at rest, 0 if it does not come back.

    A sample has come back when it is nearer than a tenth of its largest excursion.
    """
    drive = system.input_drive(x)

    def sweep(u: PyTree, _: None) -> tuple[PyTree, Array]:
        moved = solver.sweep(system, drive, u)[0]
        return moved, trees.norm(trees.subtract(moved, state))

    _, distances = jax.lax.scan(sweep, state, length=longest)
    excursion = distances.max(axis=0)
    floor = solver.tolerance * (1 + trees.norm(state))
    back = distances <= jnp.maximum(0.1 * excursion, floor)
    return jnp.where(back.any(axis=0), jnp.argmax(back, axis=0) + 1, 0).astype(jnp.int32)
