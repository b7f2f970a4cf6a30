"""The hyperbolic tangent."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from equiprop.numerics.activations._activation import AbstractActivation, distance_to_poles, hyperbolic_tangent


class Tanh(AbstractActivation):
    """tanh z, between −1 and 1 with slope 1 at 0."""

    kind: ClassVar[str] = "tanh"
    holomorphic: ClassVar[bool | None] = True

    def __call__(self, u: Array) -> Array:
        return hyperbolic_tangent(u)

    def formula(self, u: str) -> str:
        return f"tanh({u})"

    def singularity_distance(self, u: Array) -> Array:
        return distance_to_poles(u, 0.0, jnp.pi / 2, jnp.pi)
