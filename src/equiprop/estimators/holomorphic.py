"""Holomorphic equilibrium propagation: a Cauchy integral over a circle of complex nudges."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from equiprop.errors import InputError
from equiprop.estimators._circle import (
    check_nudge,
    circle,
    even_part_exceeds,
    harmonics,
    linear_residual,
    relative,
    relax_nudged,
)
from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver, Equilibrium
from equiprop.systems import System

# A smooth response may bend so much over a large circle that its even part is not small, and N points still resolve it;
# what a jump leaves on the circle is a discontinuity, whose Fourier coefficients fall only like their number.
_ALIASING_OF_A_JUMP = 0.05


class Holomorphic(AbstractEstimator):
    """−(1/N|β|)·Σ_k r(|β|e^(2πik/N))·e^(−2πik/N), with an error of order |β|^N.

    The N-point trapezoidal rule of Cauchy's formula for −dr/dβ (Laborieux & Zenke 2022, arXiv 2209.00530; for vector fields
    2024, arXiv 2309.02214): exact for an analytic response as N grows, at a finite nudge. The field is real on the real axis,
    so only the ⌈(N + 1)/2⌉ phases of non-negative imaginary part are relaxed; weights stay real.

    The error bar is ν_N = ‖c₋₁‖/‖c₁‖, the size of the Fourier coefficient at frequency −1, which an analytic response leaves
    to aliasing alone, against that at +1; plus what the residual of the relaxation leaves unknown. ν_N is about the error of
    N − 2 points and bounds that of N. Where the response is not analytic on the disc, ν_N does not fall with N. For N ≤ 2,
    which has no such coefficient, the bar is ‖Jδ + ∇C‖/‖∇C‖.

    A sample has jumped when the even part of its response exceeds `jump_threshold` times the odd one and, for N > 2, ν_N is
    above 0.05 as well.

    - `nudge`: the radius |β|.
    - `points`: N ≥ 1.
    - `allow_non_holomorphic`: serve systems with kinks although N > 2; the error bar then shows what it costs.
    """

    nudge: float = eqx.field(default=0.5, static=True)
    points: int = eqx.field(default=6, static=True)
    allow_non_holomorphic: bool = eqx.field(default=False, static=True)

    def __check_init__(self) -> None:
        check_nudge(self.nudge)
        if self.points < 1:
            raise InputError(f"points = {self.points}: must be at least 1")

    def respond(self, system: System, drive: Any, target: Array, free: Equilibrium, solver: AbstractSolver) -> Response:
        if self.points > 2 and not (system.holomorphic or self.allow_non_holomorphic):
            raise InputError(
                f"points = {self.points}: the system's activation is not holomorphic, so a circle of complex nudges does not "
                "give its response; use points <= 2, a holomorphic activation, or allow_non_holomorphic = true"
            )
        nudges = circle(self.nudge, self.points)
        # One point has no opposite to cancel the drift of the free relaxation, so the free state relaxes on beside it.
        phases = relax_nudged(system, drive, target, free, solver, [*nudges, 0.0] if self.points == 1 else nudges)
        if self.points == 1:
            activity = jax.tree.map(lambda r: r[:1] - r[1:], phases.activity)
            start = jax.tree.map(lambda r: jnp.zeros_like(r[0]), activity)
        else:
            activity, start = phases.activity, system.activity(free.state)
        coefficients = harmonics(activity, self.points)
        first = coefficients[1 % self.points]
        error_vector = jax.tree.map(lambda c: -c / self.nudge, first)
        resolution = jnp.maximum(free.residual, phases.residual)
        even = [trees.subtract(coefficients[0], start), *coefficients[2::2]]
        jumped = even_part_exceeds(self.jump_threshold, even, coefficients[1::2], resolution)
        if self.points > 2:
            pull = trees.norm(system.cost_gradient(system.activity(free.state), target))
            aliasing = relative(trees.norm(coefficients[-1]), trees.norm(first))
            bar = aliasing + relative(phases.residual, abs(self.nudge) * pull)
            jumped &= aliasing > _ALIASING_OF_A_JUMP
        else:
            bar = linear_residual(system, drive, target, free, error_vector)
        return Response(
            error_vector=error_vector,
            error_bar=bar,
            settled=phases.settled,
            jumped=jumped if self.points > 1 else jnp.zeros_like(jumped),
            relaxation_steps=phases.steps,
        )
