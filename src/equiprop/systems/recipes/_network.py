"""Networks on any graph."""

from typing import Any, ClassVar

from jaxtyping import PRNGKeyArray

from equiprop.errors import InputError
from equiprop.numerics import constant, text
from equiprop.systems._layered import LayeredNetwork
from equiprop.systems._topology import INPUT
from equiprop.systems._topology_file import read_topology
from equiprop.systems.recipes._recipe import AbstractRecipe, Shape, as_image, units


class Network(AbstractRecipe):
    """The network on the graph of a file."""

    kind: ClassVar[str] = "network"

    topology: str = text("", "TOML or JSON file with the populations and connections.")
    cost: str = text(
        "softmax_readout", "softmax_readout (trainable), softmax_cross_entropy or squared_error; or file.py:Class."
    )
    gain: float = constant(1.0, "Weights start uniform in ±gain/√inputs.", above=0)

    def create(self, inputs: Shape, outputs: int, *, key: PRNGKeyArray, dtype: Any = None) -> LayeredNetwork:
        if not self.topology:
            raise InputError("kind = 'network' needs a topology file", path="topology", value="")
        topology = read_topology(self.topology)
        size = topology.population(INPUT).size
        path = ("populations", INPUT, "size")
        if isinstance(size, int) and size != units(inputs):
            raise InputError(f"the inputs have {units(inputs)} values", path=path, value=size)
        if isinstance(size, tuple) and size != as_image(inputs):
            reason = f"the inputs are {list(as_image(inputs))}, height, width and channels"
            raise InputError(reason, path=path, value=list(size))
        return LayeredNetwork.create(topology, classes=outputs, key=key, cost=self.cost, gain=self.gain, dtype=dtype)
