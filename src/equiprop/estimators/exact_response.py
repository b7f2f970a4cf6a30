"""The response to an infinitesimal nudge, by a linear solve."""

from typing import ClassVar

import jax

from equiprop.estimators._estimator import AbstractEstimator, Response
from equiprop.estimators._papers import HOMEOSTASIS
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.numerics import part, trees
from equiprop.solvers import GMRES


class ExactResponse(AbstractEstimator):
    """δE = −J⁻¹∇C, what every nudged estimator tends to as β → 0, whatever the symmetry of J (arXiv 2309.02214).

    Solves (∂F/∂u)·v = −∇C by GMRES on Jacobian-vector products; δE = D·v. The error bar is three times the relative residual.
    """

    kind: ClassVar[str] = "exact_response"
    label: ClassVar[str] = "the exact response (equilibrium propagation at vanishing nudge)"
    citation: ClassVar[tuple[str, ...]] = (HOMEOSTASIS, *GMRES.citation)

    linear_solver: GMRES = part(GMRES, "The linear solver.")

    def respond(self, problem: Problem) -> Response:
        to_activity = jax.linearize(problem.system.activity, problem.free.state)[1]
        right = trees.negative(problem.cost_gradient)
        answer = self.linear_solver.solve(problem.system, problem.free.state, problem.injection, right, transpose=False)
        return Response(
            error_vector=problem.error_vector(to_activity(answer.value)),
            error_bar=SAFETY * answer.relative_residual,
            converged=answer.converged,
            relaxation_steps=answer.products,
        )
