"""Where the error of an estimate comes from: the finite nudge, or the asymmetry of the Jacobian."""

from typing import Any

import jax
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from equiprop.estimators import AbstractEstimator, Adjoint, ClampedResponse, ExactResponse, estimate, relative
from equiprop.numerics import Figures, trees
from equiprop.solvers import GMRES, AbstractSolver, Equilibrium, as_solver, relax
from equiprop.systems import System


class BiasSplit(Figures):
    """estimate − δ = (estimate − δE) + (δE − δ), per sample, with δE = −J⁻¹∇C and δ = −J⁻ᵀ∇C.

    For an estimator that does not follow δE but δ itself, the second part is zero. For one that clamps the output, δE is the
    response to a clamp that vanishes, and the second part holds the difference between clamping and nudging, too.

    **Fields:**

    - `finite_nudge`: estimate − δE: finite nudge, unfinished relaxation, noise, clipping.
    - `asymmetry`: δE − δ.
    - `finite_nudge_norm`, `asymmetry_norm`, `total_norm`: lengths of the two and of their sum, relative to that of δ.
    - `usable`: whether the estimate kept the sample and both linear solves converged.
    """

    finite_nudge: PyTree
    asymmetry: PyTree
    finite_nudge_norm: Float[Array, " batch"]
    asymmetry_norm: Float[Array, " batch"]
    total_norm: Float[Array, " batch"]
    usable: Bool[Array, " batch"]


def bias_split(
    system: System,
    x: Any,
    target: Array,
    estimator: AbstractEstimator,
    *,
    solver: AbstractSolver | None = None,
    equilibrium: Equilibrium | None = None,
    linear_solver: GMRES | None = None,
    key: PRNGKeyArray | None = None,
) -> BiasSplit:
    """Splits the error of `estimator` on a batch into the finite-nudge and asymmetry parts (arXiv 2309.02214, section 3).

    **Arguments:**

    - `solver`, `equilibrium`, `key`: as for `estimate`.
    - `linear_solver`: for both exact vectors.
    """
    solver = as_solver(solver)
    linear_solver = GMRES() if linear_solver is None else linear_solver
    free = relax(system, x, solver) if equilibrium is None else equilibrium
    unclipped = {"linear_solver": linear_solver, "clip": float("inf")}
    respond = ClampedResponse if estimator.tends_to == "clamped" else ExactResponse
    ours, response, exact = (
        estimate(system, x, target, which, solver=solver, equilibrium=free, key=key)
        for which in (estimator, respond(**unclipped), Adjoint(**unclipped))
    )
    limit = exact.error_vector if estimator.tends_to == "adjoint" else response.error_vector
    nudge = trees.subtract(ours.error_vector, limit)
    asymmetry = trees.subtract(limit, exact.error_vector)
    length = trees.norm(exact.error_vector)
    return BiasSplit(
        finite_nudge=nudge,
        asymmetry=asymmetry,
        finite_nudge_norm=relative(trees.norm(nudge), length),
        asymmetry_norm=relative(trees.norm(asymmetry), length),
        total_norm=relative(trees.norm(jax.tree.map(lambda a, b: a + b, nudge, asymmetry)), length),
        usable=(ours.weight > 0) & (response.weight > 0) & (exact.weight > 0),
    )
