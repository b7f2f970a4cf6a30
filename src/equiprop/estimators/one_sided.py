"""Classic equilibrium propagation: one nudge."""

import equinox as eqx

from equiprop.estimators._estimate import Response
from equiprop.estimators._nudging import AbstractNudged, check_bar, check_nudge, constant_radius
from equiprop.estimators._problem import Problem


class OneSided(AbstractNudged):
    """(r₀ − r_β)/β, with an error of order β (Scellier & Bengio 2017, doi:10.3389/fncom.2017.00024).

    Both r₀ and r_β are relaxed on from the free state for the same number of sweeps. One nudge cannot tell a jump to
    another branch from a response, so no sample is flagged as having switched branch.

    - `nudge`: β, of either sign.
    """

    nudge: float = eqx.field(default=0.1, static=True)

    def __check_init__(self) -> None:
        check_nudge(self.nudge)
        check_bar(self.error_bar, 1)

    def respond(self, problem: Problem) -> Response:
        return self.respond_at(problem, 1, constant_radius(self.nudge, problem.free))
