"""What to change, told from a diagnosis."""

import math
from collections.abc import Callable
from typing import Any

from equiprop.estimators import POLICIES
from equiprop.numerics.settings import encode
from equiprop.training._components import Components

Found = dict[str, Any]

MENDS = {
    "nudge": "a smaller nudge or more points bring it nearer",
    "relaxation": "a smaller solver.tolerance, or more steps, bring it nearer",
    "rounding": "double precision, a larger nudge or stronger feedback bring it nearer",
    "noise": "more periods or readings average it out, and a larger nudge stands above it",
    "lag": "a slower nudge, or faster units and wires",
    "asymmetry": "homeostasis, or more of it, turns it towards the exact one",
    "exclusion": "mend what flags the samples that are excluded",
    "mismatch": "calibrate the cells and units, or measure their gains and divide by them",
    "drift": "write the weights again, or divide by how much they have faded",
}
"""What to do about each cause of the bar of a gradient."""

_LARGE_BAR = 0.2
_LARGE_SAMPLE_BAR = 0.3


def advice(found: Found, components: Components) -> list[str]:
    """What to change, most pressing first; empty where nothing stands out.

    **Arguments:**

    - `found`: what `diagnose` found.
    """
    lines = [rule(found, components) for rule in _RULES]
    return [line for line in lines if line is not None]


def _percent(found: Found, name: str) -> str:
    return f"{100 * found[name]:.1f} %"


def _lower(components: Components) -> str:
    """How to make the nudge smaller."""
    settings = encode(components.estimator)
    nudge = settings.get("nudge")
    if nudge == "auto":
        return f"lower the tolerance of the estimator below {settings['tolerance']}"
    return f"lower the nudge below {nudge}"


def _is_exact(components: Components) -> bool:
    return components.estimator.tends_to == "adjoint" and not hasattr(components.estimator, "points")


def _excluded(found: Found, components: Components) -> str | None:
    del components
    if found["excluded_fraction"] <= 0.01:
        return None
    why = [f"{name} {_percent(found, name + '_fraction')}" for name in POLICIES if found[f"{name}_fraction"] > 0]
    return (
        f"{_percent(found, 'excluded_fraction')} of samples are excluded from the gradient ({', '.join(why)}): mend what flags "
        "them, or keep them by the estimator's setting of that name."
    )


def _diverged(found: Found, components: Components) -> str | None:
    if not found["diverged_fraction"]:
        return None
    return (
        f"{_percent(found, 'diverged_fraction')} of samples diverge: lower the gain of the weights or the learning "
        f"rate, or {components.solver.remedy}."
    )


def _oscillating(found: Found, components: Components) -> str | None:
    if found["oscillating_fraction"] <= 0.005:
        return None
    period = f" with period {found['period']}" if found["period"] else ""
    return f"{_percent(found, 'oscillating_fraction')} of samples oscillate{period}: {components.solver.remedy}."


def _max_steps(found: Found, components: Components) -> str | None:
    if found["max_steps_fraction"] <= 0.005:
        return None
    steps = components.solver.max_steps
    return f"{_percent(found, 'max_steps_fraction')} of samples run out of sweeps: raise max_steps of the solver above {steps}."


def _contraction(found: Found, components: Components) -> str | None:
    contraction = found["contraction_largest"]
    if contraction is None or not 0.95 < contraction < 1:
        return None
    needed = math.ceil(math.log(float(components.solver.tolerance)) / math.log(contraction))  # pyright: ignore[reportArgumentType]
    return (
        f"the slowest sample contracts by {contraction:.3f} a sweep, which takes about {needed} sweeps: keep the network away "
        "from the critical gain (weight decay, smaller readout learning rate), or give it the sweeps."
    )


def _branch_switch(found: Found, components: Components) -> str | None:
    if found["branch_switch_fraction"] <= 0.01:
        return None
    return (
        f"{_percent(found, 'branch_switch_fraction')} of samples respond as much in the even as in the odd part of the nudge, or "
        f"switch to another branch: {_lower(components)}, or ask for a tolerance, to try those again at a smaller one."
    )


