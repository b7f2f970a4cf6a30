"""The exact gradient by a truncated series."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from equiprop.errors import InputError
from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.numerics import trees


class Neumann(AbstractEstimator):
    """δ ≈ Σ_{k<K} (Mᵀ)^k·D∇C with M = 1 + ∂F/∂u, which tends to −J⁻ᵀ∇C where the spectral radius of M is below one.

    The Neumann series of implicit differentiation (Lorraine et al. 2020, arXiv 1911.02590; as a "phantom gradient" of deep
    equilibrium models, Geng et al. 2021, arXiv 2111.05177). Truncated, it stays bounded near a bifurcation, where the exact
    adjoint does not. The error bar is 3·‖(∂F/∂u)ᵀδ + D∇C‖/‖D∇C‖, three times the relative size of the first term left out; a
    sample for which that term is larger than the first of all is flagged as unconverged.

    - `terms`: K.
    """

    terms: int = eqx.field(default=20, static=True)

    tends_to: ClassVar[str] = "adjoint"

    def __check_init__(self) -> None:
        if self.terms < 1:
            raise InputError(f"terms = {self.terms}: must be at least 1")

    def respond(self, problem: Problem) -> Response:
        _, pullback = jax.vjp(problem.force, problem.free.state)
        cost_gradient = problem.state_cost_gradient

        def add_term(delta: object, _: None) -> tuple[object, None]:
            return trees.add(delta, trees.add(pullback(delta)[0], cost_gradient)), None

        error_vector, _ = jax.lax.scan(add_term, jax.tree.map(jnp.zeros_like, cost_gradient), length=self.terms)
        residual = problem.adjoint_residual(error_vector)
        return Response(
            error_vector=error_vector,
            error_bar=SAFETY * residual,
            converged=residual <= 1,
            relaxation_steps=jnp.full(residual.shape, self.terms, jnp.int32),
        )
