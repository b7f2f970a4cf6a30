"""Everything `equiprop diagnose` says of a network, as numbers and advice."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

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
from equiprop.solvers import Status, relax
from equiprop.systems import LayeredNetwork, System
from equiprop.training.build import Components
from equiprop.training.config import Config
from equiprop.training.evaluate import certify, diagnose_gradient, looked_into, number
from equiprop.training.step import Images


@partial(jax.jit, static_argnames="parts")
def _answer(
    system: System, x: Array, labels: Array, key: Array, parts: Components
) -> tuple[Estimate, Alignment, BiasSplit, Array, Array]:
    free = relax(system, x, parts.solver)
    answer = estimate(system, x, labels, parts.estimator, solver=parts.solver, equilibrium=free, key=key)
    exact = estimate(system, x, labels, parts.reference, solver=parts.solver, equilibrium=free)
    split = bias_split(system, x, labels, parts.estimator, solver=parts.solver, equilibrium=free, key=key)
    periods = period(system, x, free.state, parts.solver)
    return answer, alignment(answer, exact), split, periods, system.singularity_distance(free.state)


@partial(jax.jit, static_argnames=("parts", "nudge"))
def _analyticity(system: System, x: Array, labels: Array, parts: Components, nudge: float) -> Analyticity:
    return analyticity(system, x, labels, nudge=nudge, solver=parts.solver)


def diagnose(system: LayeredNetwork, images: Images, parts: Components, config: Config, samples: int) -> dict[str, Any]:
    """How the relaxation of a network ends and how its gradient stands against the exact one, on the first `samples` images.

    Fractions are of those samples; `residual` is in units of the force; `singularity_distance` in those of u. The certificate,
    the spectrum and the analyticity are of as many as `looked_into` says.
    """
    x, labels = images.batch(jnp.arange(min(samples, len(images))))
    key = jax.random.key(config.training.seed)
    answer, agreement, split, periods, distance = _answer(system, x, labels, key, parts)
    n = x.shape[0]
    counts = {name: int(value) for name, value in answer.counts.items() if name != "samples"}
    free = answer.equilibrium
    residual, steps = np.asarray(free.residual), np.asarray(free.steps)
    few = slice(0, looked_into(system, images))
    eigen = spectrum(system, x[few], jax.tree.map(lambda a: a[few], free.state), parts.solver, key=key)
    usable = np.asarray(split.usable)
    oscillating = np.asarray(periods)[np.asarray(free.status) == Status.OSCILLATING]
    result: dict[str, Any] = {
        "samples": n,
        **{f"{name}_fraction": count / n for name, count in counts.items()},
        "period": int(np.bincount(oscillating).argmax()) if oscillating.size else None,
        "residual_median": number(np.median(residual)),
        "residual_largest": number(residual.max()),
        "free_sweeps_median": number(np.median(steps)),
        "free_sweeps_largest": int(steps.max()),
        "singularity_distance": number(np.asarray(distance).min()),
        **diagnose_gradient(system, images, parts, samples, config.training.seed),
        "cosine_spread": {name: number(v) for name, v in agreement.cosine_spread.items()},
        "weighted_cosine": {name: number(v) for name, v in agreement.weighted_cosine.items()},
        "relative_error": {name: number(v) for name, v in agreement.relative_error.items()}
        | {"total": number(agreement.total_relative_error)},
        "bias": {
            name: number(np.median(np.asarray(values)[usable])) if usable.any() else None
            for name, values in (
                ("finite_nudge", split.finite_nudge_norm),
                ("asymmetry", split.asymmetry_norm),
                ("total", split.total_norm),
            )
        },
        **certify(system, images, parts.solver, config.training.seed),
        "spectral_abscissa_median": number(np.median(eigen.abscissa)),
        "spectral_abscissa_largest": number(np.max(eigen.abscissa)),
        "contraction_median": number(np.median(eigen.contraction)),
        "contraction_largest": number(np.max(eigen.contraction)),
        "analyticity": _verdicts(system, x[few], labels[few], parts, config),
    }
    return result | {"advice": advice(result, config)}


def _verdicts(
    system: LayeredNetwork, x: Array, labels: Array, parts: Components, config: Config
) -> dict[str, float] | None:
    """Fractions by verdict at the nudge of the run; `None` for an estimator without one."""
    nudge = getattr(parts.estimator, "nudge", None)
    if nudge is None:
        return None
    size = 0.5 if nudge == "auto" else abs(config.estimator.nudge)  # pyright: ignore[reportArgumentType]
    found = _analyticity(system, x, labels, parts, size)
    return {name: int(count) / x.shape[0] for name, count in found.counts.items()}


def advice(found: dict[str, Any], config: Config) -> list[str]:
    """What to change, most pressing first; empty where nothing stands out."""
    lines = []

    def percent(name: str) -> str:
        return f"{100 * found[name]:.1f} %"

    kind, nudge = config.estimator.kind, config.estimator.nudge
    lower = f"lower estimator.nudge below {nudge}"
    again = f"{lower}, or set estimator.tolerance to try those again at a smaller one"
    if nudge == "auto":
        lower = again = f"lower estimator.tolerance below {config.estimator.tolerance}"
    exact = kind in ("adjoint", "recurrent_backprop", "neumann", "unrolled", "dyadic")
    if found["excluded_fraction"] > 0.01:
        flags = ("unconverged", "clipped", "branch_switch", "inaccurate")
        why = ", ".join(f"{name} {percent(name + '_fraction')}" for name in flags if found[f"{name}_fraction"] > 0)
        lines.append(
            f"{percent('excluded_fraction')} of samples are excluded from the gradient ({why}): mend what flags them, or keep "
            "them by the estimator's setting of that name."
        )
    if found["diverged_fraction"] > 0:
        lines.append(
            f"{percent('diverged_fraction')} of samples diverge: lower system.gain or optimizer.learning_rate, or damp."
        )
    if found["oscillating_fraction"] > 0.005:
        cure = "damp (solver.damping = 0.5), or extrapolate (solver.kind = 'anderson')"
        if config.solver.kind == "anderson":
            cure = "use damped alternating sweeps (solver.kind = 'gauss_seidel', solver.damping = 0.5)"
        elif config.solver.kind != "gauss_seidel":
            cure = "damp, or use alternating sweeps (solver.kind = 'gauss_seidel')"
        elif config.solver.damping == "auto":
            cure = "extrapolate (solver.kind = 'anderson')"
        period_found = f" with period {found['period']}" if found["period"] else ""
        lines.append(f"{percent('oscillating_fraction')} of samples oscillate{period_found}: {cure}.")
    if found["max_steps_fraction"] > 0.005:
        lines.append(
            f"{percent('max_steps_fraction')} of samples run out of sweeps: "
            f"raise solver.max_steps above {config.solver.max_steps}."
        )
    contraction = found["contraction_largest"]
    if contraction is not None and 0.95 < contraction < 1:
        needed = math.ceil(math.log(config.solver.tolerance) / math.log(contraction))
        lines.append(
            f"the slowest sample contracts by {contraction:.3f} a sweep, which takes about {needed} sweeps: keep the network "
            "away from the critical gain (weight decay, smaller readout learning rate), or give it the sweeps."
        )
    if found["branch_switch_fraction"] > 0.01:
        lines.append(
            f"{percent('branch_switch_fraction')} of samples respond as much in the even as in the odd part of the nudge, or "
            f"switch to another branch: {again}."
        )
    verdicts = found["analyticity"] or {}
    if kind in ("holomorphic", "corrected", "continuous_time") and verdicts.get("singularity", 0) > 0.01:
        lines.append(
            f"the circle of nudges crosses a singularity for {100 * verdicts['singularity']:.1f} % of samples: {lower}."
        )
    if verdicts.get("not_analytic", 0) > 0.01:
        lines.append(
            f"the response of {100 * verdicts['not_analytic']:.1f} % of samples is not analytic at any radius (kinks, limits or "
            "jumps): more points do not help; use a holomorphic activation."
        )
    if found["clipped_fraction"] > 0.01:
        lines.append(
            f"{percent('clipped_fraction')} of error vectors are clipped by estimator.clip = "
            f"{config.estimator.clip}, and the exact ones they are compared with are not: "
            + (
                "the network is close to a bifurcation."
                if contraction is None or contraction > 0.95
                else "the network is far from a bifurcation, raise estimator.clip if their gradient is wanted whole."
            )
        )
    bar = found["error_bar"]
    if bar is not None and bar > 0.3 and not exact:
        lines.append(
            f"the median error bar is {bar:.2f}: the nudge is too large for its response; {lower}, or use more points."
        )
    bias = found["bias"]
    if bias["asymmetry"] is not None and bias["asymmetry"] > max(0.2, bias["finite_nudge"]) and not exact:
        lines.append(
            f"most of the error is asymmetry ({bias['asymmetry']:.2f} of the exact vector, against {bias['finite_nudge']:.2f} by "
            "the finite nudge): use homeostasis, or raise homeostasis.strength."
        )
    elif bias["finite_nudge"] is not None and bias["finite_nudge"] > 0.2 and not exact:
        lines.append(
            f"most of the error is the finite nudge ({bias['finite_nudge']:.2f} of the exact vector, against "
            f"{bias['asymmetry']:.2f} by asymmetry): {lower}, or use more points."
        )
    if found["certified_fraction"] < 0.99 and not exact:
        lines.append(
            f"{found['certificate_reason']}: nothing is guaranteed of those samples; lower the gain of the weights."
        )
    total = found["cosine_to_adjoint"]["total"]
    means = [v for k, v in found["cosine_to_adjoint"].items() if k != "total" and v is not None]
    if total is not None and means and total < min(means) - 0.1:
        lines.append(
            f"the summed gradient is worse aligned ({total:.2f}) than the mean sample ({min(means):.2f}): "
            "a few hard samples carry it; look at those excluded or clipped."
        )
    return lines


REPORTED = ("converged", "oscillating", "max_steps", "diverged", *FLAGS, "excluded")
"""The fractions of samples that a diagnosis holds, in the order of a reader's interest."""
