"""Systems around another system."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Inexact, PyTree

from equiprop.numerics import AbstractCost
from equiprop.systems._dynamics import Dynamics
from equiprop.systems._system import Block, System


class AbstractWrapper(System):
    """A system that is as another one says, but for what a subclass says otherwise.

    What has to do with the force must be said together: `force`, `recurrent_input`, `measured_from` and `force_difference`.
    """

    system: eqx.AbstractVar[System]

    @property
    def cost(self) -> AbstractCost:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.system.cost

    def initial_state(self, x: Any) -> PyTree:
        return self.system.initial_state(x)

    def output(self, activity: PyTree) -> PyTree[Inexact[Array, "batch ..."]]:
        return self.system.output(activity)

    def activity(self, state: PyTree) -> PyTree:
        return self.system.activity(state)

    def leak(self, state: PyTree) -> PyTree | None:
        return self.system.leak(state)

    def measured_from(self, activity: PyTree) -> PyTree:
        return self.system.measured_from(activity)

    def force_difference(
        self, origin: PyTree, displacement: PyTree, response: PyTree, only: Block = None
    ) -> PyTree | None:
        return self.system.force_difference(origin, displacement, response, only)

    def injection(self, x: Any) -> Any:
        return self.system.injection(x)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.system.blocks

    @property
    def dynamics(self) -> Dynamics | None:
        return self.system.dynamics

    @property
    def holomorphic(self) -> bool | None:
        return self.system.holomorphic

    @property
    def mobility(self) -> PyTree | None:
        return self.system.mobility

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        return self.system.pairs

    @property
    def fully_paired(self) -> bool:
        return self.system.fully_paired

    def singularity_distance(self, state: PyTree) -> Float[Array, " batch"]:
        return self.system.singularity_distance(state)


def innermost(system: System) -> System:
    """What is wrapped, however often."""
    while isinstance(system, AbstractWrapper):
        system = system.system
    return system
