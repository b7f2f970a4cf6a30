"""Softmax pooling: a smooth maximum over windows, holomorphic where its normalisation is not zero."""

from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

# By so many times the weights of a window may grow or shrink, all in all, for differences to be told from their growth. Beyond,
# there is nothing to lose by subtraction, and e^(δ/T) may overflow.
_MUCH = 8.0


def softmax_pool(
    z: Inexact[Array, "batch height width channels"], window: int, temperature: float = 1.0
) -> Inexact[Array, "batch rows columns channels"]:
    """Σ_i z_i·e^(z_i/T) / Σ_i e^(z_i/T) over windows of `window` by `window` that do not overlap.

    The pooling of holomorphic equilibrium propagation (Laborieux & Zenke 2022, arXiv 2209.00530, appendix): the maximum for
    T → 0, the mean for T → ∞. Exponents are relative to the largest real part of a window, which is no part of the function;
    a complex maximum would not be holomorphic. Height and width must be multiples of the window.
    """
    windows = _windows(z, window)
    weight = _weights(windows, temperature)
    return _summed(weight * windows) / _summed(weight)


class PoolingOrigin(eqx.Module):
    """Pre-activations z in windows, from which the differences of softmax pooling P are measured.

    With the shares p_i = e^(z_i/T) / Σ_j e^(z_j/T), P(z) = Σ_i p_i·z_i and ∂P/∂z_i = p_i·(1 + (z_i − P)/T).

    **Fields:**

    - `shares`: p.
    - `above`: z − P. Pooling commutes with the addition of a constant, so that nothing else of z is needed.
    """

    shares: Inexact[Array, "batch rows window columns window channels"]
    above: Inexact[Array, "batch rows window columns window channels"]
    temperature: float = eqx.field(static=True)

    @classmethod
    def at(cls, z: Inexact[Array, "batch height width channels"], window: int, temperature: float) -> "PoolingOrigin":
        windows = _windows(z, window)
        shares = _shares(windows, temperature)
        return cls(shares, windows - _spread(_summed(shares * windows)), temperature)

    def difference(
        self, change: Inexact[Array, "batch height width channels"]
    ) -> Inexact[Array, "batch rows columns channels"]:
        """P(z + δ) − P(z), to as many digits as δ has."""
        return self._moved(_windows(change, self.shares.shape[2]))[1]

    def transpose_difference(
        self,
        change: Inexact[Array, "batch height width channels"],
        r: Inexact[Array, "batch rows columns channels"],
        response: Inexact[Array, "batch rows columns channels"],
    ) -> Inexact[Array, "batch height width channels"]:
        """∂P/∂z(z + δ)·(r + ρ) − ∂P/∂z(z)·r, to as many digits as δ and ρ have."""
        moved = _windows(change, self.shares.shape[2])
        shift, pooled = self._moved(moved)
        farther = moved - _spread(pooled)
        inclination = 1 + (self.above + farther) / self.temperature
        turned = shift * inclination + self.shares * farther / self.temperature
        found = (self.shares + shift) * inclination * _spread(response) + turned * _spread(r)
        return found.reshape(change.shape)

    def _moved(self, moved: Array) -> tuple[Array, Array]:
        """p(z + δ) − p(z) and P(z + δ) − P(z) of windows that move by δ.

        They are p_i·(g_i − G)/(1 + G) and Σ p_i·(g_i·(z_i − P) + (1 + g_i)·δ_i)/(1 + G) with g_i = e^(δ_i/T) − 1 and
        G = Σ p_i·g_i; the second because Σ p_i·(z_i − P) = 0.
        """
        growth = _expm1(moved / self.temperature)
        # One place of all windows after the other: on a CPU twice as fast as sums over axes.
        grown = reduce(jnp.add, (p * g for p, g in zip(_places(self.shares), _places(growth), strict=True)))
        little = (jnp.abs(1 + grown) > 1 / _MUCH) & (jnp.abs(1 + grown) < _MUCH)

        def by_growth(moved: Array, growth: Array, grown: Array) -> tuple[Array, Array]:
            places = zip(*map(_places, (self.shares, growth, self.above, moved)), strict=True)
            pooled = reduce(jnp.add, (p * (g * above + (1 + g) * d) for p, g, above, d in places)) / (1 + grown)
            return self.shares * (growth - _spread(grown)) / _spread(1 + grown), pooled

        def by_subtraction(moved: Array, growth: Array, grown: Array) -> tuple[Array, Array]:
            shift, pooled = by_growth(moved, growth, grown)
            there = self.above + moved
            shares = _shares(there, self.temperature)
            return (
                jnp.where(_spread(little), shift, shares - self.shares),
                jnp.where(little, pooled, _summed(shares * there)),
            )

        return jax.lax.cond(jnp.all(little), by_growth, by_subtraction, moved, growth, grown)


def _windows(z: Array, window: int) -> Array:
    batch, height, width, channels = z.shape
    return z.reshape(batch, height // window, window, width // window, window, channels)


def _places(windows: Array) -> list[Array]:
    """The first of every window, the second, and so on."""
    return [windows[:, :, i, :, j] for i in range(windows.shape[2]) for j in range(windows.shape[4])]


def _summed(windows: Array) -> Array:
    """Over every window."""
    return windows.sum(axis=(2, 4))


def _spread(pooled: Array) -> Array:
    """One number a window, as it broadcasts against windows."""
    return pooled[:, :, None, :, None, :]


def _shares(windows: Array, temperature: float) -> Array:
    weight = _weights(windows, temperature)
    return weight / _spread(_summed(weight))


def _weights(windows: Array, temperature: float) -> Array:
    largest = jax.lax.stop_gradient(windows.real.max(axis=(2, 4), keepdims=True))
    return _exp((windows - largest) / temperature)


def _exp(z: Array) -> Array:
    """e^(x + iy) by real functions: complex exponentials are slow or missing on some backends."""
    if not jnp.iscomplexobj(z):
        return jnp.exp(z)
    size = jnp.exp(z.real)
    return jax.lax.complex(size * jnp.cos(z.imag), size * jnp.sin(z.imag))


def _expm1(z: Array) -> Array:
    """e^(x + iy) − 1 to as many digits as x + iy has, by real functions."""
    if not jnp.iscomplexobj(z):
        return jnp.expm1(z)
    growth = jnp.expm1(z.real)
    return jax.lax.complex(growth * jnp.cos(z.imag) - 2 * jnp.sin(z.imag / 2) ** 2, (1 + growth) * jnp.sin(z.imag))
