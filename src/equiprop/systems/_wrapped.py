"""A system in terms of another: everything is the inner system's unless overridden."""

import dataclasses
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Float, Inexact, Int, PyTree

from equiprop.numerics import AbstractCost
from equiprop.systems._system import Block, System


class Wrapped(System):
    """Stands in for `system`. Subclasses override what they change, `force` above all."""

    system: System

    per_sample: ClassVar[tuple[str, ...] | None] = None
    """The fields that hold something of each sample; `None` where the samples cannot be separated."""

    @property
    def cost(self) -> AbstractCost:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.system.cost

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        return self.system.force(state, injection, only)

    def norm(self, force: PyTree) -> Float[Array, " batch"]:
        return self.system.norm(force)

    def initial_state(self, x: Any) -> PyTree:
        return self.system.initial_state(x)

    def output(self, activity: PyTree) -> Inexact[Array, "batch n"]:
        return self.system.output(activity)

    def activity(self, state: PyTree) -> PyTree:
        return self.system.activity(state)

    def injection(self, x: Any) -> Any:
        return self.system.injection(x)

    def take(self, indices: Int[Array, " some"]) -> System | None:
        """Of the inner system, and of everything of each sample that `per_sample` lists."""
        inner = self.system.take(indices)
        if inner is None or self.per_sample is None:
            return None
        fields = {name: jax.tree.map(lambda a: a[indices], getattr(self, name)) for name in self.per_sample}
        return dataclasses.replace(self, system=inner, **fields)

    @property
    def mobility(self) -> PyTree | None:
        return self.system.mobility

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
