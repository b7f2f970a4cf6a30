"""Softmax pooling: a smooth maximum over windows, holomorphic where its normalisation is not zero."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact


def softmax_pool(
    z: Inexact[Array, "batch height width channels"], window: int, temperature: float = 1.0
) -> Inexact[Array, "batch rows columns channels"]:
    """Σ_i z_i·e^(z_i/T) / Σ_i e^(z_i/T) over windows of `window` by `window` that do not overlap.

    The pooling of holomorphic equilibrium propagation (Laborieux & Zenke 2022, arXiv 2209.00530, appendix): the maximum for
    T → 0, the mean for T → ∞. Exponents are relative to the largest real part of a window, which is no part of the function;
    a complex maximum would not be holomorphic. Height and width must be multiples of the window.
    """
    batch, height, width, channels = z.shape
    windows = z.reshape(batch, height // window, window, width // window, window, channels)
    largest = jax.lax.stop_gradient(windows.real.max(axis=(2, 4), keepdims=True))
    weight = _exp((windows - largest) / temperature)
    return (weight * windows).sum(axis=(2, 4)) / weight.sum(axis=(2, 4))


def _exp(z: Array) -> Array:
    """e^(x + iy) by real functions: complex exponentials are slow or missing on some backends."""
    if not jnp.iscomplexobj(z):
        return jnp.exp(z)
    size = jnp.exp(z.real)
    return jax.lax.complex(size * jnp.cos(z.imag), size * jnp.sin(z.imag))
