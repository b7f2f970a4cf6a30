"""One sample's linearisation as operators on flat vectors, for Krylov methods under `vmap`."""

from collections.abc import Callable
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from equiprop.systems._system import System

Operator = Callable[[Float[Array, " n"]], Float[Array, " n"]]


def force_of_one(system: System, injection: Any) -> Callable[[PyTree], PyTree]:
    """F as a function of one sample's state, without a batch axis."""
    return lambda u: _lower(system.force(_lift(u), _lift(injection)))


def flat_operator(
    build: Callable[[PyTree, Any], Callable[[PyTree], PyTree]], state: PyTree, injection: Any
) -> Operator:
    """The linear operator that `build(state, injection)` gives for batches, for a single sample without a batch axis."""
    operate = build(_lift(state), _lift(injection))
    _, unravel = ravel_pytree(state)
    return lambda v: ravel_pytree(_lower(operate(_lift(unravel(v)))))[0]


def symmetric_parts(system: System, state: PyTree, injection: Any) -> tuple[Operator, Operator]:
    """v ↦ −Sv and v ↦ Av of the balanced Jacobian D^½JD^½, in the metric of the mobility, of a single sample."""
    product = flat_operator(lambda u, d: system.in_metric(system.balanced_jacobian(u, d)), state, injection)
    flat, _ = ravel_pytree(state)
    transposed = jax.linear_transpose(product, flat)

    def minus_s(v: Array) -> Array:
        return -(product(v) + transposed(v)[0]) / 2

    def a(v: Array) -> Array:
        return (product(v) - transposed(v)[0]) / 2

    return minus_s, a


def _lift(tree: Any) -> Any:
    return jax.tree.map(lambda a: a[None], tree)


def _lower(tree: Any) -> Any:
    return jax.tree.map(lambda a: a[0], tree)
