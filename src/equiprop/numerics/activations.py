"""Elementwise activations r = φ(u), each of which knows where it stops being holomorphic.

Holomorphic equilibrium propagation reads the response on a circle of complex nudges. It is exact as long as every state on
that circle stays inside the region where φ is analytic, so each activation reports the distance to its nearest singularity.
Complex arguments are evaluated with real functions throughout: no overflow for large real parts, and no complex `exp`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from equiprop.errors import suggest


@dataclass(frozen=True)
class Activation:
    """An elementwise function with what the estimators must know about it.

    **Fields:**

    - `name`: how configurations call it.
    - `function`: φ, on real or complex arrays of any shape; the dtype is kept.
    - `holomorphic`: whether φ continues analytically off the real axis. Where it does not (`relu`, `hard_sigmoid`) the
      complex form is the piecewise one decided by the real part, and a Cauchy estimate with N > 2 is not exact.
    - `singularity_distance`: the distance in the complex plane from each argument to the nearest singularity of φ, in the
      units of u; infinite for entire functions. For a function that is not holomorphic: the distance to its nearest kink line.
    """

    name: str
    function: Callable[[Array], Array]
    holomorphic: bool
    singularity_distance: Callable[[Array], Array]

    def __call__(self, u: Inexact[Array, " *shape"]) -> Inexact[Array, " *shape"]:
        return self.function(u)


def _tanh(z: Array) -> Array:
    """tanh(x + iy) = (t + i·sin y·cos y·(1 − t²)) / (cos²y + t²·sin²y) with t = tanh x: finite wherever tanh is."""
    if not jnp.iscomplexobj(z):
        return jnp.tanh(z)
    t, sine, cosine = jnp.tanh(z.real), jnp.sin(z.imag), jnp.cos(z.imag)
    scale = 1 / (cosine**2 + (t * sine) ** 2)
    return jax.lax.complex(t * scale, sine * cosine * (1 - t) * (1 + t) * scale)


def _logistic(z: Array) -> Array:
    if not jnp.iscomplexobj(z):
        return jax.nn.sigmoid(z)
    return 0.5 + 0.5 * _tanh(0.5 * z)


def _shifted_sigmoid(z: Array) -> Array:
    return _logistic(4 * z - 2)


def _dsilu(z: Array) -> Array:
    return 0.5 * z * _logistic(z) + (1 - 0.5 * z) * _logistic(z - 2)


def _identity(z: Array) -> Array:
    return z


def _relu(z: Array) -> Array:
    return jnp.where(z.real > 0, z, jnp.zeros_like(z))


def _hard_sigmoid(z: Array) -> Array:
    return jnp.where(z.real < 0, jnp.zeros_like(z), jnp.where(z.real > 1, jnp.ones_like(z), z))


def _distance_to_pole_column(real: float, first: float, period: float) -> Callable[[Array], Float[Array, " *shape"]]:
    """Distance to the nearest of the poles `real + i·(first + period·k)`, k any integer."""

    def distance(z: Array) -> Array:
        offset = z.imag - first
        vertical = offset - period * jnp.round(offset / period)
        return jnp.hypot(z.real - real, vertical)

    return distance


def _nearer(*distances: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def distance(z: Array) -> Array:
        values = [each(z) for each in distances]
        return jnp.stack(values).min(axis=0)

    return distance


def _entire(z: Array) -> Array:
    return jnp.full_like(z.real, jnp.inf)


_PI = jnp.pi

shifted_sigmoid = Activation("shifted_sigmoid", _shifted_sigmoid, True, _distance_to_pole_column(0.5, _PI / 4, _PI / 2))
"""1/(1 + e^(−4z+2)), between 0 and 1 with slope 1 at z = ½ (Laborieux & Zenke 2022, arXiv 2209.00530)."""

dsilu = Activation(
    "dsilu",
    _dsilu,
    True,
    _nearer(_distance_to_pole_column(0.0, _PI, 2 * _PI), _distance_to_pole_column(2.0, _PI, 2 * _PI)),
)
"""½z/(1 + e^(−z)) + (1 − ½z)/(1 + e^(2−z)), a double SiLU (Laborieux & Zenke 2024, arXiv 2309.02214)."""

tanh = Activation("tanh", _tanh, True, _distance_to_pole_column(0.0, _PI / 2, _PI))
identity = Activation("identity", _identity, True, _entire)
relu = Activation("relu", _relu, False, lambda z: jnp.abs(z.real))
"""max(z, 0), decided by the real part. Not holomorphic."""

hard_sigmoid = Activation(
    "hard_sigmoid", _hard_sigmoid, False, lambda z: jnp.minimum(jnp.abs(z.real), jnp.abs(z.real - 1))
)
"""min(max(z, 0), 1), decided by the real part. Not holomorphic."""

ACTIVATIONS = {a.name: a for a in (shifted_sigmoid, dsilu, tanh, identity, relu, hard_sigmoid)}


def activation(name: str) -> Activation:
    """The activation called `name`. Raises `InputError` naming the known ones."""
    if name not in ACTIVATIONS:
        raise suggest("activation", name, list(ACTIVATIONS))
    return ACTIVATIONS[name]
