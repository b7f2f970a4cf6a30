"""The sigmoid of the published networks."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from equiprop.numerics.activations._activation import AbstractActivation, distance_to_poles, logistic


class ShiftedSigmoid(AbstractActivation):
    """1/(1 + e^(−4z+2)), between 0 and 1 with slope 1 at z = ½ (Laborieux & Zenke 2022, arXiv 2209.00530)."""

    kind: ClassVar[str] = "shifted_sigmoid"
    holomorphic: ClassVar[bool | None] = True

    def __call__(self, u: Array) -> Array:
        return logistic(4 * u - 2)

    def formula(self, u: str) -> str:
        return f"1/(1+exp(2-4*({u})))"

    def singularity_distance(self, u: Array) -> Array:
        return distance_to_poles(u, 0.5, jnp.pi / 4, jnp.pi / 2)
