"""A system in terms of another: everything is the inner system's unless overridden."""

from typing import Any

from jaxtyping import Array, Float, Inexact, PyTree

from equiprop.numerics import AbstractCost
from equiprop.systems._system import Block, System


class Wrapped(System):
    """Stands in for `system`. Subclasses override what they change, `force` above all."""

    system: System

    @property
    def cost(self) -> AbstractCost:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.system.cost

    def force(self, state: PyTree, drive: Any, only: Block = None) -> PyTree:
        return self.system.force(state, drive, only)

    def initial_state(self, x: Any) -> PyTree:
        return self.system.initial_state(x)

    def output(self, activity: PyTree) -> Inexact[Array, "batch n"]:
        return self.system.output(activity)

    def activity(self, state: PyTree) -> PyTree:
        return self.system.activity(state)

    def input_drive(self, x: Any) -> Any:
        return self.system.input_drive(x)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.system.blocks

    @property
    def holomorphic(self) -> bool:
        return self.system.holomorphic

    def singularity_distance(self, state: PyTree) -> Float[Array, " batch"]:
        return self.system.singularity_distance(state)


def only_block(tree: PyTree, only: Block) -> PyTree:
    """The part of a state that belongs to one of a system's blocks."""
    return tree if only is None else {name: tree[name] for name in only}
