"""Estimators side by side on the same equilibria."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from equiprop.diagnostics._alignment import Alignment, alignment
from equiprop.errors import InputError
from equiprop.estimators import AbstractEstimator, Adjoint, Estimate, estimate
from equiprop.solvers import AbstractSolver, Equilibrium, relax
from equiprop.systems import System

# Seconds of timing after which an estimator is not timed again.
_PATIENCE = 1.0

_AUDITED = 40


@dataclass(frozen=True)
class Row:
    """One estimator against the exact gradient.

    - `cosine`, `relative_error`: of the summed parameter gradient, with whatever samples the estimator excluded.
    - `error_bar`: the median over the kept samples of the estimator's own relative error; infinite where it cannot tell.
    - `gradient_bar`, `gradient_bar_causes`: how far the summed gradient may be from the exact one, and by what, as forty of the
      samples tell (`Estimate.audit`).
    - `relaxation_steps`: mean sweeps (or Jacobian products) per sample, without the free phase.
    - `seconds`: one evaluation on the whole batch, compiled, without the free phase; the median of several.
    - `excluded`: samples not in the gradient.
    - `clipped`: samples whose error vector was cut to the estimator's `clip`, which the exact gradient here is not.
    - `populations`: per population the mean `cosine` and `relative_error` of the error vectors.
    - `refused`: why the estimator does not serve this system; then there are no figures.
    """

    estimator: str
    cosine: float = math.nan
    relative_error: float = math.nan
    error_bar: float = math.nan
    gradient_bar: float = math.nan
    gradient_bar_causes: Mapping[str, float] | None = None
    relaxation_steps: float = math.nan
    seconds: float = math.nan
    excluded: int = 0
    clipped: int = 0
    populations: Mapping[str, Mapping[str, float]] | None = None
    refused: str | None = None


def compare(
    system: System,
    x: Any,
    target: Array,
    estimators: Mapping[str, AbstractEstimator],
    *,
    solver: AbstractSolver,
    repeats: int = 3,
    key: PRNGKeyArray | None = None,
    on_estimator: Callable[[str], None] | None = None,
) -> list[Row]:
    """Runs every estimator on the free equilibria of one batch and ranks them by the cosine to the exact gradient.

    The reference is `Adjoint` without clipping, on the samples where it converges. An estimator that refuses the system gets a
    row that says so. `key` is for estimators that draw random numbers.
    """
    free = relax(system, x, solver)
    exact, _ = _timed(system, x, target, Adjoint(clip=math.inf), solver, free, 1, key)
    rows = []
    for name, estimator in estimators.items():
        if on_estimator is not None:
            on_estimator(name)
        try:
            answer, seconds = _timed(system, x, target, estimator, solver, free, repeats, key)
        except InputError as error:
            rows.append(Row(name, refused=str(error)))
            continue
        rows.append(_row(name, estimator, answer, alignment(answer, exact), seconds))
    return sorted(rows, key=lambda row: (math.isnan(row.cosine), -row.cosine if not math.isnan(row.cosine) else 0))


def _timed(
    system: System,
    x: Any,
    target: Array,
    estimator: AbstractEstimator,
    solver: AbstractSolver,
    free: Equilibrium,
    repeats: int,
    key: PRNGKeyArray | None = None,
) -> tuple[Estimate, float]:
    def run() -> Estimate:
        return estimate(system, x, target, estimator, solver=solver, equilibrium=free, key=key)

    answer = jax.block_until_ready(run())
    times: list[float] = []
    while len(times) < repeats and sum(times) < _PATIENCE:
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - began)
    return answer, float(np.median(times))


def _row(name: str, estimator: AbstractEstimator, answer: Estimate, agreement: Alignment, seconds: float) -> Row:
    kept = np.asarray(answer.weight) > 0
    bars = np.asarray(answer.error_bar)[kept]
    steps = np.asarray(answer.relaxation_steps)
    bar = answer.audit(_AUDITED)
    own_steps = steps - np.asarray(answer.equilibrium.steps) if estimator.needs_free_phase else steps
    return Row(
        estimator=name,
        cosine=float(agreement.total_cosine),
        relative_error=float(agreement.total_relative_error),
        error_bar=float(np.median(bars)) if bars.size else math.nan,
        gradient_bar=float(bar.exact),
        gradient_bar_causes={name: float(part) for name, part in bar.causes.items()},
        relaxation_steps=float(own_steps.mean()),
        seconds=seconds,
        excluded=int((~kept).sum()),
        clipped=int(np.asarray(answer.clipped).sum()),
        populations={
            population: {
                "cosine": float(agreement.cosine[population]),
                "relative_error": float(agreement.relative_error[population]),
            }
            for population in agreement.cosine
        },
    )
