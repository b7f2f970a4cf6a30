"""What a solver relaxes: a force on a batch of states, whatever it is made of."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Inexact, Int, PyTree

from equiprop.numerics import trees
from equiprop.systems._linearise import cost_gradient
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

    def norm(self, force: PyTree) -> Float[Array, " batch"]:
        """How large a force on some or all populations is, per sample: what a solver's tolerance is held against.

        The largest absolute value, unless some units count for more.
        """
        return trees.max_abs(force)

    def index_batch(self, rows: Int[Array, " some"]) -> "AbstractField | None":
        """The same field for some samples of the batch; `None` if it cannot be indexed by sample.

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
        told = self.system.force_difference(displacement, response, only)
        return super().difference(anchor, displacement, response, only) if told is None else told

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.system.blocks

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
        force = self.field.force(state, only)
        gradient = cost_gradient(self.system, self.system.activity(state), self.target)
        return trees.subtract(force, trees.scale(self.nudge, only_block(gradient, only)))

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.field.blocks

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
