"""Every unit to every unit."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Array

from equiprop.numerics import real_linear
from equiprop.systems.connections._operation import AbstractOperation, Shape, reshaped


@dataclass(frozen=True)
class Dense(AbstractOperation):
    """r ↦ r·W with W `[inputs, outputs]`, every unit to every unit."""

    kind: ClassVar[str] = "dense"

    @property
    def weight_shape(self) -> Shape:
        return math.prod(self.source), math.prod(self.target)

    @property
    def fan_in(self) -> int:
        return math.prod(self.source)

    def apply(self, weight: Any, r: Array) -> Array:
        return reshaped(real_linear(lambda a: a @ weight, reshaped(r, self.weight_shape[:1])), self.target)

    def apply_transpose(self, weight: Any, r: Array, at: Array) -> Array:
        del at
        return reshaped(real_linear(lambda a: a @ weight.T, reshaped(r, self.weight_shape[1:])), self.source)

    def transposed_weight(self, weight: Array) -> Array:
        return weight.T
