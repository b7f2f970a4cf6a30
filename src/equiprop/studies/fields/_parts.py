"""What these fields share."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PRNGKeyArray

from equiprop.numerics import real_linear


def times(z: Inexact[Array, "batch ..."], weight: Array) -> Inexact[Array, "batch ..."]:
    """z·W, W real where z is complex, too."""
    return real_linear(lambda a: a @ weight, z)


def uniform(key: PRNGKeyArray, shape: tuple[int, ...], gain: float, dtype: Any) -> Array:
    """Weights in ±gain/√inputs."""
    limit = gain / math.sqrt(shape[0])
    return jax.random.uniform(key, shape, dtype or jnp.result_type(float), -limit, limit)


def at_angle(weight: Array, degrees: float, *, gain: float, key: PRNGKeyArray) -> Array:
    """A weight of the same shape at an angle from another: 0 is the same, 90 is independent."""
    angle = math.radians(degrees)
    return math.sin(angle) * uniform(key, weight.shape, gain, weight.dtype) + math.cos(angle) * weight
