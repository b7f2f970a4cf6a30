"""What findings print."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from equiprop.numerics import Figures


class Found(Figures):
    size: Array
    per_sample: Array
    flags: Array
    by_name: dict[str, Array]
    gradient: PyTree


FOUND = Found(
    jnp.asarray(0.123456),
    np.asarray([3.0, np.nan, 1.0, 8.0]),
    jnp.asarray([True, False]),
    {"hidden_1": jnp.asarray(2)},
    {"w": jnp.ones((2, 2))},
)


def test_numbers_their_range_and_what_is_set_but_no_arrays():
    assert repr(FOUND).splitlines() == [
        "Found",
        "  size              0.1235",
        "  per sample        median 3, 1 to 8 (1 no number)",
        "  flags             1 of 2",
        "  by name hidden_1  2",
    ]
    nothing = jnp.full(3, jnp.nan)
    assert "per sample  no number" in repr(Found(nothing, nothing, nothing, {}, None))


def test_inside_of_a_transformation_the_shapes():
    shown = []
    jax.jit(lambda found: shown.append(repr(found)))(FOUND)
    assert "per_sample=f" in shown[0]
    many = jnp.ones((2, 3))
    assert "per_sample=f64[2,3]" in repr(Found(many, many, many, {}, None))
