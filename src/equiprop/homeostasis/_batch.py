"""What a homeostasis may look at."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Bool, PyTree

from equiprop.numerics import trees


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

    def sound(self) -> tuple[Any, PyTree]:
        """Inputs and states with a usable sample in the place of every other: neither may reach a sum, not even times zero."""
        return jax.lax.stop_gradient(trees.stand_in(self.usable, (self.x, self.state)))
