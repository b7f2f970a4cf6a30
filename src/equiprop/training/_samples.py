"""Inputs and targets as they lie on the device."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from equiprop.data import Dataset, DatasetInfo, Split
from equiprop.numerics import trees
from equiprop.training.transforms import Normalize


class Samples(eqx.Module):
    """A split on the device: inputs and targets as they are stored, and what makes a system's input of the former.

    - `x`, `y`: trees whose leaves have the samples as their leading axis.
    - `normalize`: makes a system's input of what is stored; `None` where that is the input itself.
    - `first`: the step of the epoch at which these samples begin, one batch after the other as they lie; `None` for those of the
      whole epoch, which are then shuffled.
    """

    x: PyTree[Array]
    y: PyTree[Array]
    normalize: Normalize | None = None
    first: Int[Array, ""] | None = None

    def batch(self, indices: Int[Array, " batch"]) -> tuple[Any, Any]:
        """The input and the target of some samples."""
        x, y = trees.index_batch((self.x, self.y), indices)
        return x if self.normalize is None else self.normalize(x), y

    @eqx.filter_jit
    def compiled_batch(self, indices: Int[Array, " batch"]) -> tuple[Any, Any]:
        """`batch`, outside of a compiled program: one program in the place of several small ones."""
        return self.batch(indices)

    def __len__(self) -> int:
        return trees.batch_size(self.x)


def on_device(split: Split, dataset: Dataset | DatasetInfo, dtype: Any, *, first: int | None = None) -> Samples:
    """A split of a data set as it lies on the device, to become input and targets of type `dtype`."""
    # Numbers take the precision of the system once, pixels stay as small as they are; so do integers that are no pixels.
    as_it_is = dataset.mean is None

    def stored(a: np.ndarray) -> Array:
        whole = a.dtype.kind in "biu" if as_it_is else a.dtype == np.uint8
        return jnp.asarray(a if whole else a.astype(dtype))

    x = jax.tree.map(stored, split.x)
    y = jax.tree.map(lambda a: jnp.asarray(a if a.dtype.kind in "iu" else a.astype(dtype)), split.y)
    start = None if first is None else jnp.asarray(first, jnp.int32)
    return Samples(x, y, None if as_it_is else Normalize.of(dataset.mean, dataset.scale, dtype), start)
