"""Writing that misses what was meant."""

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from equiprop.hardware._cells import AbstractCells, normal, size_setting
from equiprop.numerics import Number


class Programming(AbstractCells):
    """w + σ·z, z ~ N(0, 1) for each cell, drawn again whenever weights are written; σ in units of full scale."""

    redrawn = True

    noise: Number | None = size_setting("Standard deviation of what is written, in units of full scale.")

    @property
    def is_off(self) -> bool:
        return self.noise is None

    def draw(self, weight: Array, *, key: PRNGKeyArray) -> PyTree:
        return normal(weight, key=key)

    def stored(self, weight: Array, drawn: PyTree) -> Array:
        return weight + jnp.asarray(self.noise, weight.dtype) * drawn
