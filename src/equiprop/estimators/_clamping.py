"""Relaxing with the output clamped: what coupled learning and contrastive Hebbian learning share, and do in place of nudging."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, PyTree

from equiprop.errors import InputError
from equiprop.estimators._circle import RESPONSE_ACCURACY, nudged_tolerance
from equiprop.estimators._estimator import AbstractEstimator, Response
from equiprop.estimators._problem import SAFETY, Problem, relative
from equiprop.numerics import AbstractCost, trees
from equiprop.solvers import relax_field
from equiprop.systems import Free, System, over_slope, slope
from equiprop.systems._field import only_block
from equiprop.systems._system import Block


class Clamp(eqx.Module):
    """An input, and the activity that the output is held at, whatever its own state.

    - `injection`: of the system that is clamped.
    - `activity`: in the structure of the activity; only the output counts.
    - `held`: a state; that of the output stays as it is there.
    """

    injection: Any
    activity: PyTree
    held: PyTree


class Clamped(System):
    """A system whose output is clamped. Its injection is a `Clamp`.

    Where r = u, or the recurrent input H(r) of F = H(r) − ℓ(u) is known, the clamped activities take the place of φ(u) in the
    force: no activation has to be inverted, and an output may be clamped where φ cannot go. Elsewhere the output's state relaxes
    to where φ(u) is what it is clamped at.
    """

    cost: AbstractCost
    system: System

    @classmethod
    def of(cls, system: System) -> "Clamped":
        return cls(system.cost, system)

    def initial_state(self, x: Any) -> PyTree:
        return self.system.initial_state(x)

    def output(self, activity: PyTree) -> Inexact[Array, "batch ..."]:
        return self.system.output(activity)

    def activity(self, state: PyTree) -> PyTree:
        return self.system.activity(state)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.system.blocks

    def substitutes(self, state: PyTree, injection: Any) -> bool:
        """Whether clamped activities can take the place of φ(u)."""
        known = jax.eval_shape(lambda: self.system.recurrent_input(self.system.activity(state), injection))
        return _is_linear(self.system, state) or known is not None

    def clamped_activity(self, state: PyTree, clamp: Clamp) -> PyTree:
        """φ(u), and at the output what it is clamped at."""
        activity = self.system.activity(state)
        return jax.tree.map(jnp.where, output_mask(self.system, activity), clamp.activity, activity)

    def force(self, state: PyTree, injection: Clamp, only: Block = None) -> PyTree:
        """F with the output clamped; that on the output itself pulls its state to where it is held."""
        activity = self.system.activity(state)
        at_output = only_block(output_mask(self.system, activity), only)
        if self.substitutes(state, injection.injection):
            home = trees.subtract(injection.held, state)
        else:
            home = trees.subtract(injection.activity, activity)
        return jax.tree.map(jnp.where, at_output, only_block(home, only), self.clamped_force(state, injection, only))

    def clamped_force(self, state: PyTree, injection: Clamp, only: Block = None) -> PyTree:
        """F with the output clamped, on the output too."""
        system, inner = self.system, injection.injection
        if not self.substitutes(state, inner):
            return system.force(state, inner, only)
        clamped = self.clamped_activity(state, injection)
        if _is_linear(system, state):
            return system.force(clamped, inner, only)
        change = trees.subtract(*(system.recurrent_input(r, inner) for r in (clamped, system.activity(state))))
        return trees.add(system.force(state, inner, only), only_block(change, only))


def _is_linear(system: System, state: PyTree) -> bool:
    """Whether r = u: the activity is the state itself."""
    return all(a is b for a, b in zip(*map(jax.tree.leaves, (system.activity(state), state)), strict=True))


def output_mask(system: System, activity: PyTree) -> PyTree:
    """Which units the output reads, in the structure of the activity."""
    output, pullback = jax.vjp(system.output, activity)
    return jax.tree.map(lambda a: a != 0, pullback(jnp.ones_like(output))[0])


class AtBothStates(eqx.Module):
    """½·(δ·F(θ, u, x) + δ·F_C(θ, u_C, x)), F_C the force with the output clamped.

    With δ = M⁻¹(r − r_C)/η it is (E_C − E)/η by the trapezoid rule, exact for an energy whose derivative by θ is quadratic in r,
    and so the contrast of the two states that a synapse sees locally.
    """

    free: PyTree
    clamped: PyTree
    activity: PyTree

    def __call__(
        self, theta: System, x: Any, error_vector: PyTree, sound: Bool[Array, " batch"]
    ) -> Float[Array, " batch"]:
        free, clamped, activity = trees.stand_in(sound, (self.free, self.clamped, self.activity))
        injection = theta.injection(x)
        clamp = Clamp(injection, activity, clamped)
        forces = theta.force(free, injection), Clamped.of(theta).clamped_force(clamped, clamp)
        return sum(trees.inner(error_vector, force) for force in forces) / 2  # pyright: ignore[reportReturnType]


class AbstractClamping(AbstractEstimator):
    """An estimator that holds the output, instead of nudging it."""

    def check(self, system: System, x: Any) -> None:
        check_clamping(system, x)

    def respond_at(self, problem: Problem, size: Float[Array, " batch"]) -> Response:
        """The contrast between the free state and the one clamped at r + η·(y − r), over η, a number per sample."""
        system, solver = problem.system, problem.solver
        toward = output_error(problem)
        clamp = clamp_at(problem, trees.scale(-size, toward))
        held = Clamped.of(system)
        end = relax_field(
            Free(held, clamp),
            clamp.held,
            solver,
            tolerance=nudged_tolerance(problem, jnp.abs(size), RESPONSE_ACCURACY),
            max_steps=solver.nudged_max_steps,
        )
        clamped = held.clamped_activity(end.state, clamp)
        change = trees.subtract(problem.read(clamped, 1), problem.read(problem.activity, 0))
        error_vector = problem.error_vector(trees.scale(-1 / size, change))
        return Response(
            error_vector=error_vector,
            error_bar=SAFETY * clamped_residual(problem, error_vector),
            converged=end.converged,
            relaxation_steps=end.steps,
            nudge=jnp.abs(size),
            noise=problem.noise_of(2**0.5, size, trees.norm(error_vector)),
            surrogate=AtBothStates(problem.free.state, end.state, clamped),
        )


def output_error(problem: Problem) -> PyTree:
    """r − y at the output, in the structure of the activity, and zero elsewhere. The mobility of the output is 1."""
    system, activity = problem.system, problem.activity
    output, pullback = jax.vjp(system.output, activity)
    desired = system.cost.desired_output(output, problem.target)
    assert desired is not None
    return pullback(output - desired)[0]


def clamp_at(problem: Problem, change: PyTree) -> Clamp:
    """The free state with the activity of the output changed so much."""
    clamped = trees.add(problem.activity, change)
    held = clamped if _is_linear(problem.system, problem.free.state) else problem.free.state
    return Clamp(problem.injection, clamped, held)


def clamped_forces(problem: Problem, error_vector: PyTree) -> tuple[PyTree, PyTree]:
    """The forces on all but the output that a displacement by `error_vector` makes: of the output alone, and of everything."""
    system, mobility = problem.system, problem.mobility
    held, state = Clamped.of(system), problem.free.state
    at_output = output_mask(system, problem.activity)
    moved = error_vector if mobility is None else jax.tree.map(jnp.multiply, mobility, error_vector)
    nothing = jax.tree.map(jnp.zeros_like, state)

    def force(activity: PyTree, state: PyTree) -> PyTree:
        made = held.clamped_force(state, Clamp(problem.injection, activity, state))
        return jax.tree.map(lambda m, f: jnp.where(m, 0, f), at_output, made)

    _, linear = jax.linearize(force, problem.activity, state)
    everything = over_slope(moved, slope(system, state))
    output = (
        nothing
        if held.substitutes(state, problem.injection)
        else jax.tree.map(jnp.where, at_output, everything, nothing)
    )
    return linear(moved, output), linear(moved, jax.tree.map(jnp.where, at_output, output, everything))


def clamped_residual(problem: Problem, error_vector: PyTree) -> Float[Array, " batch"]:
    """‖D(Jδ)‖ over all but the output, relative to what the output's part of δ does there: 0 for the response to a clamp that
    vanishes."""
    by_output, by_all = clamped_forces(problem, error_vector)
    return relative(problem.in_activity(by_all), problem.in_activity(by_output))


def check_clamping(system: System, x: Any) -> None:
    """Raises `InputError` for a system whose output cannot be clamped."""
    shape = jax.eval_shape(system.initial_state, x)
    with jax.ensure_compile_time_eval():
        state = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)
        activity = jax.eval_shape(system.activity, state)
        numbered = _numbered(activity)
        output, pullback = jax.vjp(system.output, numbered)
        back = pullback(output)[0]
        kept = jax.tree.map(lambda b, n: (b == n) | (b == 0), back, numbered)
        selects = all(bool(k.all()) for k in jax.tree.leaves(kept)) and bool((system.output(back) == output).all())
    if not selects:
        raise InputError(
            "its output is not a part of its activity, and cannot be clamped", hint="nudge it instead, by Centered()"
        )
    if system.cost.desired_output(output, jnp.zeros(output.shape, output.dtype)) is None:
        raise InputError(
            f"{type(system.cost).__name__} names no output to clamp at",
            path="cost",
            hint="use a cost that does: SquaredError()",
        )


def _numbered(tree: PyTree) -> PyTree:
    """Another number for every unit of a sample, none of them zero."""
    first, numbered = 1, []
    leaves, structure = jax.tree.flatten(tree)
    for leaf in leaves:
        count = leaf.size // leaf.shape[0]
        row = jnp.arange(first, first + count, dtype=leaf.dtype).reshape(leaf.shape[1:])
        numbered.append(jnp.broadcast_to(row, leaf.shape))
        first += count
    return jax.tree.unflatten(structure, numbered)
