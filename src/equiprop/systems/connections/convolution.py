"""The same weights at every place of an image."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from equiprop.errors import InputError
from equiprop.numerics import convolve, real_linear
from equiprop.systems.connections._operation import Shape
from equiprop.systems.connections._windowed import AbstractWindowed


@dataclass(frozen=True)
class Convolution(AbstractWindowed):
    """The same weights `[kernel, kernel, inputs, outputs]` at every place."""

    kind: ClassVar[str] = "convolution"

    @property
    def weight_shape(self) -> Shape:
        return self.kernel, self.kernel, self.source[-1], self.target[-1]

    def linear(self, weight: Any, r: Array) -> Array:
        return real_linear(lambda a: convolve(a, weight, self.stride, self.padding), r)

    def transposed_weight(self, weight: Array) -> Array:
        if self.stride > 1 or self.pool > 1 or self.kernel % 2 == 0:
            raise InputError("a lateral convolution has a transpose only with an odd kernel, stride = 1 and pool = 1")
        return jnp.swapaxes(weight[::-1, ::-1], 2, 3)
