"""What every estimator answers, and the one place that turns an error vector into a gradient."""

import abc
import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from equiprop.errors import InputError, suggest
from equiprop.estimators._problem import Problem
from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver, Equilibrium, GaussSeidel, Status, relax
from equiprop.systems import System

Policy = str
"""`"keep"` or `"drop"`."""

FLAGS = ("unconverged", "clipped", "branch_switch", "inaccurate", "non_analytic", "retried")
"""What a sample may be flagged as, beside the status of its free phase."""

COUNTS = ("samples", *(s.name.lower() for s in Status), *FLAGS, "excluded")
"""The keys of `Estimate.counts`."""


Work = Callable[[System, Any, PyTree, Array], Float[Array, " batch"]]
"""`work(theta, x, error_vector, sound)`: per sample, what the parameter gradient is the gradient of, at fixed `error_vector`.

Only samples that are `sound` may be looked at (`trees.stand_in`): the others count with weight zero, and 0·NaN would be NaN.
"""


class Response(eqx.Module):
    """What an estimator measured, before anything is excluded.

    **Fields:**

    - `error_vector`: the estimate of −dr/dβ, in the structure of the state, real.
    - `error_bar`: its relative error as the estimator itself sees it, per sample; infinite or NaN where it cannot be told.
    - `converged`: whether every relaxation or linear solve behind it converged.
    - `relaxation_steps`: sweeps over all phases, or Jacobian products of a linear solve.
    - `branch_switch`: whether the nudge carried the sample to another branch. By default no.
    - `non_analytic`: whether the response does not look analytic on the disc of the nudge. By default no.
    - `nudge`: |β|, where there is one.
    - `retried`: whether the sample was estimated again at a smaller nudge. By default no.
    - `equilibrium`: the equilibrium it belongs to, from an estimator that needs no free phase.
    - `work`: of an estimator whose parameter gradient is not δᵀ∂F/∂θ at the free equilibrium.
    """

    error_vector: PyTree
    error_bar: Float[Array, " batch"]
    converged: Bool[Array, " batch"]
    relaxation_steps: Int[Array, " batch"]
    branch_switch: Bool[Array, " batch"] | None = None
    non_analytic: Bool[Array, " batch"] | None = None
    nudge: Float[Array, " batch"] | None = None
    retried: Bool[Array, " batch"] | None = None
    equilibrium: Equilibrium | None = None
    work: Work | None = eqx.field(default=None, static=True)


class Estimate(eqx.Module):
    """A gradient with everything needed to trust or distrust it.

    **Fields:**

    - `gradient`: of the mean cost with respect to every parameter, in the structure of the system (`None` for what is not
      an inexact array).
    - `error_vector`: δ per population and sample, after bounding; dC/dθ = Σ δᵀ∂F/∂θ.
    - `error_bar`: relative error of the error vector per sample (see the estimator); infinite where it cannot be told.
    - `cost`: C per sample at the free equilibrium.
    - `weight`: 1 for the samples in the gradient, 0 for those excluded.
    - `cost_weight`: the same for the gradient of the cost's own parameters.
    - `unconverged`, `clipped`, `branch_switch`, `inaccurate`, `non_analytic`, `retried`: flags per sample. Inaccurate is an error
      bar above the tolerance that was asked for; retried, that a smaller nudge was tried for it.
    - `nudge`: |β| that each sample was read with; zero for estimators without a nudge.
    - `relaxation_steps`: sweeps per sample, the free phase included.
    - `equilibrium`: the free equilibrium.
    """

    gradient: PyTree
    error_vector: PyTree
    error_bar: Float[Array, " batch"]
    cost: Float[Array, " batch"]
    weight: Float[Array, " batch"]
    cost_weight: Float[Array, " batch"]
    unconverged: Bool[Array, " batch"]
    clipped: Bool[Array, " batch"]
    branch_switch: Bool[Array, " batch"]
    inaccurate: Bool[Array, " batch"]
    non_analytic: Bool[Array, " batch"]
    retried: Bool[Array, " batch"]
    nudge: Float[Array, " batch"]
    relaxation_steps: Int[Array, " batch"]
    equilibrium: Equilibrium

    @property
    def counts(self) -> dict[str, Int[Array, ""]]:
        """How many samples there are of each kind. `converged`, `oscillating`, `diverged`, `max_steps` are of the free phase."""
        status = self.equilibrium.status
        return {
            "samples": jnp.asarray(status.shape[0], jnp.int32),
            **{s.name.lower(): jnp.sum(status == s, dtype=jnp.int32) for s in Status},
            **{name: jnp.sum(getattr(self, name), dtype=jnp.int32) for name in FLAGS},
            "excluded": jnp.sum(self.weight == 0, dtype=jnp.int32),
        }


