"""Named networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import PRNGKeyArray

from equiprop.errors import suggest
from equiprop.systems._layered import LayeredNetwork
from equiprop.systems._topology import Stage, Topology, chain, convolutional, loop


@dataclass(frozen=True)
class Preset:
    """The layers of a convolutional chain, and how it starts so that it converges: see `cnn`."""

    stages: tuple[Stage, ...]
    activation: str = "dsilu"
    gain: float = 1.0
    feedback_gain: float = 1.0


def _pooled(*channels: int) -> Preset:
    """Convolutions that keep the size and one that does not, each followed by pooling: 32 by 32 becomes 1 by 1 in four."""
    return Preset((*(Stage(n, pool=2) for n in channels[:-1]), Stage(channels[-1], padding="valid", pool=2)))


def _deep(layers: int, feedback_gain: float) -> Preset:
    """One that pools by four, and residual ones of the same size.

    What a nudge of the output does to a layer falls by the feedback gain γ, times the forward gain g, with every layer below,
    and γ·g² must stay under a quarter for the chain to converge. Residual connections hold g near 1. With γ = 0.15 what is left
    of the response below 15 layers is 10⁻¹², of which double precision sees the digits above 10⁻¹⁶; below 20 hardly any would be
    left, hence 0.2 there, for more sweeps.
    """
    stages = (Stage(16, pool=4), *(Stage(16, residual=True) for _ in range(layers - 1)))
    return Preset(stages, activation="tanh", gain=0.5, feedback_gain=feedback_gain)


CONVOLUTIONAL = {
    "published": _pooled(128, 256, 512, 512),
    "small": _pooled(16, 32, 64, 64),
    "deep_10": _deep(10, 0.15),
    "deep_15": _deep(15, 0.15),
    "deep_20": _deep(20, 0.2),
}
"""Convolutional chains by name: that of arXiv 2309.02214 for images of 32 by 32, one of an eighth of its width, and deep ones."""


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
    activation: str | None = None,
    feedback: str = "untied",
    weight_angle: float = 90.0,
    feedback_gain: float | None = None,
    cost: str = "softmax_readout",
    gain: float | None = None,
    dtype: Any = None,
) -> LayeredNetwork:
    """A chain of convolutions and softmax pooling; what leads back is the transpose of convolutions and pooling of its own.

    **Arguments:**

    - `image`: height, width and channels.
    - `preset`: a name of `CONVOLUTIONAL`.
    - `activation`, `feedback_gain`, `gain`: in place of those of the preset.

    The others are those of `mlp`. Raises `InputError` for an unknown preset, or images that its pooling does not divide.
    """
    start = _preset(preset)
    gain_back = 1.0 if feedback == "none" else start.feedback_gain
    topology = cnn_topology(
        image,
        preset=preset,
        activation=start.activation if activation is None else activation,
        feedback=feedback,
        weight_angle=weight_angle,
        feedback_gain=gain_back if feedback_gain is None else feedback_gain,
    )
    gain = start.gain if gain is None else gain
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
    return convolutional(
        image,
        _preset(preset).stages,
        activation=activation,
        feedback=feedback,
        angle=weight_angle,
        feedback_gain=feedback_gain,
    )


def _preset(name: str) -> Preset:
    if name not in CONVOLUTIONAL:
        raise suggest("preset", name, list(CONVOLUTIONAL))
    return CONVOLUTIONAL[name]
