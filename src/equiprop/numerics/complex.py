"""Complex arithmetic through real operations.

The weights of a network are real even where its state is complex. A real-linear map therefore acts on the real and on the
imaginary part alone, and both go through one real operation as a batch of twice the size: half the work of casting the
weights to complex, and it runs on backends whose complex matrix products or convolutions are slow or missing.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact


def real_linear(operation: Callable[[Array], Array], z: Inexact[Array, "batch *shape"]) -> Inexact[Array, "batch *out"]:
    """Applies a real-linear `operation`, defined on real batches, to a real or complex batch `z`.

    For complex `z`, `operation(Re z) + i·operation(Im z)`, evaluated as one call on the stacked batch `[2·batch, ...]`.
    """
    if not jnp.iscomplexobj(z):
        return operation(z)
    stacked = operation(jnp.concatenate([z.real, z.imag]))
    real, imaginary = jnp.split(stacked, 2)
    return jax.lax.complex(real, imaginary)


def real_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """The real dtype of the same precision: `complex64` and `float32` give `float32`."""
    return jnp.finfo(dtype).dtype
