"""The activation of the published convolutional networks."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from equiprop.numerics.activations._activation import AbstractActivation, distance_to_poles, logistic


class DoubleSiLU(AbstractActivation):
    """½z/(1 + e^(−z)) + (1 − ½z)/(1 + e^(2−z)) (Laborieux & Zenke 2024, arXiv 2309.02214)."""

    kind: ClassVar[str] = "dsilu"
    holomorphic: ClassVar[bool | None] = True

    def __call__(self, u: Array) -> Array:
        return 0.5 * u * logistic(u) + (1 - 0.5 * u) * logistic(u - 2)

    def formula(self, u: str) -> str:
        return f"0.5*({u})/(1+exp(-({u}))) + (1-0.5*({u}))/(1+exp(2-({u})))"

    def singularity_distance(self, u: Array) -> Array:
        columns = [distance_to_poles(u, real, jnp.pi, 2 * jnp.pi) for real in (0.0, 2.0)]
        return jnp.stack(columns).min(axis=0)
