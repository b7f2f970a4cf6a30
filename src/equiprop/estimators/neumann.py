"""The exact gradient by a truncated series."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from equiprop.estimators._estimator import AbstractEstimator, Response
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.numerics import count, trees


class Neumann(AbstractEstimator):
    """δ ≈ Σ_{k<K} (Mᵀ)^k·D∇C with M = 1 + ∂F/∂u, which tends to −J⁻ᵀ∇C where the spectral radius of M is below one.

    The Neumann series of implicit differentiation (Lorraine et al. 2020, arXiv 1911.02590; as a "phantom gradient" of deep
    equilibrium models, Geng et al. 2021, arXiv 2111.05177). Truncated, it stays bounded near a bifurcation, where the exact
    adjoint does not. The error bar is 3·‖(∂F/∂u)ᵀδ + D∇C‖/‖D∇C‖, three times the relative size of the first term left out; a
    sample for which that term is larger than the first of all is flagged as unconverged.
    """

    kind: ClassVar[str] = "neumann"
    label: ClassVar[str] = "the Neumann series of the adjoint"
    citation: ClassVar[tuple[str, ...]] = ("Geng et al., On training implicit models, NeurIPS 2021, arXiv:2111.05177",)

    terms: int = count(20, "Terms of the series, K.")

    tends_to: ClassVar[str] = "adjoint"

    def respond(self, problem: Problem) -> Response:
        _, pullback = jax.vjp(problem.force, problem.free.state)
        gradient = problem.state_cost_gradient

        def add_term(delta: object, _: None) -> tuple[object, None]:
            return trees.add(delta, trees.add(pullback(delta)[0], gradient)), None

        error_vector, _ = jax.lax.scan(add_term, jax.tree.map(jnp.zeros_like, gradient), length=self.terms)
        residual = problem.adjoint_residual(error_vector)
        return Response(
            error_vector=error_vector,
            error_bar=SAFETY * residual,
            converged=residual <= 1,
            relaxation_steps=jnp.full(residual.shape, self.terms, jnp.int32),
        )
