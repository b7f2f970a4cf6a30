"""What is done to a batch on the device before a system sees it."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.numerics import Settings


class AbstractTransform(Settings):
    """Inputs and targets of a batch, each time anew: `transform(x, y, key=key)` → (x, y).

    To add one, subclass this with `__call__`. A function of the same signature does as well. What it draws may depend on `key`
    and on the size of the batch alone.
    """

    @abc.abstractmethod
    def __call__(self, x: Any, y: Any, *, key: PRNGKeyArray) -> tuple[Any, Any]:
        """The batch that is trained on in place of (x, y)."""


def images_of(x: Any, name: str) -> Array:
    """`x` if it is a batch of images, `[batch, height, width, ...]`. Raises `InputError` otherwise."""
    if not (hasattr(x, "ndim") and x.ndim >= 3):
        found = f"of shape {list(x.shape)}" if hasattr(x, "shape") else f"a {type(x).__name__}"
        raise InputError(f"{name} is for images [batch, height, width, ...]; the input is {found}", path="transforms")
    return x


def per_sample(values: Array, like: Array) -> Array:
    """`values` `[batch]` so that they broadcast against `like` `[batch, ...]`."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def weights_of(y: Any, classes: int, name: str) -> Array:
    """Targets as real numbers that can be mixed: labels as one-hot weights. Raises `InputError` for labels of no known number."""
    if not jnp.issubdtype(y.dtype, jnp.integer):
        return y
    if y.ndim == 1 and not classes:
        raise InputError(f"{name} of labels needs to know how many there are", path="classes", hint="give classes")
    return jax.nn.one_hot(y, classes) if y.ndim == 1 else y.astype(jnp.result_type(float))


def mixed(weight: Array, tree: PyTree, other: PyTree) -> PyTree:
    """weight·tree + (1 − weight)·other, with one weight a sample."""

    def one(a: Array, b: Array) -> Array:
        share = per_sample(weight, a).astype(a.dtype if jnp.issubdtype(a.dtype, jnp.inexact) else weight.dtype)
        return share * a + (1 - share) * b

    return jax.tree.map(one, tree, other)
