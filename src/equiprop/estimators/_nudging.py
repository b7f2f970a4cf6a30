"""What all estimators share that read the response off nudged equilibria: the error bar, and retries where it is large."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from equiprop.errors import InputError
from equiprop.estimators._circle import (
    RESPONSE_ACCURACY,
    Circle,
    even_part_exceeds,
    measure,
    passes_an_unstable_state,
    reading_gain,
)
from equiprop.estimators._estimator import AbstractEstimator, Response
from equiprop.estimators._problem import SAFETY, Problem, relative
from equiprop.numerics import AbstractSchedule, Number, choice, count, number, trees
from equiprop.solvers import Equilibrium
from equiprop.systems import slope

# Coefficients that fall by less than this factor from one to the next do not look like those of a function that is analytic
# on the disc, unless they are as small as the noise.
_RATIO_OF_A_SINGULARITY = 0.7
_ABOVE_NOISE = 10

# Of the tolerance, for what relaxation leaves.
_SHARE_OF_RELAXATION = 1 / 8


def nudge_setting(default: float, doc: str, word: Any = None) -> Any:
    """The field of β."""
    return number(default, doc, nonzero=True, **({} if word is None else {"word": word}))


def error_bar_setting() -> Any:
    return choice(
        "auto",
        "How the relative error of a sample is told. residual: 3·‖D(Jδ + ∇C)‖/‖D∇C‖, one Jacobian product, sees everything that "
        "keeps δ from the exact response. aliasing (more than two points): from the Fourier coefficients themselves, plus what "
        "relaxation and rounding leave unknown, no derivative and no further phase. companion: from a second estimate at half "
        "the nudge, no derivative, twice the phases. auto: aliasing where it can be had, else residual.",
        "auto",
        "residual",
        "aliasing",
        "companion",
        kw_only=True,
    )


def retries_setting() -> Any:
    return count(
        2,
        "How many times samples above the tolerance are estimated again, those only, each time at a smaller nudge; the estimate "
        "with the smallest bar counts.",
        at_least=0,
        kw_only=True,
        needs=("tolerance",),
    )


def shrink_setting() -> Any:
    doc, needs = "Factor on the nudge from one try to the next.", ("tolerance", "retries")
    return number(0.25, doc, above=0, below=1, kw_only=True, needs=needs)


def branch_switch_setting() -> Any:
    return choice(
        "drop",
        "What the gradient does with samples that switched branch: drop or keep.",
        "drop",
        "keep",
        kw_only=True,
        needs=("branch_switch_threshold",),
    )


def branch_switch_threshold_setting() -> Any:
    return number(
        0.5,
        "A sample has switched branch when the even part of its response to ±β exceeds this many times the odd part, and on the "
        "way lies an unstable state; inf: off.",
        above=0,
        word=float("inf"),
        kw_only=True,
    )


def aliasing_bar(sizes: Float[Array, "points batch"]) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
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


def sizes_of(seen: Circle) -> Float[Array, "points batch"]:
    """What `aliasing_bar` asks for, in the metric of the error vector."""
    return jax.vmap(trees.norm)(seen.coefficients)


class AbstractNudged(AbstractEstimator):
    """An estimator that reads −dr/dβ off N equilibria under nudges of size |β|."""

    nudge: eqx.AbstractVar[Number | None]  # pyright: ignore[reportGeneralTypeIssues]
    error_bar: eqx.AbstractVar[str]  # pyright: ignore[reportGeneralTypeIssues]
    retries: eqx.AbstractVar[int]  # pyright: ignore[reportGeneralTypeIssues]
    shrink: eqx.AbstractVar[Number]  # pyright: ignore[reportGeneralTypeIssues]

    @property
    def accuracy(self) -> float | Array:
        """How far the nudged phases relax, relative to the nudging force."""
        if self.tolerance is None:
            return RESPONSE_ACCURACY
        return jnp.minimum(RESPONSE_ACCURACY, _SHARE_OF_RELAXATION * jnp.asarray(self.tolerance))

    @property
    def switch_threshold(self) -> Number | None:
        """How far the even part of a response may exceed the odd one; `None` for any, and where it cannot be told."""
        return None

    def respond_at(self, problem: Problem, points: int, size: Float[Array, " batch"]) -> Response:
        """The response by N points at a |β| per sample, with retries at smaller nudges where the bar is too large."""

        def attempt(shrunk: Array, active: Bool[Array, " batch"], trial: int | Array) -> Response:
            return self._attempt(problem, points, shrunk, active, trial)

        if self.tolerance is None or self.retries == 0:
            return attempt(size, jnp.ones(size.shape, bool), 0)
        return self._with_retries(problem, attempt, size)

    def _with_retries(
        self, problem: Problem, attempt: Callable[[Array, Array, int | Array], Response], size: Float[Array, " batch"]
    ) -> Response:
        """One loop around the attempts, so that they are compiled once. A sample without an equilibrium is tried once."""
        hopeful, tolerance = problem.free.converged, jnp.asarray(self.tolerance)
        blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(attempt, size, hopeful, 0))
        shrink = jnp.asarray(self.shrink, size.dtype)

        def go_on(carry: tuple[Array, Array, Response]) -> Array:
            trial, active, _ = carry
            return (trial <= self.retries) & jnp.any(active)

        def body(carry: tuple[Array, Array, Response]) -> tuple[Array, Array, Response]:
            trial, active, best = carry
            assert best.retried is not None
            fresh = attempt(size * shrink ** trial.astype(size.dtype), active, trial)
            better = active & ((trial == 0) | (fresh.error_bar < best.error_bar))
            steps = best.relaxation_steps + jnp.where(active, fresh.relaxation_steps, 0)
            chosen = trees.select(better, fresh, best)
            chosen = eqx.tree_at(
                lambda r: (r.relaxation_steps, r.retried),
                chosen,
                (steps, best.retried | (active & (trial > 0))),
            )
            bar = problem.within_batch(chosen.error_bar, trees.norm(chosen.error_vector))
            return trial + 1, active & hopeful & ~(bar <= tolerance), chosen

        start = (jnp.zeros((), jnp.int32), jnp.ones_like(hopeful), blank)
        return jax.lax.while_loop(go_on, body, start)[2]

    def _attempt(
        self,
        problem: Problem,
        points: int,
        size: Float[Array, " batch"],
        active: Bool[Array, " batch"],
        trial: int | Int[Array, ""],
    ) -> Response:
        def look(s: Array, which: int = 0) -> Circle:
            return measure(problem, points, s, active=active, accuracy=self.accuracy, attempt=2 * trial + which)

        def read(seen: Circle, s: Array) -> Any:
            return trees.scale(-1 / s, jax.tree.map(lambda c: c[1 % points], seen.coefficients))

        seen = look(size)
        error_vector = read(seen, size)
        length = trees.norm(error_vector)
        unfinished, rounding = _unknown(problem, seen, size, length)
        noise = problem.noise_of(reading_gain(problem, points), size, length)
        unknown = unfinished + rounding + (0 if noise is None else noise)
        aliased, switched, non_analytic = self._verdicts(problem, seen, unknown)
        steps, converged = seen.phases.steps, seen.phases.converged
        match self._bar(points):
            case "residual":
                bar = SAFETY * problem.linear_residual(error_vector)
            case "aliasing":
                bar = aliased + SAFETY * unknown
            case _:
                half = look(size / 2, 1)
                change = trees.norm(trees.subtract(read(half, size / 2), error_vector))
                bar = SAFETY * relative(change, length) / (1 - 2.0**-points) + SAFETY * unknown
                steps, converged = steps + half.phases.steps, converged & half.phases.converged
        return Response(
            error_vector=error_vector,
            # What overflowed says nothing, and a smaller nudge is better than that.
            error_bar=jnp.where(jnp.isnan(bar), jnp.inf, bar),
            converged=converged,
            branch_switch=switched,
            non_analytic=non_analytic,
            relaxation_steps=steps,
            nudge=jnp.abs(size),
            retried=jnp.zeros_like(converged),
            unfinished=unfinished,
            rounding=rounding,
            noise=noise,
        )

    def _verdicts(
        self, problem: Problem, seen: Circle, unknown: Float[Array, " batch"]
    ) -> tuple[Float[Array, " batch"], Bool[Array, " batch"], Bool[Array, " batch"]]:
        """The aliasing bar, which samples switched branch, and which do not look analytic."""
        points = trees.batch_size(seen.coefficients)
        switched = non_analytic = jnp.zeros_like(seen.phases.converged)
        aliased = jnp.zeros_like(unknown)
        if points > 1 and self.switch_threshold is not None:
            bent = even_part_exceeds(jnp.asarray(self.switch_threshold), seen)
            # Derivatives of the force that hardly any batch needs.
            switched = jax.lax.cond(
                jnp.any(bent), lambda: bent & passes_an_unstable_state(problem, points, seen.phases), lambda: bent
            )
        if points > 2:
            sizes = sizes_of(seen)
            aliased, ratio = aliasing_bar(sizes)
            aliasing = relative(sizes[-1], sizes[1])
            non_analytic = (ratio > _RATIO_OF_A_SINGULARITY) & (aliasing > _ABOVE_NOISE * unknown)
        return aliased, switched, non_analytic

    def _bar(self, points: int) -> str:
        if self.error_bar == "auto":
            return "aliasing" if points > 2 else "residual"
        return self.error_bar


def _unknown(
    problem: Problem, seen: Circle, size: Float[Array, " batch"], length: Float[Array, " batch"]
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """What is unknown whatever the nudge, relative: by the force that relaxation left over, by rounding."""
    left = trees.norm(jax.tree.map(jnp.multiply, slope(problem.system, problem.free.state), seen.residual_force))
    unfinished = relative(left, jnp.abs(size) * problem.in_activity(problem.cost_gradient))
    eps = jnp.finfo(length.dtype).eps
    if problem.tells_differences:
        return unfinished, jnp.full_like(length, eps ** (2 / 3))
    rounding = eps * trees.norm(problem.error_vector(problem.activity))
    return unfinished, relative(rounding, jnp.abs(size) * length)


def check_bar(error_bar: str, points: int) -> None:
    """Raises `InputError` for a bar that so many points do not have."""
    if error_bar == "aliasing" and points <= 2:
        raise InputError(
            f"needs points > 2, not {points}",
            path="error_bar",
            value="aliasing",
            hint="use 'residual', or 'companion' for no derivative",
        )


def constant_size(nudge: Number | None, free: Equilibrium) -> Float[Array, " batch"]:
    """The same nudge for every sample, in the precision of the state."""
    assert nudge is not None and not isinstance(nudge, AbstractSchedule)
    return jnp.broadcast_to(jnp.asarray(nudge, free.residual.dtype), free.residual.shape)
