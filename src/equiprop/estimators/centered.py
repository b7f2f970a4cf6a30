"""Equilibrium propagation with two opposite nudges."""

import equinox as eqx

from equiprop.estimators._estimate import Response
from equiprop.estimators._nudging import AbstractNudged, check_bar, check_nudge, constant_radius
from equiprop.estimators._problem import Problem


class Centered(AbstractNudged):
    """(r_{−β} − r_β)/2β, with an error of order β² (Laborieux et al. 2021, doi:10.3389/fnins.2021.633674).

    Real arithmetic throughout; equal to `Holomorphic(points=2)`.

    - `nudge`: |β|.
    """

    nudge: float = eqx.field(default=0.1, static=True)

    def __check_init__(self) -> None:
        check_nudge(self.nudge)
        check_bar(self.error_bar, 2)

    def respond(self, problem: Problem) -> Response:
        return self.respond_at(problem, 2, constant_radius(self.nudge, problem.free))
