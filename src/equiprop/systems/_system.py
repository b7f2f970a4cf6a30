"""What relaxes: the interface of every system."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from equiprop.errors import InputError
from equiprop.numerics import AbstractCost, trees

Block = tuple[str, ...] | None
"""The populations that one update moves together; `None` stands for the whole state."""


class System(eqx.Module):
    """A vector field with an activity, a readout and a cost: u̇ = F(θ, u, x), r = φ(u), C(r, y).

    The parameters θ are the inexact arrays of the module itself, so gradients come back as a module of the same structure.
    Every state is a pytree whose leaves have the batch as their leading axis.

    To add a kind of system, subclass this with `force`, `initial_state`, `output` and a field `cost`.
    """

    cost: eqx.AbstractVar[AbstractCost]

    @abc.abstractmethod
    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        """F at `state`, in the structure of the state.

        **Arguments:**

        - `state`: u, real, or complex under a complex nudge.
        - `injection`: what `injection` made of the input.
        - `only`: one of `blocks`; the force on those populations alone is returned.
        """

    @abc.abstractmethod
    def initial_state(self, x: Any) -> PyTree:
        """Where a free relaxation starts, for the input batch `x`."""

    @abc.abstractmethod
    def output(self, activity: PyTree) -> Inexact[Array, "batch n"]:
        """The part of the activity that the cost reads."""

    def activity(self, state: PyTree) -> PyTree:
        """r = φ(u), elementwise, in the structure of the state. The identity unless overridden."""
        return state

    def norm(self, force: PyTree) -> Float[Array, " batch"]:
        """How large a force on some or all populations is, per sample: what a solver's tolerance is held against.

        The largest absolute value, unless a system knows that some units count for more.
        """
        return trees.max_abs(force)

    def injection(self, x: Any) -> Any:
        """Everything in the force that does not depend on the state, computed once a relaxation. Default: `x` itself."""
        return x

    def take(self, indices: Int[Array, " some"]) -> "System | None":
        """The same system for some samples of the batch only; `None` where it cannot be had.

        A system whose fields are parameters is the same for any sample; one that holds something of each sample, as a nudge,
        picks it out. Relaxation then goes on with the samples that have not converged.
        """
        del indices
        return self

    @property
    def blocks(self) -> tuple[Block, ...]:
        """A partition of the state such that no block acts on itself, updated in turn by alternating sweeps."""
        return (None,)

    @property
    def holomorphic(self) -> bool:
        """Whether F and φ continue analytically to complex states."""
        return True

    def singularity_distance(self, state: PyTree) -> Float[Array, " batch"]:
        """The distance in u from each sample to the nearest singularity that the system knows of; infinite by default."""
        return jnp.full(trees.batch_size(state), jnp.inf, trees.real(jax.tree.leaves(state)[0]).dtype)

    def slope(self, state: PyTree) -> PyTree:
        """φ′(u), the diagonal D, in the structure of the state."""
        ones = jax.tree.map(jnp.ones_like, state)
        return jax.jvp(self.activity, (state,), (ones,))[1]

    def jacobian(self, state: PyTree, injection: Any) -> Callable[[PyTree], PyTree]:
        """v ↦ Jv, with J = ∂F/∂r the Jacobian of the force with respect to the activity: J = (∂F/∂u)·D⁻¹.

        Undefined, and then not finite, where φ′ = 0.
        """
        _, membrane = jax.linearize(lambda u: self.force(u, injection), state)
        slope = self.slope(state)
        return lambda v: membrane(jax.tree.map(jnp.divide, v, slope))

    def coupling(self, state: PyTree, injection: Any) -> Callable[[PyTree], PyTree]:
        """v ↦ (J + any symmetric diagonal)·v: the part of J that couples units.

        Its antisymmetric part is that of J. Systems of the form F = H(r) − u return ∂H/∂r, which stays finite where φ
        saturates; by default this is J itself.
        """
        return self.jacobian(state, injection)

    def clamped_force(self, activity: PyTree, injection: Any) -> PyTree:
        """F, up to what does not depend on r, with the activities clamped at `activity`; its derivative is `coupling`.

        Raises `InputError` where a system does not say how: by default, unless r = u.
        """
        del activity, injection
        raise InputError(
            f"{type(self).__name__}: does not say what force arrives when its activities are clamped; "
            "give it a clamped_force, or an activity that is the state itself"
        )

    def balanced_jacobian(self, state: PyTree, injection: Any) -> Callable[[PyTree], PyTree]:
        """v ↦ D^½·J·D^½·v = D^½·(∂F/∂u)·D^(−½)·v: J in coordinates where saturated units do not dominate.

        A congruence, so it changes neither the signs of the eigenvalues of S nor the rotation S⁻¹A. Undefined, and then not
        finite, where φ′ < 0, and by default where φ′ = 0.
        """
        _, membrane = jax.linearize(lambda u: self.force(u, injection), state)
        root = jax.tree.map(jnp.sqrt, self.slope(state))
        return lambda v: jax.tree.map(jnp.multiply, root, membrane(jax.tree.map(jnp.divide, v, root)))

    @property
    def mobility(self) -> PyTree | None:
        """μ per leaf of the state (numbers, or arrays that broadcast against it), 1 on the output; `None` for 1 everywhere.

        A system F = −M·∂E/∂r, M = diag(μ), has the Jacobian J = −M·∂²E/∂r², symmetric in the metric of M⁻¹ although J ≠ Jᵀ.
        Because the cost pulls where μ = 1, −J⁻ᵀ∇C = M⁻¹·(−J⁻¹∇C): a response divided by μ is the exact error vector. All
        that measures or treats asymmetry looks at M^(−½)·J·M^½. With μ falling away from the output this is learning by
        weak feedback (Xie & Seung 2003, Neural Computation 15, 441), which is backpropagation in the limit.
        """
        return None

    def error_vector_of(self, response: PyTree) -> PyTree:
        """The error vector that a response of the activities stands for: divided by the mobility."""
        mobility = self.mobility
        return response if mobility is None else jax.tree.map(lambda m, a: a / m, mobility, response)

    def in_metric(self, operator: Callable[[PyTree], PyTree]) -> Callable[[PyTree], PyTree]:
        """v ↦ M^(−½)·operator(M^½·v): a Jacobian in the coordinates in which it is to be symmetric."""
        mobility = self.mobility
        if mobility is None:
            return operator
        root = jax.tree.map(lambda m: m**0.5, mobility)

        def scaled(v: PyTree) -> PyTree:
            moved = operator(jax.tree.map(lambda m, a: m * a, root, v))
            return jax.tree.map(lambda m, a: a / m, root, moved)

        return scaled

    def cost_gradient(self, activity: PyTree, target: Array) -> PyTree:
        """∇_r C per sample, in the structure of the activity; holomorphic in it."""
        cost, pullback = jax.vjp(lambda r: self.cost(self.output(r), target), activity)
        return pullback(jnp.ones_like(cost))[0]

    def predict(self, state: PyTree) -> Inexact[Array, "batch classes"]:
        """The scores of the classes at `state`."""
        return self.cost.scores(self.output(self.activity(state)))

    def correct(self, state: PyTree, labels: Array) -> Bool[Array, " batch"]:
        """Whether the largest score at `state` is that of the label, per sample."""
        return jnp.argmax(self.predict(state), axis=-1) == labels


def population_names(state: PyTree) -> tuple[str, ...]:
    """A name for each leaf of a state, in the order of its leaves: its path, or `state` for a bare array."""
    paths = jax.tree_util.tree_flatten_with_path(state)[0]
    return tuple(jax.tree_util.keystr(path, simple=True, separator=".") or "state" for path, _ in paths)
