"""Graphs by rule: chains of layers, loops, chains of images."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from equiprop.errors import InputError
from equiprop.systems._topology import INPUT, Connection, Population, Topology


def chain(
    sizes: Iterable[int | tuple[int, int, int]],
    *,
    activation: str,
    feedback: str = "untied",
    angle: float = 90.0,
    feedback_gain: float = 1.0,
) -> Topology:
    """input – hidden_1 – … – output, each pair of neighbours connected both ways.

    **Arguments:**

    - `angle`: where untied.
    - `feedback_gain`: γ, the factor on everything that leads back; the mobility of a layer is γ to the power of its distance
      from the output.
    """
    sizes = tuple(sizes)
    if feedback == "none" and feedback_gain != 1:
        raise InputError(
            "is not used by feedback = 'none'", path="feedback_gain", value=feedback_gain, hint="leave it out"
        )
    if not 0 < feedback_gain < math.inf:
        raise InputError("must be a finite number above 0", path="feedback_gain", value=feedback_gain)
    names = [INPUT, *(f"hidden_{i}" for i in range(1, len(sizes) - 1)), "output"]
    distances = range(len(sizes) - 1, -1, -1)
    return Topology(
        tuple(
            Population(name, size) if name == INPUT else Population(name, size, activation, feedback_gain**distance)
            for name, size, distance in zip(names, sizes, distances, strict=True)
        ),
        tuple(
            Connection(a, b, "none") if a == INPUT else Connection(a, b, feedback, angle) for a, b in pairwise(names)
        ),
    )


def loop(sizes: Iterable[int], *, activation: str, feedback_gain: float = 1.0) -> Topology:
    """input → hidden_1 → … → output → hidden_1: a cycle in which no connection has a partner (arXiv 2309.02214, fig. 3).

    **Arguments:**

    - `feedback_gain`: the factor on what the output sends back, and the mobility of all hidden layers.
    """
    line = chain(sizes, activation=activation, feedback="none")
    first, *_, last = line.relaxing
    if len(line.relaxing) < 3:
        hidden = [p.units for p in line.relaxing[:-1]]
        raise InputError("a loop needs at least two hidden populations", path="hidden", value=hidden)
    if not 0 < feedback_gain < math.inf:
        raise InputError("must be a finite number above 0", path="feedback_gain", value=feedback_gain)
    hidden = (
        replace(p, mobility=feedback_gain) if p in line.relaxing and p is not last else p for p in line.populations
    )
    return Topology(tuple(hidden), (*line.connections, Connection(last.name, first.name, "none")))


@dataclass(frozen=True)
class Stage:
    """A layer of a convolutional chain: its channels, and how it looks at the layer before (see `Connection`)."""

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: str = "same"
    pool: int = 1
    temperature: float = 1.0
    residual: bool = False


def convolutional(
    image: tuple[int, int, int],
    stages: Iterable[Stage],
    *,
    activation: str,
    feedback: str = "untied",
    angle: float = 90.0,
    feedback_gain: float = 1.0,
) -> Topology:
    """A chain of images, each a convolution and pooling of the one before; feedback is their transpose.

    **Arguments:**

    - `image`: height, width and channels of the input.
    - `feedback_gain`: as of `chain`.
    """
    stages = tuple(stages)
    shapes = [image]
    for number, stage in enumerate(stages, 1):
        reach = 0 if stage.padding == "same" else stage.kernel - 1
        sides = [-(-(side - reach) // stage.stride) for side in shapes[-1][:2]]
        if min(sides) < 1 or any(side % stage.pool for side in sides):
            raise InputError(
                f"layer {number} would pool {sides} in windows of {stage.pool} for images of {list(image)}",
                path="preset",
                hint="images of 32 by 32 fit every preset",
            )
        shapes.append((sides[0] // stage.pool, sides[1] // stage.pool, stage.channels))
    line = chain(shapes, activation=activation, feedback=feedback, angle=angle, feedback_gain=feedback_gain)
    connections = tuple(
        Connection(
            connection.source,
            connection.target,
            connection.feedback,
            connection.angle,
            "convolution",
            stage.residual,
            kernel=stage.kernel,
            stride=stage.stride,
            padding=stage.padding,
            pool=stage.pool,
            temperature=stage.temperature,
        )
        for connection, stage in zip(line.connections, stages, strict=True)
    )
    return Topology(line.populations, connections)
