"""Everything `equiprop diagnose` says of a network, as numbers and advice."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from equiprop.estimators import Estimate, estimate
from equiprop.solvers import relax
from equiprop.systems import LayeredNetwork, System
from equiprop.training.build import Parts
from equiprop.training.config import Config
from equiprop.training.evaluate import diagnose_gradient, number
from equiprop.training.step import Images


@partial(jax.jit, static_argnames="parts")
def _answer(system: System, x: Array, labels: Array, key: Array, parts: Parts) -> tuple[Estimate, Array]:
    free = relax(system, x, parts.solver)
    answer = estimate(system, x, labels, parts.estimator, solver=parts.solver, equilibrium=free, key=key)
    return answer, system.singularity_distance(free.state)


def diagnose(system: LayeredNetwork, images: Images, parts: Parts, config: Config, samples: int) -> dict[str, Any]:
    """How the relaxation of a network ends and how its gradient stands against the exact one, on the first `samples` images.

    Fractions are of those samples; `residual` is in units of the force; `singularity_distance` in those of u.
    """
    x, labels = images.batch(jnp.arange(min(samples, len(images))))
    answer, distance = _answer(system, x, labels, jax.random.key(config.training.seed), parts)
    n = x.shape[0]
    counts = {name: int(value) for name, value in answer.counts.items() if name != "samples"}
    residual, steps = np.asarray(answer.equilibrium.residual), np.asarray(answer.equilibrium.steps)
    result: dict[str, Any] = {
        "samples": n,
        **{f"{name}_fraction": count / n for name, count in counts.items()},
        "residual_median": number(np.median(residual)),
        "residual_largest": number(residual.max()),
        "free_sweeps_median": number(np.median(steps)),
        "free_sweeps_largest": int(steps.max()),
        "singularity_distance": number(np.asarray(distance).min()),
        **diagnose_gradient(system, images, parts, samples, config.training.seed),
    }
    return result | {"advice": advice(result, config)}


def advice(found: dict[str, Any], config: Config) -> list[str]:
    """What to change, most pressing first; empty where nothing stands out."""
    lines = []

    def percent(name: str) -> str:
        return f"{100 * found[name]:.1f} %"

    if found["diverged_fraction"] > 0:
        lines.append(
            f"{percent('diverged_fraction')} of samples diverge: lower system.gain or optimizer.learning_rate, or damp."
        )
    if found["oscillating_fraction"] > 0.005:
        alternating = config.solver.kind == "alternating"
        cure = "damp (solver.damping = 0.5)" if alternating else "damp, or use alternating sweeps"
        lines.append(f"{percent('oscillating_fraction')} of samples oscillate: {cure}.")
    if found["out_of_steps_fraction"] > 0.005:
        lines.append(
            f"{percent('out_of_steps_fraction')} of samples run out of sweeps: "
            f"raise solver.max_steps above {config.solver.max_steps}."
        )
    if found["jumped_fraction"] > 0.01:
        lines.append(
            f"{percent('jumped_fraction')} of samples respond as much in the even as in the odd part of the nudge, or jump "
            f"to another branch: lower estimator.nudge below {config.estimator.nudge}."
        )
    if found["bounded_fraction"] > 0.01:
        lines.append(
            f"{percent('bounded_fraction')} of error vectors are bounded by estimator.max_gain = "
            f"{config.estimator.max_gain}: the network is close to a bifurcation."
        )
    bar = found["error_bar"]
    if bar is not None and bar > 0.1:
        lines.append(
            f"the median error bar is {bar:.2f}: the nudge is too large for its response; "
            "lower estimator.nudge or use more points."
        )
    if found["symmetry"] is not None and found["symmetry"] < 0.8 and config.estimator.kind != "adjoint":
        lines.append(
            f"the Jacobian is far from symmetric ({found['symmetry']:.2f}): "
            "use homeostasis, or raise homeostasis.strength."
        )
    total = found["cosine_to_adjoint"]["total"]
    means = [v for k, v in found["cosine_to_adjoint"].items() if k != "total" and v is not None]
    if total is not None and means and total < min(means) - 0.1:
        lines.append(
            f"the summed gradient is worse aligned ({total:.2f}) than the mean sample ({min(means):.2f}): "
            "a few hard samples carry it; look at those left out or bounded."
        )
    return lines