def _inaccurate(found: Found, components: Components) -> str | None:
    if found["inaccurate_fraction"] <= 0.01:
        return None
    if (rounding := found["inaccurate_by_rounding_fraction"]) > found["inaccurate_fraction"] / 2:
        return (
            f"the error bar of {100 * rounding:.1f} % of samples exceeds the tolerance by rounding, which a smaller nudge makes "
            f"larger: {MENDS['rounding']}."
        )
    nudged = "nudge" in encode(components.estimator)
    mend = _lower(components) if nudged else "give what it solves a smaller tolerance, or more steps"
    return f"the error bar of {_percent(found, 'inaccurate_fraction')} of samples exceeds the tolerance: {mend}."


def _singularity(found: Found, components: Components) -> str | None:
    verdicts = found["analyticity"] or {}
    if not hasattr(components.estimator, "points") or verdicts.get("singularity", 0) <= 0.01:
        return None
    fraction = f"{100 * verdicts['singularity']:.1f} %"
    return f"the circle of nudges crosses a singularity for {fraction} of samples: {_lower(components)}."


def _not_analytic(found: Found, components: Components) -> str | None:
    del components
    fraction = (found["analyticity"] or {}).get("not_analytic", 0)
    if fraction <= 0.01:
        return None
    return (
        f"the response of {100 * fraction:.1f} % of samples is not analytic at any nudge (kinks, limits or switches of branch): "
        "more points do not help; use a holomorphic activation."
    )


def _clipped(found: Found, components: Components) -> str | None:
    if found["clipped_fraction"] <= 0.01:
        return None
    contraction = found["contraction_largest"]
    near = "the network is close to a bifurcation."
    far = "the network is far from a bifurcation, raise clip if their gradient is wanted whole."
    return (
        f"{_percent(found, 'clipped_fraction')} of error vectors are clipped to {encode(components.estimator)['clip']} times "
        "their cost gradient, and the exact ones they are compared with are not: "
        + (near if contraction is None or contraction > 0.95 else far)
    )


def _gradient(found: Found, components: Components) -> str | None:
    bar = found["gradient_bar"]
    if bar is None:
        return "how far the gradient may be off cannot be told: too many samples have no equilibrium."
    causes = {name: size for name, size in found["gradient_bar_causes"].items() if size is not None}
    if components.estimator.tends_to == "clamped":
        # What clamps the output in place of nudging it is meant to differ from the exact vector, symmetric or not.
        causes.pop("asymmetry", None)
    worst = max(causes, key=causes.__getitem__)
    if bar > _LARGE_BAR and causes[worst] > _LARGE_BAR / 2:
        return f"the gradient may be off by {100 * bar:.0f} % of itself, most of it by {worst}: {MENDS[worst]}."
    if (found["error_bar"] or 0) > _LARGE_SAMPLE_BAR and bar <= _LARGE_BAR:
        return (
            f"the median error bar of a sample is {found['error_bar']:.2f}, but those samples add little to the gradient, which "
            f"is right to ±{100 * bar:.2g} %: nothing has to change."
        )
    return None


def _certificate(found: Found, components: Components) -> str | None:
    if found["certified_fraction"] >= 0.99 or _is_exact(components):
        return None
    return f"{found['certificate_reason']}: nothing is guaranteed of those samples; lower the gain of the weights."


def _summed(found: Found, components: Components) -> str | None:
    del components
    total = found["cosine_to_adjoint"]["total"]
    means = [v for k, v in found["cosine_to_adjoint"].items() if k != "total" and v is not None]
    if total is None or not means or total >= min(means) - 0.1:
        return None
    return (
        f"the summed gradient is worse aligned ({total:.2f}) than the mean sample ({min(means):.2f}): a few hard samples carry "
        "it; look at those excluded or clipped."
    )


_RULES: tuple[Callable[[Found, Components], str | None], ...] = (
    _excluded,
    _diverged,
    _oscillating,
    _max_steps,
    _contraction,
    _branch_switch,
    _inaccurate,
    _singularity,
    _not_analytic,
    _clipped,
    _gradient,
    _certificate,
    _summed,
)
"""The most pressing first."""
