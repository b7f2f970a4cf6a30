"""Loops of layers."""

from collections.abc import Sequence
from typing import Any, ClassVar

from jaxtyping import PRNGKeyArray

from equiprop.errors import InputError
from equiprop.numerics import as_key, constant, counts, text
from equiprop.systems._chains import loop
from equiprop.systems._layered import LayeredNetwork
from equiprop.systems.recipes._recipe import AbstractRecipe, Shape, units


class Loop(AbstractRecipe):
    """input → hidden_1 → … → output → hidden_1: recurrent, and no connection has a reciprocal partner."""

    kind: ClassVar[str] = "loop"

    hidden: Sequence[int] = counts((256, 256), "Units of each hidden population, two at least.")
    activation: str = text(
        "shifted_sigmoid", "shifted_sigmoid, dsilu, tanh, identity, relu or hard_sigmoid; or file.py:Class."
    )
    cost: str = text(
        "softmax_readout", "softmax_readout (trainable), softmax_cross_entropy or squared_error; or file.py:Class."
    )
    gain: float = constant(1.0, "Weights start uniform in ±gain/√inputs.", above=0)
    feedback_gain: float = constant(
        1.0, "Factor on what the output sends back; responses stay exact (see System.mobility).", above=0
    )

    def create(self, inputs: Shape, outputs: int, *, key: PRNGKeyArray, dtype: Any = None) -> LayeredNetwork:
        for size in self.hidden:
            if size < 1:
                raise InputError("every population needs at least 1 unit", path="hidden", value=list(self.hidden))
        try:
            sizes = (units(inputs), *self.hidden, outputs)
            topology = loop(sizes, activation=self.activation, feedback_gain=self.feedback_gain)
        except InputError as error:
            raise error.innermost() from None
        return LayeredNetwork.create(topology, classes=outputs, key=key, cost=self.cost, gain=self.gain, dtype=dtype)


def loop_network(
    inputs: int, hidden: Sequence[int], outputs: int, *, key: PRNGKeyArray | int, dtype: Any = None, **settings: Any
) -> LayeredNetwork:
    """input → hidden_1 → … → output → hidden_1: recurrent, and no connection has a reciprocal partner.

    **Arguments:**

    - `key`: of the first weights; or a seed.
    - `settings`: the other fields of `Loop`: `activation`, `cost`, `gain`, `feedback_gain`.
    """
    return Loop(hidden, **settings).create((inputs,), outputs, key=as_key(key), dtype=dtype)
