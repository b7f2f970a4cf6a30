"""The free phase: the equilibrium of a system for a batch of inputs, and its derivative."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from equiprop.errors import InputError
from equiprop.numerics import is_schedule, trees
from equiprop.solvers._linear import GMRES
from equiprop.solvers._relax import Equilibrium, relax_field
from equiprop.solvers._solver import AbstractSolver
from equiprop.solvers.gauss_seidel import GaussSeidel
from equiprop.systems import Free, System, verify


def relax(
    system: System,
    x: Any,
    solver: AbstractSolver | None = None,
    *,
    state: PyTree | None = None,
    injection: Any = None,
    linear_solver: GMRES | None = None,
) -> Equilibrium:
    """The free equilibrium of a system for a batch of inputs. Compiled when first called.

    In reverse mode the state can be differentiated with respect to the parameters of the system and the inputs, by the implicit
    function theorem: one linear solve with (∂F/∂u)ᵀ, in place of a walk back through the relaxation (Bai et al. 2019,
    arXiv 1909.01377). For other estimators, and for their flags, see `equiprop.Layer`.

    **Arguments:**

    - `x`: the input batch.
    - `solver`: `GaussSeidel()` by default.
    - `state`: where to start; by default `system.initial_state(x)`.
    - `injection`: `system.injection(x)`, if it is at hand.
    - `linear_solver`: of the derivative, by default `GMRES()`.

    Raises `InputError` for what is no system or no solver, and for an empty batch; and when run, where the derivative of
    a sample does not converge. Samples that have not come to rest may be left out by `converged`.
    """
    solver = as_solver(solver)
    verify(system, x)
    return _relax(system, x, solver, GMRES() if linear_solver is None else linear_solver, state, injection)


def as_solver(solver: AbstractSolver | None) -> AbstractSolver:
    """The solver, by default `GaussSeidel()`. Raises `InputError` for what is none."""
    if solver is not None and not isinstance(solver, AbstractSolver):
        raise InputError(f"must be a solver object such as ep.GaussSeidel(), not {solver!r}", path="solver")
    if any(map(is_schedule, jax.tree.leaves(solver, is_leaf=is_schedule))):
        raise InputError("holds a schedule, which only training can follow", path="solver", hint="give a number")
    return GaussSeidel() if solver is None else solver


@eqx.filter_jit
def _relax(
    system: System, x: Any, solver: AbstractSolver, linear_solver: GMRES, state: PyTree | None, injection: Any
) -> Equilibrium:
    # The equilibrium depends neither on the way there nor on where it began.
    arrays, rest = eqx.partition((solver, linear_solver, state), eqx.is_inexact_array)
    solver, linear_solver, state = eqx.combine(jax.lax.stop_gradient(arrays), rest)
    return _equilibrium((system, x, injection), solver, linear_solver, state)


@eqx.filter_custom_vjp
def _equilibrium(
    problem: tuple[System, Any, Any], solver: AbstractSolver, linear_solver: GMRES, state: PyTree | None
) -> Equilibrium:
    del linear_solver
    system, x, injection = problem
    injection = system.injection(x) if injection is None else injection
    state = system.initial_state(x) if state is None else state
    return relax_field(Free(system.ready, injection), state, solver)


_NOT_SOLVED = (
    "the derivative of a sample's equilibrium did not converge: leave out the samples that have not come to rest (`converged`), "
    "give a linear_solver with more restarts, or use ep.Layer, which flags them"
)


@_equilibrium.def_fwd
def _forward(
    perturbed: Any,
    problem: tuple[System, Any, Any],
    solver: AbstractSolver,
    linear_solver: GMRES,
    state: PyTree | None,
) -> tuple[Equilibrium, PyTree]:
    del perturbed
    found = _equilibrium(problem, solver, linear_solver, state)
    return found, found.state


@_equilibrium.def_bwd
def _backward(
    found: PyTree,
    cotangent: Equilibrium,
    perturbed: Any,
    problem: tuple[System, Any, Any],
    solver: AbstractSolver,
    linear_solver: GMRES,
    state: PyTree | None,
) -> PyTree:
    """With −(∂F/∂u)ᵀλ = the cotangent of the state, λᵀ∂F by the parameters and the input."""
    del perturbed, solver, state
    system, x, injection = problem
    fixed = system.injection(x) if injection is None else injection
    arriving = jax.tree.map(
        lambda g, u: jnp.zeros_like(u) if g is None else g, cotangent.state, found, is_leaf=_is_none
    )
    answer = linear_solver.solve(system, found, fixed, trees.negative(arriving), transpose=True)
    adjoint = eqx.error_if(answer.value, ~answer.converged, _NOT_SOLVED)

    @eqx.filter_grad
    def weighted_force(arguments: tuple[System, Any, Any]) -> jax.Array:
        theta, inputs, given = arguments
        force = theta.force(found, theta.injection(inputs) if given is None else given)
        return jnp.sum(trees.inner(adjoint, force))

    return weighted_force(problem)


def _is_none(leaf: Any) -> bool:
    return leaf is None
