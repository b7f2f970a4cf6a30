"""Equilibrium propagation with two opposite nudges."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from equiprop.estimators._circle import (
    check_nudge,
    even_part_exceeds,
    harmonics,
    linear_residual,
    relax_nudged,
)
from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver, Equilibrium
from equiprop.systems import System


class Centered(AbstractEstimator):
    """(r_{−β} − r_β)/2β, with an error of order β² (Laborieux et al. 2021, doi:10.3389/fnins.2021.633674).

    Real arithmetic throughout; equal to `Holomorphic(points=2)`. The error bar is ‖Jδ + ∇C‖/‖∇C‖.

    - `nudge`: |β|.
    """

    nudge: float = eqx.field(default=0.1, static=True)

    def __check_init__(self) -> None:
        check_nudge(self.nudge)

    def respond(self, system: System, drive: Any, target: Array, free: Equilibrium, solver: AbstractSolver) -> Response:
        phases = relax_nudged(system, drive, target, free, solver, [self.nudge, -self.nudge])
        mean, odd = harmonics(phases.activity, 2)
        even = trees.subtract(mean, system.activity(free.state))
        error_vector = jax.tree.map(lambda c: -c / self.nudge, odd)
        resolution = jnp.maximum(free.residual, phases.residual)
        return Response(
            error_vector=error_vector,
            error_bar=linear_residual(system, drive, target, free, error_vector),
            settled=phases.settled,
            jumped=even_part_exceeds(self.jump_threshold, [even], [odd], resolution),
            relaxation_steps=phases.steps,
        )
