"""Weights of a pair that learn and decay alike."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._homeostasis import AbstractHomeostasis, none_skipped
from equiprop.homeostasis._of_jacobian import require_pairs, tie_updates
from equiprop.homeostasis._papers import AKROUT, KOLEN_POLLACK
from equiprop.homeostasis._strength import strength_setting
from equiprop.numerics import Number, number
from equiprop.systems import System


class KolenPollack(AbstractHomeostasis):
    """Identical updates and equal decay (Kolen & Pollack 1994, doi:10.1109/ICNN.1994.374486; Akrout et al. 2019,
    arXiv 1904.05391; in equilibrium propagation: Laborieux et al. 2021, doi:10.3389/fnins.2021.633674).

    Both weights of an untied pair get the mean of their two gradients, so that their difference has no gradient but its own
    decay, W − B ← (1 − rate·`strength`·`decay`)·(W − B), and vanishes exponentially. The learning rates of the two must be
    equal. The loss is ½Σ‖W − B‖².
    """

    kind: ClassVar[str] = "kolen_pollack"
    label: ClassVar[str] = "Kolen-Pollack"
    citation: ClassVar[tuple[str, ...]] = (KOLEN_POLLACK, AKROUT)

    strength: Number = strength_setting(1.0, "Factor on the decay.")
    decay: Number = number(1e-3, "Decay of both weights of every pair.", at_least=0)

    def check(self, system: System) -> None:
        require_pairs(system)

    def gradient(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        del batch, key
        network: Any = system
        pairs = require_pairs(system)
        names = {name for pair in pairs.values() for name in pair}
        weights = {
            k: jnp.asarray(self.decay, w.dtype) * w if k in names else jnp.zeros_like(w)
            for k, w in network.weights.items()
        }
        nothing = jax.tree.map(jnp.zeros_like, eqx.filter(network, eqx.is_inexact_array))
        own = eqx.tree_at(lambda g: g.weights, nothing, weights)
        return own, pair_distance(network, pairs) / 2, none_skipped()

    def prepare(self, gradient: PyTree, system: System) -> PyTree:
        """The gradient with the mean of the two in the place of either."""
        return tie_updates(gradient, system, 0.5)


def pair_distance(network: Any, pairs: dict[str, tuple[str, str]]) -> Float[Array, ""]:
    """Σ‖W − B‖² over the pairs."""
    return jnp.sum(jnp.stack([jnp.sum((network.weights[w] - network.weights[b]) ** 2) for w, b in pairs.values()]))
