"""The response to an infinitesimal nudge, by a linear solve."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.estimators._linear import Krylov
from equiprop.solvers import AbstractSolver, Equilibrium
from equiprop.systems import System


class ExactResponse(AbstractEstimator):
    """δE = −J⁻¹∇C, what every nudged estimator tends to as β → 0, whatever the symmetry of J (arXiv 2309.02214).

    Solves (∂F/∂u)·v = −∇C by GMRES on Jacobian-vector products; δE = D·v. The error bar is the relative residual.

    - `krylov`: the linear solver.
    """

    krylov: Krylov = eqx.field(default_factory=Krylov)

    def respond(self, system: System, drive: Any, target: Array, free: Equilibrium, solver: AbstractSolver) -> Response:
        del solver
        activity, to_activity = jax.linearize(system.activity, free.state)
        pull = system.cost_gradient(activity, target)
        answer = self.krylov.solve(system, free.state, drive, jax.tree.map(jnp.negative, pull), transpose=False)
        return Response(
            error_vector=to_activity(answer.value),
            error_bar=answer.relative_residual,
            settled=answer.converged,
            jumped=jnp.zeros_like(answer.converged),
            relaxation_steps=answer.products,
        )
