"""A system under a nudge: F(θ, u, x) − β·∇_r C(φ(u), y)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from equiprop.numerics import AbstractCost, trees
from equiprop.systems._system import Block, System


class Nudged(System):
    """`system` pulled towards the target by −β∇C, with a nudge β of its own for every sample.

    β > 0 lowers the cost. β may be complex, and then so is the state.
    """

    system: System
    target: Array
    nudge: Inexact[Array, " batch"]

    @property
    def cost(self) -> AbstractCost:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.system.cost

    def force(self, state: PyTree, drive: Any, only: Block = None) -> PyTree:
        force = self.system.force(state, drive, only)
        pull = self.system.cost_gradient(self.system.activity(state), self.target)
        if only is not None:
            pull = {name: pull[name] for name in force}
        return trees.subtract(force, trees.scale(self.nudge, pull))

    def initial_state(self, x: Array) -> PyTree:
        return self.system.initial_state(x)

    def output(self, activity: PyTree) -> Inexact[Array, "batch n"]:
        return self.system.output(activity)

    def activity(self, state: PyTree) -> PyTree:
        return self.system.activity(state)

    def input_drive(self, x: Array) -> Any:
        return self.system.input_drive(x)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.system.blocks

    @property
    def holomorphic(self) -> bool:
        return self.system.holomorphic

    def singularity_distance(self, state: PyTree) -> Array:
        return self.system.singularity_distance(state)


def nudged(system: System, target: Array, nudge: Array | float | complex) -> Nudged:
    """`system` under the nudge β, a number for all samples or an array `[batch]`."""
    nudge = jnp.asarray(nudge)
    nudges = jnp.broadcast_to(nudge, target.shape[:1])
    return Nudged(system=system, target=target, nudge=nudges)  # pyright: ignore[reportCallIssue]
