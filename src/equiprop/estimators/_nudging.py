"""What all estimators share that read the response off nudged equilibria: the error bar, and retries where it is large."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from equiprop.errors import InputError, suggest
from equiprop.estimators._circle import RESPONSE_ACCURACY, Circle, even_part_exceeds, measure
from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.estimators._problem import SAFETY, Problem, relative
from equiprop.numerics import trees
from equiprop.solvers import Equilibrium

BARS = ("auto", "residual", "aliasing", "companion")

# A smooth response may bend so much over a large circle that its even part is not small, and N points still resolve it;
# what a jump leaves on the circle is a discontinuity, whose Fourier coefficients fall only like their number.
_ALIASING_OF_A_JUMP = 0.05

# Coefficients that fall by less than this factor from one to the next do not look like those of a function that is analytic
# on the disc, unless they are as small as the noise.
_RATIO_OF_A_SINGULARITY = 0.7
_ABOVE_NOISE = 10

# Of the tolerance, for what relaxation leaves.
_SHARE_OF_RELAXATION = 1 / 8


def aliasing_bar(sizes: list[Float[Array, " batch"]]) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """The relative error of an N-point estimate from its own Fourier coefficients, and the ratio ρ at which they fall.

    Of a Taylor series a_m the N-point rule knows a_1 … a_(N−1) and, because the free state is known too, a_N = c_0 − r*. Its
    error is the aliasing term a_(N+1), extrapolated as max(a_N, a_(N−1)·ρ)·ρ with ρ = (a_N/a_1)^(1/(N−1)), at most 1, and
    multiplied by 2 + 6/(N − 1), the factor with which it covers 95 % of random systems.

    **Arguments:**

    - `sizes`: the norms of c_0 − r*, c_1, …, c_(N−1) per sample.
    """
    points = len(sizes)
    last, first = sizes[0], sizes[1]
    ratio = jnp.minimum(relative(last, first) ** (1 / (points - 1)), 1)
    extrapolated = jnp.maximum(last, sizes[-1] * ratio) * ratio
    return (2 + 6 / (points - 1)) * relative(extrapolated, first), ratio


class AbstractNudged(AbstractEstimator):
    """An estimator that reads −dr/dβ off N equilibria under nudges of size |β|.

    **Fields** besides those of every estimator:

    - `error_bar`: how the relative error of a sample is told, all three calibrated to lie above it for 95 % of random systems:
      `"residual"`, 3·‖D(Jδ + ∇C)‖/‖D∇C‖, one Jacobian product, sees everything that keeps δ from the exact response;
      `"aliasing"`, from the N Fourier coefficients themselves (N > 2), see `aliasing_bar`, plus what relaxation and rounding
      leave unknown: no derivative and no further phase;
      `"companion"`, from a second estimate at half the radius, 3·‖δ(β) − δ(β/2)‖/‖δ‖/(1 − 2^−N): no derivative, twice the
      phases. `"auto"` is `"aliasing"` for N > 2 and `"residual"` otherwise.
    - `retries`: how many times samples whose bar exceeds the tolerance are estimated again, those only, each time at `shrink`
      times the radius; the estimate with the smallest bar counts.
    """

    error_bar: str = eqx.field(default="auto", static=True, kw_only=True)
    retries: int = eqx.field(default=2, static=True, kw_only=True)
    shrink: float = eqx.field(default=0.25, static=True, kw_only=True)

    def __check_init__(self) -> None:
        if self.error_bar not in BARS:
            raise suggest("error_bar", self.error_bar, list(BARS))
        if self.retries < 0:
            raise InputError(f"retries = {self.retries}: must be at least 0")
        if not 0 < self.shrink < 1:
            raise InputError(f"shrink = {self.shrink}: must be above 0 and below 1")

    @property
    def _accuracy(self) -> float:
        """How far the nudged phases relax, relative to the nudging force."""
        return min(RESPONSE_ACCURACY, _SHARE_OF_RELAXATION * self.tolerance)

    def respond_at(
        self,
        problem: Problem,
        points: int,
        radius: Float[Array, " batch"],
    ) -> Response:
        """The response by N points at a radius per sample, with retries at smaller nudges where the bar is too large."""

        def attempt(shrunk: Array, active: Bool[Array, " batch"]) -> Response:
            return self._attempt(problem, points, shrunk, active)

        everyone = jnp.ones(radius.shape, bool)
        if math.isinf(self.tolerance) or self.retries == 0:
            return attempt(radius, everyone)
        return self._with_retries(attempt, radius, problem.free.converged)

    def _with_retries(
        self,
        attempt: Callable[[Array, Array], Response],
        radius: Float[Array, " batch"],
        hopeful: Bool[Array, " batch"],
    ) -> Response:
        """One loop around the attempts, so that they are compiled once. A sample without an equilibrium is tried once."""
        blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(attempt, radius, hopeful))

        def go_on(carry: tuple[Array, Array, Response]) -> Array:
            trial, active, _ = carry
            return (trial <= self.retries) & jnp.any(active)

        def body(carry: tuple[Array, Array, Response]) -> tuple[Array, Array, Response]:
            trial, active, best = carry
            assert best.retried is not None
            fresh = attempt(radius * self.shrink ** trial.astype(radius.dtype), active)
            better = active & ((trial == 0) | (fresh.error_bar < best.error_bar))
            steps = best.relaxation_steps + jnp.where(active, fresh.relaxation_steps, 0)
            chosen = trees.select(better, fresh, best)
            chosen = eqx.tree_at(
                lambda r: (r.relaxation_steps, r.retried),
                chosen,
                (steps, best.retried | (active & (trial > 0))),
            )
            return trial + 1, active & hopeful & ~(chosen.error_bar <= self.tolerance), chosen

        start = (jnp.zeros((), jnp.int32), jnp.ones_like(hopeful), blank)
        return jax.lax.while_loop(go_on, body, start)[2]

    def _attempt(
        self,
        problem: Problem,
        points: int,
        radius: Float[Array, " batch"],
        active: Bool[Array, " batch"],
    ) -> Response:
        def look(r: Array) -> Circle:
            return measure(problem, points, r, active=active, accuracy=self._accuracy)

        def read(seen: Circle, r: Array) -> Any:
            return problem.system.error_vector_of(trees.scale(-1 / r, seen.coefficients[1 % points]))

        seen = look(radius)
        error_vector = read(seen, radius)
        length = trees.norm(error_vector)
        # What is unknown whatever the nudge: the force that relaxation left over, and the rounding of the activities.
        unknown = relative(
            problem.in_activity(seen.rest), jnp.abs(radius) * problem.in_activity(problem.cost_gradient)
        ) + relative(
            jnp.finfo(length.dtype).eps * trees.norm(problem.system.error_vector_of(problem.activity)),
            jnp.abs(radius) * length,
        )
        sizes = [trees.norm(problem.system.error_vector_of(c)) for c in seen.coefficients]
        steps, converged = seen.steps, seen.converged
        non_analytic = jnp.zeros_like(converged)
        branch_switch = jnp.zeros_like(converged)
        aliased = jnp.zeros_like(length)
        if points > 1:
            even = [*seen.coefficients[0::2]]
            branch_switch = even_part_exceeds(
                self.branch_switch_threshold, even, seen.coefficients[1::2], seen.residual
            )
        if points > 2:
            aliased, ratio = aliasing_bar(sizes)
            aliasing = relative(sizes[-1], sizes[1])
            branch_switch &= aliasing > _ALIASING_OF_A_JUMP
            non_analytic = (ratio > _RATIO_OF_A_SINGULARITY) & (aliasing > _ABOVE_NOISE * unknown)
        match self._bar(points):
            case "residual":
                bar = SAFETY * problem.linear_residual(error_vector)
            case "aliasing":
                bar = aliased + SAFETY * unknown
            case _:
                half = look(radius / 2)
                change = trees.norm(trees.subtract(read(half, radius / 2), error_vector))
                bar = SAFETY * relative(change, length) / (1 - 2.0**-points) + SAFETY * unknown
                steps, converged = steps + half.steps, converged & half.converged
        return Response(
            error_vector=error_vector,
            # What overflowed says nothing, and a smaller nudge is better than that.
            error_bar=jnp.where(jnp.isnan(bar), jnp.inf, bar),
            converged=converged,
            branch_switch=branch_switch,
            non_analytic=non_analytic,
            relaxation_steps=steps,
            nudge=jnp.abs(radius),
            retried=jnp.zeros_like(converged),
        )

    def _bar(self, points: int) -> str:
        if self.error_bar == "auto":
            return "aliasing" if points > 2 else "residual"
        return self.error_bar


def check_bar(error_bar: str, points: int) -> None:
    """Raises `InputError` for a bar that so many points do not have."""
    if error_bar == "aliasing" and points <= 2:
        raise InputError(
            f"error_bar = 'aliasing': needs points > 2, not {points}; use 'residual', or 'companion' for no derivative"
        )


def check_nudge(nudge: float) -> None:
    if isinstance(nudge, str) or not (np.isfinite(nudge) and nudge != 0):
        raise InputError(f"nudge = {nudge!r}: must be a finite number other than 0")


def constant_radius(nudge: float, free: Equilibrium) -> Float[Array, " batch"]:
    """The same nudge for every sample, in the precision of the state."""
    return jnp.full(free.residual.shape, nudge, free.residual.dtype)
