"""What may be wrong with the cells that hold weights: one class a file, applied to a weight one after the other."""

import abc
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from equiprop.numerics import Settings, number

SCALE = "in units of full scale"


def size_setting(doc: str) -> Any:
    """The field of the size of an imperfection, which 0 turns off."""
    return number(0.0, doc, at_least=0, word=0.0)


class AbstractCells(Settings):
    """What becomes of a weight between what is asked for and what is there. With the defaults of its class, nothing.

    To add one, subclass this with `is_off` and `stored`, and with `draw` where cells differ by chance.
    """

    redrawn: ClassVar[bool] = False
    """Whether chance has another say each time that weights are written, and not once when the chip is made."""

    @property
    @abc.abstractmethod
    def is_off(self) -> bool:
        """Whether it does nothing."""

    def draw(self, weight: Float[Array, "..."], *, key: PRNGKeyArray) -> PyTree:
        """What chance decides of the cells of a weight; nothing by default."""
        del weight, key
        return ()

    @abc.abstractmethod
    def stored(self, weight: Float[Array, "..."], drawn: PyTree) -> Float[Array, "..."]:
        """What cells hold that were to hold `weight`, both in units of full scale."""


def normal(weight: Array, *, key: PRNGKeyArray) -> Array:
    """A standard normal number for each cell, the same in every precision."""
    return jax.random.normal(key, weight.shape, "float32").astype(weight.dtype)


def uniform(weight: Array, *, key: PRNGKeyArray) -> Array:
    """A number from 0 to 1 for each cell, the same in every precision."""
    return jax.random.uniform(key, weight.shape, "float32").astype(weight.dtype)
