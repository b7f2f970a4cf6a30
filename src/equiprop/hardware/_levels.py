"""Numbers on evenly spaced levels."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from equiprop.numerics import count, number


def bits_setting(doc: str) -> Any:
    """The field of a number of bits, the sign among them; 0 for any value."""
    return count(0, f"{doc} 2^bits − 1 levels, 0 among them; 0 for any value.", at_least=2, word=0)


def range_setting(doc: str) -> Any:
    """The field of the largest value that there is a level for."""
    return number(1.0, doc, above=0, needs=("bits",))


def steps_of(bits: int) -> int:
    """How many levels there are above 0."""
    return 2 ** (bits - 1) - 1


def on_levels(value: Array, bits: int, limit: Any) -> Array:
    """The nearest of 2^bits − 1 levels from −limit to limit, real and imaginary parts each; what is beyond ends there."""
    if jnp.iscomplexobj(value):
        return jax.lax.complex(on_levels(value.real, bits, limit), on_levels(value.imag, bits, limit))
    step = jnp.asarray(limit, value.dtype) / steps_of(bits)
    return jnp.clip(jnp.round(value / step), -steps_of(bits), steps_of(bits)) * step


@jax.custom_jvp
def in_place_of(wanted: Any, found: Any) -> Any:
    """What was found, with the derivative of what was wanted: who wants does not know what is found."""
    del wanted
    return found


@in_place_of.defjvp
def _as_if_wanted(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    return primals[1], tangents[0]
