"""Chains of layers."""

from collections.abc import Sequence
from typing import Any, ClassVar

from jaxtyping import PRNGKeyArray

from equiprop.errors import InputError
from equiprop.numerics import as_key, choice, constant, counts, text
from equiprop.systems._chains import chain
from equiprop.systems._layered import LayeredNetwork
from equiprop.systems.recipes._recipe import WEAK_FEEDBACK, AbstractRecipe, Shape, refuse_unused, units


class MLP(AbstractRecipe):
    """A chain input – hidden – … – output in which neighbouring layers act on each other."""

    kind: ClassVar[str] = "mlp"

    hidden: Sequence[int] = counts((256, 256), "Units of each hidden population.")
    activation: str = text(
        "shifted_sigmoid", "shifted_sigmoid, dsilu, tanh, identity, relu or hard_sigmoid; or file.py:Class."
    )
    feedback: str = choice(
        "untied",
        "Weights that lead back: untied (of their own), tied (the transpose) or none.",
        "untied",
        "tied",
        "none",
    )
    weight_angle: float = constant(90.0, "Initial angle in degrees between feedback and forward weights where untied.")
    feedback_gain: float = constant(
        0.05,
        "Factor on all feedback. Below 1 the network is nearer to feedforward and keeps away from the critical gain; its "
        "responses stay exact (see System.mobility).",
        above=0,
    )
    cost: str = text(
        "softmax_readout", "softmax_readout (trainable), softmax_cross_entropy or squared_error; or file.py:Class."
    )
    gain: float = constant(1.0, "Weights start uniform in ±gain/√inputs.", above=0)

    def cited(self) -> tuple[str, ...]:
        weak = self.feedback != "none" and self.feedback_gain not in (1, "auto")
        return *super().cited(), *((WEAK_FEEDBACK,) if weak else ())

    def create(self, inputs: Shape, outputs: int, *, key: PRNGKeyArray, dtype: Any = None) -> LayeredNetwork:
        for size in self.hidden:
            if size < 1:
                raise InputError("every population needs at least 1 unit", path="hidden", value=list(self.hidden))
        if self.feedback == "none":
            refuse_unused(self, "feedback_gain", "is not used by feedback = 'none'")
        try:
            topology = chain(
                (units(inputs), *self.hidden, outputs),
                activation=self.activation,
                feedback=self.feedback,
                angle=self.weight_angle,
                feedback_gain=1.0 if self.feedback == "none" else self.feedback_gain,
            )
        except InputError as error:
            raise error.innermost({"angle": "weight_angle"}) from None
        return LayeredNetwork.create(topology, classes=outputs, key=key, cost=self.cost, gain=self.gain, dtype=dtype)


def mlp(
    inputs: int, hidden: Sequence[int], outputs: int, *, key: PRNGKeyArray | int, dtype: Any = None, **settings: Any
) -> LayeredNetwork:
    """A chain input – hidden – … – output in which neighbouring layers act on each other.

    **Arguments:**

    - `inputs`, `hidden`, `outputs`: numbers of units; the output has as many units as there are classes.
    - `key`: of the first weights; or a seed.
    - `settings`: the other fields of `MLP`: `activation`, `feedback`, `weight_angle`, `feedback_gain`, `cost`, `gain`.
    """
    return MLP(hidden, **settings).create((inputs,), outputs, key=as_key(key), dtype=dtype)
