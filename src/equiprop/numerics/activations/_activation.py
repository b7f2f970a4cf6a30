"""What an activation is, and the functions that several are made of.

Holomorphic equilibrium propagation reads the response on a circle of complex nudges. It is exact as long as every state on
that circle stays inside the region where φ is analytic, so each activation reports the distance to its nearest singularity.
Complex arguments are evaluated with real functions throughout: no overflow for large real parts, and no complex `exp`.
"""

import abc
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact


class AbstractActivation(abc.ABC):
    """An elementwise function r = φ(u), with what the estimators must know about it.

    - `holomorphic`: whether φ continues analytically off the real axis; `None` to have it tested. Where it does not the complex
      form is a piecewise one decided by the real part, and a Cauchy estimate with N > 2 is not exact.
    """

    kind: ClassVar[str] = ""
    label: ClassVar[str] = ""
    citation: ClassVar[tuple[str, ...]] = ()
    holomorphic: ClassVar[bool | None] = None

    @abc.abstractmethod
    def __call__(self, u: Inexact[Array, " *shape"]) -> Inexact[Array, " *shape"]:
        """φ(u), on real or complex arrays of any shape; the dtype is kept."""

    def formula(self, u: str) -> str | None:
        """φ of a real u as text, in `+ - * /`, `exp`, `tanh`, `min`, `max`, for circuit simulators; `None` if it has none."""
        del u
        return None

    def singularity_distance(self, u: Inexact[Array, " *shape"]) -> Float[Array, " *shape"]:
        """The distance in the complex plane from each argument to the nearest singularity of φ, in the units of u.

        Infinite for entire functions, and by default. For a function that is not holomorphic, to its nearest kink.
        """
        return jnp.full_like(u.real, jnp.inf)


def logistic(z: Array) -> Array:
    """1/(1 + e^(−z)), relative to itself to all digits also where it is small. Poles at iπ(2k + 1).

    With a = e^(−|x|) it is (1 + a·e^(iy))/|1 + a·e^(iy)|² for x ≥ 0 and a·(a + e^(iy))/|1 + a·e^(iy)|² for x < 0.
    """
    if not jnp.iscomplexobj(z):
        return jax.nn.sigmoid(z)
    x, y = z.real, z.imag
    negative = x < 0
    exponent = jnp.where(negative, x, -x)
    a, sine, cosine = jnp.exp(exponent), jnp.sin(y), jnp.cos(y)
    scale = 1 / (jnp.expm1(exponent) ** 2 + 4 * a * jnp.cos(y / 2) ** 2)
    return jax.lax.complex(jnp.where(negative, a * (a + cosine), 1 + a * cosine) * scale, a * sine * scale)


def hyperbolic_tangent(z: Array) -> Array:
    """tanh(x + iy) = (t + i·sin y·cos y·(1 − t²)) / (cos²y + t²·sin²y) with t = tanh x: finite wherever tanh is."""
    if not jnp.iscomplexobj(z):
        return jnp.tanh(z)
    t, sine, cosine = jnp.tanh(z.real), jnp.sin(z.imag), jnp.cos(z.imag)
    scale = 1 / (cosine**2 + (t * sine) ** 2)
    return jax.lax.complex(t * scale, sine * cosine * (1 - t) * (1 + t) * scale)


def distance_to_poles(z: Array, real: float, first: float, period: float) -> Array:
    """Distance to the nearest of the poles `real + i·(first + period·k)`, k any integer."""
    offset = z.imag - first
    vertical = offset - period * jnp.round(offset / period)
    return jnp.hypot(z.real - real, vertical)
