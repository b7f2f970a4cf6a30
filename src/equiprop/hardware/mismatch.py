"""Cells that were not made alike."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from equiprop.hardware._cells import AbstractCells, normal, size_setting
from equiprop.numerics import Number


class Mismatch(AbstractCells):
    """(1 + σ_g·z)·w + σ_o·z′, z, z′ ~ N(0, 1) for each cell, once and for all when the chip is made."""

    gain: Number | None = size_setting("Standard deviation of the gains of cells about 1.")
    offset: Number | None = size_setting("Standard deviation of the offsets of cells, in units of full scale.")

    @property
    def is_off(self) -> bool:
        return self.gain is None and self.offset is None

    def draw(self, weight: Array, *, key: PRNGKeyArray) -> PyTree:
        gain, offset = jax.random.split(key)
        return normal(weight, key=gain), normal(weight, key=offset)

    def stored(self, weight: Array, drawn: PyTree) -> Array:
        gain, offset = drawn
        if self.gain is not None:
            weight = weight * (1 + jnp.asarray(self.gain, weight.dtype) * gain)
        if self.offset is not None:
            weight = weight + jnp.asarray(self.offset, weight.dtype) * offset
        return weight
