"""No homeostasis."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._homeostasis import AbstractHomeostasis, none_skipped
from equiprop.numerics import Number
from equiprop.systems import System


class NoHomeostasis(AbstractHomeostasis):
    """Leaves the gradient as it is."""

    kind: ClassVar[str] = "none"

    def __init__(self) -> None:
        """There is nothing to set."""

    @property
    def strength(self) -> Number:
        return jnp.zeros(())

    def gradient(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        del batch, key
        own = jax.tree.map(jnp.zeros_like, eqx.filter(system, eqx.is_inexact_array))
        return own, jnp.zeros((), jnp.result_type(*jax.tree.leaves(own))), none_skipped()
