"""Where the error of an estimate comes from: the finite nudge, or the asymmetry of the Jacobian."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from equiprop.estimators import GMRES, AbstractEstimator, Adjoint, ExactResponse, estimate, relative
from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver, Equilibrium, GaussSeidel, relax
from equiprop.systems import System


class BiasSplit(eqx.Module):
    """estimate − δ = (estimate − δE) + (δE − δ), per sample, with δE = −J⁻¹∇C and δ = −J⁻ᵀ∇C.

    For an estimator that does not follow δE but δ itself, the second part is zero.

    **Fields:**

    - `finite_nudge`: estimate − δE: finite nudge, unfinished relaxation, noise, bounding.
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
    krylov: GMRES | None = None,
    key: PRNGKeyArray | None = None,
) -> BiasSplit:
    """Splits the error of `estimator` on a batch into the parts of science (arXiv 2309.02214, section 3).

    **Arguments:**

    - `solver`, `equilibrium`, `key`: as for `estimate`.
    - `krylov`: for both exact vectors.
    """
    solver = GaussSeidel() if solver is None else solver
    krylov = GMRES() if krylov is None else krylov
    free = relax(system, x, solver) if equilibrium is None else equilibrium
    unclipped = {"krylov": krylov, "clip": float("inf")}
    ours, response, exact = (
        estimate(system, x, target, which, solver=solver, equilibrium=free, key=key)
        for which in (estimator, ExactResponse(**unclipped), Adjoint(**unclipped))
    )
    limit = response.error_vector if estimator.tends_to == "response" else exact.error_vector
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
