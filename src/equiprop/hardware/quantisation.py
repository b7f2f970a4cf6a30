"""Weights of so many bits."""

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from equiprop.hardware._cells import AbstractCells, uniform
from equiprop.hardware._levels import bits_setting, in_place_of, steps_of
from equiprop.numerics import choice


class Quantisation(AbstractCells):
    """Weights on 2^`bits` − 1 levels, evenly spaced from −1 to 1 in units of full scale; what is beyond ends at full scale.

    Stochastic rounding goes up with the probability of what is above the level below, so that it is right on average; it is
    drawn again whenever weights are written. Derivatives are as if there were no levels.
    """

    redrawn = True

    bits: int = bits_setting("Bits of a weight.")
    rounding: str = choice(
        "nearest", "To the nearest level, or stochastic: right on average.", "nearest", "stochastic", needs=("bits",)
    )

    @property
    def is_off(self) -> bool:
        return self.bits == 0

    def draw(self, weight: Array, *, key: PRNGKeyArray) -> PyTree:
        return uniform(weight, key=key) if self.rounding == "stochastic" else ()

    def stored(self, weight: Array, drawn: PyTree) -> Array:
        steps = steps_of(self.bits)
        level = jnp.clip(weight, -1, 1) * steps
        return in_place_of(level, jnp.round(level) if self.rounding == "nearest" else jnp.floor(level + drawn)) / steps
