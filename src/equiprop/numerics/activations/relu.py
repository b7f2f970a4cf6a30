"""The rectifier."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from equiprop.numerics.activations._activation import AbstractActivation


class ReLU(AbstractActivation):
    """max(z, 0), decided by the real part. Not holomorphic."""

    kind: ClassVar[str] = "relu"
    holomorphic: ClassVar[bool | None] = False

    def __call__(self, u: Array) -> Array:
        return jnp.where(u.real > 0, u, jnp.zeros_like(u))

    def formula(self, u: str) -> str:
        return f"max({u}, 0)"

    def singularity_distance(self, u: Array) -> Array:
        return jnp.abs(u.real)
