"""The response to a clamp of the output that vanishes, by a linear solve."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from equiprop.estimators._clamping import (
    AbstractClamping,
    Clamped,
    clamp_at,
    clamped_forces,
    clamped_residual,
    output_error,
    output_mask,
)
from equiprop.estimators._estimator import Response
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.numerics import part, trees
from equiprop.solvers import GMRES


class ClampedResponse(AbstractClamping):
    """δ_o = r − y and δ_h = −J_hh⁻¹J_ho·δ_o, what coupled learning tends to as η → 0, whatever the symmetry of J.

    The error bar is three times the relative residual on all units but the output.
    """

    kind: ClassVar[str] = "clamped_response"
    label: ClassVar[str] = "the clamped response (coupled learning at vanishing nudge)"
    citation: ClassVar[tuple[str, ...]] = (
        "Stern et al., Supervised learning in physical networks: from machine learning to learning machines, Phys. Rev. X 2021, "
        "doi:10.1103/PhysRevX.11.021045",
        *GMRES.citation,
    )
    tends_to: ClassVar[str] = "clamped"

    linear_solver: GMRES = part(GMRES, "The linear solver.")

    def respond(self, problem: Problem) -> Response:
        system, state = problem.system, problem.free.state
        output = output_error(problem)
        by_output, _ = clamped_forces(problem, output)
        clamp = clamp_at(problem, jax.tree.map(jnp.zeros_like, output))
        answer = self.linear_solver.solve(Clamped.of(system), state, clamp, trees.negative(by_output), transpose=False)
        moved = jax.linearize(system.activity, state)[1](answer.value)
        hidden = jax.tree.map(lambda m, v: jnp.where(m, 0, v), output_mask(system, problem.activity), moved)
        error_vector = trees.add(output, problem.error_vector(hidden))
        return Response(
            error_vector=error_vector,
            error_bar=SAFETY * clamped_residual(problem, error_vector),
            converged=answer.converged,
            relaxation_steps=answer.products,
        )
