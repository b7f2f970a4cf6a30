"""Everything that is said of how well a system relaxes and how good its gradient is, as numbers and advice."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from equiprop._interrupts import doing
from equiprop.diagnostics import (
    Alignment,
    Analyticity,
    BiasSplit,
    alignment,
    analyticity,
    bias_split,
    period,
    spectrum,
)
from equiprop.estimators import FLAGS, Estimate, estimate
from equiprop.numerics import trees
from equiprop.numerics.settings import settings_of
from equiprop.solvers import AbstractSolver, Equilibrium, Status, relax
from equiprop.systems import System
from equiprop.training._advice import advice
from equiprop.training._components import Components
from equiprop.training._evaluate import audit_gradient, certify, diagnose_gradient, finite_or_none, looked_into
from equiprop.training._samples import Samples

_AUDITED = 40

REPORTED = ("converged", "oscillating", "max_steps", "diverged", *FLAGS, "excluded")
"""The fractions of samples that a diagnosis holds, in the order of a reader's interest."""


@eqx.filter_jit
def _answer(
    system: System, x: Any, y: Any, key: Array, components: Components
) -> tuple[Estimate, Estimate, BiasSplit, Array, Array]:
    solver, estimator = components.solver, components.estimator
    free = relax(system, x, solver)
    answer = estimate(system, x, y, estimator, solver=solver, equilibrium=free, key=key)
    exact = estimate(system, x, y, components.reference, solver=solver, equilibrium=free)
    split = bias_split(system, x, y, estimator, solver=solver, equilibrium=free, key=key)
    periods = period(system, x, free.state, solver)
    return answer.bare, exact.bare, split, periods, system.singularity_distance(free.state)


@eqx.filter_jit
def _analyticity(system: System, x: Any, y: Any, solver: AbstractSolver, nudge: Array, key: Array) -> Analyticity:
    return analyticity(system, x, y, nudge=nudge, solver=solver, key=key)


@doing("a diagnosis")
def diagnose(system: System, split: Samples, components: Components, samples: int, seed: int) -> dict[str, Any]:
    """How the relaxation of a system ends and how its gradient stands against the exact one, on the first samples of a split.

    Fractions are of those samples; `residual` is in units of the force; `singularity_distance` in those of u. The certificate,
    the spectrum and the analyticity are of as many as `looked_into` says.
    """
    x, y = split.batch(jnp.arange(min(samples, len(split))))
    n, key = trees.batch_size(x), jax.random.key(seed)
    answer, exact, bias, periods, distance = _answer(system, x, y, key, components)
    counts = {name: int(value) for name, value in answer.counts.items() if name != "samples"}
    few = looked_into(system, split)
    some_x, some_y, state = jax.tree.map(lambda a: a[:few], (x, y, answer.equilibrium.state))
    eigen = spectrum(system, some_x, state, components.solver, key=key)
    result: dict[str, Any] = {
        "samples": n,
        **{f"{name}_fraction": count / n for name, count in counts.items()},
        **_relaxation(answer.equilibrium, periods),
        "inaccurate_by_rounding_fraction": float(jnp.mean(answer.inaccurate & answer.limited_by_rounding)),
        "singularity_distance": finite_or_none(np.asarray(distance).min()),
        **diagnose_gradient(system, split, components, samples, seed),
        **_agreement(alignment(answer, exact), bias),
        **audit_gradient(system, x, y, components, _AUDITED, key),
        **certify(system, split, components.solver, seed),
        "spectral_abscissa_median": finite_or_none(np.median(eigen.abscissa)),
        "spectral_abscissa_largest": finite_or_none(np.max(eigen.abscissa)),
        "contraction_median": finite_or_none(np.median(eigen.contraction)),
        "contraction_largest": finite_or_none(np.max(eigen.contraction)),
        "analyticity": _verdicts(system, some_x, some_y, components, key),
    }
    return result | {"advice": advice(result, components)}


def _relaxation(free: Equilibrium, periods: Array) -> dict[str, Any]:
    residual, steps = np.asarray(free.residual), np.asarray(free.steps)
    oscillating = np.asarray(periods)[np.asarray(free.status) == Status.OSCILLATING]
    return {
        "period": int(np.bincount(oscillating).argmax()) if oscillating.size else None,
        "residual_median": finite_or_none(np.median(residual)),
        "residual_largest": finite_or_none(residual.max()),
        "free_sweeps_median": finite_or_none(np.median(steps)),
        "free_sweeps_largest": int(steps.max()),
    }


def _agreement(agreement: Alignment, split: BiasSplit) -> dict[str, Any]:
    usable = np.asarray(split.usable)
    parts = {
        "finite_nudge": split.finite_nudge_norm,
        "asymmetry": split.asymmetry_norm,
        "total": split.total_norm,
    }
    return {
        "cosine_spread": {name: finite_or_none(v) for name, v in agreement.cosine_spread.items()},
        "weighted_cosine": {name: finite_or_none(v) for name, v in agreement.weighted_cosine.items()},
        "relative_error": {name: finite_or_none(v) for name, v in agreement.relative_error.items()}
        | {"total": finite_or_none(agreement.total_relative_error)},
        "bias": {
            name: finite_or_none(np.median(np.asarray(values)[usable])) if usable.any() else None
            for name, values in parts.items()
        },
    }


def _verdicts(system: System, x: Any, y: Any, components: Components, key: Array) -> dict[str, float] | None:
    """Fractions by verdict at the nudge of the run; `None` for an estimator without one."""
    if "nudge" not in settings_of(type(components.estimator)):
        return None
    nudge = getattr(components.estimator, "nudge")  # noqa: B009
    size = jnp.asarray(0.5) if nudge is None else jnp.abs(jnp.asarray(nudge))
    found = _analyticity(system, x, y, components.solver, size, key)
    return {name: int(count) / trees.batch_size(x) for name, count in found.counts.items()}
