"""The voltage of a conductance beside diodes."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

# From the smaller of two upper bounds Newton's method comes down on a convex function: so many steps give all digits of a double.
_STEPS = 8


def voltage_beside_diodes(u: Inexact[Array, " *shape"], current: float, voltage: float) -> Inexact[Array, " *shape"]:
    """v of v + a·sinh(v/V) = u: where a current u through a conductance of 1 and two antiparallel diodes beside it ends.

    Holomorphic near the real line, with the derivative 1/(1 + (a/V)·cosh(v/V)).

    **Arguments:**

    - `current`: a, twice the saturation current of a diode; 0 for none.
    - `voltage`: V, the thermal voltage times the emission coefficient.
    """
    return u if current == 0 else voltage * _scaled(u / voltage, current / voltage)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _scaled(u: Array, a: float) -> Array:
    """s of s + a·sinh s = u."""
    size = jnp.abs(u.real)
    s = jnp.sign(u.real) * jnp.minimum(size / (1 + a), jnp.arcsinh(size / a))
    s = _newton(s, u.real, a)
    return _newton(s.astype(u.dtype), u, a) if jnp.iscomplexobj(u) else s


def _newton(s: Array, u: Array, a: float) -> Array:
    for _ in range(_STEPS):
        s = s - (s + a * jnp.sinh(s) - u) / (1 + a * jnp.cosh(s))
    return s


@_scaled.defjvp
def _(a: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    s = _scaled(primals[0], a)
    return s, tangents[0] / (1 + a * jnp.cosh(s))
