"""Algebra on batched pytrees: every leaf has the batch as its leading axis, and reductions are per sample."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, PyTree

type_of_state = PyTree[Inexact[Array, "batch *shape"]]


def batch_size(tree: PyTree) -> int:
    """The length of the leading axis."""
    return jax.tree.leaves(tree)[0].shape[0]


def per_sample(flags: Array, like: Array) -> Array:
    """`flags` `[batch]` with trailing axes of length 1, so that it broadcasts against `like` `[batch, ...]`."""
    return flags.reshape(flags.shape + (1,) * (like.ndim - flags.ndim))


def scale(factor: Array, tree: PyTree) -> PyTree:
    """Each sample of `tree` times its own entry of `factor` `[batch]`."""
    return jax.tree.map(lambda a: per_sample(factor, a).astype(jnp.result_type(factor, a)) * a, tree)


def select(flags: Bool[Array, " batch"], chosen: PyTree, other: PyTree) -> PyTree:
    """Per sample, `chosen` where the flag is set and `other` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(per_sample(flags, a), a, b), chosen, other)


def stand_in(flags: Bool[Array, " batch"], tree: PyTree) -> PyTree:
    """`tree` with the first flagged sample in the place of every sample that is not flagged.

    For arrays that enter a sum with weight zero: 0·NaN would be NaN, and zeros may lie outside of a user's domain.
    """
    first = jnp.argmax(flags)
    return jax.tree.map(lambda a: jnp.where(per_sample(flags, a), a, a[first]), tree)


def add(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(jnp.add, a, b)


def subtract(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(jnp.subtract, a, b)


def negative(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.negative, tree)


def real(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.real, tree)


def _reduce(leafwise: Callable[[Array], Array], combine: Callable[[Array, Array], Array], tree: PyTree) -> Array:
    return reduce(combine, (leafwise(leaf.reshape(leaf.shape[0], -1)) for leaf in jax.tree.leaves(tree)))


def max_abs(tree: PyTree) -> Float[Array, " batch"]:
    """The largest absolute value of each sample; NaN where any entry is NaN."""
    return _reduce(lambda a: jnp.abs(a).max(axis=1, initial=0), jnp.maximum, tree)


def smallest(tree: PyTree) -> Float[Array, " batch"]:
    """The smallest value of each sample of a real tree."""
    return _reduce(lambda a: a.min(axis=1, initial=jnp.inf), jnp.minimum, tree)


def squared_norm(tree: PyTree) -> Float[Array, " batch"]:
    """Σ|a|² per sample over all leaves."""
    return _reduce(lambda a: (a.real**2 + a.imag**2 if jnp.iscomplexobj(a) else a**2).sum(axis=1), jnp.add, tree)


def norm(tree: PyTree) -> Float[Array, " batch"]:
    """The Euclidean norm of each sample over all leaves."""
    return jnp.sqrt(squared_norm(tree))


def scaled_norm(a: Array, axis: int | None = None) -> Array:
    """The Euclidean norm along an axis, or of all, also of numbers whose squares vanish, in single precision below 1e-19."""
    largest = jnp.max(jnp.abs(a), axis=axis, keepdims=True, initial=0)
    length = jnp.sqrt(jnp.sum((a / jnp.where(largest > 0, largest, 1)) ** 2, axis=axis, keepdims=True))
    return jnp.squeeze(largest * length, axis)


def inner(a: PyTree, b: PyTree) -> Float[Array, " batch"]:
    """Σ a·b per sample over all leaves, of real trees."""
    return _reduce(lambda leaf: leaf.sum(axis=1), jnp.add, jax.tree.map(jnp.multiply, a, b))


def index_batch(tree: PyTree, indices: Array) -> PyTree:
    """Some samples of the batch."""
    return jax.tree.map(lambda a: a[indices], tree)


def put(tree: PyTree, indices: Array, some: PyTree) -> PyTree:
    """`tree` with `some` in the place of the samples at `indices`."""
    return jax.tree.map(lambda a, b: a.at[indices].set(b), tree, some)


def broadcast_batch(tree: PyTree, copies: int) -> PyTree:
    """The batch repeated `copies` times, copy after copy: `[batch, ...]` becomes `[copies·batch, ...]`."""
    return jax.tree.map(lambda a: jnp.concatenate([a] * copies) if copies > 1 else a, tree)


def split_copies(tree: PyTree, copies: int) -> PyTree:
    """The inverse view of `broadcast_batch`: `[copies·batch, ...]` becomes `[copies, batch, ...]`."""
    return jax.tree.map(lambda a: a.reshape(copies, -1, *a.shape[1:]), tree)


def join_copies(tree: PyTree) -> PyTree:
    """The inverse of `split_copies`: `[copies, batch, ...]` becomes `[copies·batch, ...]`."""
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), tree)


def map_in_pieces(function: Callable[[Any], PyTree], samples: PyTree, at_most: int) -> PyTree:
    """`function` of every sample without its batch axis, of so many at once at most.

    `jax.lax.map` compiles what does not divide the batch as a second program; here the last piece is filled up.
    """
    size = batch_size(samples)
    pieces = -(-size // at_most)
    if pieces == 1:
        return jax.vmap(function)(samples)
    rows = jnp.minimum(jnp.arange(pieces * -(-size // pieces)), size - 1)
    found = jax.lax.map(jax.vmap(function), split_copies(index_batch(samples, rows), pieces))
    return jax.tree.map(lambda a: a[:size], join_copies(found))


def dtype_of(tree: PyTree) -> Any:
    """The common inexact dtype of the leaves."""
    return jnp.result_type(*(leaf.dtype for leaf in jax.tree.leaves(tree)))


def paths(tree: PyTree) -> tuple[str, ...]:
    """The path of each leaf, its parts joined by dots, in the order of the leaves: `weights.hidden_1->hidden_2`.

    A dot in a part has a backslash before it, so that no two leaves have the same path.
    """
    found: list[tuple[Any, Any]] = jax.tree_util.tree_flatten_with_path(tree)[0]

    def name(part: Any) -> str:
        return jax.tree_util.keystr((part,), simple=True).replace("\\", "\\\\").replace(".", "\\.")

    return tuple(".".join(map(name, path)) for path, _ in found)
