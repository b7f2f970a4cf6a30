"""Named networks."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import PRNGKeyArray

from equiprop.systems._layered import LayeredNetwork
from equiprop.systems._topology import chain, loop


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
