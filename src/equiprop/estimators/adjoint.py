"""The exact gradient of the cost at equilibrium, by the implicit function theorem."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.estimators._linear import Krylov
from equiprop.solvers import AbstractSolver, Equilibrium
from equiprop.systems import System


class Adjoint(AbstractEstimator):
    """δ = −J⁻ᵀ∇C, the reference that every other estimator is measured against (Almeida 1987; Pineda 1987,
    doi:10.1103/PhysRevLett.59.2229; as implicit differentiation: Bai et al. 2019, arXiv 1909.01377).

    Solves (∂F/∂u)ᵀ·δ = −D·∇C by GMRES on vector-Jacobian products. The error bar is the relative residual, and a sample whose
    solve did not converge is flagged as unsettled. Near a bifurcation δ grows without limit; `max_gain` bounds it.

    - `krylov`: the linear solver.
    """

    krylov: Krylov = eqx.field(default_factory=Krylov)

    def respond(self, system: System, drive: Any, target: Array, free: Equilibrium, solver: AbstractSolver) -> Response:
        del solver
        activity, pullback = jax.vjp(system.activity, free.state)
        pull = pullback(system.cost_gradient(activity, target))[0]
        answer = self.krylov.solve(system, free.state, drive, jax.tree.map(jnp.negative, pull), transpose=True)
        return Response(
            error_vector=answer.value,
            error_bar=answer.relative_residual,
            settled=answer.converged,
            jumped=jnp.zeros_like(answer.converged),
            relaxation_steps=answer.products,
        )
