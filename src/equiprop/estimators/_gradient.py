"""The one place that turns an error vector into a gradient."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from equiprop.estimators._estimator import Surrogate
from equiprop.numerics import trees
from equiprop.solvers import Equilibrium
from equiprop.systems import System


class AtState(eqx.Module):
    """δ·F(θ, u, x) at a state u: the generalised equilibrium-propagation gradient is its derivative at fixed u and δ."""

    state: PyTree

    def __call__(self, theta: System, x: Any, error_vector: PyTree, sound: Array) -> Array:
        return trees.inner(error_vector, theta.force(trees.stand_in(sound, self.state), theta.injection(x)))


class Batch(eqx.Module):
    """What a gradient is taken of.

    - `kept`, `cost_kept`: the samples that count for the system's parameters, and for those of the cost itself.
    """

    x: Any
    target: PyTree
    state: PyTree
    kept: Bool[Array, " batch"]
    cost_kept: Bool[Array, " batch"]


def gradient(
    system: System,
    batch: Batch,
    error_vector: PyTree,
    surrogate: Surrogate,
    *,
    divide_by: str | None = "batch",
    wrt_input: bool = True,
    believed: bool = False,
) -> tuple[PyTree, PyTree | None]:
    """∂/∂θ and ∂/∂x of Σ surrogate over the samples kept plus Σ C(θ, r*) over those of the cost, with δ, u* and r* fixed.

    The gradient for the parameters is that of the sums over the size of the `batch`, or over the number of samples `kept`, or of
    the sums (`None`). That for the inputs is of each sample's own cost, zero where it is excluded, or `None` without `wrt_input`.
    If no sample is kept both are zero.

    What is excluded is replaced before it enters: 0·NaN would be NaN.

    **Arguments:**

    - `believed`: whether ∂F/∂θ is that which a learner knows (`System.believed`), and not the true one.
    """
    kept, cost_kept = batch.kept, batch.cost_kept
    state, x, target = trees.stand_in(cost_kept, (batch.state, batch.x, batch.target))
    error_vector = trees.select(kept, error_vector, jax.tree.map(jnp.zeros_like, error_vector))
    sound = jnp.where(jnp.any(kept), kept, cost_kept)
    activity = system.activity(state)
    x = trees.stand_in(sound, x)

    def weight(flags: Array) -> Float[Array, " batch"]:
        return flags.astype(trees.dtype_of(error_vector))

    def fraction(flags: Array) -> Float[Array, " batch"]:
        match divide_by:
            case "batch":
                return weight(flags) / len(flags)
            case "kept":
                return weight(flags) / jnp.maximum(weight(flags).sum(), 1)
        return weight(flags)

    @eqx.filter_grad
    def of_parameters(theta: System) -> Array:
        direct = theta.cost(theta.output(activity), target)
        known = theta.believed if believed else theta
        own = fraction(kept) * surrogate(known, x, error_vector, sound)
        return jnp.sum(own) + jnp.sum(fraction(cost_kept) * direct)

    @eqx.filter_grad
    def of_inputs(inputs: Any) -> Array:
        return jnp.sum(weight(kept) * surrogate(system, inputs, error_vector, sound))

    any_kept = jnp.any(cost_kept)
    found = (of_parameters(system), of_inputs(x) if wrt_input else None)
    return jax.tree.map(lambda g: jnp.where(any_kept, g, jnp.zeros_like(g)), found)


def gradient_from_error_vector(
    system: System, x: Any, target: PyTree, equilibrium: Equilibrium, error_vector: PyTree
) -> PyTree:
    """⟨δᵀ∂F/∂θ⟩ plus the cost's direct gradient over the whole batch, for an error vector from anywhere."""
    everything = jnp.ones(equilibrium.steps.shape, bool)
    batch = Batch(x, target, equilibrium.state, everything, everything)
    return gradient(system, batch, error_vector, AtState(equilibrium.state), wrt_input=False)[0]
