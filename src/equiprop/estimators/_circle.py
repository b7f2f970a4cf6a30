"""Relaxing under nudges of size |β|, and reading the harmonics of what comes back."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from equiprop.estimators._problem import Problem
from equiprop.numerics import trees
from equiprop.solvers import relax_field
from equiprop.systems import AbstractField, Free, Nudged

# How small the residual of a nudged phase must be against the nudging force itself, so that the response is known to about
# this relative accuracy; and the smallest residual that rounding lets a sum over many units reach, in units of eps.
RESPONSE_ACCURACY = 1e-2
_ROUNDING = 32


class NudgedPhases(eqx.Module):
    """Activities under each nudge, copy after copy on a leading axis.

    - `state`, `activity`: u and r at the end of each phase.
    - `residual_force`: what is left of the force there.
    - `residual`: the largest force on any unit over the phases of a sample.
    - `steps`: the sum over the phases of a sample.
    """

    state: PyTree
    activity: PyTree
    residual_force: PyTree
    residual: Float[Array, " batch"]
    converged: Bool[Array, " batch"]
    steps: Int[Array, " batch"]


def relax_nudged(
    problem: Problem,
    nudges: Inexact[Array, "copies batch"],
    *,
    start: PyTree | None = None,
    active: Bool[Array, " batch"] | None = None,
    accuracy: float | Array = RESPONSE_ACCURACY,
) -> NudgedPhases:
    """Relaxes every sample under every nudge as one batch; the phases of a sample stop together.

    The tolerance is the solver's, or `accuracy` times the nudging force where that is weak: a response to a weak force is
    small, and would otherwise never start.

    **Arguments:**

    - `start`: where each phase begins, copy after copy on a leading axis; by default at the free state.
    - `active`: the samples to relax; the others stay where they start.
    """
    free, solver = problem.free, problem.solver
    copies = nudges.shape[0]
    dtype = _phase_dtype(problem, nudges)
    tolerance = nudged_tolerance(problem, jnp.abs(nudges).max(axis=0), accuracy)
    field = Nudged(
        _repeated_field(problem, copies),
        problem.system,
        trees.broadcast_batch(problem.target, copies),
        nudges.astype(dtype).reshape(-1),
        trees.broadcast_batch(_sensitivity(problem, tolerance), copies),
    )
    state = trees.broadcast_batch(free.state, copies) if start is None else trees.join_copies(start)
    end = relax_field(
        field,
        jax.tree.map(lambda a: a.astype(dtype), state),
        solver,
        phases=copies,
        tolerance=jnp.tile(tolerance, copies),
        max_steps=solver.nudged_max_steps,
        active=None if active is None else jnp.tile(active, copies),
    )
    return NudgedPhases(
        trees.split_copies(end.state, copies),
        trees.split_copies(problem.system.activity(end.state), copies),
        # The same expression as in `relax_field`: the compiler evaluates it once.
        trees.split_copies(field.force(end.state), copies),
        end.residual.reshape(copies, -1).max(axis=0),
        end.converged.reshape(copies, -1).all(axis=0),
        end.steps.reshape(copies, -1).sum(axis=0),
    )


def _repeated_field(problem: Problem, copies: int) -> AbstractField:
    """The field of the problem for `copies` of its batch, copy after copy."""
    if problem.corrected is not None:
        return problem.corrected.repeated(copies)
    return Free(problem.system, trees.broadcast_batch(problem.injection, copies))


def _phase_dtype(problem: Problem, nudges: Array) -> Any:
    real = trees.dtype_of(problem.free.state)
    return jnp.result_type(real, jnp.complex64) if jnp.iscomplexobj(nudges) else real


def relax_circle(
    problem: Problem,
    points: int,
    size: Float[Array, " batch"],
    *,
    active: Bool[Array, " batch"] | None = None,
    accuracy: float | Array = RESPONSE_ACCURACY,
) -> NudgedPhases:
    """The phases that `circle` lists, at a |β| per sample.

    An even N has ±|β| among its points. These two are real, and relax first; the complex ones begin where they predict to second
    order, at u* + e^(iθ)·(u₊ − u₋)/2 + e^(2iθ)·((u₊ + u₋)/2 − u*). What is left of the drift of the free relaxation cancels from
    c_1 within either group.
    """
    unit = circle(points)
    if points <= 2 or points % 2:
        return relax_nudged(problem, jnp.asarray(unit)[:, None] * size, active=active, accuracy=accuracy)
    free = problem.free.state
    real = relax_nudged(problem, jnp.asarray([1.0, -1.0])[:, None] * size, active=active, accuracy=accuracy)
    odd = jax.tree.map(lambda u: (u[0] - u[1]) / 2, real.state)
    even = jax.tree.map(lambda u, u0: (u[0] + u[1]) / 2 - u0, real.state, free)
    # Where the pair is no guide, as after a switch of branch, the complex phases begin at the free state.
    guides = real.converged & (trees.norm(even) <= _GUIDES * trees.norm(odd))
    inner = jnp.asarray(unit[1:-1])
    dtype = _phase_dtype(problem, inner)

    def predicted(u0: Array, odd: Array, even: Array) -> Array:
        turn = inner.astype(dtype).reshape(-1, *(1,) * u0.ndim)
        return jnp.where(trees.per_sample(guides, u0), u0 + turn * odd + turn**2 * even, u0.astype(dtype))

    start = jax.tree.map(predicted, free, odd, even)
    turned = relax_nudged(problem, inner[:, None] * size, start=start, active=active, accuracy=accuracy)

    def around(pair: Array, between: Array) -> Array:
        return jnp.concatenate([pair[:1].astype(dtype), between, pair[1:].astype(dtype)])

    return NudgedPhases(
        state=jax.tree.map(around, real.state, turned.state),
        activity=jax.tree.map(around, real.activity, turned.activity),
        residual_force=jax.tree.map(around, real.residual_force, turned.residual_force),
        residual=jnp.maximum(real.residual, turned.residual),
        converged=real.converged & turned.converged,
        steps=real.steps + turned.steps,
    )


# How large the even part of a response may be against its odd part for the two to be extrapolated from.
_GUIDES = 0.5


def _sensitivity(problem: Problem, tolerance: Float[Array, " batch"]) -> PyTree | None:
    """How forces count where there are mobilities: divided by them, as far as rounding allows.

    A population of mobility μ responds, and is read, in units of μ; a force that the output could do with is there many times
    the response.
    """
    mobility = problem.mobility
    if mobility is None:
        return None
    # Who asks for less than rounding lets a relaxation reach gets it asked of all alike.
    floor = jnp.minimum(_floor(problem).astype(tolerance.dtype), tolerance)

    def of(m: Any) -> Array:
        least = jnp.min(jnp.asarray(m, tolerance.dtype))
        return tolerance / jnp.maximum(least * tolerance, floor)

    return jax.tree.map(of, mobility)


def nudged_tolerance(
    problem: Problem, strength: Float[Array, " batch"], accuracy: float | Array
) -> Float[Array, " batch"]:
    """The largest force on any unit at which a phase under a nudge of this size has converged."""
    weak = jnp.maximum(accuracy * strength * trees.max_abs(problem.cost_gradient), _floor(problem))
    return jnp.minimum(jnp.asarray(problem.solver.tolerance, weak.dtype), weak).astype(
        trees.dtype_of(problem.free.state)
    )


def _floor(problem: Problem) -> Float[Array, " batch"]:
    """The smallest force that rounding lets a relaxation reach."""
    eps = jnp.finfo(trees.dtype_of(problem.free.state)).eps
    return _ROUNDING * eps * (1 + trees.max_abs(problem.free.state))


def circle(points: int) -> np.ndarray:
    """The points e^(2πik/N) with non-negative imaginary part: the others give the conjugate activities.

    They are real numbers for N ≤ 2.
    """
    if points <= 2:
        return np.array([1.0, -1.0][:points])
    return np.exp(2j * np.pi * np.arange(points // 2 + 1) / points)


def harmonics(phases: PyTree, points: int, orders: Sequence[int]) -> PyTree:
    """The Fourier coefficients c_m = (1/N)·Σ_k r_k e^(−2πikm/N) from the phases that `circle` lists, m on a leading axis.

    Because r(β̄) is the conjugate of r(β), every c_m is real: the m-th Taylor term r^(m)(0)|β|^m/m! plus its aliases.
    """
    k = np.arange(points // 2 + 1)
    multiplicity = np.where((k == 0) | (2 * k == points), 1, 2)
    angle = 2 * np.pi * np.outer(orders, k) / points

    def coefficients(leaf: Array) -> Array:
        def total(weights: np.ndarray, part: Array) -> Array:
            weights = multiplicity * weights / points
            return jnp.tensordot(jnp.asarray(weights, part.dtype), part, 1, precision="highest")

        real = total(np.cos(angle), leaf.real)
        return real + total(np.sin(angle), leaf.imag) if jnp.iscomplexobj(leaf) else real

    return jax.tree.map(coefficients, phases)


class Circle(eqx.Module):
    """What N nudges of size |β| showed of a response.

    - `coefficients`: c_0 … c_{N−1} of the activity on a leading axis; c_0 less the free activity.
    - `state_response`: the largest |c_1| of any unit of the state u.
    - `residual_force`: the first harmonic of the force that is left over: what the relaxation still owes to c_1.
    """

    coefficients: PyTree
    state_response: Float[Array, " batch"]
    residual_force: PyTree
    residual: Float[Array, " batch"]
    converged: Bool[Array, " batch"]
    steps: Int[Array, " batch"]


def measure(
    problem: Problem,
    points: int,
    size: Float[Array, " batch"],
    *,
    active: Bool[Array, " batch"] | None = None,
    accuracy: float | Array = RESPONSE_ACCURACY,
) -> Circle:
    """Relaxes the phases of an N-point circle of a |β| per sample, and takes their harmonics.

    One point has no opposite to cancel the drift of the free relaxation, so the free state relaxes on beside it.
    """
    if points == 1:
        nudges = jnp.asarray([1.0, 0.0])[:, None] * size
        phases = relax_nudged(problem, nudges, active=active, accuracy=accuracy)
        above_free = lambda tree: jax.tree.map(lambda r: r[0] - r[1], tree)  # noqa: E731
        coefficients = jax.tree.map(lambda a: a[None], above_free(phases.activity))
        state, left = above_free(phases.state), above_free(phases.residual_force)
    else:
        phases = relax_circle(problem, points, size, active=active, accuracy=accuracy)
        coefficients = harmonics(phases.activity, points, range(points))
        coefficients = jax.tree.map(lambda c, r: c.at[0].add(-r), coefficients, problem.activity)
        first = harmonics((phases.state, phases.residual_force), points, [1])
        state, left = jax.tree.map(lambda c: c[0], first)
    return Circle(
        coefficients,
        trees.max_abs(state),
        left,
        jnp.maximum(problem.free.residual, phases.residual),
        phases.converged,
        phases.steps,
    )


def even_part_exceeds(
    threshold: float | Array, coefficients: PyTree, resolution: Float[Array, " batch"]
) -> Bool[Array, " batch"]:
    """Whether the even harmonics of the response exceed `threshold` times the odd ones, per sample.

    A smooth response has an even part of order β against the odd one; a sample that the nudge carried to another branch has
    both of the same size. An even part within ten times `resolution` (the residual force) is unfinished relaxation.
    """
    squares = jax.vmap(trees.squared_norm)(coefficients)
    even, odd = (jnp.sqrt(squares[first::2].sum(axis=0)) for first in (0, 1))
    largest = jax.vmap(trees.max_abs)(jax.tree.map(lambda c: c[0::2], coefficients)).max(axis=0)
    return (even > threshold * odd) & (largest > 10 * resolution)
