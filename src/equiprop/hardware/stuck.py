"""Cells that hold what they hold."""

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.hardware._cells import AbstractCells, uniform
from equiprop.numerics import Number, number


class Stuck(AbstractCells):
    """Cells that hold 0, and others that hold ±1, in units of full scale, whatever is written; by lot when the chip is made."""

    at_zero: Number | None = number(0.0, "Fraction of cells that hold nothing.", at_least=0, at_most=1, word=0.0)
    at_full_scale: Number | None = number(
        0.0, "Fraction of cells that hold full scale, of either sign.", at_least=0, at_most=1, word=0.0
    )

    def __check_init__(self) -> None:
        known = [0.0 if f is None else f for f in (self.at_zero, self.at_full_scale)]
        if not any(isinstance(fraction, Tracer) for fraction in known) and sum(map(float, known)) > 1:
            raise InputError("with at_zero that is more than all cells", path="at_full_scale", value=float(known[1]))

    @property
    def is_off(self) -> bool:
        return self.at_zero is None and self.at_full_scale is None

    def draw(self, weight: Array, *, key: PRNGKeyArray) -> PyTree:
        which, sign = jax.random.split(key)
        return uniform(weight, key=which), jnp.where(uniform(weight, key=sign) < 0.5, -1, 1).astype(weight.dtype)

    def stored(self, weight: Array, drawn: PyTree) -> Array:
        lot, sign = drawn
        zero, full = (jnp.asarray(0 if f is None else f, weight.dtype) for f in (self.at_zero, self.at_full_scale))
        return jnp.where(lot < zero, 0, jnp.where(lot < zero + full, sign, weight))
