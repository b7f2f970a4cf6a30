"""What follows from a system: slopes, Jacobians at a state, the metric of its mobility, the gradient of its cost.

Every operator maps a batch of vectors in the structure of the state to another, sample by sample, without forming a matrix.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Inexact, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.numerics import trees
from equiprop.systems._system import System

Operator = Callable[[PyTree], PyTree]
FlatOperator = Callable[[Float[Array, " n"]], Float[Array, " n"]]


def slope(system: System, state: PyTree) -> PyTree:
    """φ′(u), the diagonal D, in the structure of the state."""
    return _elementwise_slope(system.activity, state)


def _elementwise_slope(function: Callable[[PyTree], PyTree], state: PyTree) -> PyTree:
    return jax.jvp(function, (state,), (jax.tree.map(jnp.ones_like, state),))[1]


def over_slope(vector: PyTree, slope: PyTree) -> PyTree:
    """D⁻¹·vector, and 0 where D is too small to divide by: such a unit's activity does not move whatever its state does."""

    def one(v: Array, d: Array) -> Array:
        info = jnp.finfo(d.dtype)
        flat = jnp.abs(d) <= info.tiny / info.eps
        return jnp.where(flat, 0, v / jnp.where(flat, 1, d))

    return jax.tree.map(one, vector, slope)


def membrane_jacobian(system: System, state: PyTree, injection: Any) -> Operator:
    """v ↦ (∂F/∂u)·v."""
    return jax.linearize(lambda u: system.force(u, injection), state)[1]


def jacobian(system: System, state: PyTree, injection: Any) -> Operator:
    """v ↦ Jv, with J = ∂F/∂r = (∂F/∂u)·D⁻¹ the Jacobian of the force with respect to the activity.

    Where φ saturates its diagonal grows without limit; where φ′ = 0 the unit is left out.
    """
    couple, d = coupling(system, state, injection), slope(system, state)
    leak = leak_slope(system, state)
    if leak is None:
        return couple
    return lambda v: trees.subtract(couple(v), over_slope(jax.tree.map(jnp.multiply, leak, v), d))


def coupling(system: System, state: PyTree, injection: Any) -> Operator:
    """v ↦ (∂H/∂r)·v of a force F = H(r) − ℓ(u): J without the leak, which is a symmetric diagonal. J itself if ℓ is not known.

    By `recurrent_input` where the system has that. Else as (∂F/∂u + ℓ′)·D⁻¹, whose diagonal is lost to rounding where φ
    saturates, and all the rest is not: see `coupling_is_exact`.
    """
    if _has_recurrent_input(system, state, injection):
        return jax.linearize(lambda r: system.recurrent_input(r, injection), system.activity(state))[1]
    membrane = membrane_jacobian(system, state, injection)
    if _is_identity(system, state):
        return membrane
    d, leak = slope(system, state), leak_slope(system, state)
    move = jax.linearize(system.activity, state)[1]

    def pushed(moved: PyTree) -> PyTree:
        forced = membrane(moved)
        return forced if leak is None else trees.add(forced, jax.tree.map(jnp.multiply, leak, moved))

    def couple(v: PyTree) -> PyTree:
        # Where φ is flat rounding makes of φ′·(v/φ′) something else than v, which is known; so is what is still to be pushed.
        moved = over_slope(v, d)
        left = over_slope(trees.subtract(v, move(moved)), d)
        return trees.add(pushed(moved), pushed(left))

    return couple


def coupling_is_exact(system: System, state: PyTree, injection: Any) -> bool:
    """Whether `coupling` keeps its diagonal where φ saturates; where not, it must be read without it."""
    return _is_identity(system, state) or _has_recurrent_input(system, state, injection)


def leak_slope(system: System, state: PyTree) -> PyTree | None:
    """ℓ′(u) in the structure of the state; `None` if the leak is not known."""
    if jax.eval_shape(system.leak, state) is None:
        return None
    return _elementwise_slope(system.leak, state)  # pyright: ignore[reportArgumentType]


def balanced_jacobian(system: System, state: PyTree, injection: Any) -> Operator:
    """v ↦ D^½·J·D^½·v: J in coordinates where saturated units do not dominate, and finite where φ′ = 0 if the leak is known.

    A congruence, so it changes neither the signs of the eigenvalues of S nor the rotation S⁻¹A. Not a number where φ′ < 0.
    """
    root = jax.tree.map(jnp.sqrt, slope(system, state))
    leak = leak_slope(system, state)
    if leak is not None and _has_recurrent_input(system, state, injection):
        couple = coupling(system, state, injection)

        def balanced(v: PyTree) -> PyTree:
            coupled = couple(jax.tree.map(jnp.multiply, root, v))
            return jax.tree.map(lambda d, c, k, a: d * c - k * a, root, coupled, leak, v)

        return balanced
    membrane = membrane_jacobian(system, state, injection)

    def congruent(v: PyTree) -> PyTree:
        moved = over_slope(v, root)
        forced = membrane(moved)
        if leak is None:
            return jax.tree.map(jnp.multiply, root, forced)
        return jax.tree.map(lambda d, f, k, m, a: d * (f + k * m) - k * a, root, forced, leak, moved, v)

    return congruent


def clamped_force(system: System, activity: PyTree, injection: Any) -> PyTree:
    """H(r), up to what does not depend on r: what arrives while the activities are clamped at `activity`.

    Raises `InputError` if the system does not say it and r is not the state itself.
    """
    arrives = system.recurrent_input(activity, injection)
    if arrives is not None:
        return arrives
    if _is_identity(system, activity):
        return system.force(activity, injection)
    raise InputError(
        f"{type(system).__name__}: does not say what force arrives when its activities are clamped",
        hint="give it the method recurrent_input, or an activity that is the state itself",
    )


