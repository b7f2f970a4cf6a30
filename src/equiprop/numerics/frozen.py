"""Numbers that no training changes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, UInt


class Frozen(eqx.Module):
    """An array of real numbers as the whole numbers that its bits are.

    What trains a system trains the inexact arrays in it. An array that belongs to the system and is none of its parameters, as
    what a device was made with, is kept in this form: no filter finds it, no gradient reaches it, checkpoints hold it, and
    `jax.vmap` over it is a batch of devices.
    """

    bits: UInt[Array, "..."]
    dtype: Any = eqx.field(static=True)

    @classmethod
    def of(cls, array: Array) -> "Frozen":
        dtype = jnp.dtype(array.dtype)
        return cls(jax.lax.bitcast_convert_type(array, jnp.dtype(f"uint{8 * dtype.itemsize}")), dtype)

    @property
    def value(self) -> Array:
        return jax.lax.bitcast_convert_type(self.bits, self.dtype)


def freeze(tree: PyTree) -> PyTree:
    """The tree with every inexact array frozen."""
    return jax.tree.map(lambda a: Frozen.of(a) if eqx.is_inexact_array(a) else a, tree)


def thaw(tree: PyTree) -> PyTree:
    """The inverse of `freeze`."""
    return jax.tree.map(lambda a: a.value if _is_frozen(a) else a, tree, is_leaf=_is_frozen)


def _is_frozen(leaf: Any) -> bool:
    return isinstance(leaf, Frozen)
