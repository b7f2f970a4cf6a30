"""Where in the complex plane of nudges a system comes to rest, and what its activity is there."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Inexact, PyTree

from equiprop.errors import InputError
from equiprop.numerics import Figures, trees
from equiprop.solvers import AbstractSolver, Equilibrium, as_solver, relax, relax_field
from equiprop.systems import Free, Nudged, System


class NudgePlane(Figures):
    """What became of every sample under every nudge, each begun at the free equilibrium.

    - `nudges`: β.
    - `activity`: r at rest, or where the relaxation gave up.
    - `converged`: whether it came to rest.
    """

    nudges: Complex[Array, " nudges"]
    activity: PyTree[Inexact[Array, "nudges batch ..."]]
    converged: Bool[Array, "nudges batch"]


def nudge_plane(
    system: System,
    x: Any,
    target: PyTree,
    nudges: Complex[Array, "..."],
    *,
    solver: AbstractSolver | None = None,
    equilibrium: Equilibrium | None = None,
) -> NudgePlane:
    """Relaxes every sample under every one of some complex nudges: where that ends, estimates by a circle through there do too.

    An activity that is not holomorphic is taken as it is written for complex states.

    **Arguments:**

    - `solver`, `equilibrium`: as for `estimate`.

    Raises `InputError` for nudges that are not a vector.
    """
    if nudges.ndim != 1:
        raise InputError("must be a vector", path="nudges", value=nudges.shape)
    solver = as_solver(solver)
    free = relax(system, x, solver) if equilibrium is None else equilibrium
    return _plane(system, x, target, nudges, solver, free.state)


@eqx.filter_jit
def _plane(system: System, x: Any, target: PyTree, nudges: Array, solver: AbstractSolver, state: PyTree) -> NudgePlane:
    copies, batch = nudges.size, trees.batch_size(state)
    dtype = jnp.result_type(trees.dtype_of(state), jnp.complex64)
    injection, target, start = trees.broadcast_batch((system.injection(x), target, state), copies)
    field = Nudged(Free(system, injection), system, target, jnp.repeat(nudges.astype(dtype), batch))
    end = relax_field(field, jax.tree.map(lambda a: a.astype(dtype), start), solver, max_steps=solver.max_steps)
    return NudgePlane(
        nudges, trees.split_copies(system.activity(end.state), copies), end.converged.reshape(copies, batch)
    )
