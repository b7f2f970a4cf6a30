"""Systems given by a user's own function: a bare force, or the gradient of an energy."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Inexact, PyTree

from equiprop.errors import InputError
from equiprop.numerics import AbstractCost, SquaredError, trees
from equiprop.systems._system import Block, System


def _identity(value: Any) -> Any:
    return value


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: list(jnp.shape(leaf)), tree)


def _taken(what: str, answer: Callable[[], PyTree], hint: str = "", **given: PyTree) -> PyTree:
    """What a function of the user gives. Raises `InputError` where it does not take what it is given; whether it takes complex
    numbers is for others to say.
    """
    try:
        return answer()
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        if any(map(jnp.iscomplexobj, jax.tree.leaves(given))):
            raise
        told = " and ".join(f"{name} of shapes {_shapes(tree)}" for name, tree in given.items())
        raise InputError(f"{what}: does not take {told} ({error})", hint=hint) from error


class FunctionSystem(System):
    """F(θ, u, x) from a function of the user. Made by `from_force` and `from_energy`."""

    params: PyTree
    cost: AbstractCost
    function: Callable[[PyTree, PyTree, Any], PyTree] = eqx.field(static=True)
    start: Callable[[Any], PyTree] = eqx.field(static=True)
    activation: Callable[[PyTree], PyTree] = eqx.field(static=True)
    read: Callable[[PyTree], Array] = eqx.field(static=True)
    leak_function: "Callable[[PyTree], PyTree] | None" = eqx.field(static=True)
    is_holomorphic: bool | None = eqx.field(static=True)
    mobilities: "_Constant | None" = eqx.field(static=True)

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        del only
        return self.function(self.params, state, injection)

    def initial_state(self, x: Any) -> PyTree:
        """Where a sample starts, in the floating type of the parameters and the inputs; in its own where there are none.

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
        # Parameters may be functions, too.
        numbers = [a for a in jax.tree.leaves((self.params, x)) if not callable(a)]
        given = [a for a in numbers if jnp.issubdtype(jnp.result_type(a), jnp.inexact)]
        if given:
            state = jax.tree.map(lambda a: a.astype(jnp.result_type(*given)), state)
        force = self._force_like(state, x)
        if _shapes(force) != _shapes(state):
            raise InputError(
                f"force: must have the structure and the shapes of the state, {_shapes(state)}; it has {_shapes(force)}"
            )
        dtype = jnp.result_type(*jax.tree.leaves(state), *jax.tree.leaves(force))
        # A complex x has complex fixed points, which `relax` finds from a complex state.
        kind = jnp.inexact if any(map(jnp.iscomplexobj, jax.tree.leaves(x))) else jnp.floating
        if not all(jnp.issubdtype(a.dtype, kind) for a in jax.tree.leaves(force)):
            found = ", ".join(sorted({str(leaf.dtype) for leaf in jax.tree.leaves(force)}))
            hint = "params, x and the force must be real"
            raise InputError(f"force: gives numbers of type {found} for a state of real ones", hint=hint)
        return jax.tree.map(lambda a: a.astype(dtype), state)

    def _force_like(self, state: PyTree, x: Any) -> PyTree:
        """What the force gives, as shapes. Raises `InputError` where the function does not take such a state and such inputs."""
        repeated = isinstance(self.start, _Repeated)
        hint = "an initial_state of numbers is that of one sample, without the axis of samples" if repeated else ""
        return _taken(
            "force", lambda: jax.eval_shape(lambda: self.force(state, self.injection(x))), hint, state=state, x=x
        )

    def activity(self, state: PyTree) -> PyTree:
        activity = _taken("activity", lambda: self.activation(state), state=state)
        if jax.tree.structure(activity) != jax.tree.structure(state) or _shapes(activity) != _shapes(state):
            raise InputError(
                f"activity: must keep the structure and the shapes of the state, {_shapes(state)}; it gives {_shapes(activity)}"
            )
        return activity

    def output(self, activity: PyTree) -> PyTree[Inexact[Array, "batch ..."]]:
        output = _taken("output", lambda: self.read(activity), activity=activity)
        batch = trees.batch_size(activity)
        if any(jnp.shape(leaf)[:1] != (batch,) for leaf in jax.tree.leaves(output)):
            raise InputError(
                f"output: must have the batch of {batch} as its first axis; it has the shapes {_shapes(output)}"
            )
        return output

    def leak(self, state: PyTree) -> PyTree | None:
        return None if self.leak_function is None else self.leak_function(state)

    @property
    def holomorphic(self) -> bool | None:
        return self.is_holomorphic

    @property
    def mobility(self) -> PyTree | None:
        return None if self.mobilities is None else self.mobilities.tree


