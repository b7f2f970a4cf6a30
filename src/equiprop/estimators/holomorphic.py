"""Holomorphic equilibrium propagation: a Cauchy integral over a circle of complex nudges."""

from typing import ClassVar

from equiprop.estimators._estimator import Response
from equiprop.estimators._nudging import (
    branch_switch_setting,
    branch_switch_threshold_setting,
    error_bar_setting,
    retries_setting,
    shrink_setting,
)
from equiprop.estimators._on_circle import (
    AbstractOnCircle,
    allow_non_holomorphic_setting,
    circle_nudge_setting,
    points_setting,
)
from equiprop.estimators._papers import EQUILIBRIUM_PROPAGATION, HOLOMORPHIC, HOMEOSTASIS
from equiprop.estimators._problem import Problem
from equiprop.numerics import Number


class Holomorphic(AbstractOnCircle):
    """−(1/N|β|)·Σ_k r(|β|e^(2πik/N))·e^(−2πik/N), with an error of order |β|^N.

    The N-point trapezoidal rule of Cauchy's formula for −dr/dβ (Laborieux & Zenke 2022, arXiv 2209.00530; for vector fields
    2024, arXiv 2309.02214): exact for an analytic response as N grows, at a finite nudge. The field is real on the real axis,
    so only the ⌈(N + 1)/2⌉ phases of non-negative imaginary part are relaxed; weights stay real.

    Where the response is not analytic on the disc of the nudge, its Fourier coefficients do not fall; such samples are flagged
    as non-analytic, and the error bar shows it. A sample has switched branch when the even part of its response exceeds
    `branch_switch_threshold` times the odd one, and on the way lies an unstable state (`passes_an_unstable_state`).
    For the automatic choice of nudge and points see `AbstractOnCircle`.
    """

    kind: ClassVar[str] = "holomorphic"
    label: ClassVar[str] = "holomorphic equilibrium propagation"
    citation: ClassVar[tuple[str, ...]] = (EQUILIBRIUM_PROPAGATION, HOLOMORPHIC, HOMEOSTASIS)

    nudge: Number | None = circle_nudge_setting()
    points: int | str = points_setting()
    allow_non_holomorphic: bool = allow_non_holomorphic_setting()
    error_bar: str = error_bar_setting()
    retries: int = retries_setting()
    shrink: Number = shrink_setting()
    branch_switch: str = branch_switch_setting()
    branch_switch_threshold: Number | None = branch_switch_threshold_setting()

    def respond(self, problem: Problem) -> Response:
        return self.respond_on_circle(problem)
