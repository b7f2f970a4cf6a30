"""Numbers of a common size."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


class Normalize(eqx.Module):
    """(x − mean)/scale, in the type of `mean`: what turns stored numbers, such as pixels, into a system's input.

    - `mean`, `scale`: arrays that broadcast against one sample; of an input of several parts, trees of them.
    """

    mean: PyTree[Array]
    scale: PyTree[Array]

    def __call__(self, x: Any) -> Any:
        def one(mean: Array, scale: Array, a: Array) -> Array:
            return (a.astype(mean.dtype) - mean) / scale

        return jax.tree.map(one, self.mean, self.scale, x)

    @classmethod
    def of(cls, mean: Any, scale: Any, dtype: Any) -> "Normalize":
        return cls(*(jax.tree.map(lambda a: jnp.asarray(a, dtype), tree) for tree in (mean, scale)))
