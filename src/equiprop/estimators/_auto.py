"""Estimators of N nudges on a circle: their radius and their number, given or chosen."""

import math
from dataclasses import InitVar
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from equiprop.errors import InputError
from equiprop.estimators._circle import measure
from equiprop.estimators._estimate import Response
from equiprop.estimators._nudging import AbstractNudged, aliasing_bar, check_bar, check_nudge, constant_radius
from equiprop.estimators._problem import Problem
from equiprop.numerics import trees
from equiprop.systems import System

AUTO_POINTS = (2, 4, 8)
"""What `points = "auto"` chooses from."""


class AbstractCircle(AbstractNudged):
    """An estimator that reads the response off N nudges on a circle of radius |β|.

    **Automatic choice.** A pilot of four points measures per sample the ratio ρ at which the coefficients fall, hence the
    radius of convergence R = |β|/ρ. The radius for N points is then R·(tolerance/2f)^(1/N), f the factor of `aliasing_bar`, at
    most 0.6·R, and at most what moves a unit half of its way to the nearest singularity that the system knows. N is the
    smallest of 2, 4, 8 for which that radius lies above the floor of rounding for all samples of the batch with an equilibrium.
    The estimate reports the radius of each sample; what does not reach the tolerance is flagged as inaccurate.

    - `nudge`, also called `radius`: |β|, or `"auto"`.
    - `points`: N ≥ 1, or `"auto"`.
    - `allow_non_holomorphic`: serve systems with kinks although N > 2; the error bar then shows what it costs.
    """

    nudge: float | Literal["auto"] = eqx.field(default=0.5, static=True)
    points: int | Literal["auto"] = eqx.field(default=6, static=True)
    allow_non_holomorphic: bool = eqx.field(default=False, static=True)
    radius: InitVar[float | str | None] = None

    def __post_init__(self, radius: float | str | None) -> None:
        if radius is not None:
            self.nudge = radius  # pyright: ignore[reportAttributeAccessIssue]

    def __check_init__(self) -> None:
        check_circle(self.nudge, self.points)
        check_bar(self.error_bar, 2 if self.points == "auto" else self.points)
        if "auto" in (self.nudge, self.points) and math.isinf(self.tolerance):
            raise InputError(
                "tolerance = inf: an automatic nudge or number of points needs a tolerance to reach, such as 0.01"
            )

    def check(self, system: System) -> None:
        fewest_complex = 3 if self.points == "auto" or self.nudge == "auto" else self.points
        if fewest_complex > 2 and not (system.holomorphic or self.allow_non_holomorphic):
            field, mend = (
                ("points", "points <= 2")
                if self.nudge != "auto"
                else ("nudge", "a number for the nudge, and points <= 2")
            )
            raise InputError(
                f"{field} = {getattr(self, field)!r}: the system's activation is not holomorphic, so a circle of complex nudges "
                f"does not give its response; use {mend}, a holomorphic activation, or allow_non_holomorphic = true"
            )

    def respond_on_circle(self, problem: Problem) -> Response:
        """The response of the system, by the points and the radius asked for or chosen."""
        if self.nudge != "auto" and self.points != "auto":
            return self.respond_at(problem, self.points, constant_radius(self.nudge, problem.free))
        candidates = AUTO_POINTS if self.points == "auto" else (self.points,)
        radii, chosen, steps = self._choose(problem, candidates)
        answer = jax.lax.switch(
            chosen,
            [lambda radius, points=points: self.respond_at(problem, points, radius) for points in candidates],
            radii,
        )
        return eqx.tree_at(lambda r: r.relaxation_steps, answer, answer.relaxation_steps + steps)

    def _choose(
        self, problem: Problem, candidates: tuple[int, ...]
    ) -> tuple[Float[Array, " batch"], Int[Array, ""], Int[Array, " batch"]]:
        """The radius of every sample, the index of N among `candidates`, and the sweeps that finding them took."""
        free = problem.free
        real = free.residual.dtype
        tiny, eps = jnp.finfo(real).tiny, jnp.finfo(real).eps
        cost_gradient = trees.max_abs(problem.cost_gradient)
        distance = problem.system.singularity_distance(free.state)
        if self.nudge == "auto":
            pilot = jnp.minimum(1.0, 0.2 * distance / jnp.maximum(cost_gradient, tiny)).astype(real)
        else:
            pilot = constant_radius(abs(self.nudge), free)
        seen = measure(problem, 4, pilot, accuracy=self._accuracy)
        ratio = aliasing_bar([trees.norm(problem.system.error_vector_of(c)) for c in seen.coefficients])[1]
        convergence = pilot / jnp.maximum(ratio, eps)
        ceiling = jnp.minimum(0.6 * convergence, 0.5 * distance * pilot / jnp.maximum(seen.state_response, tiny))
        floor = 32 * eps * (1 + trees.max_abs(free.state)) / jnp.maximum(self._accuracy * cost_gradient, tiny)
        counts = free.converged & jnp.isfinite(convergence)
        radii, feasible = [], []
        for points in candidates:
            # With one point the error is of order β, and `aliasing_bar` has no factor for it.
            factor = 2 + 6 / max(points - 1, 1)
            reach = convergence * (self.tolerance / (2 * factor)) ** (1 / points)
            best = jnp.minimum(reach, ceiling) if self.nudge == "auto" else pilot
            enough = (best >= floor) if self.nudge == "auto" else (pilot <= jnp.minimum(reach, ceiling))
            radii.append(jnp.where(counts, jnp.maximum(best, jnp.minimum(floor, ceiling)), pilot))
            feasible.append(jnp.all(enough | ~counts))
        chosen = jnp.argmax(jnp.stack([*feasible[:-1], jnp.ones((), bool)]))
        return jnp.stack(radii)[chosen], chosen, seen.steps


def check_circle(nudge: object, points: object) -> None:
    """Raises `InputError` for a nudge or a number of points that cannot be."""
    for name, value in (("nudge", nudge), ("points", points)):
        if isinstance(value, str) and value != "auto":
            raise InputError(f"{name} = {value!r}: must be a number or 'auto'")
    if not isinstance(nudge, str):
        check_nudge(nudge)  # pyright: ignore[reportArgumentType]
    if not isinstance(points, str) and not (isinstance(points, int) and points >= 1):
        raise InputError(f"points = {points}: must be a whole number, at least 1")
