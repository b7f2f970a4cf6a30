"""Named networks."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import PRNGKeyArray

from equiprop.errors import suggest
from equiprop.systems._layered import LayeredNetwork
from equiprop.systems._topology import Stage, Topology, chain, convolutional, loop


def _pooled(*channels: int) -> tuple[Stage, ...]:
    """Convolutions that keep the size and one that does not, each followed by pooling: 32 by 32 becomes 1 by 1 in four."""
    return (*(Stage(n, pool=2) for n in channels[:-1]), Stage(channels[-1], padding="valid", pool=2))


CONVOLUTIONAL = {
    "published": _pooled(128, 256, 512, 512),
    "small": _pooled(16, 32, 64, 64),
}
"""Layers of convolutional chains by name: that of arXiv 2309.02214 for images of 32 by 32, and one of an eighth of its width."""


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    *,
    key: PRNGKeyArray,
    activation: str = "shifted_sigmoid",
    feedback: str = "untied",
    weight_angle: float = 90.0,
    feedback_gain: float = 1.0,
    cost: str = "softmax_readout",
    gain: float = 1.0,
    dtype: Any = None,
) -> LayeredNetwork:
    """A chain input – hidden – … – output in which neighbouring layers act on each other.

    **Arguments:**

    - `inputs`, `hidden`, `outputs`: numbers of units; the output has as many units as there are classes.
    - `feedback`: `untied`, `tied` or `none` (then it is an ordinary feedforward network).
    - `weight_angle`: the initial angle in degrees between feedback and forward weights where untied.
    - `feedback_gain`: the factor on all feedback; below 1 the network is nearer to feedforward and keeps away from the critical
      gain (see `System.mobility`).
    - `cost`: `softmax_readout`, `softmax_cross_entropy` or `squared_error`.
    - `gain`: weights start uniform in ±gain/√inputs.
    """
    topology = chain(
        (inputs, *hidden, outputs),
        activation=activation,
        feedback=feedback,
        angle=weight_angle,
        feedback_gain=feedback_gain,
    )
    return LayeredNetwork.create(topology, classes=outputs, key=key, cost=cost, gain=gain, dtype=dtype)


def loop_network(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    *,
    key: PRNGKeyArray,
    activation: str = "shifted_sigmoid",
    cost: str = "softmax_readout",
    gain: float = 1.0,
    dtype: Any = None,
) -> LayeredNetwork:
    """input → hidden_1 → … → output → hidden_1: recurrent, and no connection has a reciprocal partner."""
    topology = loop((inputs, *hidden, outputs), activation=activation)
    return LayeredNetwork.create(topology, classes=outputs, key=key, cost=cost, gain=gain, dtype=dtype)


def cnn(
    image: tuple[int, int, int],
    classes: int,
    *,
    key: PRNGKeyArray,
    preset: str = "published",
    activation: str = "dsilu",
    feedback: str = "untied",
    weight_angle: float = 90.0,
    feedback_gain: float = 1.0,
    cost: str = "softmax_readout",
    gain: float = 1.0,
    dtype: Any = None,
) -> LayeredNetwork:
    """A chain of convolutions and softmax pooling; what leads back is the transpose of convolutions and pooling of its own.

    **Arguments:**

    - `image`: height, width and channels.
    - `preset`: a name of `CONVOLUTIONAL`.

    The others are those of `mlp`. Raises `InputError` for an unknown preset, or images that its pooling does not divide.
    """
    topology = cnn_topology(
        image,
        preset=preset,
        activation=activation,
        feedback=feedback,
        weight_angle=weight_angle,
        feedback_gain=feedback_gain,
    )
    return LayeredNetwork.create(topology, classes=classes, key=key, cost=cost, gain=gain, dtype=dtype)


def cnn_topology(
    image: tuple[int, int, int],
    *,
    preset: str,
    activation: str,
    feedback: str,
    weight_angle: float,
    feedback_gain: float,
) -> Topology:
    """The graph of `cnn`."""
    if preset not in CONVOLUTIONAL:
        raise suggest("preset", preset, list(CONVOLUTIONAL))
    return convolutional(
        image,
        CONVOLUTIONAL[preset],
        activation=activation,
        feedback=feedback,
        angle=weight_angle,
        feedback_gain=feedback_gain,
    )
