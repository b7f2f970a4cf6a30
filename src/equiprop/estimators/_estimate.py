"""What every estimator answers, and the one place that turns an error vector into a gradient."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.errors import InputError, suggest
from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver, Alternating, Equilibrium, Status, relax
from equiprop.systems import System

Policy = str
"""`"keep"` or `"drop"`."""


class Response(eqx.Module):
    """What an estimator measured, before anything is left out.

    **Fields:**

    - `error_vector`: the estimate of −dr/dβ, in the structure of the state, real.
    - `error_bar`: its relative error as the estimator itself sees it, per sample; infinite where it cannot be told.
    - `settled`: whether every relaxation or linear solve behind it converged.
    - `jumped`: whether the nudge carried the sample to another branch.
    - `relaxation_steps`: sweeps over all phases, or Jacobian products of a linear solve.
    """

    error_vector: PyTree
    error_bar: Float[Array, " batch"]
    settled: Bool[Array, " batch"]
    jumped: Bool[Array, " batch"]
    relaxation_steps: Int[Array, " batch"]


class Estimate(eqx.Module):
    """A gradient with everything needed to trust or distrust it.

    **Fields:**

    - `gradient`: of the mean cost with respect to every parameter, in the structure of the system (`None` for what is not
      an inexact array).
    - `error_vector`: δ per population and sample, after bounding; dC/dθ = Σ δᵀ∂F/∂θ.
    - `error_bar`: relative error of the error vector per sample (see the estimator); infinite where it cannot be told.
    - `cost`: C per sample at the free equilibrium.
    - `weight`: 1 for the samples in the gradient, 0 for those left out.
    - `unsettled`, `bounded`, `jumped`: flags per sample.
    - `relaxation_steps`: sweeps per sample, the free phase included.
    - `equilibrium`: the free equilibrium.
    """

    gradient: PyTree
    error_vector: PyTree
    error_bar: Float[Array, " batch"]
    cost: Float[Array, " batch"]
    weight: Float[Array, " batch"]
    unsettled: Bool[Array, " batch"]
    bounded: Bool[Array, " batch"]
    jumped: Bool[Array, " batch"]
    relaxation_steps: Int[Array, " batch"]
    equilibrium: Equilibrium

    @property
    def counts(self) -> dict[str, Int[Array, ""]]:
        """How many samples there are of each kind. `settled`, `oscillating`, `diverged`, `out_of_steps` are of the free phase."""
        status = self.equilibrium.status
        return {
            "samples": jnp.asarray(status.shape[0], jnp.int32),
            **{s.name.lower(): jnp.sum(status == s, dtype=jnp.int32) for s in Status},
            "unsettled": jnp.sum(self.unsettled, dtype=jnp.int32),
            "bounded": jnp.sum(self.bounded, dtype=jnp.int32),
            "jumped": jnp.sum(self.jumped, dtype=jnp.int32),
            "left_out": jnp.sum(self.weight == 0, dtype=jnp.int32),
        }


class AbstractEstimator(eqx.Module):
    """How the gradient is read.

    **Fields** of every estimator, besides its own:

    - `max_gain`: a sample's error vector longer than this many times ‖∇C‖ is scaled down to it and flagged as bounded;
      infinity for off. Near a bifurcation the exact response and the exact adjoint grow without limit.
    - `unsettled`, `bounded`, `jumped`: what the gradient does with such samples, `"drop"` or `"keep"` (a bounded sample is
      kept with its bounded vector).
    - `jump_threshold`: a sample has jumped to another branch when the even part of its response to ±β exceeds this many
      times the odd part.
    """

    max_gain: float = eqx.field(default=100.0, static=True, kw_only=True)
    unsettled: Policy = eqx.field(default="drop", static=True, kw_only=True)
    bounded: Policy = eqx.field(default="keep", static=True, kw_only=True)
    jumped: Policy = eqx.field(default="drop", static=True, kw_only=True)
    jump_threshold: float = eqx.field(default=0.5, static=True, kw_only=True)

    @abc.abstractmethod
    def respond(self, system: System, drive: Any, target: Array, free: Equilibrium, solver: AbstractSolver) -> Response:
        """Measures the error vector of every sample at the free equilibrium `free`."""

    def __check_init__(self) -> None:
        if not self.max_gain > 0:
            raise InputError(f"max_gain = {self.max_gain}: must be above 0 (inf for off)")
        if not self.jump_threshold > 0:
            raise InputError(f"jump_threshold = {self.jump_threshold}: must be above 0 (inf for off)")
        for name in ("unsettled", "bounded", "jumped"):
            if getattr(self, name) not in ("keep", "drop"):
                raise suggest(name, getattr(self, name), ["keep", "drop"])


def estimate(
    system: System,
    x: Any,
    target: Array,
    estimator: AbstractEstimator,
    *,
    solver: AbstractSolver | None = None,
    equilibrium: Equilibrium | None = None,
) -> Estimate:
    """Estimates the gradient of the mean cost over a batch, with an error bar per sample.

    The gradient is ⟨δᵀ∂F/∂θ⟩ over the samples kept, at the free equilibrium, plus the direct gradient of the cost where it has
    parameters of its own (over all samples whose free phase is kept). If no sample is kept it is zero.

    **Arguments:**

    - `x`, `target`: a batch of inputs and of what the cost compares with: integer labels, or real targets.
    - `solver`: how to relax; `Alternating()` by default.
    - `equilibrium`: the free equilibrium of this batch, if it is at hand.

    Raises `InputError` where the estimator cannot serve the system.
    """
    solver = Alternating() if solver is None else solver
    drive = system.input_drive(x)
    free = relax(system, x, solver, drive=drive) if equilibrium is None else equilibrium
    response = estimator.respond(system, drive, target, free, solver)

    activity = system.activity(free.state)
    cost = system.cost(system.output(activity), target)
    allowed = estimator.max_gain * trees.norm(system.cost_gradient(activity, target))
    length = trees.norm(response.error_vector)
    finite = jnp.isfinite(length)
    bounded = finite & (length > allowed)
    shrink = jnp.where(bounded, allowed / jnp.where(bounded, length, 1), 1)
    error_vector = trees.scale(shrink, response.error_vector)

    unsettled = ~(free.settled & response.settled)
    usable = jnp.isfinite(cost) & (free.status != Status.DIVERGED)
    free_kept = usable & (free.settled if estimator.unsettled == "drop" else True)
    kept = free_kept & finite
    for flags, policy in (
        (unsettled, estimator.unsettled),
        (bounded, estimator.bounded),
        (response.jumped, estimator.jumped),
    ):
        kept &= ~flags if policy == "drop" else True
    gradient = _gradient(system, x, target, free.state, error_vector, kept, free_kept)
    return Estimate(
        gradient=gradient,
        error_vector=error_vector,
        error_bar=response.error_bar,
        cost=cost,
        weight=kept.astype(cost.dtype),
        unsettled=unsettled,
        bounded=bounded,
        jumped=response.jumped,
        relaxation_steps=free.steps + response.relaxation_steps,
        equilibrium=free,
    )


def _gradient(
    system: System, x: Any, target: Array, state: PyTree, error_vector: PyTree, kept: Array, free_kept: Array
) -> PyTree:
    """∂/∂θ of ⟨δ·F(θ, u*, x)⟩ over `kept` plus ⟨C(θ, r*)⟩ over `free_kept`, with δ, u* and r* fixed.

    What is left out is replaced before it enters: 0·NaN would be NaN.
    """
    state = trees.select(free_kept, state, system.initial_state(x))
    state = jax.tree.map(lambda a: jnp.where(trees.per_sample(free_kept, a), a, jnp.zeros_like(a)), state)
    x = jax.tree.map(lambda a: jnp.where(trees.per_sample(free_kept, a), a, jnp.zeros_like(a)), x)
    error_vector = trees.select(kept, error_vector, jax.tree.map(jnp.zeros_like, error_vector))
    activity = system.activity(state)

    def share(flags: Array) -> Array:
        weight = flags.astype(trees.dtype_of(error_vector))
        return weight / jnp.maximum(weight.sum(), 1)

    @eqx.filter_grad
    def surrogate(theta: System) -> Array:
        force = theta.force(state, theta.input_drive(x))
        work = trees.inner(error_vector, force)
        direct = theta.cost(theta.output(activity), target)
        return jnp.sum(share(kept) * work) + jnp.sum(share(free_kept) * direct)

    return surrogate(system)


def gradient_from_error_vector(
    system: System, x: Any, target: Array, equilibrium: Equilibrium, error_vector: PyTree
) -> PyTree:
    """⟨δᵀ∂F/∂θ⟩ plus the cost's direct gradient over the whole batch, for an error vector from anywhere."""
    everything = jnp.ones(equilibrium.steps.shape, bool)
    return _gradient(system, x, target, equilibrium.state, error_vector, everything, everything)