def from_force(
    force: Callable[[PyTree, PyTree, Any], PyTree],
    params: PyTree,
    *,
    initial_state: Callable[[Any], PyTree] | PyTree,
    activity: Callable[[PyTree], PyTree] = _identity,
    leak: "float | PyTree | Callable[[PyTree], PyTree] | None" = 1.0,
    output: Callable[[PyTree], Array] = _identity,
    cost: AbstractCost | None = None,
    holomorphic: bool | None = None,
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
    - `leak`: how the force pulls a state back by itself where there is an activity, F = H(φ(u)) − leak·u: a number, numbers in
      the structure of one sample's state, or an elementwise function of the state in place of leak·u. `None` if F has not that
      form: then nothing is known of Jacobians where φ saturates. It is checked when the system is first used.
    - `output`: picks from the activity the array `[batch, ...]` that the cost reads; by default the activity itself.
    - `cost`: by default `SquaredError()`.
    - `holomorphic`: whether F and φ continue analytically to complex states, so without kinks, absolute values, conjugates,
      maxima. By default that is tested when an estimator needs it.
    - `mobility`: one number for each leaf of the state, in its structure, 1 where the cost reads: what the force is to be divided
      by for its Jacobian to be symmetric (see `System.mobility`). By default 1 everywhere.

    Raises `InputError` if a function is none, the initial state has no array, a mobility is not above 0, or the cost is not a
    cost; and when first used, if the force has not the shapes of the state, the activity not its structure, an array of the
    inputs no batch axis, or the leak is another.
    """
    _require_functions(force=force, activity=activity, output=output)
    if callable(initial_state):
        start = initial_state
    else:
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(initial_state)):
            raise InputError(
                "has no value inside of a compiled function",
                path="initial_state",
                hint="give NumPy arrays, or a function of the input",
            )
        single = jax.tree.map(np.asarray, initial_state)
        if not jax.tree.leaves(single):
            raise InputError("must hold at least one array", path="initial_state", value=initial_state)
        start = _Repeated(_Constant.of(single))
    cost = SquaredError() if cost is None else cost
    if not isinstance(cost, AbstractCost):
        raise InputError("must be a cost object such as ep.SquaredError()", path="cost", value=cost)
    leaks = None if activity is _identity else _leak_function(leak)
    mobilities = None if mobility is None else _checked(mobility)
    return FunctionSystem(params, cost, force, start, activity, output, leaks, holomorphic, mobilities)


def from_energy(
    energy: Callable[[PyTree, PyTree, Any], Array],
    params: PyTree,
    *,
    initial_state: Callable[[Any], PyTree] | PyTree,
    output: Callable[[PyTree], Array] = _identity,
    cost: AbstractCost | None = None,
    holomorphic: bool | None = None,
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
    _require_functions(energy=energy)
    return from_force(
        _Descent(energy, None if mobility is None else _checked(mobility)),
        params,
        initial_state=initial_state,
        output=output,
        cost=cost,
        holomorphic=holomorphic,
        mobility=mobility,
    )


def _require_functions(**given: Any) -> None:
    for name, function in given.items():
        if not callable(function):
            raise InputError("must be a function", path=name, value=function)


@dataclass(frozen=True)
class _Constant:
    """A pytree of numbers that is part of the program: equal where the numbers are, so that what is built twice compiles once."""

    leaves: tuple[tuple[bytes, tuple[int, ...], str], ...]
    structure: Any

    @classmethod
    def of(cls, tree: PyTree) -> "_Constant":
        leaves, structure = jax.tree.flatten(tree)
        arrays = [np.asarray(leaf) for leaf in leaves]
        return cls(tuple((a.tobytes(), a.shape, a.dtype.str) for a in arrays), structure)

    @property
    def tree(self) -> PyTree:
        arrays = [np.frombuffer(data, dtype).reshape(shape) for data, shape, dtype in self.leaves]
        # A Python number takes the precision of what it meets.
        return jax.tree.unflatten(self.structure, [a.item() if a.ndim == 0 else a for a in arrays])


def _checked(mobility: PyTree) -> _Constant:
    for value in jax.tree.leaves(mobility):
        if jnp.ndim(value) or not 0 < value < math.inf:
            raise InputError(
                "must be a finite number above 0, one for each leaf of the state", path="mobility", value=value
            )
    return _Constant.of(jax.tree.map(float, mobility))


@dataclass(frozen=True)
class _Repeated:
    """The same start for every sample of a batch."""

    single: _Constant

    def __call__(self, x: Any) -> PyTree:
        axes = {leaf.shape[0] if jnp.ndim(leaf) else None for leaf in jax.tree.leaves(x)}
        if len(axes) != 1 or None in axes:
            raise InputError(
                "initial_state is that of one sample, and the inputs do not tell how many there are: every array of x must have "
                "the batch as its first axis; what all samples share belongs into params"
            )
        batch = axes.pop()
        return jax.tree.map(lambda a: jnp.broadcast_to(jnp.asarray(a), (batch, *np.shape(a))), self.single.tree)


def _leak_function(leak: Any) -> Callable[[PyTree], PyTree] | None:
    if leak is None or callable(leak):
        return leak
    for value in jax.tree.leaves(leak):
        if not np.all(np.isfinite(np.asarray(value, float))):
            raise InputError("must be finite numbers, or a function of the state", path="leak", value=leak)
    return _LinearLeak(_Constant.of(jax.tree.map(np.asarray, leak)))


@dataclass(frozen=True)
class _LinearLeak:
    """leak·u."""

    rate: _Constant

    def __call__(self, state: PyTree) -> PyTree:
        rate = self.rate.tree
        if jax.tree.structure(rate) == jax.tree.structure(0.0):
            return jax.tree.map(lambda u: rate * u, state)
        return jax.tree.map(lambda k, u: jnp.asarray(k, jnp.finfo(u.dtype).dtype) * u, rate, state)


@dataclass(frozen=True)
class _Descent:
    """−μ·∂E/∂u of an energy per sample, holomorphic where E is."""

    energy: Callable[[PyTree, PyTree, Any], Array]
    mobilities: _Constant | None

    def __call__(self, params: PyTree, state: PyTree, x: Any) -> PyTree:
        value, pullback = jax.vjp(lambda u: self.energy(params, u, x), state)
        if value.shape != (trees.batch_size(state),):
            raise InputError(
                f"energy: must return one number per sample, [batch], not an array of shape {value.shape} for "
                f"{trees.batch_size(state)} samples"
            )
        if not jnp.issubdtype(value.dtype, jnp.inexact):
            raise InputError(f"energy: gives whole numbers ({value.dtype}), which have no slope")
        if jnp.iscomplexobj(value) and not any(map(jnp.iscomplexobj, jax.tree.leaves(state))):
            raise InputError(f"energy: gives complex numbers ({value.dtype}) for a real state; must be real there")
        slope = pullback(jnp.ones_like(value))[0]
        if self.mobilities is None:
            return jax.tree.map(jnp.negative, slope)
        return jax.tree.map(lambda m, g: -m * g, self.mobilities.tree, slope)
