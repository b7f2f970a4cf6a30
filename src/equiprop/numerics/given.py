"""What a user gives as arrays: looked at before JAX takes it, which would wrap a large whole number around without a word."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from equiprop.errors import InputError
from equiprop.numerics import trees

_HINT = "give arrays of numbers, not lists, whose leading axis is the samples"


def require_numbers(tree: Any, path: str, *, real: bool = False, may_be_empty: bool = False) -> None:
    """Raises `InputError` where `tree` holds no arrays, or one that is no numbers, or has no axis of samples or none on it, or
    whose whole numbers are too large for the precision in which JAX computes.

    **Arguments:**

    - `real`: whether complex numbers are refused, too.
    - `may_be_empty`: whether there may be no arrays.
    """
    leaves = jax.tree.leaves(tree)
    if not leaves and not may_be_empty:
        raise InputError("holds no arrays", path=path, hint=_HINT)
    for name, leaf in zip(trees.paths(tree), leaves, strict=True):
        where = f"{path}.{name}" if name else path
        array = _as_array(leaf, where)
        if real and jnp.iscomplexobj(array):
            raise InputError("is complex, and the gradient of a cost wants real numbers", path=where)
        if not array.ndim:
            raise InputError("is a single number", path=where, hint=_HINT)
        if not array.shape[0]:
            raise InputError("the batch holds no sample; give at least one", path=where)


def as_key(key: Any, path: str = "key") -> PRNGKeyArray:
    """The key of a whole number, and a key itself. Raises `InputError` for what is neither."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(key)
    kinds = (jax.dtypes.prng_key, jnp.uint32)
    if not isinstance(key, jax.Array) or not any(jnp.issubdtype(key.dtype, kind) for kind in kinds):
        raise InputError("must be a whole number or a key such as jax.random.key(0)", path=path, value=key)
    return key


def _as_array(leaf: Any, path: str) -> Any:
    if isinstance(leaf, jax.Array):
        return leaf
    try:
        array = np.asarray(leaf)
    except ValueError as error:
        raise InputError(f"is no array ({error})", path=path, hint=_HINT) from None
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise InputError(f"holds {array.dtype} of shape {list(array.shape)}", path=path, hint=_HINT)
    if jnp.issubdtype(array.dtype, jnp.integer) and array.size:
        limits = jnp.iinfo(jax.dtypes.canonicalize_dtype(array.dtype))
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            hint = 'give smaller ones, real numbers, or call jax.config.update("jax_enable_x64", True) first'
            raise InputError(
                f"holds whole numbers from {low} to {high}, where {limits.bits} bits reach from {limits.min} to {limits.max}",
                path=path,
                hint=hint,
            )
    return array
