"""Weights of its own at every place of an image."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Array

from equiprop.numerics import convolve_locally, real_linear
from equiprop.systems.connections._operation import Shape
from equiprop.systems.connections._windowed import AbstractWindowed


@dataclass(frozen=True)
class LocallyConnected(AbstractWindowed):
    """Weights `[rows, columns, inputs·kernel², outputs]` of its own at every place."""

    kind: ClassVar[str] = "local"

    @property
    def weight_shape(self) -> Shape:
        return *self._before_pooling, self.fan_in, self.target[-1]

    def linear(self, weight: Any, r: Array) -> Array:
        places = weight.reshape(*weight.shape[:2], self.source[-1], self.kernel, self.kernel, self.target[-1])
        return real_linear(lambda a: convolve_locally(a, places, self.stride, self.padding), r)
