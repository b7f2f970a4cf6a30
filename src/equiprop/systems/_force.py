"""Systems given by a user's own function: a bare force, or the gradient of an energy."""

import math
from collections.abc import Callable
from dataclasses import dataclass
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


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: list(leaf.shape), tree)


class FunctionSystem(System):
    """F(θ, u, x) from a function of the user. Made by `from_force` and `from_energy`."""

    params: PyTree
    cost: AbstractCost
    function: Callable[[PyTree, PyTree, Any], PyTree] = eqx.field(static=True)
    start: Callable[[Any], PyTree] = eqx.field(static=True)
    activation: Callable[[PyTree], PyTree] = eqx.field(static=True)
    read: Callable[[PyTree], Array] = eqx.field(static=True)
    is_holomorphic: bool = eqx.field(static=True)
    mobilities: tuple[tuple[float, ...], Any] | None = eqx.field(static=True)

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        del only
        return self.function(self.params, state, injection)

    def initial_state(self, x: Any) -> PyTree:
        """The start, in the one floating type that it and the force are of.

        Raises `InputError` where the state has no batch axis, or an array of x not as many samples as the state.
        """
        state = jax.tree.map(jnp.asarray, self.start(x))
        axes = {leaf.shape[:1] for leaf in jax.tree.leaves(state)}
        if len(axes) != 1 or () in axes:
            shapes = [list(leaf.shape) for leaf in jax.tree.leaves(state)]
            raise InputError(
                f"initial_state: gives arrays of shapes {shapes}: all must have the batch as their first axis"
            )
        batch = trees.batch_size(state)
        for shape in (jnp.shape(leaf) for leaf in jax.tree.leaves(x)):
            if shape[:1] != (batch,):
                raise InputError(
                    f"x: holds an array of shape {list(shape)}, and the initial state is of {batch} samples: every array of x "
                    "must have the batch as its first axis; what all samples share belongs into params"
                )
        force = jax.eval_shape(lambda: self.force(state, self.injection(x)))
        if _shapes(force) != _shapes(state):
            raise InputError(
                f"force: must have the structure and the shapes of the state, {_shapes(state)}; it has {_shapes(force)}"
            )
        dtype = jnp.result_type(*jax.tree.leaves(state), *jax.tree.leaves(force))
        return jax.tree.map(lambda a: a.astype(dtype), state)

    def activity(self, state: PyTree) -> PyTree:
        activity = self.activation(state)
        if jax.tree.structure(activity) != jax.tree.structure(state):
            raise InputError(
                f"activity: must keep the structure of the state, {jax.tree.structure(state)}; "
                f"it gives {jax.tree.structure(activity)}"
            )
        return activity

    def output(self, activity: PyTree) -> Inexact[Array, "batch n"]:
        return self.read(activity)

    def clamped_force(self, activity: PyTree, injection: Any) -> PyTree:
        return (
            self.force(activity, injection)
            if self.activation is _identity
            else super().clamped_force(activity, injection)
        )

    @property
    def holomorphic(self) -> bool:
        return self.is_holomorphic

    @property
    def mobility(self) -> PyTree | None:
        if self.mobilities is None:
            return None
        leaves, structure = self.mobilities
        return jax.tree.unflatten(structure, leaves)


def from_force(
    force: Callable[[PyTree, PyTree, Any], PyTree],
    params: PyTree,
    *,
    initial_state: Callable[[Any], PyTree] | PyTree,
    activity: Callable[[PyTree], PyTree] = _identity,
    output: Callable[[PyTree], Array] = _identity,
    cost: AbstractCost | None = None,
    holomorphic: bool = True,
    mobility: PyTree | None = None,
) -> FunctionSystem:
    """Any vector field as a system.

    **Arguments:**

    - `force`: `force(params, state, x)` is F for a whole batch, in the structure of the state. For complex estimators it is
      called with a complex state. Every array of x has the batch as its first axis; F may be asked for some of its samples alone.
    - `params`: θ, any pytree of arrays; its inexact arrays are trained.
    - `initial_state`: a function from the input batch to the state batch, or the state of one sample (no batch axis), with
      which every sample starts.
    - `activity`: elementwise φ on the state, `r = φ(u)`; by default r = u.
    - `output`: picks from the activity the array `[batch, n]` that the cost reads; by default the activity itself.
    - `cost`: by default `SquaredError()`.
    - `holomorphic`: say `False` if F or φ has kinks or uses absolute values, conjugates, maxima.
    - `mobility`: one number for each leaf of the state, in its structure, 1 where the cost reads: what the force is to be divided
      by for its Jacobian to be symmetric (see `System.mobility`). By default 1 everywhere.

    Raises `InputError` if the initial state has no array, or a mobility is not above 0; and when first used, if the force has
    not the shapes of the state, the activity not its structure, or an array of the inputs no batch axis.
    """
    if callable(initial_state):
        start = initial_state
    else:
        single = jax.tree.map(jnp.asarray, initial_state)
        if not jax.tree.leaves(single):
            raise InputError(f"initial_state = {initial_state!r}: must hold at least one array")
        start = _Repeated(single)
    mobilities = None if mobility is None else _checked(mobility)
    return FunctionSystem(params, cost or SquaredError(), force, start, activity, output, holomorphic, mobilities)


