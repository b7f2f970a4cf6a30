"""What a treatment may look at."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Bool, PyTree


class Batch(eqx.Module):
    """Inputs with their free equilibria, both held fixed.

    - `usable`: the samples whose state may be looked at.
    """

    x: Any
    state: PyTree
    usable: Bool[Array, " batch"]

    def first(self, samples: int) -> "Batch":
        """The first `samples` of the batch; all for 0."""
        return jax.tree.map(lambda a: a[:samples], self) if samples else self
