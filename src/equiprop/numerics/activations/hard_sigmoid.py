"""The sigmoid of the first networks trained by equilibrium propagation."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from equiprop.numerics.activations._activation import AbstractActivation


class HardSigmoid(AbstractActivation):
    """min(max(z, 0), 1), decided by the real part (Scellier & Bengio 2017, doi:10.3389/fncom.2017.00024). Not holomorphic."""

    kind: ClassVar[str] = "hard_sigmoid"
    holomorphic: ClassVar[bool | None] = False

    def __call__(self, u: Array) -> Array:
        return jnp.where(u.real < 0, jnp.zeros_like(u), jnp.where(u.real > 1, jnp.ones_like(u), u))

    def formula(self, u: str) -> str:
        return f"min(max({u}, 0), 1)"

    def singularity_distance(self, u: Array) -> Array:
        return jnp.minimum(jnp.abs(u.real), jnp.abs(u.real - 1))
