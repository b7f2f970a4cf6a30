"""Homeostasis by descent of a loss on the Jacobian, read off random vectors at some of the samples."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._homeostasis import none_skipped
from equiprop.homeostasis._of_jacobian import AbstractJacobianHomeostasis
from equiprop.systems import System


class AbstractLoss(AbstractJacobianHomeostasis):
    """Adds the gradient of `loss`, which every usable sample has."""

    @abc.abstractmethod
    def loss(self, system: System, batch: Batch, *, key: PRNGKeyArray) -> Float[Array, ""]:
        """The loss at strength one: mean over probes and usable samples, at fixed state."""

    def gradient_of_usable(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        loss, own = eqx.filter_value_and_grad(lambda theta: self.loss(theta, batch, key=key))(system)
        return own, loss, none_skipped()


def mean_over_usable(values: Float[Array, " batch"], usable: Array) -> Float[Array, ""]:
    """The mean of the usable ones; 0 if there are none."""
    return jnp.sum(jnp.where(usable, values, 0)) / jnp.maximum(jnp.sum(usable), 1)


def units(state: PyTree) -> int:
    """Units of one sample."""
    return sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(state))
