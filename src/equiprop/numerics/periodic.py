"""Signals at equal distances over a period."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def filtered(
    response: Callable[[Array], Array], signal: Float[Array, "..."], frequency: float | Array, axis: int
) -> Float[Array, "..."]:
    """What a linear filter makes of a signal whose values over one period lie on an axis, an odd number of them.

    **Arguments:**

    - `response`: of the filter at s = ikω for k = 0, 1, …, which come on that axis.
    - `frequency`: ω, in radians a unit of time.
    """
    points = signal.shape[axis]
    k = jnp.arange(points // 2 + 1, dtype=signal.dtype)
    k = jnp.expand_dims(k, [place for place in range(signal.ndim) if place != axis % signal.ndim])
    s = jax.lax.complex(jnp.zeros_like(k), k * jnp.asarray(frequency, k.dtype))
    made = jnp.fft.irfft(response(s) * jnp.fft.rfft(signal, axis=axis), points, axis=axis)
    return made.astype(signal.dtype)
