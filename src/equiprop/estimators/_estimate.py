"""`estimate`: the gradient of a batch with everything needed to trust or distrust it."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from equiprop.errors import ExclusionWarning, InputError, warn
from equiprop.estimators._audit import GradientBar, Grounds, audit
from equiprop.estimators._estimator import FLAGS, REMEDIES, AbstractEstimator, Response, Surrogate
from equiprop.estimators._gradient import AtState, Batch, gradient
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.kinds import kind_of
from equiprop.numerics import Figures, as_key, is_schedule, spread, trees
from equiprop.solvers import AbstractSolver, Equilibrium, Status, as_solver, relax
from equiprop.systems import System, cost_gradient, verify, verify_cost, verify_state


class Estimate(Figures):
    """A gradient with everything needed to trust or distrust it.

    **Fields:**

    - `gradient`: of the mean cost with respect to every parameter, in the structure of the system (`None` for what is not
      an inexact array). Excluded samples add nothing to it, unless the estimator divides by those that are `kept`.
    - `input_gradient`: ∂C/∂x of every sample, in the structure of the input, zero for excluded samples; `None` if not asked for.
    - `error_vector`: δ per population and sample, after clipping; dC/dθ = Σ δᵀ∂F/∂θ.
    - `error_bar`: relative error of the error vector per sample (see the estimator); infinite where it cannot be told.
    - `rounding`: how much of that is rounding, which a smaller nudge makes larger; zero where the estimator does not tell.
    - `cost`: C per sample at the free equilibrium.
    - `weight`: 1 for the samples in the gradient, 0 for those excluded.
    - `cost_weight`: the same for the gradient of the cost's own parameters.
    - `unconverged`, `clipped`, `branch_switch`, `inaccurate`, `non_analytic`, `retried`: flags per sample. Inaccurate is an error
      bar above the tolerance that was asked for; retried, that a smaller nudge was tried for it.
    - `nudge`: |β| that each sample was read with; zero for estimators without a nudge.
    - `relaxation_steps`: sweeps per sample, the free phase included.
    - `equilibrium`: the free equilibrium.
    - `tracking`: how much of the response came late, ‖quadrature‖/‖in phase‖, where the nudge oscillates: states follow it while
      this is small. `None` for other estimators.
    - `grounds`: what `audit` needs to know besides; `None` where it has been left out.
    """

    gradient: PyTree
    input_gradient: PyTree | None
    error_vector: PyTree
    error_bar: Float[Array, " batch"]
    rounding: Float[Array, " batch"]
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
    tracking: Float[Array, " batch"] | None = None
    grounds: Grounds | None = None

    @property
    def gradient_bar(self) -> GradientBar:
        """How far the gradient is from the exact one, and why: `audit()` of sixteen samples: a few sweeps of those."""
        return self.audit()

    def audit(self, samples: int = 16) -> GradientBar:
        """The same from so many samples of the batch. Compiled when first called.

        Raises `InputError` for less than one, and for an estimate without grounds, or one of several batches.
        """
        if not isinstance(samples, int) or samples < 1:
            raise InputError("must be a number of samples, at least 1", path="samples", value=samples)
        if self.grounds is None or self.weight.ndim != 1:
            what = "has no grounds" if self.grounds is None else "is of several batches"
            raise InputError(f"this estimate {what} to be audited on", hint="ask that of estimate for one batch")
        found = _audited(
            eqx.tree_at(lambda g: g.surrogate, self.grounds, None, is_leaf=_is_none),
            self.equilibrium,
            self.error_vector,
            self.error_bar,
            self.weight > 0,
            self.gradient,
            _offset(self),
            samples,
        )
        return found.bar(trees.paths(self.gradient))

    @property
    def limited_by_rounding(self) -> Bool[Array, " batch"]:
        """Of which samples rounding is half of the error bar or more: a smaller nudge would make it larger."""
        return (self.rounding > 0) & (2 * self.rounding >= self.error_bar)

    @property
    def bare(self) -> "Estimate":
        """Without grounds, which hold the system and the batch."""
        return eqx.tree_at(lambda e: e.grounds, self, None, is_leaf=_is_none)

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

    def rows(self) -> Iterator[tuple[str, str]]:
        if self.weight.ndim != 1:
            return
        counts = {name: int(count) for name, count in self.counts.items()}
        samples = counts.pop("samples")
        kept = np.asarray(self.weight) > 0
        norm = float(np.sqrt(sum(float(jnp.sum(g**2)) for g in jax.tree.leaves(self.gradient))))
        yield "samples", f"{samples}, {int(kept.sum())} in the gradient"
        yield "flags", ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
        yield "cost", f"{float(self.cost.mean()):.4g}"
        yield "error bar", spread(self.error_bar[kept])
        if bool(jnp.any(self.rounding > 0)):
            yield "of which rounding", spread(self.rounding[kept])
        if self.tracking is not None:
            yield "response that comes late", spread(self.tracking[kept])
        yield "gradient norm", f"{norm:.4g}"
        yield "sweeps", f"{float(self.relaxation_steps.mean()):.1f} a sample"


def estimate(
    system: System,
    x: Any,
    target: Any,
    estimator: AbstractEstimator,
    *,
    solver: AbstractSolver | None = None,
    equilibrium: Equilibrium | None = None,
    wrt_input: bool = False,
    key: PRNGKeyArray | int | None = None,
) -> Estimate:
    """Estimates the gradient of the mean cost over a batch, with an error bar, and one per sample. Compiled when first called.

    The gradient is Σδᵀ∂F/∂θ over the samples kept, at the free equilibrium, over the size of the batch, plus the direct gradient
    of the cost where it has parameters of its own (of all samples whose free phase is kept). If no sample is kept it is zero.
    Where more than a twentieth of the samples are excluded, an `ExclusionWarning` says so, once for each kind of estimator.

    **Arguments:**

    - `x`, `target`: a batch of inputs and of what the cost compares with: integer labels, or real targets.
    - `solver`: how to relax; `GaussSeidel()` by default.
    - `equilibrium`: the free equilibrium of this batch, if it is at hand. An estimator that needs no free phase starts there. A
      sample on which there is more force than that says, as after a change of the parameters or of x, counts as unconverged.
    - `wrt_input`: whether the gradient for the inputs is wanted, too.
    - `key`: for estimators that draw random numbers; or a seed.

    Raises `InputError` where an argument is of another type, the estimator cannot serve the system, the cost does not give one
    number a sample, the samples of a batch act on each other, or the equilibrium is of another batch size.
    """
    if not isinstance(estimator, AbstractEstimator):
        raise InputError(f"must be an estimator object such as ep.Centered(), not {estimator!r}", path="estimator")
    if any(map(is_schedule, jax.tree.leaves(estimator, is_leaf=is_schedule))):
        raise InputError("holds a schedule, which only training can follow", path="estimator", hint="give a number")
    solver = as_solver(solver)
    verify(system, x)
    verify_cost(system, x, target)
    target = jax.tree.map(jnp.asarray, target)
    _check_equilibrium(equilibrium, system, x)
    estimator.check(system, x)
    key = None if key is None else as_key(key)
    answer, parts, surrogate = _estimate(system, x, target, estimator, solver, equilibrium, wrt_input, key)
    _warn_of_exclusion(answer, estimator)
    grounds = Grounds(
        system,
        x,
        target,
        parts,
        surrogate,
        follows_adjoint=jnp.asarray(estimator.tends_to == "adjoint"),
        nudges=jnp.asarray(estimator.nudges),
        divide_by=estimator.divide_by,
    )
    return eqx.tree_at(lambda e: e.grounds, answer, grounds, is_leaf=_is_none)


def _check_equilibrium(equilibrium: Any, system: System, x: Any) -> None:
    if equilibrium is None:
        return
    if not isinstance(equilibrium, Equilibrium):
        reason = f"must be what ep.relax gives, not {type(equilibrium).__name__}"
        raise InputError(reason, path="equilibrium")
    verify_state(system, x, equilibrium.state, "equilibrium")


_LARGEST_EXCLUSION = 0.05
_warned: set[str] = set()


def _warn_of_exclusion(answer: Estimate, estimator: AbstractEstimator) -> None:
    kind = kind_of(estimator)
    if kind in _warned or isinstance(answer.weight, Tracer):
        return
    excluded = float(jnp.mean(answer.weight == 0))
    if excluded > _LARGEST_EXCLUSION:
        _warned.add(kind)
        counts = {name: int(count) for name, count in answer.counts.items()}
        flags = [name for name in estimator.dropped if counts[name]]
        why = ", ".join(f"{counts[name]} {name}" for name in flags) or "whose cost or response is no finite number"
        mend = f": {REMEDIES[max(flags, key=counts.__getitem__)]}" if flags else ""
        warn(
            f"{type(estimator).__name__}: {counts['excluded']} of {counts['samples']} samples are excluded from the gradient "
            f"({why}){mend}; this is said once",
            ExclusionWarning,
        )


@eqx.filter_jit
def _estimate(
    system: System,
    x: Any,
    target: PyTree,
    estimator: AbstractEstimator,
    solver: AbstractSolver,
    equilibrium: Equilibrium | None,
    wrt_input: bool,
    key: PRNGKeyArray | None,
) -> tuple[Estimate, Float[Array, "batch 4"], Surrogate | None]:
    ready = system.ready
    injection = ready.injection(x)
    if equilibrium is not None:
        free = _looked_at(equilibrium, ready, injection, solver)
    elif estimator.needs_free_phase:
        free = relax(system, x, solver, injection=injection)
    else:
        free = _not_relaxed(ready, x)
    read = read_out(Problem(ready, x, injection, target, free, solver, key), estimator)
    batch = Batch(x, target, read.free.state, read.kept, read.free_kept)
    of_parameters, of_inputs = gradient(
        system,
        batch,
        read.error_vector,
        read.surrogate,
        divide_by=estimator.divide_by,
        wrt_input=wrt_input,
        believed=estimator.nudges,
    )
    response, cost = read.response, read.cost
    known = (response.unfinished, response.rounding, response.noise, response.lag)
    parts = [jnp.zeros_like(cost) if part is None else part for part in known]
    answer = Estimate(
        gradient=of_parameters,
        input_gradient=of_inputs,
        error_vector=read.error_vector,
        error_bar=read.error_bar,
        rounding=jnp.minimum(SAFETY * parts[1], read.error_bar),
        cost=cost,
        weight=read.kept.astype(cost.dtype),
        cost_weight=read.free_kept.astype(cost.dtype),
        nudge=jnp.zeros_like(cost) if response.nudge is None else response.nudge,
        relaxation_steps=response.relaxation_steps + (free.steps if response.equilibrium is None else 0),
        equilibrium=read.free,
        tracking=response.tracking,
        grounds=None,
        **read.flags,
    )
    return answer, jnp.stack(parts, axis=1), response.surrogate


# Estimators have one program of this in common, as what differs between them are arrays.
_audited = eqx.filter_jit(audit)


def _offset(answer: Estimate) -> PyTree:
    """What of a gradient is not δᵀ∂F/∂θ at the free equilibrium."""
    assert answer.grounds is not None
    if answer.grounds.surrogate is None:
        return jax.tree.map(jnp.zeros_like, answer.gradient)
    return _offset_of_surrogate(answer.bare, answer.grounds)


@eqx.filter_jit
def _offset_of_surrogate(answer: Estimate, grounds: Grounds) -> PyTree:
    batch = Batch(grounds.x, grounds.target, answer.equilibrium.state, answer.weight > 0, answer.cost_weight > 0)
    at_state = AtState(answer.equilibrium.state)

    def plain(believed: bool) -> PyTree:
        return gradient(
            grounds.system,
            batch,
            answer.error_vector,
            at_state,
            divide_by=grounds.divide_by,
            wrt_input=False,
            believed=believed,
        )[0]

    known = plain(False)
    if grounds.system.departures:
        known = jax.tree.map(lambda a, b: jnp.where(grounds.nudges, a, b), plain(True), known)
    return jax.tree.map(jnp.subtract, answer.gradient, known)


class Reading(eqx.Module):
    """What an estimator read off a batch, clipped and flagged.

    - `free`: the equilibrium it belongs to.
    - `kept`, `free_kept`: the samples for the gradient of the system's parameters, and for that of the cost's own.
    - `surrogate`: what the parameter gradient is the gradient of.
    """

    response: Response
    free: Equilibrium
    error_vector: PyTree
    error_bar: Float[Array, " batch"]
    cost: Float[Array, " batch"]
    flags: dict[str, Bool[Array, " batch"]]
    kept: Bool[Array, " batch"]
    free_kept: Bool[Array, " batch"]
    surrogate: Surrogate


def read_out(problem: Problem, estimator: AbstractEstimator) -> Reading:
    """Lets the estimator respond, clips and flags its answer, and says which samples are kept."""
    system, target = problem.system, problem.target
    response = estimator.respond(_where_measured(problem, estimator))
    free = problem.free if response.equilibrium is None else response.equilibrium
    error_bar = jnp.where(jnp.isnan(response.error_bar), jnp.inf, response.error_bar)
    error_vector, clipped, finite = _clipped(system, target, free, estimator, response)
    cost = system.cost(system.output(system.activity(free.state)), target)
    within_batch = eqx.tree_at(lambda p: p.free, problem, free).within_batch(error_bar, trees.norm(error_vector))
    flags = _flags(estimator, free, response, within_batch, clipped)
    usable = jnp.isfinite(cost) & (free.status != Status.DIVERGED)
    free_kept = usable & (free.converged if estimator.unconverged == "drop" else True)
    kept = free_kept & finite
    for name in estimator.dropped:
        kept &= ~flags[name]
    surrogate = AtState(free.state) if response.surrogate is None else response.surrogate
    return Reading(response, free, error_vector, error_bar, cost, flags, kept, free_kept, surrogate)


def _where_measured(problem: Problem, estimator: AbstractEstimator) -> Problem:
    """The problem on the system on which its response is measured; what is computed from equations, is from those of its own."""
    if not estimator.nudges:
        return problem
    nudged, injection = problem.system.backward(problem.free.state, problem.x, problem.injection)
    if nudged is problem.system:
        return problem
    if not estimator.needs_free_phase:
        reason = "finds the equilibrium and the response in one phase, and so cannot measure them on two systems"
        hint = "use an estimator with a free phase, or backward = 'device'"
        raise InputError(reason, path="estimator", value=kind_of(estimator), hint=hint)
    return eqx.tree_at(lambda p: (p.system, p.injection), problem, (nudged, injection))


def _clipped(
    system: System, target: PyTree, free: Equilibrium, estimator: AbstractEstimator, response: Response
) -> tuple[PyTree, Bool[Array, " batch"], Bool[Array, " batch"]]:
    """The error vectors, no longer than they may be; which were shortened; and which are finite."""
    length = trees.norm(response.error_vector)
    finite = jnp.isfinite(length)
    if estimator.clip is None:
        return response.error_vector, jnp.zeros_like(finite), finite
    reference = trees.norm(cost_gradient(system, system.activity(free.state), target))
    allowed = jnp.asarray(estimator.clip, length.dtype) * reference
    clipped = finite & (length > allowed)
    shrink = jnp.where(clipped, allowed / jnp.where(clipped, length, 1), 1)
    return trees.scale(shrink, response.error_vector), clipped, finite


def _flags(
    estimator: AbstractEstimator,
    free: Equilibrium,
    response: Response,
    within_batch: Float[Array, " batch"],
    clipped: Bool[Array, " batch"],
) -> dict[str, Bool[Array, " batch"]]:
    none = jnp.zeros(within_batch.shape, bool)
    return {
        "unconverged": ~(free.converged & response.converged),
        "clipped": clipped,
        "branch_switch": none if response.branch_switch is None else response.branch_switch,
        "inaccurate": none if estimator.tolerance is None else ~(within_batch <= estimator.tolerance),
        "non_analytic": none if response.non_analytic is None else response.non_analytic,
        "retried": none if response.retried is None else response.retried,
    }


def _looked_at(given: Equilibrium, system: System, injection: Any, solver: AbstractSolver) -> Equilibrium:
    """An equilibrium from elsewhere, with the force that there is on its state; not converged where that is more than it says."""
    residual = trees.max_abs(system.force(given.state, injection))
    as_said = residual <= 2 * given.residual + jnp.asarray(solver.tolerance, residual.dtype)
    status = jnp.where(given.converged & ~as_said, Status.MAX_STEPS, given.status)
    return Equilibrium(given.state, residual, given.steps, status.astype(given.status.dtype))


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


def merge(estimates: Estimate, divide_by: str) -> Estimate:
    """The estimate of a whole batch from those of parts of equal size, stacked along a leading axis.

    The same as of all samples at once, but that what is inaccurate beside a batch was judged beside its part.

    **Arguments:**

    - `divide_by`: as of the estimator.
    """

    def mean(gradient: PyTree, weight: Array) -> PyTree:
        kept = weight.sum(axis=1) if divide_by == "kept" else jnp.ones(len(weight), weight.dtype)
        fraction = kept / jnp.maximum(kept.sum(), 1)
        return jax.tree.map(lambda g: jnp.tensordot(fraction.astype(g.dtype), g, axes=1), gradient)

    gradient = mean(estimates.gradient, estimates.weight)
    own = mean(estimates.gradient.cost, estimates.cost_weight)
    whole = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), eqx.tree_at(lambda e: e.gradient, estimates.bare, None))
    return eqx.tree_at(
        lambda e: e.gradient,
        whole,
        eqx.tree_at(lambda g: g.cost, gradient, own),
        is_leaf=_is_none,
    )


def _is_none(leaf: Any) -> bool:
    return leaf is None
