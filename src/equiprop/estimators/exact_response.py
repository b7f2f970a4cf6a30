"""The response to an infinitesimal nudge, by a linear solve."""

import equinox as eqx
import jax

from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.estimators._linear import GMRES
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.numerics import trees


class ExactResponse(AbstractEstimator):
    """δE = −J⁻¹∇C, what every nudged estimator tends to as β → 0, whatever the symmetry of J (arXiv 2309.02214).

    Solves (∂F/∂u)·v = −∇C by GMRES on Jacobian-vector products; δE = D·v. The error bar is three times the relative residual.

    - `krylov`: the linear solver.
    """

    krylov: GMRES = eqx.field(default_factory=GMRES)

    def respond(self, problem: Problem) -> Response:
        to_activity = jax.linearize(problem.system.activity, problem.free.state)[1]
        answer = self.krylov.solve(problem, trees.negative(problem.cost_gradient), transpose=False)
        return Response(
            error_vector=problem.system.error_vector_of(to_activity(answer.value)),
            error_bar=SAFETY * answer.relative_residual,
            converged=answer.converged,
            relaxation_steps=answer.products,
        )