class AbstractEstimator(eqx.Module):
    """How the gradient is read.

    **Fields** of every estimator, besides its own:

    - `clip`: a sample's error vector longer than this many times ‖∇C‖ is scaled down to it and flagged as clipped;
      infinity for off. Near a bifurcation the exact response and the exact adjoint grow without limit.
    - `unconverged`, `clipped`, `branch_switch`, `inaccurate`: what becomes of such samples, `"drop"` or `"keep"` (a clipped
      sample is kept with its clipped vector).
    - `tolerance`: the largest error bar that is good enough; infinity for any. A sample above it is inaccurate.
    - `branch_switch_threshold`: a sample has switched branch when the even part of its response to ±β exceeds this many
      times the odd part.
    """

    clip: float = eqx.field(default=100.0, static=True, kw_only=True)
    unconverged: Policy = eqx.field(default="drop", static=True, kw_only=True)
    clipped: Policy = eqx.field(default="keep", static=True, kw_only=True)
    branch_switch: Policy = eqx.field(default="drop", static=True, kw_only=True)
    branch_switch_threshold: float = eqx.field(default=0.5, static=True, kw_only=True)
    inaccurate: Policy = eqx.field(default="drop", static=True, kw_only=True)
    tolerance: float = eqx.field(default=math.inf, static=True, kw_only=True)

    tends_to: ClassVar[str] = "response"
    """What its error vector is an estimate of: `"response"`, δE = −J⁻¹∇C, or `"adjoint"`, δ = −J⁻ᵀ∇C."""

    needs_free_phase: ClassVar[bool] = True
    """Whether `respond` is given the free equilibrium, or only a state to start from."""

    @abc.abstractmethod
    def respond(self, problem: Problem) -> Response:
        """Measures the error vector of every sample at its free equilibrium."""

    def check(self, system: System) -> None:
        """Raises `InputError` where the estimator cannot serve the system."""

    def __check_init__(self) -> None:
        if not self.tolerance > 0:
            raise InputError(f"tolerance = {self.tolerance}: must be above 0 (inf for any error)")
        if not self.clip > 0:
            raise InputError(f"clip = {self.clip}: must be above 0 (inf for off)")
        if not self.branch_switch_threshold > 0:
            raise InputError(f"branch_switch_threshold = {self.branch_switch_threshold}: must be above 0 (inf for off)")
        for name in ("unconverged", "clipped", "branch_switch", "inaccurate"):
            if getattr(self, name) not in ("keep", "drop"):
                raise suggest(name, getattr(self, name), ["keep", "drop"])


@eqx.filter_jit
def estimate(
    system: System,
    x: Any,
    target: Any,
    estimator: AbstractEstimator,
    *,
    solver: AbstractSolver | None = None,
    equilibrium: Equilibrium | None = None,
    key: PRNGKeyArray | None = None,
) -> Estimate:
    """Estimates the gradient of the mean cost over a batch, with an error bar per sample. Compiled when first called.

    The gradient is ⟨δᵀ∂F/∂θ⟩ over the samples kept, at the free equilibrium, plus the direct gradient of the cost where it has
    parameters of its own (over all samples whose free phase is kept). If no sample is kept it is zero.

    **Arguments:**

    - `x`, `target`: a batch of inputs and of what the cost compares with: integer labels, or real targets.
    - `solver`: how to relax; `GaussSeidel()` by default.
    - `equilibrium`: the free equilibrium of this batch, if it is at hand. An estimator that needs no free phase starts there.
    - `key`: for estimators that draw random numbers.

    Raises `InputError` where the estimator cannot serve the system.
    """
    estimator.check(system)
    target = jnp.asarray(target)
    solver = GaussSeidel() if solver is None else solver
    injection = system.injection(x)
    if equilibrium is not None:
        free = equilibrium
    elif estimator.needs_free_phase:
        free = relax(system, x, solver, injection=injection)
    else:
        free = _not_relaxed(system, x)
    response = estimator.respond(Problem(system, x, injection, target, free, solver, key))
    free = free if response.equilibrium is None else response.equilibrium
    error_bar = jnp.where(jnp.isnan(response.error_bar), jnp.inf, response.error_bar)
    none = jnp.zeros(error_bar.shape, bool)

    activity = system.activity(free.state)
    cost = system.cost(system.output(activity), target)
    allowed = estimator.clip * trees.norm(system.cost_gradient(activity, target))
    length = trees.norm(response.error_vector)
    finite = jnp.isfinite(length)
    clipped = finite & (length > allowed)
    shrink = jnp.where(clipped, allowed / jnp.where(clipped, length, 1), 1)
    error_vector = trees.scale(shrink, response.error_vector)

    flags = {
        "unconverged": ~(free.converged & response.converged),
        "clipped": clipped,
        "branch_switch": none if response.branch_switch is None else response.branch_switch,
        "inaccurate": ~(error_bar <= estimator.tolerance),
        "non_analytic": none if response.non_analytic is None else response.non_analytic,
        "retried": none if response.retried is None else response.retried,
    }
    usable = jnp.isfinite(cost) & (free.status != Status.DIVERGED)
    free_kept = usable & (free.converged if estimator.unconverged == "drop" else True)
    kept = free_kept & finite
    for name in ("unconverged", "clipped", "branch_switch", "inaccurate"):
        kept &= ~flags[name] if getattr(estimator, name) == "drop" else True
    work = response.work or _work_at(free.state)
    gradient = _gradient(system, x, target, free.state, error_vector, work, kept, free_kept)
    return Estimate(
        gradient=gradient,
        error_vector=error_vector,
        error_bar=error_bar,
        cost=cost,
        weight=kept.astype(cost.dtype),
        cost_weight=free_kept.astype(cost.dtype),
        nudge=jnp.zeros_like(cost) if response.nudge is None else response.nudge,
        relaxation_steps=response.relaxation_steps + (free.steps if response.equilibrium is None else 0),
        equilibrium=free,
        **flags,
    )


