"""A homeostasis as a term of any loss."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._homeostasis import AbstractHomeostasis
from equiprop.numerics import AbstractSchedule
from equiprop.solvers import AbstractSolver, Status, as_solver, relax
from equiprop.systems import System


def penalty(
    homeostasis: AbstractHomeostasis,
    system: System,
    x: Any,
    *,
    solver: AbstractSolver | None = None,
    key: PRNGKeyArray,
) -> Float[Array, ""]:
    """`strength` times the loss of a homeostasis at the equilibria of a batch, to be added to the loss of a model.

    Its derivative for the parameters of the system is `strength` times the homeostasis's own gradient, whether that is the
    gradient of its loss or not; the equilibria are held fixed.

    **Arguments:**

    - `solver`: how to relax; `GaussSeidel()` by default.
    - `key`: for its probes.
    """
    decided = homeostasis.decide(system)
    fixed, inputs = jax.lax.stop_gradient(eqx.filter(system, eqx.is_array)), jax.lax.stop_gradient(x)
    still = eqx.combine(fixed, eqx.filter(system, eqx.is_array, inverse=True))
    free = relax(still, inputs, as_solver(solver))
    own, loss, _ = decided.gradient(still, Batch(inputs, free.state, free.status != Status.DIVERGED), key=key)
    own = decided.mask(own, still)
    strength = decided.strength
    factor = strength(jnp.zeros(())) if isinstance(strength, AbstractSchedule) else strength
    return jnp.asarray(factor, loss.dtype) * _with_gradient(loss, own, system, still)


def _with_gradient(value: Array, gradient: PyTree, system: System, still: System) -> Array:
    """`value`, whose derivative for the parameters is `gradient`."""
    moved = jax.tree.map(
        lambda p, q: p - q, eqx.filter(system, eqx.is_inexact_array), eqx.filter(still, eqx.is_inexact_array)
    )
    terms = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, moved)
    return value + sum(jax.tree.leaves(terms), start=jnp.zeros((), value.dtype))
