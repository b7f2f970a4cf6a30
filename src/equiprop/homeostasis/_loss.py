"""Treatments that descend a loss on the Jacobian, read off random vectors at some of the samples."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._pairs import AbstractHomeostasis
from equiprop.homeostasis._treatment import none_skipped
from equiprop.systems import System


class AbstractLoss(AbstractHomeostasis):
    """Adds the gradient of `loss`, which every usable sample has."""

    @abc.abstractmethod
    def loss(self, system: System, batch: Batch, *, key: PRNGKeyArray) -> Float[Array, ""]:
        """The loss at strength one: mean over probes and usable samples, at fixed state."""

    def part_of(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        loss, own = eqx.filter_value_and_grad(lambda theta: self.loss(theta, batch, key=key))(system)
        return own, loss, none_skipped()


def check_probes(probes: int, samples: int) -> None:
    if probes < 1:
        raise InputError(f"probes = {probes}: must be at least 1")
    if samples < 0:
        raise InputError(f"samples = {samples}: must be at least 1, or 0 for the whole batch")


def mean_over_usable(values: Float[Array, " batch"], usable: Array) -> Float[Array, ""]:
    """The mean of the usable ones; 0 if there are none."""
    return jnp.sum(jnp.where(usable, values, 0)) / jnp.maximum(jnp.sum(usable), 1)


def units(state: PyTree) -> int:
    """Units of one sample."""
    return sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(state))
