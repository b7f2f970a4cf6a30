"""Classic equilibrium propagation: one nudge."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array

from equiprop.estimators._circle import check_nudge, linear_residual, relax_nudged
from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.solvers import AbstractSolver, Equilibrium
from equiprop.systems import System


class OneSided(AbstractEstimator):
    """(r₀ − r_β)/β, with an error of order β (Scellier & Bengio 2017, doi:10.3389/fncom.2017.00024).

    Both r₀ and r_β are relaxed on from the free state for the same number of sweeps. One nudge cannot tell a jump to
    another branch from a response, so no sample is flagged as jumped. The error bar is ‖Jδ + ∇C‖/‖∇C‖.

    - `nudge`: β, of either sign.
    """

    nudge: float = eqx.field(default=0.1, static=True)

    def __check_init__(self) -> None:
        check_nudge(self.nudge)

    def respond(self, system: System, drive: Any, target: Array, free: Equilibrium, solver: AbstractSolver) -> Response:
        phases = relax_nudged(system, drive, target, free, solver, [0.0, self.nudge])
        error_vector = jax.tree.map(lambda r: (r[0] - r[1]) / self.nudge, phases.activity)
        return Response(
            error_vector=error_vector,
            error_bar=linear_residual(system, drive, target, free, error_vector),
            settled=phases.settled,
            jumped=jax.numpy.zeros_like(phases.settled),
            relaxation_steps=phases.steps,
        )
