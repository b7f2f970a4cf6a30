"""The exact gradient of the cost at equilibrium, by the implicit function theorem."""

from typing import ClassVar

from equiprop.estimators._estimator import AbstractEstimator, Response
from equiprop.estimators._papers import ADJOINT
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.numerics import part, trees
from equiprop.solvers import GMRES


class Adjoint(AbstractEstimator):
    """δ = −J⁻ᵀ∇C, the reference that every other estimator is measured against (Almeida 1987; Pineda 1987,
    doi:10.1103/PhysRevLett.59.2229; as implicit differentiation: Bai et al. 2019, arXiv 1909.01377).

    Solves (∂F/∂u)ᵀ·δ = −D·∇C by GMRES on vector-Jacobian products. The error bar is three times the relative residual, and a
    sample whose solve did not converge is flagged as unconverged. Near a bifurcation δ grows without limit; `clip` bounds it.
    """

    kind: ClassVar[str] = "adjoint"
    label: ClassVar[str] = "the exact adjoint gradient"
    citation: ClassVar[tuple[str, ...]] = (ADJOINT, *GMRES.citation)

    linear_solver: GMRES = part(GMRES, "The linear solver.")

    tends_to: ClassVar[str] = "adjoint"

    def respond(self, problem: Problem) -> Response:
        right = trees.negative(problem.state_cost_gradient)
        answer = self.linear_solver.solve(problem.system, problem.free.state, problem.injection, right, transpose=True)
        return Response(
            error_vector=answer.value,
            error_bar=SAFETY * answer.relative_residual,
            converged=answer.converged,
            relaxation_steps=answer.products,
        )
