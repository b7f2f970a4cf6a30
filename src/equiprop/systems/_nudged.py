"""A system under a nudge: F(θ, u, x) − β·∇_r C(φ(u), y)."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from equiprop.numerics import trees
from equiprop.systems._system import Block, System
from equiprop.systems._wrapped import Wrapped, only_block


class Nudged(Wrapped):
    """`system` pulled towards the target by −β∇C, with a nudge β of its own for every sample.

    β > 0 lowers the cost. β may be complex, and then so is the state.
    """

    target: Array
    nudge: Inexact[Array, " batch"]

    per_sample: ClassVar[tuple[str, ...] | None] = ("target", "nudge")

    def force(self, state: PyTree, drive: Any, only: Block = None) -> PyTree:
        force = self.system.force(state, drive, only)
        pull = self.system.cost_gradient(self.system.activity(state), self.target)
        return trees.subtract(force, trees.scale(self.nudge, only_block(pull, only)))


def nudged(system: System, target: Array, nudge: Array | float | complex) -> Nudged:
    """`system` under the nudge β, a number for all samples or an array `[batch]`."""
    nudge = jnp.asarray(nudge)
    nudges = jnp.broadcast_to(nudge, target.shape[:1])
    return Nudged(system=system, target=target, nudge=nudges)  # pyright: ignore[reportCallIssue]
