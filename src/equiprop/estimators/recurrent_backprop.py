"""The exact gradient by relaxing the adjoint system."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from equiprop.errors import InputError
from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.numerics import trees
from equiprop.solvers import relax
from equiprop.systems import Block, Wrapped, only_block


class AdjointDynamics(Wrapped):
    """The linear system δ̇ = (∂F/∂u)ᵀδ + D∇C at a fixed equilibrium; its state is δ."""

    state_cost_gradient: PyTree
    pullback: Any

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        del injection
        return only_block(trees.add(self.pullback(state)[0], self.state_cost_gradient), only)


class RecurrentBackprop(AbstractEstimator):
    """δ = −J⁻ᵀ∇C as the equilibrium of δ̇ = (∂F/∂u)ᵀδ + D∇C (Almeida 1987; Pineda 1987, doi:10.1103/PhysRevLett.59.2229).

    The adjoint system is relaxed by the solver of the free phase, at most its `max_steps` sweeps: for F = H(r) − u and
    synchronous sweeps δ ← D(∂H/∂r)ᵀδ + D∇C. It converges where the free relaxation does, and as fast. A sample that does not
    is flagged as unconverged. The error bar is 3·‖(∂F/∂u)ᵀδ + D∇C‖/‖D∇C‖.

    - `accuracy`: a sample is done when no unit is further than this from equilibrium, relative to the largest |D∇C|.
    """

    accuracy: float = eqx.field(default=1e-4, static=True)

    tends_to: ClassVar[str] = "adjoint"

    def __check_init__(self) -> None:
        check_accuracy(self.accuracy)

    def respond(self, problem: Problem) -> Response:
        cost_gradient, state = problem.state_cost_gradient, problem.free.state
        _, pullback = jax.vjp(problem.force, state)
        goal = self.accuracy * trees.max_abs(cost_gradient)
        end = relax(
            AdjointDynamics(system=problem.system, state_cost_gradient=cost_gradient, pullback=pullback),  # pyright: ignore[reportCallIssue]
            None,
            problem.solver,
            state=jax.tree.map(jnp.zeros_like, state),
            injection=problem.injection,
            tolerance=jnp.maximum(goal, jnp.finfo(goal.dtype).tiny),
        )
        return Response(
            error_vector=end.state,
            error_bar=SAFETY * problem.adjoint_residual(end.state),
            converged=end.converged,
            relaxation_steps=end.steps,
        )


def check_accuracy(accuracy: float) -> None:
    if not 0 < accuracy < 1:
        raise InputError(f"accuracy = {accuracy}: must be between 0 and 1")
