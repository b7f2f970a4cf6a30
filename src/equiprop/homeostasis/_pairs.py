"""Pairs of forward and feedback weights, and what they may share."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._treatment import AbstractTreatment
from equiprop.systems import LayeredNetwork, System


def pairs_of(system: System) -> tuple[LayeredNetwork, dict[str, tuple[str, str]]]:
    """The network with the names of its untied pairs. Raises `InputError` where there are none."""
    if not isinstance(system, LayeredNetwork) or not system.reciprocal_pairs:
        raise InputError(
            "the system has no untied pair of forward and feedback weights to bring together; use homeostasis.kind = 'jacobian' "
            "with neither shared_updates nor feedback_only, which needs none"
        )
    return system, system.reciprocal_pairs


def share(gradient: PyTree, system: System, factor: float = 1.0) -> PyTree:
    """A gradient in which both weights of every untied pair have `factor` times the sum of their two.

    At factor 1 that is the gradient of one tied weight.
    """
    _, pairs = pairs_of(system)
    weights = dict(gradient.weights)
    for forward, feedback in pairs.values():
        weights[forward] = weights[feedback] = factor * (weights[forward] + weights[feedback])
    return eqx.tree_at(lambda g: g.weights, gradient, weights)


class AbstractHomeostasis(AbstractTreatment):
    """A treatment of the Jacobian, whatever the system, that may leave learning to both weights of a pair alike.

    - `samples`: how many samples of a batch are looked at, the first ones; `0` for all.
    - `shared_updates`: both weights of every untied pair learn from the sum of their two gradients (Kolen & Pollack 1994,
      doi:10.1109/ICNN.1994.374486), so that feedback does not lag behind what it has to mirror, and only the treatment acts on
      their difference. Each weight needs the two products of the activities at its own two ends. `"auto"`: where there are such
      pairs.
    - `feedback_only`: the treatment moves the feedback weights of untied pairs and nothing else. Where both weights move they
      meet half way, and two at a right angle are then shorter by √2, in every layer.
    """

    samples: eqx.AbstractVar[int]
    shared_updates: eqx.AbstractVar[bool | str]
    feedback_only: eqx.AbstractVar[bool]

    def __check_init__(self) -> None:
        if isinstance(self.shared_updates, str) and self.shared_updates != "auto":
            raise InputError(f"shared_updates = {self.shared_updates!r}: must be true, false or 'auto'")

    @abc.abstractmethod
    def part_of(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        """What `own_part` gives, read off the usable samples of `batch`. If there are none it does not matter what."""

    def own_part(
        self, gradient: PyTree, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        del gradient
        looked_at = batch.first(self.samples)
        *found, skipped = self.part_of(system, looked_at, key=key)
        any_seen = jnp.sum(looked_at.usable) > skipped
        own, loss = jax.tree.map(lambda a: jnp.where(any_seen, a, 0), found)
        return own, loss, skipped

    def check(self, system: System) -> None:
        if self._shares(system) or self.feedback_only:
            pairs_of(system)

    def prepare(self, gradient: PyTree, system: System) -> PyTree:
        return share(gradient, system) if self._shares(system) else gradient

    def confine(self, own: PyTree, system: System) -> PyTree:
        if not self.feedback_only:
            return own
        _, pairs = pairs_of(system)
        nothing = jax.tree.map(jnp.zeros_like, own)
        feedback = {back: own.weights[back] for _, back in pairs.values()}
        return eqx.tree_at(lambda o: o.weights, nothing, dict(nothing.weights) | feedback)

    def _shares(self, system: System) -> bool:
        if self.shared_updates == "auto":
            return isinstance(system, LayeredNetwork) and bool(system.reciprocal_pairs)
        return bool(self.shared_updates)
