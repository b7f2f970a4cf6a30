"""No treatment."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._treatment import AbstractTreatment, none_skipped
from equiprop.homeostasis.strength import AbstractStrength, Constant
from equiprop.systems import System


class NoHomeostasis(AbstractTreatment):
    """Leaves the gradient as it is."""

    strength: AbstractStrength = eqx.field(default_factory=lambda: Constant(0.0), init=False)

    def own_part(
        self, gradient: PyTree, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        del system, batch, key
        dtype = jnp.result_type(*jax.tree.leaves(gradient))
        return jax.tree.map(jnp.zeros_like, gradient), jnp.zeros((), dtype), none_skipped()
