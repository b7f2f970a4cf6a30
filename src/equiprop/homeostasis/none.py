"""No treatment."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from equiprop.homeostasis._treatment import AbstractTreatment
from equiprop.numerics import trees
from equiprop.systems import System


class NoHomeostasis(AbstractTreatment):
    """Leaves the gradient as it is."""

    def treat(
        self,
        gradient: PyTree,
        system: System,
        x: Any,
        state: PyTree,
        usable: Bool[Array, " batch"],
        *,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, Array]:
        del system, x, usable, key
        return gradient, jnp.zeros((), trees.dtype_of(state))
