"""Forces as differences from those at a state, told from the displacement.

A response to a weak nudge, or far from the output under weak feedback, is smaller than the rounding of the states that it is the
difference of. Here the displacement is the state that relaxes, in units of the mobility, and differences of activities and forces
are made of it: they are as precise as the displacement, however small that is.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Int, PyTree

from equiprop.numerics import trees
from equiprop.systems._dynamics import Dynamics
from equiprop.systems._field import AbstractField, only_block
from equiprop.systems._linearise import nudging, slope
from equiprop.systems._system import Block, System

# So many units of rounding are believed to be in a difference of activities, of the largest of the sample and of the state: where
# φ is small, what it was made of need not be.
_ROUNDING = 8


class Anchor(eqx.Module):
    """A state u* and what is measured from it, per sample.

    - `activity`, `slope`, `curvature`: φ, φ′ and φ″ at u*.
    - `force`: F(u*).
    - `origin`: what the system wants to know of φ(u*) to tell how its force differs.
    """

    state: PyTree
    activity: PyTree
    slope: PyTree
    curvature: PyTree
    force: PyTree
    origin: PyTree

    @classmethod
    def at(cls, field: AbstractField, system: System, state: PyTree) -> "Anchor":
        ones = jax.tree.map(jnp.ones_like, state)
        inclination, curvature = jax.jvp(lambda u: slope(system, u), (state,), (ones,))
        activity = system.activity(state)
        return cls(state, activity, inclination, curvature, field.force(state), system.measured_from(activity))

    def response(self, activity: Callable[[PyTree], PyTree], displacement: PyTree) -> PyTree:
        """φ(u* + Δ) − φ(u*), of every unit to many digits.

        By subtraction where that differs from φ′Δ + ½φ″Δ² by more than rounding; elsewhere by these two terms, which are as
        precise as Δ. In single precision either misses at most some 10⁻⁴ of it.
        """

        def one(r: Array, u: Array, value: Array, first: Array, second: Array, moved: Array) -> Array:
            direct = r - value
            straight = moved * (first + 0.5 * second * moved)
            largest = jnp.max(jnp.abs(value), axis=tuple(range(1, value.ndim)), keepdims=True)
            noise = _ROUNDING * jnp.finfo(value.dtype).eps * (largest + jnp.abs(u * first))
            between = jax.lax.stop_gradient(direct - straight)
            agree = jnp.abs(between.real) + jnp.abs(between.imag) <= noise
            return jnp.where(agree, straight, direct)

        reached = activity(trees.add(self.state, displacement))
        return jax.tree.map(one, reached, self.state, self.activity, self.slope, self.curvature, displacement)


class Displaced(AbstractField):
    """M⁻¹·(F(u* + Mv) − F(u*) − β·∇_r C(r* + ρ, y)) with ρ = φ(u* + Mv) − r*, as a force on v.

    Its zeros are the displacements, in units of the mobility M, of a nudged state from u*, as if that were an equilibrium to all
    digits.

    **Fields:**

    - `field`: F.
    - `anchor`: at the samples, of which a batch may hold several copies, copy after copy.
    - `mobility`: M; `None` for 1.
    - `nudge`: β, real or complex, a number for every sample of the batch. β > 0 lowers the cost.
    - `sensitivity`: by which factor the force on each leaf counts, per sample; `None` for 1.
    """

    field: AbstractField
    system: System
    anchor: Anchor
    mobility: PyTree | None
    target: PyTree
    nudge: Inexact[Array, " batch"]
    sensitivity: PyTree | None = None

    def displacement(self, state: PyTree) -> PyTree:
        """Mv."""
        return state if self.mobility is None else jax.tree.map(jnp.multiply, self.mobility, state)

    def force(self, state: PyTree, only: Block = None) -> PyTree:
        moved, anchor, response = self._moved(state)
        return self._nudged(self.field.difference(anchor, moved, response, only), anchor, moved, response, only)

    def _moved(self, state: PyTree) -> tuple[PyTree, Anchor, PyTree]:
        """Mv, from where, and ρ."""
        moved, anchor = self.displacement(state), trees.broadcast_batch(self.anchor, self.copies)
        return moved, anchor, anchor.response(self.system.activity, moved)

    def _nudged(self, pushed: PyTree, anchor: Anchor, moved: PyTree, response: PyTree, only: Block = None) -> PyTree:
        state, activity = trees.add(anchor.state, moved), trees.add(anchor.activity, response)
        nudged = nudging(self.system, state, activity, self.target, self.nudge)
        return self._in_units(trees.subtract(pushed, only_block(nudged, only)), only)

    def _in_units(self, force: PyTree, only: Block = None) -> PyTree:
        """M⁻¹f."""
        if self.mobility is None:
            return force
        return jax.tree.map(lambda m, f: f / m, only_block(self.mobility, only), force)

    @property
    def dynamics(self) -> Dynamics | None:
        return self.field.dynamics

    def velocity(self, force: PyTree) -> PyTree:
        return self._in_units(super().velocity(self.displacement(force)))

    def passed_on(self, state: PyTree) -> PyTree:
        return self._moved(state)[2]

    def force_under(self, state: PyTree, arriving: PyTree) -> PyTree:
        moved, anchor, response = self._moved(state)
        pushed = self.system.force_difference(anchor.origin, moved, arriving)
        if pushed is None:
            there = self.field.force_under(trees.add(anchor.state, moved), trees.add(anchor.activity, arriving))
            pushed = trees.subtract(there, anchor.force)
        return self._nudged(pushed, anchor, moved, response)

    def response(self, state: PyTree) -> PyTree:
        """M⁻¹ρ: what moves of the activity, as it is read."""
        return self._in_units(self._moved(state)[2])

    @property
    def _samples(self) -> int:
        return trees.batch_size(self.anchor.state)

    @property
    def copies(self) -> int:
        """How many there are of each sample that the anchor is of."""
        return self.nudge.shape[0] // self._samples

    @property
    def blocks(self) -> tuple[Block, ...]:
        # A nudge begins at the output and travels the other way.
        return self.field.blocks[::-1]

    def norm(self, force: PyTree) -> Any:
        if self.sensitivity is None:
            return self.field.norm(force)
        weight = self.sensitivity
        if isinstance(force, dict):
            weight = {name: weight[name] for name in force}
        return trees.max_abs(jax.tree.map(lambda w, f: trees.per_sample(w, f) * jnp.abs(f), weight, force))

    def index_batch(self, rows: Int[Array, " some"]) -> "Displaced | None":
        inner = self.field.index_batch(rows)
        if inner is None:
            return None
        # Of every sample all copies are asked for, or of one sample one.
        own = rows[: len(rows) // self.copies] if len(rows) >= self.copies else rows % self._samples
        anchor = trees.index_batch(self.anchor, own)
        target, nudge, sensitivity = trees.index_batch((self.target, self.nudge, self.sensitivity), rows)
        return Displaced(inner, self.system, anchor, self.mobility, target, nudge, sensitivity)


def tells_differences(system: System, state: PyTree) -> bool:
    """Whether the system says what difference a displacement makes to its force; where not, two forces are subtracted."""

    def told() -> PyTree | None:
        activity = system.activity(state)
        return system.force_difference(system.measured_from(activity), state, activity)

    return jax.eval_shape(told) is not None
