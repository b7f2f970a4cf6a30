"""What an estimator is asked."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver, Equilibrium
from equiprop.systems import (
    AbstractField,
    Anchor,
    Free,
    System,
    cost_gradient,
    error_vector_of,
    over_slope,
    phasors,
    slope,
    tells_differences,
)

SAFETY = 3.0
"""Factor on every error bar made of a residual or of a difference, with which it covers the error of 95 % of random systems and
stays within a factor of ten of it for 80 %; the page Choosing an estimator has the calibration."""


class Problem(eqx.Module):
    """A batch at its free equilibrium, where the cost wants it, and how to relax.

    - `injection`: `system.injection(x)`.
    - `free`: the free equilibrium; for an estimator that needs no free phase, a state to start from.
    - `key`: for estimators that draw random numbers.
    - `corrected`: the field that is nudged in place of the system's own, whose responses are error vectors as they are.
    """

    system: System
    x: Any
    injection: Any
    target: PyTree
    free: Equilibrium
    solver: AbstractSolver
    key: PRNGKeyArray | None = None
    corrected: Any = None

    @property
    def field(self) -> AbstractField:
        """What relaxes, without a nudge."""
        return Free(self.system, self.injection) if self.corrected is None else self.corrected

    @property
    def mobility(self) -> PyTree | None:
        """By which a response is to be divided, see `System.mobility`."""
        return self.system.mobility if self.corrected is None else None

    @property
    def activity(self) -> PyTree:
        """r* = φ(u*)."""
        return self.system.activity(self.free.state)

    @property
    def cost_gradient(self) -> PyTree:
        """∇_r C at the free equilibrium, in the structure of the activity.

        It is zero but at the output, which is hidden from the compiler here: to find the norm of the zeros of a large network
        takes it seconds.
        """
        return jax.lax.optimization_barrier(cost_gradient(self.system, self.activity, self.target))

    @property
    def state_cost_gradient(self) -> PyTree:
        """D·∇_r C = ∇_u C, in the structure of the state."""
        activity, pullback = jax.vjp(self.system.activity, self.free.state)
        return pullback(cost_gradient(self.system, activity, self.target))[0]

    @property
    def anchor(self) -> Anchor:
        """What responses are measured from: the free equilibrium."""
        return Anchor.at(self.field, self.system, self.free.state)

    @property
    def tells_differences(self) -> bool:
        """Whether a response is as precise as it is small, and not as the state that it is a change of."""
        return tells_differences(self.system, self.free.state)

    def read(self, activity: PyTree, *phase: int | Array) -> PyTree:
        """What reading activities gives in a phase, of which each has its own noise. Raises `InputError` without a key for it."""
        if self.system.reading_error is None:
            return activity
        if self.key is None:
            raise InputError(
                "needs a key to draw the noise of its readings with", path="key", hint="give estimate(..., key=...)"
            )
        key = self.key
        for number in phase:
            key = jax.random.fold_in(key, number)
        return self.system.measured(activity, key=key)

    def noise_of(self, gain: float, size: Array, length: Array) -> Float[Array, " batch"] | None:
        """The expected norm of what reading adds to an error vector, relative to its length; `None` where nothing.

        **Arguments:**

        - `gain`: the standard deviation of the combination of readings that is divided by `size`, in units of that of one.
        """
        error = self.system.reading_error
        if error is None:
            return None
        ones = trees.real(phasors(self.system, jax.tree.map(jnp.ones_like, self.activity)))
        each = trees.norm(self.error_vector(ones))
        return relative(gain * error.astype(each.dtype) * each, jnp.abs(size) * length)

    def force(self, state: PyTree) -> PyTree:
        """F(u) for the input of this batch."""
        return self.field.force(state)

    def error_vector(self, response: PyTree) -> PyTree:
        """The error vector that a response of the activities stands for."""
        return response if self.mobility is None else error_vector_of(self.system, response)

    def in_activity(self, force: PyTree) -> Float[Array, " batch"]:
        """‖M⁻¹Df‖ per sample: how far a force moves the activities by itself, as they are read.

        Saturated units feel it, and do not move.
        """
        return trees.norm(self.error_vector(jax.tree.map(jnp.multiply, slope(self.system, self.free.state), force)))

    def within_batch(self, error_bar: Float[Array, " batch"], length: Float[Array, " batch"]) -> Float[Array, " batch"]:
        """Error bars as fractions of what a sample adds to the gradient, or samples on average, whichever is more.

        A sample that is fitted has hardly a gradient, and a large relative error of it spoils nothing.

        **Arguments:**

        - `length`: of the error vectors. A sample whose error vector is shorter than it could be is counted by ‖M⁻¹D∇C‖.
        """
        size = jnp.maximum(length, self.in_activity(self.cost_gradient))
        counts = jnp.isfinite(size) & self.free.converged
        average = jnp.sum(jnp.where(counts, size, 0)) / jnp.maximum(jnp.sum(counts), 1)
        share = jnp.where(size < average, size / jnp.where(average > 0, average, 1), 1)
        return jnp.where(jnp.isfinite(error_bar), error_bar * share, error_bar)

    def linear_residual(self, error_vector: PyTree) -> Float[Array, " batch"]:
        """‖D(Jδ + ∇C)‖/‖D∇C‖ per sample: how far an error vector is from solving J·δ = −∇C, by one Jacobian product.

        Where there is a mobility, J stands for M⁻¹JM and D for M⁻¹DM.

        It sees whatever keeps an estimate from the exact response: finite nudge, unfinished relaxation, noise, another branch, a
        kink. Where D∇C = 0 the exact response is zero and the figure is 0 or infinite.
        """
        residual_force = trees.add(self.linear_force(error_vector), self.cost_gradient)
        return relative(self.in_activity(residual_force), self.in_activity(self.cost_gradient))

    def linear_force(self, error_vector: PyTree) -> PyTree:
        """Jδ, the force that a small displacement of the activities by δ makes."""
        state = self.free.state
        _, membrane = jax.linearize(self.force, state)
        mobility = self.mobility
        response = error_vector if mobility is None else jax.tree.map(jnp.multiply, mobility, error_vector)
        return membrane(over_slope(response, slope(self.system, state)))

    def adjoint_residual(self, error_vector: PyTree) -> Float[Array, " batch"]:
        """‖(∂F/∂u)ᵀδ + D∇C‖/‖D∇C‖ per sample: how far an error vector is from solving Jᵀ·δ = −∇C, by one product."""
        _, pullback = jax.vjp(self.force, self.free.state)
        gradient = self.state_cost_gradient
        return relative(trees.norm(trees.add(pullback(error_vector)[0], gradient)), trees.norm(gradient))


def relative(size: Array, reference: Array) -> Array:
    """size/reference; 0 where both are 0, infinite where only the reference is."""
    zero = reference == 0
    return jnp.where(zero, jnp.where(size == 0, 0, jnp.inf), size / jnp.where(zero, 1, reference))