def from_energy(
    energy: Callable[[PyTree, PyTree, Any], Array],
    params: PyTree,
    *,
    initial_state: Callable[[Any], PyTree] | PyTree,
    output: Callable[[PyTree], Array] = _identity,
    cost: AbstractCost | None = None,
    holomorphic: bool = True,
    mobility: PyTree | None = None,
) -> FunctionSystem:
    """A system that descends an energy: F = −∂E/∂u. The other arguments are those of `from_force`.

    There is no `activity`: the state is what the energy is a function of, and the nudge adds βC to the energy, so that what is
    nudged descends E + βC. An activation φ belongs into both, as in the network of Scellier & Bengio (2017,
    doi:10.3389/fncom.2017.00024): `energy` in terms of φ(u), and `output` too.

    **Arguments:**

    - `energy`: `energy(params, state, x)` is E per sample, `[batch]`; no sample may depend on another.
    - `mobility`: μ in F = −μ·∂E/∂u, one number for each leaf of the state, 1 where the cost reads; by default 1 everywhere.
    """
    mobilities = None if mobility is None else _checked(mobility)
    return from_force(
        _Descent(energy, mobilities),
        params,
        initial_state=initial_state,
        output=output,
        cost=cost,
        holomorphic=holomorphic,
        mobility=mobility,
    )


def _checked(mobility: PyTree) -> tuple[tuple[float, ...], Any]:
    """As what can be compared and hashed: its numbers, and their structure."""
    leaves, structure = jax.tree.flatten(mobility)
    for value in leaves:
        if jnp.ndim(value) or not 0 < value < math.inf:
            raise InputError(f"mobility = {value}: must be a finite number above 0, one for each leaf of the state")
    return tuple(float(value) for value in leaves), structure


class _Repeated:
    """The same start for every sample of a batch."""

    def __init__(self, single: PyTree) -> None:
        self.single = single

    def __call__(self, x: Any) -> PyTree:
        axes = {leaf.shape[0] if jnp.ndim(leaf) else None for leaf in jax.tree.leaves(x)}
        if len(axes) != 1 or None in axes:
            raise InputError(
                "initial_state is that of one sample, and the inputs do not tell how many there are: every array of x must have "
                "the batch as its first axis; what all samples share belongs into params"
            )
        batch = axes.pop()
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (batch, *a.shape)), self.single)


@dataclass(frozen=True)
class _Descent:
    """−μ·∂E/∂u of an energy per sample, holomorphic where E is."""

    energy: Callable[[PyTree, PyTree, Any], Array]
    mobilities: tuple[tuple[float, ...], Any] | None

    def __call__(self, params: PyTree, state: PyTree, x: Any) -> PyTree:
        value, pullback = jax.vjp(lambda u: self.energy(params, u, x), state)
        if value.shape != (trees.batch_size(state),):
            raise InputError(
                f"energy: must return one number per sample, [batch], not an array of shape {value.shape} for "
                f"{trees.batch_size(state)} samples"
            )
        slope = pullback(jnp.ones_like(value))[0]
        if self.mobilities is None:
            return jax.tree.map(jnp.negative, slope)
        leaves, structure = self.mobilities
        return jax.tree.map(lambda m, g: -m * g, jax.tree.unflatten(structure, leaves), slope)
