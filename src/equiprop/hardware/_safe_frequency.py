"""How fast a nudge may oscillate."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from equiprop.errors import InputError
from equiprop.estimators import HarmonicBalance, estimate, relative
from equiprop.numerics import Figures
from equiprop.solvers import AbstractSolver, relax
from equiprop.systems import Dynamics, System

# In units of 1/τ of the slowest unit: where looking begins, and where it ends. A network with a gain near one is slower than its
# units by far.
_LOWEST, _HIGHEST = 1e-6, 100.0
_HALVINGS = 8


class SafeFrequency(Figures):
    """The largest frequency of a nudge at which states still follow it, and what was found on the way.

    **Fields:**

    - `frequency`: in periods a unit of time; zero if none is safe that was tried, the largest that was tried if all are.
    - `slowest`: the time constant of the slowest unit, in that unit.
    - `error`: there, how far the gradient is from that under a nudge without end, relative to it.
    - `tracking`: there, how much of the response comes late, as a device can read it: the root mean square over the samples.
    - `frequencies`, `errors`, `trackings`: of all that were tried, ascending.
    """

    frequency: Float[Array, ""]
    slowest: Float[Array, ""]
    error: Float[Array, ""]
    tracking: Float[Array, ""]
    frequencies: Float[Array, " tries"]
    errors: Float[Array, " tries"]
    trackings: Float[Array, " tries"]

    def rows(self) -> Iterator[tuple[str, str]]:
        f = float(self.frequency)
        yield "largest safe frequency", f"{f:.4g}, {f * float(self.slowest):.4g} in units of 1/τ of the slowest unit"
        yield "error there", f"{float(self.error):.3g}"
        yield "response that comes late there", f"{float(self.tracking):.3g}"


def safe_frequency(
    system: System,
    x: Any,
    target: Any,
    *,
    tolerance: float = 0.05,
    nudge: float = 0.1,
    harmonics: int = 3,
    solver: AbstractSolver | None = None,
) -> SafeFrequency:
    """How fast a nudge β·cos ωt may oscillate so that the gradient is off by `tolerance` at most for that.

    Frequencies are tried from 10⁻⁶/τ on, each twice the last, until the gradient is off by more; between the last two the answer
    is found by bisection. At each the periodic state is solved for, by `HarmonicBalance`. What noise does is not in it: the
    slower the nudge, the longer the periods over which it averages out.

    **Arguments:**

    - `tolerance`: of the gradient of the batch, relative to that under the same nudge at rest.

    Raises `InputError` for a tolerance that is not above 0, and what `estimate` raises.
    """
    if not tolerance > 0:
        raise InputError("must be above 0", path="tolerance", value=tolerance)
    dynamics = Dynamics() if system.dynamics is None else system.dynamics
    slowest = float(dynamics.slowest)
    free = relax(system, x, solver)

    def at(frequency: float) -> tuple[PyTree, float]:
        estimator = HarmonicBalance(nudge=nudge, frequency=frequency / slowest, harmonics=harmonics)
        answer = estimate(system, x, target, estimator, solver=solver, equilibrium=free)
        assert answer.tracking is not None
        kept = answer.weight > 0
        return answer.gradient, float(jnp.sqrt(jnp.mean(answer.tracking**2, where=kept)))

    at_rest = at(_LOWEST)[0]
    length = optax.tree.norm(at_rest)
    tried: dict[float, tuple[float, float]] = {}

    def is_safe(frequency: float) -> bool:
        gradient, tracking = at(frequency)
        off = float(relative(optax.tree.norm(optax.tree.sub(gradient, at_rest)), length))
        tried[frequency] = off, tracking
        return off <= tolerance

    low, high = 0.0, 16 * _LOWEST
    while high <= _HIGHEST and is_safe(high):
        low, high = high, 2 * high
    if low > 0 and high <= _HIGHEST:
        for _ in range(_HALVINGS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if is_safe(middle) else (low, middle)
    frequencies = sorted(tried)
    errors, trackings = np.array([tried[f] for f in frequencies]).T
    error, tracking = tried.get(low, (0.0, 0.0))
    numbers = (low / slowest, slowest, error, tracking, np.array(frequencies) / slowest, errors, trackings)
    return SafeFrequency(*map(jnp.asarray, numbers))
