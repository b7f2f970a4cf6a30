"""Cells that hold no less and no more."""

import math

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, PyTree

from equiprop.errors import InputError
from equiprop.hardware._cells import AbstractCells
from equiprop.numerics import Number, number


class WeightRange(AbstractCells):
    """min(max(w, lowest), highest), in units of full scale, of what noise, mismatch and stuck cells have made of a weight.

    A conductance has no sign: `lowest = 0` keeps those of a resistive network what they are, and a positive one is what a cell
    conducts when it is off. Derivatives are true: none beyond the range.
    """

    lowest: Number | None = number(
        -math.inf, "The least that a cell holds, in units of full scale; -inf for any.", word=-math.inf
    )
    highest: Number | None = number(
        math.inf, "The most that a cell holds, in units of full scale; inf for any.", word=math.inf
    )

    def __check_init__(self) -> None:
        known = [float(end) for end in (self.lowest, self.highest) if end is not None and not isinstance(end, Tracer)]
        if len(known) == 2 and not known[0] < known[1]:
            raise InputError(f"must be above lowest = {known[0]:g}", path="highest", value=known[1])

    @property
    def is_off(self) -> bool:
        return self.lowest is None and self.highest is None

    def stored(self, weight: Array, drawn: PyTree) -> Array:
        del drawn
        ends = (None if end is None else jnp.asarray(end, weight.dtype) for end in (self.lowest, self.highest))
        return jnp.clip(weight, *ends)
