"""Estimators of N nudges on a circle: their size and their number, given or chosen."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from equiprop.errors import InputError
from equiprop.estimators._circle import measure
from equiprop.estimators._estimator import Response
from equiprop.estimators._nudging import (
    AbstractNudged,
    aliasing_bar,
    check_bar,
    constant_size,
    nudge_setting,
    sizes_of,
)
from equiprop.estimators._problem import Problem
from equiprop.numerics import Number, count, flag, trees
from equiprop.numerics.settings import defaults_of
from equiprop.systems import System, is_holomorphic

AUTO_POINTS = (2, 4, 8)
"""What `points = "auto"` chooses from."""


def circle_nudge_setting() -> Any:
    return nudge_setting(
        0.1, "The size |β| of the nudges; auto: one that reaches the tolerance, sample by sample.", "auto"
    )


def points_setting() -> Any:
    return count(6, "Nudges on the circle, N; auto: 2, 4 or 8, the fewest that reach the tolerance.", word="auto")


def allow_non_holomorphic_setting() -> Any:
    return flag(False, "Serve systems with kinks although N > 2; the error bar then shows what it costs.")


class AbstractOnCircle(AbstractNudged):
    """An estimator that reads the response off N nudges on a circle of radius |β|.

    **Automatic choice.** A pilot of four points measures per sample the ratio ρ at which the coefficients fall, hence the
    radius of convergence R = |β|/ρ. The nudge for N points is then R·(tolerance/2f)^(1/N), f the factor of `aliasing_bar`, at
    most 0.6·R, and at most what moves a unit half of its way to the nearest singularity that the system knows. N is the
    smallest of 2, 4, 8 for which that nudge lies above the floor of rounding for all samples of the batch with an equilibrium.
    The estimate reports the nudge of each sample; what does not reach the tolerance is flagged as inaccurate.
    """

    points: eqx.AbstractVar[int | str]  # pyright: ignore[reportGeneralTypeIssues]
    allow_non_holomorphic: eqx.AbstractVar[bool]  # pyright: ignore[reportGeneralTypeIssues]
    branch_switch_threshold: eqx.AbstractVar[Number | None]  # pyright: ignore[reportGeneralTypeIssues]

    def __check_init__(self) -> None:
        check_bar(self.error_bar, 2 if self.points == "auto" else int(self.points))
        if (self.nudge is None or self.points == "auto") and self.tolerance is None:
            raise InputError(
                "an automatic nudge or number of points needs a tolerance to reach, such as 0.01",
                path="tolerance",
                value=float("inf"),
            )
        usual = defaults_of(type(self))
        for name in ("branch_switch", "branch_switch_threshold") if self.points == 1 else ():
            value = getattr(self, name)
            if value is not None and not isinstance(value, Tracer) and value != usual[name]:
                reason = "has no effect where points is 1: one nudge cannot tell a switch of branch"
                raise InputError(reason, path=name, hint=f"leave {name} out")

    @property
    def order(self) -> int:
        return min(AUTO_POINTS) if self.points == "auto" else int(self.points)

    @property
    def switch_threshold(self) -> Number | None:
        return self.branch_switch_threshold

    def check(self, system: System, x: Any) -> None:
        auto = self.points == "auto" or self.nudge is None
        if not auto and int(self.points) <= 2:
            return
        if not self.allow_non_holomorphic and not is_holomorphic(system, x):
            field, value = ("nudge", "auto") if self.nudge is None else ("points", self.points)
            mend = "points <= 2" if field == "points" else "a number for the nudge, and points <= 2"
            raise InputError(
                "the system is not holomorphic, so a circle of complex nudges does not give its response",
                path=field,
                value=value,
                hint=f"use {mend}, a holomorphic activation, or allow_non_holomorphic = true",
            )

    def respond_on_circle(self, problem: Problem) -> Response:
        """The response of the system, by the points and the nudge asked for or chosen."""
        if self.nudge is not None and self.points != "auto":
            return self.respond_at(problem, int(self.points), constant_size(self.nudge, problem.free))
        candidates = AUTO_POINTS if self.points == "auto" else (int(self.points),)
        sizes, chosen, steps = self._choose(problem, candidates)
        answer = jax.lax.switch(
            chosen,
            [lambda size, points=points: self.respond_at(problem, points, size) for points in candidates],
            sizes,
        )
        return eqx.tree_at(lambda r: r.relaxation_steps, answer, answer.relaxation_steps + steps)

    def _choose(
        self, problem: Problem, candidates: tuple[int, ...]
    ) -> tuple[Float[Array, " batch"], Int[Array, ""], Int[Array, " batch"]]:
        """The |β| of every sample, the index of N among `candidates`, and the sweeps that finding them took."""
        free = problem.free
        real = free.residual.dtype
        tiny, eps = jnp.finfo(real).tiny, jnp.finfo(real).eps
        gradient = trees.max_abs(problem.cost_gradient)
        distance = problem.system.singularity_distance(free.state)
        if self.nudge is None:
            pilot = jnp.minimum(1.0, 0.2 * distance / jnp.maximum(gradient, tiny)).astype(real)
        else:
            pilot = jnp.abs(constant_size(self.nudge, free))
        seen = measure(problem, 4, pilot, accuracy=self.accuracy)
        ratio = aliasing_bar(sizes_of(seen))[1]
        convergence = pilot / jnp.maximum(ratio, eps)
        ceiling = jnp.minimum(0.6 * convergence, 0.5 * distance * pilot / jnp.maximum(seen.state_response, tiny))
        floor = jnp.zeros_like(pilot)
        if not problem.tells_differences:
            floor = 32 * eps * (1 + trees.max_abs(free.state)) / jnp.maximum(self.accuracy * gradient, tiny)
        counts = free.converged & jnp.isfinite(convergence)
        sizes, feasible = [], []
        for points in candidates:
            # With one point the error is of order β, and `aliasing_bar` has no factor for it.
            factor = 2 + 6 / max(points - 1, 1)
            assert self.tolerance is not None
            reach = convergence * (jnp.asarray(self.tolerance, real) / (2 * factor)) ** (1 / points)
            best = jnp.minimum(reach, ceiling) if self.nudge is None else pilot
            enough = (best >= floor) if self.nudge is None else (pilot <= jnp.minimum(reach, ceiling))
            sizes.append(jnp.where(counts, jnp.maximum(best, jnp.minimum(floor, ceiling)), pilot))
            feasible.append(jnp.all(enough | ~counts))
        chosen = jnp.argmax(jnp.stack([*feasible[:-1], jnp.ones((), bool)]))
        return jnp.stack(sizes)[chosen], chosen, seen.phases.steps
