"""What a connection does to the activity that it carries. One class per kind; weights are passed in, never held."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PRNGKeyArray

from equiprop.numerics import real_linear


@dataclass(frozen=True)
class Dense:
    """r ↦ r·W with W `[inputs, outputs]`, and its transpose r ↦ r·Wᵀ."""

    inputs: int
    outputs: int

    def initial_weight(self, key: PRNGKeyArray, dtype: jnp.dtype, gain: float = 1.0) -> Float[Array, "inputs outputs"]:
        """Uniform in ±gain/√inputs."""
        limit = gain * self.inputs**-0.5
        return jax.random.uniform(key, (self.inputs, self.outputs), dtype, -limit, limit)

    def noise(self, key: PRNGKeyArray, batch: int, dtype: jnp.dtype) -> Float[Array, "batch inputs"]:
        """Standard normal activities of the source."""
        return jax.random.normal(key, (batch, self.inputs), dtype)

    def apply(self, weight: Float[Array, "inputs outputs"], r: Inexact[Array, "batch inputs"]) -> Array:
        return real_linear(lambda a: a @ weight, r)

    def apply_transpose(self, weight: Float[Array, "inputs outputs"], r: Inexact[Array, "batch outputs"]) -> Array:
        return real_linear(lambda a: a @ weight.T, r)
