"""Wires that have a resistance of their own."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from equiprop.hardware._cells import AbstractCells, size_setting
from equiprop.numerics import Number, count, number


class Lines(AbstractCells):
    """The voltage that is lost along the rows and columns of a crossbar, to first order in the resistance of its wires.

    A weight is a matrix of conductances, the axes before its last one being the rows, which are driven from their left ends; the
    last one are the columns, read at their lower ends at ground. Positive and negative weights are two crossbars. With G in
    siemens and r the resistance of a wire from cell to cell, the current of column j for a volt on row i is

        G_ij / (1 + r·(Σ_k min(j, k)·G_ik + Σ_l (m + 1 − max(i, l))·G_lj)),   i, l = 1 … m,

    which has the derivative of the exact one at r = 0. A matrix larger than a tile is cut into tiles, each with its own drivers.
    What leads back through the same cells sees the transposed matrix, as a network of resistors is reciprocal.
    """

    resistance: Number | None = size_setting("Ohms of the wire from one cell to the next, along rows and columns.")
    conductance: Number = number(1e-4, "Siemens of a cell at full scale.", above=0, needs=("resistance",))
    tile: int = count(64, "Rows and columns of a crossbar at most.", needs=("resistance",))

    @property
    def is_off(self) -> bool:
        return self.resistance is None

    def stored(self, weight: Array, drawn: PyTree) -> Array:
        del drawn
        load = jnp.asarray(self.resistance, weight.dtype) * jnp.asarray(self.conductance, weight.dtype)
        matrix = weight.reshape(-1, weight.shape[-1])
        tiles, together = _tiles(matrix, self.tile)
        positive, negative = (_read(jnp.maximum(sign * tiles, 0), load) for sign in (1, -1))
        return together(positive - negative).reshape(weight.shape)


def _read(g: Array, load: Array) -> Array:
    """What is read of crossbars `[tiles, rows, columns]` whose conductances are in units of full scale."""

    m, n = g.shape[1:]
    i, j = np.arange(1, m + 1), np.arange(1, n + 1)
    # Products of matrices take a compiler less time than sums of sums.
    along_rows = jnp.matmul(g, jnp.asarray(np.minimum.outer(j, j), g.dtype), precision="highest")
    along_columns = jnp.matmul(jnp.asarray(m + 1 - np.maximum.outer(i, i), g.dtype), g, precision="highest")
    return g / (1 + load * (along_rows + along_columns))


def _tiles(matrix: Array, most: int) -> tuple[Array, Callable[[Array], Array]]:
    """The matrix cut into as few tiles of equal size as can be, `[tiles, rows, columns]`, and what puts them together again."""
    counts = tuple(-(-n // most) for n in matrix.shape)
    sizes = tuple(-(-n // count) for n, count in zip(matrix.shape, counts, strict=True))
    (many, across), (rows, columns) = counts, sizes
    filled = jnp.pad(
        matrix, [(0, count * size - n) for n, count, size in zip(matrix.shape, counts, sizes, strict=True)]
    )

    def together(tiles: Array) -> Array:
        whole = tiles.reshape(many, across, rows, columns).swapaxes(1, 2).reshape(many * rows, across * columns)
        return whole[: matrix.shape[0], : matrix.shape[1]]

    return filled.reshape(many, rows, across, columns).swapaxes(1, 2).reshape(-1, rows, columns), together
