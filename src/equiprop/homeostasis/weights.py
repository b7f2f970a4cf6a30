"""Treatments of pairs of weights, for networks whose untied feedback has a forward partner."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._pairs import pairs_of, share
from equiprop.homeostasis._treatment import AbstractTreatment, as_strength, none_skipped
from equiprop.homeostasis.strength import AbstractStrength
from equiprop.systems import LayeredNetwork, Operation, System


def _operation(network: LayeredNetwork, weight: str) -> Operation:
    """What the connection with this weight does."""
    return next(edge.operation for edge in network.edges if edge.parameter == weight)


def _distance(network: LayeredNetwork, pairs: dict[str, tuple[str, str]]) -> Float[Array, ""]:
    """Σ‖W − B‖² over the pairs."""
    return jnp.sum(jnp.stack([jnp.sum((network.weights[w] - network.weights[b]) ** 2) for w, b in pairs.values()]))


class KolenPollack(AbstractTreatment):
    """Identical updates and equal decay (Kolen & Pollack 1994, doi:10.1109/ICNN.1994.374486; Akrout et al. 2019,
    arXiv 1904.05391; in equilibrium propagation: Laborieux et al. 2021, doi:10.3389/fnins.2021.633674).

    Both weights of an untied pair get the mean of their two gradients, so that their difference has no gradient but its own
    decay, W − B ← (1 − rate·`strength`·`decay`)·(W − B), and vanishes exponentially. The learning rates of the two must be
    equal. The loss is ½Σ‖W − B‖².

    - `strength`: factor on the decay.
    - `decay`: of both weights of every pair.
    """

    strength: AbstractStrength = eqx.field(default=1.0, converter=as_strength)
    decay: float = eqx.field(default=1e-3, static=True)

    def __check_init__(self) -> None:
        if not 0 <= self.decay < float("inf"):
            raise InputError(f"decay = {self.decay}: must be a finite number, at least 0")

    def check(self, system: System) -> None:
        pairs_of(system)

    def own_part(
        self, gradient: PyTree, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        del gradient, batch, key
        network, pairs = pairs_of(system)
        names = {name for pair in pairs.values() for name in pair}
        weights = {k: self.decay * w if k in names else jnp.zeros_like(w) for k, w in network.weights.items()}
        own = eqx.tree_at(lambda g: g.weights, jax.tree.map(jnp.zeros_like, network), weights)
        return own, _distance(network, pairs) / 2, none_skipped()

    def prepare(self, gradient: PyTree, system: System) -> PyTree:
        """The gradient with the mean of the two in the place of either."""
        return share(gradient, system, 0.5)


class WeightMirror(AbstractTreatment):
    """Feedback weights that learn the forward ones from noise (Akrout et al. 2019, arXiv 1904.05391).

    While the sending population of a pair is clamped to noise z ~ N(0, I), the force that arrives through the forward weights
    is Wz, and E[z·(Wz)ᵀ] = Wᵀ. The feedback gets `strength`·(B − ⟨z·(Wz)ᵀ⟩), whose mean B − W vanishes where the two are
    mirror images. No transport of weights: only activities of the two ends. A weight that is used at several places, as those
    of a convolution are, learns from the mean over them. Connections with pooling are refused: what arrives is then
    no linear function of the noise. The loss is ½Σ‖W − B‖².

    - `strength`: the rate of mirroring, which is also the decay of B.
    - `probes`: noise vectors a step.
    """

    strength: AbstractStrength = eqx.field(default=1.0, converter=as_strength)
    probes: int = eqx.field(default=20, static=True)

    def __check_init__(self) -> None:
        if self.probes < 1:
            raise InputError(f"probes = {self.probes}: must be at least 1")

    def check(self, system: System) -> None:
        network, pairs = pairs_of(system)
        for name, (forward, _) in pairs.items():
            if not _operation(network, forward).is_linear:
                raise InputError(
                    f"connection {name}: a weight mirror needs what arrives to be linear in the noise, and softmax pooling is "
                    "not; use homeostasis.kind = 'jacobian', or pool = 1"
                )

    def own_part(
        self, gradient: PyTree, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        del gradient, batch
        network, pairs = pairs_of(system)
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
        return own, _distance(network, pairs) / 2, none_skipped()
