"""How fast units and wires are."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from equiprop.hardware._cells import size_setting
from equiprop.numerics import Number, Settings, count, number
from equiprop.systems import Dynamics


class Timing(Settings):
    """τ·u̇ = s·tanh(F/s) with τ = T·exp(σ·z), z ~ N(0, 1) for each unit, once and for all; what units pass on lags behind.

    A wire has a pole, T_w·q̇ = r − q, and a delay, which is a chain of some more poles of equal time constants that add up to it:
    the more there are, the sharper. None of this moves an equilibrium; it counts where there is time, that is for the solver
    `ode`, in transients and under a nudge that oscillates. Noise is white, of such a size that a unit with a leak of 1 and
    nothing connected to it wanders by so much about its rest.
    """

    time_constant: Number | None = number(
        1.0, "T, the median time constant of a unit, in seconds, or whatever time is to be in.", above=0, word=1.0
    )
    spread: Number | None = size_setting("σ, the standard deviation of the logarithms of the time constants of units.")
    slew: Number | None = number(
        float("inf"),
        "s, the largest force by which a unit moves, in units of the force; inf for any.",
        above=0,
        word=float("inf"),
    )
    pole: Number | None = size_setting("T_w, the time constant of the RC pole of a wire, in the unit of T.")
    delay: Number | None = size_setting("The delay of a wire, in the unit of T.")
    delay_stages: int = count(4, "Poles that make a delay.", needs=("delay",))
    noise: Number | None = size_setting("Standard deviation of a unit about its rest, in units of the state.")

    @property
    def is_off(self) -> bool:
        values = (self.time_constant, self.spread, self.slew, self.pole, self.delay, self.noise)
        return all(value is None for value in values)

    def dynamics(self, spread: PyTree | None) -> Dynamics:
        """How a chip moves whose units have these σ·z; `None` for 0."""
        median = jnp.asarray(1.0 if self.time_constant is None else self.time_constant)
        poles = [] if self.pole is None else [self.pole]
        if self.delay is not None:
            poles += [self.delay / self.delay_stages] * self.delay_stages
        return Dynamics(
            median if spread is None else jax.tree.map(lambda z: median.astype(z.dtype) * jnp.exp(z), spread),
            self.slew,
            tuple(map(jnp.asarray, poles)),
            self.noise,
        )
