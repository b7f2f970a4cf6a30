"""Fixed-point sweeps: all units at once, or block after block."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from equiprop.numerics import trees
from equiprop.systems import AbstractField


def all_at_once(field: AbstractField, state: PyTree, factor: float | Array) -> tuple[PyTree, Float[Array, " batch"]]:
    """One synchronous sweep at ω = `factor`, and the largest absolute force met on the way."""
    force = field.force(state)
    return _moved(state, force, factor), field.norm(force)


def block_by_block(
    field: AbstractField, state: PyTree, factor: float | Array = 1.0
) -> tuple[PyTree, Float[Array, " batch"]]:
    """One Gauss–Seidel sweep at ω = `factor`, and the largest absolute force met on the way."""
    largest = None
    for block in field.blocks:
        force = field.force(state, block)
        here = field.norm(force)
        largest = here if largest is None else jnp.maximum(largest, here)
        if block is None:
            state = _moved(state, force, factor)
        else:
            state = state | _moved({name: state[name] for name in block}, force, factor)
    assert largest is not None
    return state, largest


def _moved(state: PyTree, force: PyTree, factor: float | Array) -> PyTree:
    """u + ω·F, with one ω for all samples or one for each."""
    if jnp.ndim(factor) == 0:
        return jax.tree.map(lambda u, f: u + jnp.asarray(factor, jnp.finfo(u.dtype).dtype) * f, state, force)
    return trees.add(state, trees.scale(jnp.asarray(factor), force))
