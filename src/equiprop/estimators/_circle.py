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
from equiprop.systems import AbstractField, Displaced, Free, phasors

# How small the residual of a nudged phase must be against the nudging force itself, so that the response is known to about
# this relative accuracy; and the smallest residual that rounding lets a sum over many units reach, in units of eps.
RESPONSE_ACCURACY = 1e-2
_ROUNDING = 32


class NudgedPhases(eqx.Module):
    """What each nudge displaced, copy after copy on a leading axis, in units of the mobility.

    - `displacement`, `response`: of the state and of the activity from the free ones; as they are held where the system codes
      complex numbers.
    - `residual_force`: what is left of the force.
    - `residual`: the largest force on any unit over the phases of a sample.
    - `steps`: the sum over the phases of a sample.
    """

    displacement: PyTree
    response: PyTree
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

    - `start`: the displacement at which each phase begins, copy after copy on a leading axis; by default none.
    - `active`: the samples to relax; the others stay where they start.
    """
    solver, copies = problem.solver, nudges.shape[0]
    tolerance = displacement_tolerance(problem, jnp.abs(nudges).max(axis=0), accuracy)
    field = displaced(problem, nudges, _sensitivity(problem, tolerance))
    state = start if start is not None else jax.tree.map(lambda a: jnp.zeros((copies, *a.shape)), problem.free.state)
    end = relax_field(
        field,
        jax.tree.map(lambda a: a.astype(_state_dtype(problem, nudges)), trees.join_copies(state)),
        solver,
        phases=copies,
        tolerance=jnp.tile(tolerance, copies),
        max_steps=solver.nudged_max_steps,
        active=None if active is None else jnp.tile(active, copies),
    )
    return NudgedPhases(
        trees.split_copies(end.state, copies),
        trees.split_copies(field.response(end.state), copies),
        # The same expression as in `relax_field`: the compiler evaluates it once.
        trees.split_copies(field.force(end.state), copies),
        end.residual.reshape(copies, -1).max(axis=0),
        end.converged.reshape(copies, -1).all(axis=0),
        end.steps.reshape(copies, -1).sum(axis=0),
    )


def displaced(problem: Problem, nudges: Inexact[Array, "copies batch"], sensitivity: PyTree | None = None) -> Displaced:
    """The field in which the phases under these nudges are displacements of the free state, copy after copy."""
    copies = nudges.shape[0]
    return Displaced(
        _repeated_field(problem, copies),
        problem.system,
        problem.anchor,
        problem.mobility,
        trees.broadcast_batch(problem.target, copies),
        nudges.astype(_phase_dtype(problem, nudges)).reshape(-1),
        trees.broadcast_batch(sensitivity, copies),
    )


def _repeated_field(problem: Problem, copies: int) -> AbstractField:
    """The field of the problem for `copies` of its batch, copy after copy."""
    if problem.corrected is not None:
        return problem.corrected.repeated(copies)
    return Free(problem.system, trees.broadcast_batch(problem.injection, copies))


def _phase_dtype(problem: Problem, nudges: Array) -> Any:
    real = trees.dtype_of(problem.free.state)
    return jnp.result_type(real, jnp.complex64) if jnp.iscomplexobj(nudges) else real


def _state_dtype(problem: Problem, nudges: Array) -> Any:
    return trees.dtype_of(problem.free.state) if problem.system.coding is not None else _phase_dtype(problem, nudges)


def relax_circle(
    problem: Problem,
    points: int,
    size: Float[Array, " batch"],
    *,
    active: Bool[Array, " batch"] | None = None,
    accuracy: float | Array = RESPONSE_ACCURACY,
) -> NudgedPhases:
    """The phases that `circle` lists, at a |β| per sample. Where complex numbers are coded, of all points.

    An even N has ±|β| among its points. These two are real, and relax first; the complex ones begin where they predict to second
    order, displaced by e^(iθ)·(v₊ − v₋)/2 + e^(2iθ)·(v₊ + v₋)/2.
    """
    whole = listed(problem, points) == points
    unit = circle(points, whole=whole)
    if whole or points % 2:
        return relax_nudged(problem, jnp.asarray(unit)[:, None] * size, active=active, accuracy=accuracy)
    real = relax_nudged(problem, jnp.asarray([1.0, -1.0])[:, None] * size, active=active, accuracy=accuracy)
    odd = jax.tree.map(lambda v: (v[0] - v[1]) / 2, real.displacement)
    even = jax.tree.map(lambda v: (v[0] + v[1]) / 2, real.displacement)
    # Where the pair is no guide, as after a switch of branch, the complex phases begin at the free state.
    guides = real.converged & (trees.norm(even) <= _GUIDES * trees.norm(odd))
    inner = jnp.asarray(unit[1:-1])
    dtype = _phase_dtype(problem, inner)

    def predicted(odd: Array, even: Array) -> Array:
        turn = inner.astype(dtype).reshape(-1, *(1,) * odd.ndim)
        return jnp.where(trees.per_sample(guides, odd), turn * odd + turn**2 * even, 0)

    start = jax.tree.map(predicted, odd, even)
    turned = relax_nudged(problem, inner[:, None] * size, start=start, active=active, accuracy=accuracy)

    def around(pair: Array, between: Array) -> Array:
        return jnp.concatenate([pair[:1].astype(dtype), between, pair[1:].astype(dtype)])

    displacement, response, left = (
        jax.tree.map(around, *pair)
        for pair in (
            (real.displacement, turned.displacement),
            (real.response, turned.response),
            (real.residual_force, turned.residual_force),
        )
    )
    return NudgedPhases(
        displacement,
        response,
        left,
        residual=jnp.maximum(real.residual, turned.residual),
        converged=real.converged & turned.converged,
        steps=real.steps + turned.steps,
    )


# How large the even part of a response may be against its odd part for the two to be extrapolated from.
_GUIDES = 0.5


def _sensitivity(problem: Problem, tolerance: Float[Array, " batch"]) -> PyTree | None:
    """How forces in units of the mobility count where they are the difference of two: as far as rounding allows.

    `None` for alike.
    """
    mobility = problem.mobility
    if mobility is None or problem.tells_differences:
        return None
    # Who asks for less than rounding lets a relaxation reach gets it asked of all alike.
    floor = jnp.minimum(_floor(problem).astype(tolerance.dtype), tolerance)

    def of(m: Any) -> Array:
        least = jnp.min(jnp.asarray(m, tolerance.dtype))
        return least * tolerance / jnp.maximum(least * tolerance, floor)

    return jax.tree.map(of, mobility)


def displacement_tolerance(
    problem: Problem, strength: Float[Array, " batch"], accuracy: float | Array
) -> Float[Array, " batch"]:
    """The largest force, in units of the mobility, at which a displacement under a nudge of this size has converged."""
    if not problem.tells_differences:
        return nudged_tolerance(problem, strength, accuracy)
    eps = jnp.finfo(trees.dtype_of(problem.free.state)).eps
    weak = jnp.maximum(accuracy, _ROUNDING * eps) * strength * trees.max_abs(problem.cost_gradient)
    return jnp.minimum(jnp.asarray(problem.solver.tolerance, weak.dtype), weak).astype(
        trees.dtype_of(problem.free.state)
    )


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


def circle(points: int, *, whole: bool = False) -> np.ndarray:
    """The points e^(2πik/N) with non-negative imaginary part: the others give the conjugate activities.

    They are real numbers for N ≤ 2.

    **Arguments:**

    - `whole`: whether all points are wanted, as of a system where the others give something else.
    """
    if points <= 2:
        return np.array([1.0, -1.0][:points])
    return np.exp(2j * np.pi * np.arange(points if whole else points // 2 + 1) / points)


def listed(problem: Problem, points: int) -> int:
    """How many points of a circle are to be measured.

    Nothing says that a conjugate nudge makes of coded numbers conjugate ones: a carrier runs one way.
    """
    return points if points <= 2 or problem.system.coding is not None else points // 2 + 1


def harmonics(phases: PyTree, points: int, orders: Sequence[int]) -> PyTree:
    """The Fourier coefficients c_m = (1/N)·Σ_k r_k e^(−2πikm/N) from the phases that `circle` lists, m on a leading axis.

    Because r(β̄) is the conjugate of r(β), every c_m is real: the m-th Taylor term r^(m)(0)|β|^m/m! plus its aliases. Of a whole
    circle it is the real part.
    """
    k = np.arange(trees.batch_size(phases))
    multiplicity = _multiplicity(points, len(k))
    angle = 2 * np.pi * np.outer(orders, k) / points

    def coefficients(leaf: Array) -> Array:
        def total(weights: np.ndarray, part: Array) -> Array:
            weights = multiplicity * weights / points
            return jnp.tensordot(jnp.asarray(weights, part.dtype), part, 1, precision="highest")

        real = total(np.cos(angle), leaf.real)
        return real + total(np.sin(angle), leaf.imag) if jnp.iscomplexobj(leaf) else real

    return jax.tree.map(coefficients, phases)


class Circle(eqx.Module):
    """What N nudges of size |β| showed of a response, in units of the mobility.

    - `coefficients`: c_0 … c_{N−1} of the activity, from the free one, on a leading axis.
    - `state_response`: the largest |c_1| of any unit of the state u, in its own units.
    - `residual_force`: the first harmonic of the force that is left over: what the relaxation still owes to c_1.
    - `phases`: themselves.
    """

    coefficients: PyTree
    state_response: Float[Array, " batch"]
    residual_force: PyTree
    phases: NudgedPhases


def measure(
    problem: Problem,
    points: int,
    size: Float[Array, " batch"],
    *,
    active: Bool[Array, " batch"] | None = None,
    accuracy: float | Array = RESPONSE_ACCURACY,
    attempt: int | Int[Array, ""] = 0,
) -> Circle:
    """Relaxes the phases of an N-point circle of a |β| per sample, reads their activities, and takes the harmonics.

    **Arguments:**

    - `attempt`: the number of this measurement, of which each has its own noise where reading is noisy.
    """
    phases = relax_circle(problem, points, size, active=active, accuracy=accuracy)
    coefficients = harmonics(read_responses(problem, phases.response, attempt), points, range(points))
    both = phasors(problem.system, phases.displacement), phasors(problem.system, phases.residual_force)
    moved, left = jax.tree.map(lambda c: c[0], harmonics(both, points, [1 % points]))
    mobility = problem.mobility
    state = moved if mobility is None else jax.tree.map(jnp.multiply, mobility, moved)
    return Circle(coefficients, trees.max_abs(state), left, phases)


def read_responses(problem: Problem, response: PyTree, attempt: int | Array) -> PyTree:
    """Responses as they are read: as the differences of two activities that are; complex numbers, where a system codes them."""
    if problem.system.reading_error is None:
        return phasors(problem.system, response)
    free, mobility = problem.activity, problem.mobility
    copies = trees.batch_size(response)
    moved = response if mobility is None else jax.tree.map(jnp.multiply, mobility, response)
    reached = trees.join_copies(jax.tree.map(jnp.add, free, moved))
    read = trees.split_copies(problem.read(reached, attempt, 1), copies)
    change = jax.tree.map(jnp.subtract, read, problem.read(free, attempt, 0))
    change = change if mobility is None else jax.tree.map(lambda m, a: a / m, mobility, change)
    return phasors(problem.system, change)


def reading_gain(problem: Problem, points: int) -> float:
    """The standard deviation of c_1 in units of that of one reading: √Σ(multiplicity/N)² over the phases that are listed.

    Of one point it is the difference from the free state.
    """
    if points == 1:
        return 2**0.5
    return float(np.sqrt(np.sum((_multiplicity(points, listed(problem, points)) / points) ** 2)))


def _multiplicity(points: int, listed: int) -> np.ndarray:
    """For how many points of the circle each that is listed stands."""
    k = np.arange(listed)
    return np.where((k == 0) | (2 * k == points) | (listed == points), 1, 2)


def even_part_exceeds(threshold: float | Array, seen: Circle) -> Bool[Array, " batch"]:
    """Whether the even harmonics of the response exceed `threshold` times the odd ones, per sample.

    A smooth response has an even part of order β against the odd one; a sample that the nudge carried to another branch has
    both of the same size. An even part within ten times what force is left is unfinished relaxation.
    """
    squares = jax.vmap(trees.squared_norm)(seen.coefficients)
    even, odd = (jnp.sqrt(squares[first::2].sum(axis=0)) for first in (0, 1))
    largest = jax.vmap(trees.max_abs)(jax.tree.map(lambda c: c[0::2], seen.coefficients)).max(axis=0)
    return (even > threshold * odd) & (largest > 10 * seen.phases.residual)


def passes_an_unstable_state(problem: Problem, points: int, phases: NudgedPhases) -> Bool[Array, " batch"]:
    """Whether between the free state and one under ±|β| there is force that neither of the two knows of, per sample.

    On one branch the force G(v) that a displacement needs is about ½(G′(0) + G′(v))·v, the trapezoid rule for ∫G′(tv)v dt, and is
    that for a linear system at any nudge. On the way to another branch lies an unstable state, where the force turns round: for
    a cubic force the trapezoid is then at least five times the force. Three times, in the metric of the error vector, count.
    """
    opposite = [0] if points % 2 else [0, points // 2]
    mobility = problem.mobility
    v = trees.join_copies(jax.tree.map(lambda a: a.real[jnp.asarray(opposite)], phases.displacement))
    v = v if mobility is None else jax.tree.map(jnp.multiply, mobility, v)
    free = trees.broadcast_batch(problem.free.state, len(opposite))
    # What is this far from the free state is told by subtraction well enough.
    both = jax.tree.map(lambda u, a: jnp.concatenate([u, u + a]), free, v)
    field = _repeated_field(problem, 2 * len(opposite))
    force, slopes = jax.jvp(field.force, (both,), (trees.broadcast_batch(v, 2),))
    needed = problem.error_vector(jax.tree.map(lambda a: a[len(a) // 2 :] - a[: len(a) // 2], force))
    trapezoid = problem.error_vector(jax.tree.map(lambda a: (a[: len(a) // 2] + a[len(a) // 2 :]) / 2, slopes))
    off = trees.norm(trees.subtract(trapezoid, needed)) > (trees.norm(trapezoid) + trees.norm(needed)) / 2
    return jnp.any(off.reshape(len(opposite), -1), axis=0)