def merge(estimates: Estimate) -> Estimate:
    """The estimate of a whole batch from those of parts of equal size, stacked along a leading axis.

    The same as of all samples at once: the gradients of the parts are means over the samples that each has kept.
    """

    def mean(gradient: PyTree, weight: Array) -> PyTree:
        kept = weight.sum(axis=1)
        share = kept / jnp.maximum(kept.sum(), 1)
        return jax.tree.map(lambda g: jnp.tensordot(share.astype(g.dtype), g, axes=1), gradient)

    gradient = mean(estimates.gradient, estimates.weight)
    own = mean(estimates.gradient.cost, estimates.cost_weight)
    whole = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), eqx.tree_at(lambda e: e.gradient, estimates, None))
    return eqx.tree_at(
        lambda e: e.gradient,
        whole,
        eqx.tree_at(lambda g: g.cost, gradient, own),
        is_leaf=lambda leaf: leaf is None,
    )


def _not_relaxed(system: System, x: Any) -> Equilibrium:
    """Where a system starts, in the form of an equilibrium that was not looked for."""
    state = system.initial_state(x)
    batch = trees.batch_size(state)
    return Equilibrium(
        state,
        jnp.full(batch, jnp.inf, trees.dtype_of(state)),
        jnp.zeros(batch, jnp.int32),
        jnp.full(batch, Status.MAX_STEPS, jnp.int32),
    )


def _work_at(state: PyTree) -> Work:
    """δ·F(θ, u, x) at a state: the generalized equilibrium-propagation gradient is its derivative at fixed u and δ."""

    def work(theta: System, x: Any, error_vector: PyTree, sound: Array) -> Array:
        return trees.inner(error_vector, theta.force(trees.stand_in(sound, state), theta.injection(x)))

    return work


def _gradient(
    system: System,
    x: Any,
    target: Array,
    state: PyTree,
    error_vector: PyTree,
    work: Work,
    kept: Array,
    free_kept: Array,
) -> PyTree:
    """∂/∂θ of ⟨work⟩ over `kept` plus ⟨C(θ, r*)⟩ over `free_kept`, with δ, u* and r* fixed.

    What is excluded is replaced before it enters: 0·NaN would be NaN.
    """
    state, x, target = trees.stand_in(free_kept, (state, x, target))
    error_vector = trees.select(kept, error_vector, jax.tree.map(jnp.zeros_like, error_vector))
    sound = jnp.where(jnp.any(kept), kept, free_kept)
    activity = system.activity(state)
    x = trees.stand_in(sound, x)

    def share(flags: Array) -> Array:
        weight = flags.astype(trees.dtype_of(error_vector))
        return weight / jnp.maximum(weight.sum(), 1)

    @eqx.filter_grad
    def surrogate(theta: System) -> Array:
        direct = theta.cost(theta.output(activity), target)
        return jnp.sum(share(kept) * work(theta, x, error_vector, sound)) + jnp.sum(share(free_kept) * direct)

    any_left = jnp.any(free_kept)
    return jax.tree.map(lambda g: jnp.where(any_left, g, jnp.zeros_like(g)), surrogate(system))


def gradient_from_error_vector(
    system: System, x: Any, target: Array, equilibrium: Equilibrium, error_vector: PyTree
) -> PyTree:
    """⟨δᵀ∂F/∂θ⟩ plus the cost's direct gradient over the whole batch, for an error vector from anywhere."""
    everything = jnp.ones(equilibrium.steps.shape, bool)
    work = _work_at(equilibrium.state)
    return _gradient(system, x, target, equilibrium.state, error_vector, work, everything, everything)