def force_under(system: System, state: PyTree, arriving: PyTree, injection: Any) -> PyTree:
    """F(u) + H(q) − H(φ(u)): the force where q arrives in place of what the units pass on.

    Raises `InputError` for a system that does not say what H is.
    """
    force, activity = system.force(state, injection), system.activity(state)
    there = system.recurrent_input(arriving, injection)
    if there is not None:
        return trees.add(force, trees.subtract(there, system.recurrent_input(activity, injection)))
    if _is_identity(system, state) and system.leak(state) is not None:
        return trees.add(system.force(arriving, injection), trees.subtract(system.leak(arriving), system.leak(state)))
    raise InputError(
        f"{type(system).__name__}: does not say what force arrives when other activities are passed on, and only that can lag",
        hint="give it the method recurrent_input, or from_force(..., activity=lambda u: u, leak=...); or no wires that lag",
    )


def _has_recurrent_input(system: System, state: PyTree, injection: Any) -> bool:
    return jax.eval_shape(lambda: system.recurrent_input(system.activity(state), injection)) is not None


def _is_identity(system: System, state: PyTree) -> bool:
    """Whether r = u: the activity is then the state itself, the very same object."""
    return system.activity(state) is state


def error_vector_of(system: System, response: PyTree) -> PyTree:
    """The error vector that a response of the activities stands for: divided by the mobility."""
    mobility = system.mobility
    return response if mobility is None else jax.tree.map(lambda m, a: a / m, mobility, response)


def in_metric(system: System, operator: Operator) -> Operator:
    """v ↦ M^(−½)·operator(M^½·v): a Jacobian in the coordinates in which it is to be symmetric."""
    mobility = system.mobility
    if mobility is None:
        return operator
    root = jax.tree.map(lambda m: m**0.5, mobility)

    def scaled(v: PyTree) -> PyTree:
        moved = operator(jax.tree.map(lambda m, a: m * a, root, v))
        return jax.tree.map(lambda m, a: a / m, root, moved)

    return scaled


def cost_gradient(system: System, activity: PyTree, target: PyTree) -> PyTree:
    """∇_r C per sample, in the structure of the activity; holomorphic in it."""
    cost, pullback = jax.vjp(lambda r: system.cost(system.output(r), target), activity)
    return pullback(jnp.ones_like(cost))[0]


def nudging(system: System, state: PyTree, activity: PyTree, target: PyTree, nudge: Inexact[Array, " batch"]) -> PyTree:
    """β·∇_r C at a state and its activity, as a force: a nudge β > 0 takes it off."""
    if system.coding is not None:
        return system.coding.nudging(state, activity, target, nudge)
    return trees.scale(nudge, cost_gradient(system, activity, target))


def phasors(system: System, activity: PyTree) -> PyTree:
    """What activities, or differences of them, are read as under a complex nudge: as they are, unless they are coded."""
    return activity if system.coding is None else system.coding.phasors(activity)


def read_output(system: System, state: PyTree, key: PRNGKeyArray | None = None) -> PyTree[Inexact[Array, "batch ..."]]:
    """The output at `state`; with a key, of activities as they are `measured`."""
    activity = system.activity(state)
    read = None if key is None else system.measured(activity, key=key)
    return system.output(activity if read is None else read)


def predict(system: System, state: PyTree, *, key: PRNGKeyArray | None = None) -> PyTree[Inexact[Array, "batch ..."]]:
    """What the cost makes of the output at `state`: the scores of the classes, or the output itself.

    **Arguments:**

    - `key`: by which readings are noisy; without one the output is known as it is.
    """
    return system.cost.scores(read_output(system, state, key))


def correct(
    system: System, state: PyTree, target: PyTree, *, key: PRNGKeyArray | None = None
) -> Bool[Array, " batch"] | None:
    """Whether the class decided on at `state` is that of the target, per sample; `None` where targets name no classes.

    **Arguments:**

    - `key`: as of `predict`.
    """
    return system.cost.correct(read_output(system, state, key), target)


def flat_operator(build: Callable[[PyTree, Any], Operator], state: PyTree, injection: Any) -> FlatOperator:
    """The operator that `build(state, injection)` gives for batches, on flat vectors of one sample without a batch axis."""
    operate = build(_lift(state), _lift(injection))
    _, unravel = ravel_pytree(state)
    return lambda v: ravel_pytree(_lower(operate(_lift(unravel(v)))))[0]


def symmetric_parts(system: System, state: PyTree, injection: Any) -> tuple[FlatOperator, FlatOperator]:
    """v ↦ −Sv and v ↦ Av of the balanced Jacobian D^½JD^½, in the metric of the mobility, of a single sample."""
    product = flat_operator(lambda u, d: in_metric(system, balanced_jacobian(system, u, d)), state, injection)
    flat, _ = ravel_pytree(state)
    transposed = jax.linear_transpose(product, flat)

    def minus_s(v: Array) -> Array:
        return -(product(v) + transposed(v)[0]) / 2

    def a(v: Array) -> Array:
        return (product(v) - transposed(v)[0]) / 2

    return minus_s, a


def force_of_one(force: Callable[[PyTree], PyTree]) -> Callable[[PyTree], PyTree]:
    """A force on batches as a function of one sample's state, without a batch axis."""
    return lambda u: _lower(force(_lift(u)))


def _lift(tree: Any) -> Any:
    return jax.tree.map(lambda a: a[None], tree)


def _lower(tree: Any) -> Any:
    return jax.tree.map(lambda a: a[0], tree)
