"""Equilibrium propagation with two opposite nudges."""

from typing import ClassVar

from equiprop.estimators._estimator import Response
from equiprop.estimators._nudging import (
    AbstractNudged,
    branch_switch_setting,
    branch_switch_threshold_setting,
    check_bar,
    constant_size,
    error_bar_setting,
    nudge_setting,
    retries_setting,
    shrink_setting,
)
from equiprop.estimators._papers import CENTERED, EQUILIBRIUM_PROPAGATION
from equiprop.estimators._problem import Problem
from equiprop.numerics import Number


class Centered(AbstractNudged):
    """(r_{−β} − r_β)/2β, with an error of order β² (Laborieux et al. 2021, doi:10.3389/fnins.2021.633674).

    Real arithmetic throughout; equal to `Holomorphic(points=2)`.
    """

    kind: ClassVar[str] = "centered"
    label: ClassVar[str] = "centred equilibrium propagation"
    citation: ClassVar[tuple[str, ...]] = (EQUILIBRIUM_PROPAGATION, CENTERED)

    nudge: Number = nudge_setting(0.05, "The size |β| of the nudges.")
    error_bar: str = error_bar_setting()
    retries: int = retries_setting()
    shrink: Number = shrink_setting()
    branch_switch: str = branch_switch_setting()
    branch_switch_threshold: Number | None = branch_switch_threshold_setting()

    def __check_init__(self) -> None:
        check_bar(self.error_bar, 2)

    @property
    def switch_threshold(self) -> Number | None:
        return self.branch_switch_threshold

    @property
    def order(self) -> int:
        return 2

    def respond(self, problem: Problem) -> Response:
        return self.respond_at(problem, 2, constant_size(self.nudge, problem.free))
