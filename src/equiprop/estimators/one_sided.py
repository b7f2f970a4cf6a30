"""Classic equilibrium propagation: one nudge."""

from typing import ClassVar

from equiprop.estimators._estimator import Response
from equiprop.estimators._nudging import (
    AbstractNudged,
    check_bar,
    constant_size,
    error_bar_setting,
    nudge_setting,
    retries_setting,
    shrink_setting,
)
from equiprop.estimators._papers import EQUILIBRIUM_PROPAGATION
from equiprop.estimators._problem import Problem
from equiprop.numerics import Number


class OneSided(AbstractNudged):
    """(r₀ − r_β)/β, with an error of order β (Scellier & Bengio 2017, doi:10.3389/fncom.2017.00024).

    One nudge cannot tell a switch to another branch from a response, so no sample is flagged for it.
    """

    kind: ClassVar[str] = "one_sided"
    label: ClassVar[str] = "one-sided equilibrium propagation"
    citation: ClassVar[tuple[str, ...]] = (EQUILIBRIUM_PROPAGATION,)

    nudge: Number = nudge_setting(0.05, "The nudge β, of either sign.")
    error_bar: str = error_bar_setting()
    retries: int = retries_setting()
    shrink: Number = shrink_setting()

    def __check_init__(self) -> None:
        check_bar(self.error_bar, 1)

    def respond(self, problem: Problem) -> Response:
        return self.respond_at(problem, 1, constant_size(self.nudge, problem.free))
