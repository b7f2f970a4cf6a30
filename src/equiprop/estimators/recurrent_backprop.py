"""The exact gradient by relaxing the adjoint system."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from equiprop.estimators._estimator import AbstractEstimator, Response
from equiprop.estimators._papers import ADJOINT, ALMEIDA
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.numerics import Number, number, trees
from equiprop.solvers import relax_field
from equiprop.systems import AbstractField, Block, only_block


class AdjointDynamics(AbstractField):
    """The linear field (∂F/∂u)ᵀδ + D∇C at a fixed equilibrium; its state is δ."""

    field: AbstractField
    cost_gradient: PyTree
    pullback: Any

    def force(self, state: PyTree, only: Block = None) -> PyTree:
        return only_block(trees.add(self.pullback(state)[0], self.cost_gradient), only)

    @property
    def blocks(self) -> tuple[Block, ...]:
        # An error begins at the output and travels the other way.
        return self.field.blocks[::-1]


class RecurrentBackprop(AbstractEstimator):
    """δ = −J⁻ᵀ∇C as the equilibrium of δ̇ = (∂F/∂u)ᵀδ + D∇C (Almeida 1987; Pineda 1987, doi:10.1103/PhysRevLett.59.2229).

    The adjoint system is relaxed by the solver of the free phase, at most its `max_steps` sweeps: for F = H(r) − u and
    synchronous sweeps δ ← D(∂H/∂r)ᵀδ + D∇C. It converges where the free relaxation does, and as fast. A sample that does not
    is flagged as unconverged. The error bar is 3·‖(∂F/∂u)ᵀδ + D∇C‖/‖D∇C‖.
    """

    kind: ClassVar[str] = "recurrent_backprop"
    label: ClassVar[str] = "recurrent backpropagation"
    citation: ClassVar[tuple[str, ...]] = (ALMEIDA, ADJOINT)

    accuracy: Number = number(
        1e-4,
        "A sample is done when no unit is further than this from equilibrium, relative to the largest entry of D∇C.",
        above=0,
        below=1,
    )

    tends_to: ClassVar[str] = "adjoint"

    def respond(self, problem: Problem) -> Response:
        gradient, state = problem.state_cost_gradient, problem.free.state
        _, pullback = jax.vjp(problem.force, state)
        largest = trees.max_abs(gradient)
        goal = jnp.asarray(self.accuracy, largest.dtype) * largest
        end = relax_field(
            AdjointDynamics(problem.field, gradient, pullback),
            jax.tree.map(jnp.zeros_like, state),
            problem.solver,
            tolerance=jnp.maximum(goal, jnp.finfo(goal.dtype).tiny),
        )
        return Response(
            error_vector=end.state,
            error_bar=SAFETY * problem.adjoint_residual(end.state),
            converged=end.converged,
            relaxation_steps=end.steps,
        )
