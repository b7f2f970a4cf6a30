"""Feedback weights that learn the forward ones from noise."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._homeostasis import AbstractHomeostasis, none_skipped
from equiprop.homeostasis._of_jacobian import require_pairs
from equiprop.homeostasis._papers import AKROUT
from equiprop.homeostasis._strength import strength_setting
from equiprop.homeostasis.kolen_pollack import pair_distance
from equiprop.numerics import Number, count
from equiprop.systems import AbstractOperation, LayeredNetwork, System


class WeightMirror(AbstractHomeostasis):
    """Feedback weights that learn the forward ones from noise (Akrout et al. 2019, arXiv 1904.05391).

    While the sending population of a pair is clamped to noise z ~ N(0, I), the force that arrives through the forward weights
    is Wz, and E[z·(Wz)ᵀ] = Wᵀ. The feedback gets `strength`·(B − ⟨z·(Wz)ᵀ⟩), whose mean B − W vanishes where the two are
    mirror images. No transport of weights: only activities of the two ends. A weight that is used at several places, as those
    of a convolution are, learns from the mean over them. Connections with pooling are refused: what arrives is then
    no linear function of the noise. The loss is ½Σ‖W − B‖².
    """

    kind: ClassVar[str] = "weight_mirror"
    citation: ClassVar[tuple[str, ...]] = (AKROUT,)

    strength: Number = strength_setting(1.0, "The rate of mirroring, which is also the decay of the feedback weights.")
    probes: int = count(20, "Noise vectors a step.")

    def check(self, system: System) -> None:
        network, pairs = _network(system), require_pairs(system)
        for name, (forward, _) in pairs.items():
            if not _operation(network, forward).is_linear:
                raise InputError(
                    f"connection {name}: a weight mirror needs what arrives to be linear in the noise, which pooling is not",
                    hint="use jacobian homeostasis, or pool = 1",
                )

    def gradient(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        del batch
        network, pairs = _network(system), require_pairs(system)
        weights = {name: jnp.zeros_like(w) for name, w in network.weights.items()}
        for index, (forward, feedback) in enumerate(pairs.values()):
            operation, weight = _operation(network, forward), network.weights[forward]
            z = operation.noise(jax.random.fold_in(key, index), self.probes, weight.dtype)
            arrived, met = jax.vjp(lambda w, o=operation, z=z: o.apply(w, z), weight)
            _, used = jax.vjp(lambda w, o=operation, z=z: o.apply(w, jnp.ones_like(z)), weight)
            # What a weight sends times what arrives, over how often it is used: border and probes included.
            mirrored = met(arrived)[0] / used(jnp.ones_like(arrived))[0]
            weights[feedback] = network.weights[feedback] - mirrored
        own = eqx.tree_at(lambda g: g.weights, jax.tree.map(jnp.zeros_like, network), weights)
        return own, pair_distance(network, pairs) / 2, none_skipped()


def _network(system: System) -> LayeredNetwork:
    if not isinstance(system, LayeredNetwork):
        raise InputError("a weight mirror needs to know the connections of the system", hint="use jacobian homeostasis")
    return system


def _operation(network: LayeredNetwork, weight: str) -> AbstractOperation:
    """What the connection with this weight does."""
    return next(edge.operation for edge in network.edges if edge.parameter == weight)
