"""What a solver relaxes: a force on a batch of states, whatever it is made of."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Inexact, Int, PyTree

from equiprop.errors import InputError
from equiprop.numerics import trees
from equiprop.systems._dynamics import Dynamics
from equiprop.systems._linearise import force_under, nudging
from equiprop.systems._system import Block, System


class AbstractField(eqx.Module):
    """A force on every sample of a batch. Its equilibria are what `relax` looks for."""

    @abc.abstractmethod
    def force(self, state: PyTree, only: Block = None) -> PyTree:
        """The force at `state`; on the populations of one of `blocks` alone, if `only` says so."""

    def difference(self, anchor: Any, displacement: PyTree, response: PyTree, only: Block = None) -> PyTree:
        """F(u* + Δ) − F(u*), by subtraction unless it can be told from Δ and ρ = φ(u* + Δ) − φ(u*).

        **Arguments:**

        - `anchor`: the `Anchor` at u*.
        """
        del response
        there = self.force(trees.add(anchor.state, displacement), only)
        return trees.subtract(there, only_block(anchor.force, only))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """A partition of the state such that no block acts on itself, updated in turn by Gauss–Seidel sweeps."""
        return (None,)

    @property
    def dynamics(self) -> Dynamics | None:
        """How the state moves under the force; `None` for u̇ = F."""
        return None

    def velocity(self, force: PyTree) -> PyTree:
        """How fast the state moves under a force."""
        return force if self.dynamics is None else self.dynamics.velocity(force)

    def passed_on(self, state: PyTree) -> PyTree:
        """What units pass on to others. Raises `InputError` where that is not told apart from what they are."""
        del state
        raise InputError(f"{type(self).__name__}: has no wires that could lag", hint="give dynamics without poles")

    def force_under(self, state: PyTree, arriving: PyTree) -> PyTree:
        """The force where this arrives in place of what is passed on. Raises `InputError` where that cannot be told."""
        del arriving
        return self.passed_on(state)

    def norm(self, force: PyTree) -> Float[Array, " batch"]:
        """How large a force on some or all populations is, per sample: what a solver's tolerance is held against.

        The largest absolute value, unless some units count for more.
        """
        return trees.max_abs(force)

    @property
    def couples_phases(self) -> bool:
        """Whether the copies of a sample act on each other, and must be asked for together."""
        return False

    def index_batch(self, rows: Int[Array, " some"]) -> "AbstractField | None":
        """The same field for some rows of the batch, one or all copies of each sample; `None` if it cannot be had so.

        Relaxation goes on with the samples that have not converged, where it can.
        """
        del rows
        return None


class Free(AbstractField):
    """The force of a system on a batch of inputs."""

    system: System
    injection: Any

    def force(self, state: PyTree, only: Block = None) -> PyTree:
        return self.system.force(state, self.injection, only)

    def difference(self, anchor: Any, displacement: PyTree, response: PyTree, only: Block = None) -> PyTree:
        told = self.system.force_difference(anchor.origin, displacement, response, only)
        return super().difference(anchor, displacement, response, only) if told is None else told

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.system.blocks

    @property
    def dynamics(self) -> Dynamics | None:
        return self.system.dynamics

    def passed_on(self, state: PyTree) -> PyTree:
        return self.system.activity(state)

    def force_under(self, state: PyTree, arriving: PyTree) -> PyTree:
        return force_under(self.system, state, arriving, self.injection)

    def index_batch(self, rows: Int[Array, " some"]) -> "Free":
        return Free(self.system, trees.index_batch(self.injection, rows))


class Nudged(AbstractField):
    """F(θ, u, x) − β·∇_r C(φ(u), y), with a nudge β of its own for every sample.

    β > 0 lowers the cost. β may be complex, and then so is the state.

    **Fields:**

    - `field`: what is nudged.
    - `system`: whose activity, output and cost say towards what.
    """

    field: AbstractField
    system: System
    target: PyTree
    nudge: Inexact[Array, " batch"]

    def force(self, state: PyTree, only: Block = None) -> PyTree:
        return self._nudged(self.field.force(state, only), state, only)

    def _nudged(self, force: PyTree, state: PyTree, only: Block = None) -> PyTree:
        nudged = nudging(self.system, state, self.system.activity(state), self.target, self.nudge)
        return trees.subtract(force, only_block(nudged, only))

    @property
    def blocks(self) -> tuple[Block, ...]:
        # A nudge begins at the output and travels the other way.
        return self.field.blocks[::-1]

    @property
    def dynamics(self) -> Dynamics | None:
        return self.field.dynamics

    def passed_on(self, state: PyTree) -> PyTree:
        return self.field.passed_on(state)

    def force_under(self, state: PyTree, arriving: PyTree) -> PyTree:
        return self._nudged(self.field.force_under(state, arriving), state)

    def norm(self, force: PyTree) -> Float[Array, " batch"]:
        return self.field.norm(force)

    def index_batch(self, rows: Int[Array, " some"]) -> "Nudged | None":
        inner = self.field.index_batch(rows)
        if inner is None:
            return None
        return Nudged(inner, self.system, *trees.index_batch((self.target, self.nudge), rows))


def only_block(tree: PyTree, only: Block) -> PyTree:
    """The part of a state that belongs to one of a system's blocks."""
    return tree if only is None else {name: tree[name] for name in only}
