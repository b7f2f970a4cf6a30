"""Whether a response continues analytically to the disc of the nudge, and if not, why."""

import enum
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from equiprop.errors import InputError
from equiprop.estimators import Holomorphic, Problem
from equiprop.numerics import Figures, spread
from equiprop.solvers import AbstractSolver, Equilibrium, as_solver, relax
from equiprop.systems import System


class Verdict(enum.IntEnum):
    """What the Fourier coefficients of a response say of it."""

    ANALYTIC = 0
    """They fall: the response is analytic on the disc."""
    SINGULARITY = 1
    """They do not fall at this nudge, and do at the smaller one: the disc holds a pole, a branch point or a kink."""
    NOT_ANALYTIC = 2
    """They fall at neither nudge: a kink, a hard limit, a switch of branch or quantisation at the free state itself."""
    UNCONVERGED = 3
    """A relaxation did not converge, so nothing is known."""


class Analyticity(Figures):
    """Per sample.

    - `verdict`: a `Verdict` as an integer.
    - `error_bar`: of the estimate at the full nudge.
    - `error_bar_inside`: of that at the smaller one.
    """

    verdict: Int[Array, " batch"]
    error_bar: Float[Array, " batch"]
    error_bar_inside: Float[Array, " batch"]

    @property
    def counts(self) -> dict[str, Int[Array, ""]]:
        """How many samples have each verdict."""
        return {v.name.lower(): jnp.sum(self.verdict == v, dtype=jnp.int32) for v in Verdict}

    def rows(self) -> Iterator[tuple[str, str]]:
        if self.verdict.ndim == 1:
            yield "verdict", ", ".join(f"{n} {name}" for name, n in self.counts.items() if n)
            yield "error bar", spread(self.error_bar)
            yield "error bar inside", spread(self.error_bar_inside)


def analyticity(
    system: System,
    x: Any,
    target: Array,
    *,
    nudge: float | Float[Array, ""] = 0.5,
    points: int = 8,
    inside: float = 0.1,
    solver: AbstractSolver | None = None,
    equilibrium: Equilibrium | None = None,
    key: PRNGKeyArray | None = None,
) -> Analyticity:
    """Looks at the response to nudges of size `nudge` and `inside`·`nudge`.

    The Fourier coefficients of a function that is analytic on the disc fall geometrically with their number; those of one with a
    kink fall like a power of it, at any nudge that still reaches the kink. Serves systems that call themselves non-holomorphic.

    **Arguments:**

    - `key`: of the noise of a chip's readings.

    Raises `InputError` for fewer than 4 points, `inside` out of range, and noisy readings without a key.
    """
    if points < 4:
        raise InputError("must be at least 4 to see coefficients fall", path="points", value=points)
    if not 0 < inside < 1:
        raise InputError("must be between 0 and 1", path="inside", value=inside)
    solver = as_solver(solver)
    free = relax(system, x, solver) if equilibrium is None else equilibrium
    problem = Problem(system.ready, x, system.injection(x), target, free, solver, key)
    outer, inner = (
        Holomorphic(nudge=size, points=points, allow_non_holomorphic=True).respond(problem)
        for size in (nudge, inside * nudge)
    )
    assert outer.non_analytic is not None and inner.non_analytic is not None
    verdict = jnp.select(
        [
            ~(free.converged & outer.converged & inner.converged),
            outer.non_analytic & inner.non_analytic,
            outer.non_analytic,
        ],
        [Verdict.UNCONVERGED, Verdict.NOT_ANALYTIC, Verdict.SINGULARITY],
        Verdict.ANALYTIC,
    )
    return Analyticity(verdict.astype(jnp.int32), outer.error_bar, inner.error_bar)
