"""Small networks and batches that several tests use."""

import jax
import jax.numpy as jnp
import numpy as np

from equiprop.systems import (
    Connection,
    Free,
    LayeredNetwork,
    Nudged,
    Population,
    Stage,
    Topology,
    chain,
    convolutional,
    loop_network,
    mlp,
)

INPUTS, CLASSES, BATCH = 6, 3, 4


IMAGE = (4, 4, 2)


def batch(seed=0, n=BATCH, shape=(INPUTS,)):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(n, *shape))), jnp.asarray(rng.integers(0, CLASSES, n))


def skip_and_lateral() -> Topology:
    """Everything at once: a tied pair, an untied pair, a skip, a lateral, a one-way connection, and three mobilities."""
    return Topology(
        (
            Population("input", INPUTS),
            Population("a", 5, mobility=0.3),
            Population("b", 4, mobility=0.6),
            Population("output", CLASSES),
        ),
        (
            Connection("input", "a", "none"),
            Connection("input", "b", "none"),
            Connection("a", "b", "tied"),
            Connection("b", "output", "untied", 60.0),
            Connection("a", "output", "none"),
            Connection("b", "b", "untied", 40.0),
            Connection("a", "a", "tied"),
        ),
    )


def network(kind: str, key=None, gain=1.5) -> LayeredNetwork:
    """`untied`, `tied` (feedback gain 0.7), `loop`, `general`, `convolutional` or `pooled`: small enough for linear algebra."""
    key = jax.random.key(3) if key is None else key
    match kind:
        case "untied":
            return mlp(INPUTS, (7, 5), CLASSES, key=key, gain=gain, feedback_gain=1.0)
        case "tied":
            return mlp(INPUTS, (7, 5), CLASSES, key=key, gain=gain, feedback="tied", feedback_gain=0.7)
        case "loop":
            return loop_network(INPUTS, (7, 5), CLASSES, key=key, gain=gain)
        case "general":
            return LayeredNetwork.create(skip_and_lateral(), classes=CLASSES, key=key, gain=gain / 2)
        case "convolutional":
            stages = (Stage(3, pool=2), Stage(3, residual=True))
            topology = convolutional(IMAGE, stages, activation="dsilu", feedback_gain=0.8)
            return LayeredNetwork.create(topology, classes=CLASSES, key=key, gain=gain)
        case "pooled":
            topology = convolutional(IMAGE, (Stage(3), Stage(3, pool=2)), activation="tanh", feedback_gain=0.8)
            return LayeredNetwork.create(topology, classes=CLASSES, key=key, gain=gain)
        case "relu":
            topology = chain((INPUTS, 7, CLASSES), activation="hard_sigmoid", feedback="untied", angle=90.0)
            return LayeredNetwork.create(topology, classes=CLASSES, key=key, gain=gain)
    raise AssertionError(kind)


KINDS = ("untied", "tied", "loop", "general")


def nudged(system, injection, target, nudge) -> Nudged:
    """A system under the nudge β, a number for all samples or one for each."""
    nudges = jnp.broadcast_to(jnp.asarray(nudge), target.shape[:1])
    return Nudged(Free(system, injection), system, target, nudges)


class Subtracting(LayeredNetwork):
    """A network that says nothing of differences: two forces are subtracted, as for any system of a user's own."""

    def force_difference(self, origin, displacement, response, only=None):
        del origin, displacement, response, only

    @classmethod
    def of(cls, network):
        return cls(network.weights, network.biases, network.cost, network.topology)
