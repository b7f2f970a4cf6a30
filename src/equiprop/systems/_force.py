"""Systems given by a user's own function: a bare force, or the gradient of an energy."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from equiprop.errors import InputError
from equiprop.numerics import AbstractCost, SquaredError, trees
from equiprop.systems._system import Block, System


def _identity(value: Any) -> Any:
    return value


class FunctionSystem(System):
    """F(θ, u, x) from a function of the user. Made by `from_force` and `from_energy`."""

    params: PyTree
    cost: AbstractCost
    function: Callable[[PyTree, PyTree, Any], PyTree] = eqx.field(static=True)
    start: Callable[[Any], PyTree] = eqx.field(static=True)
    activation: Callable[[PyTree], PyTree] = eqx.field(static=True)
    read: Callable[[PyTree], Array] = eqx.field(static=True)
    is_holomorphic: bool = eqx.field(static=True)

    def force(self, state: PyTree, drive: Any, only: Block = None) -> PyTree:
        del only
        return self.function(self.params, state, drive)

    def initial_state(self, x: Any) -> PyTree:
        return self.start(x)

    def activity(self, state: PyTree) -> PyTree:
        return self.activation(state)

    def output(self, activity: PyTree) -> Inexact[Array, "batch n"]:
        return self.read(activity)

    def clamped_force(self, activity: PyTree, drive: Any) -> PyTree:
        return self.force(activity, drive) if self.activation is _identity else super().clamped_force(activity, drive)

    @property
    def holomorphic(self) -> bool:
        return self.is_holomorphic


def from_force(
    force: Callable[[PyTree, PyTree, Any], PyTree],
    params: PyTree,
    *,
    initial_state: Callable[[Any], PyTree] | PyTree,
    activity: Callable[[PyTree], PyTree] = _identity,
    output: Callable[[PyTree], Array] = _identity,
    cost: AbstractCost | None = None,
    holomorphic: bool = True,
) -> FunctionSystem:
    """Any vector field as a system.

    **Arguments:**

    - `force`: `force(params, state, x)` is F for a whole batch, in the structure of the state. For complex estimators it is
      called with a complex state.
    - `params`: θ, any pytree of arrays; its inexact arrays are trained.
    - `initial_state`: a function from the input batch to the state batch, or the state of one sample (no batch axis), with
      which every sample starts.
    - `activity`: elementwise φ on the state, `r = φ(u)`; by default r = u.
    - `output`: picks from the activity the array `[batch, n]` that the cost reads; by default the activity itself.
    - `cost`: by default `SquaredError()`.
    - `holomorphic`: say `False` if F or φ has kinks or uses absolute values, conjugates, maxima.

    Raises `InputError` if the initial state has no array or the activity changes its structure.
    """
    if callable(initial_state):
        start = initial_state
    else:
        single = jax.tree.map(jnp.asarray, initial_state)
        if not jax.tree.leaves(single):
            raise InputError(f"initial_state = {initial_state!r}: must hold at least one array")
        start = _Repeated(single)
    return FunctionSystem(params, cost or SquaredError(), force, start, activity, output, holomorphic)


def from_energy(
    energy: Callable[[PyTree, PyTree, Any], Array],
    params: PyTree,
    *,
    initial_state: Callable[[Any], PyTree] | PyTree,
    activity: Callable[[PyTree], PyTree] = _identity,
    output: Callable[[PyTree], Array] = _identity,
    cost: AbstractCost | None = None,
    holomorphic: bool = True,
) -> FunctionSystem:
    """A system that descends an energy: F = −∂E/∂u. The other arguments are those of `from_force`.

    **Arguments:**

    - `energy`: `energy(params, state, x)` is E per sample, `[batch]`; no sample may depend on another.
    """
    return from_force(
        _Descent(energy),
        params,
        initial_state=initial_state,
        activity=activity,
        output=output,
        cost=cost,
        holomorphic=holomorphic,
    )


class _Repeated:
    """The same start for every sample of a batch."""

    def __init__(self, single: PyTree) -> None:
        self.single = single

    def __call__(self, x: Any) -> PyTree:
        n = trees.batch_size(x)
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (n, *a.shape)), self.single)


class _Descent:
    """−∂E/∂u of an energy per sample, holomorphic where E is."""

    def __init__(self, energy: Callable[[PyTree, PyTree, Any], Array]) -> None:
        self.energy = energy

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descent) and self.energy is other.energy

    def __hash__(self) -> int:
        return hash((_Descent, self.energy))

    def __call__(self, params: PyTree, state: PyTree, x: Any) -> PyTree:
        value, pullback = jax.vjp(lambda u: self.energy(params, u, x), state)
        if value.ndim != 1:
            raise InputError(f"energy: must return one number per sample, [batch], not an array of shape {value.shape}")
        return jax.tree.map(jnp.negative, pullback(jnp.ones_like(value))[0])
