"""A system under a nudge: F(θ, u, x) − β·∇_r C(φ(u), y)."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree

from equiprop.numerics import trees
from equiprop.systems._system import Block, System
from equiprop.systems._wrapped import Wrapped, only_block


class Nudged(Wrapped):
    """`system` pulled towards the target by −β∇C, with a nudge β of its own for every sample.

    β > 0 lowers the cost. β may be complex, and then so is the state.

    - `sensitivity`: by which factor the force on each leaf of the state counts, per sample; `None` for 1. Where mobilities
      are small the response is, too, and has to be at rest to as many digits.
    """

    target: Array
    nudge: Inexact[Array, " batch"]
    sensitivity: PyTree | None = None

    per_sample: ClassVar[tuple[str, ...] | None] = ("target", "nudge", "sensitivity")

    def initial_state(self, x: Any) -> PyTree:
        return jax.tree.map(lambda a: a.astype(jnp.result_type(a, self.nudge)), self.system.initial_state(x))

    def norm(self, force: PyTree) -> Float[Array, " batch"]:
        if self.sensitivity is None:
            return self.system.norm(force)
        weight = self.sensitivity
        if isinstance(force, dict):
            weight = {name: weight[name] for name in force}
        return trees.max_abs(jax.tree.map(lambda w, f: trees.per_sample(w, f) * jnp.abs(f), weight, force))

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        force = self.system.force(state, injection, only)
        cost_gradient = self.system.cost_gradient(self.system.activity(state), self.target)
        return trees.subtract(force, trees.scale(self.nudge, only_block(cost_gradient, only)))


def nudged(system: System, target: Array, nudge: Array | float | complex, sensitivity: PyTree | None = None) -> Nudged:
    """`system` under the nudge β, a number for all samples or an array `[batch]`."""
    nudge = jnp.asarray(nudge)
    nudges = jnp.broadcast_to(nudge, target.shape[:1])
    return Nudged(system=system, target=target, nudge=nudges, sensitivity=sensitivity)  # pyright: ignore[reportCallIssue]
