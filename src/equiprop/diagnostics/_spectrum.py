"""Stability of an equilibrium: the rightmost eigenvalue of its Jacobian, and how fast a solver contracts to it."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.numerics import Figures, arnoldi, ritz, trees
from equiprop.solvers import AbstractSolver
from equiprop.systems import Free, System, flat_operator, membrane_jacobian, verify_state


class Spectrum(Figures):
    """Per sample.

    - `abscissa`: the largest real part of an eigenvalue of ∂F/∂u: the equilibrium of u̇ = F is stable where it is negative, and
      nearby states approach it as e^(abscissa·t).
    - `contraction`: the largest modulus of an eigenvalue of one sweep of the solver: the factor by which the distance to
      equilibrium falls a sweep, in the end.
    - `abscissa_error`, `contraction_error`: residuals of those eigenvalues in the Krylov space; zero where it is the whole space.
    """

    abscissa: Float[np.ndarray, " batch"]
    contraction: Float[np.ndarray, " batch"]
    abscissa_error: Float[np.ndarray, " batch"]
    contraction_error: Float[np.ndarray, " batch"]


def spectrum(
    system: System, x: Any, state: PyTree, solver: AbstractSolver, *, steps: int = 100, key: PRNGKeyArray
) -> Spectrum:
    """The spectral abscissa and the contraction factor at every sample of a batch of equilibria, matrix-free.

    Arnoldi's iteration on products with ∂F/∂u and with the linearised sweep; small eigenproblems by NumPy.

    **Arguments:**

    - `state`: the free equilibria, `[batch, ...]`.
    - `steps`: dimension of the Krylov space.

    Raises `InputError` for `steps` below 2, and a state that is not of `x`.
    """
    if steps < 2:
        raise InputError("must be at least 2", path="steps", value=steps)
    verify_state(system, x, state)
    membrane, sweep = (np.asarray(h) for h in _projections(system, x, state, solver, steps, key))
    abscissa = [_extreme(h, np.real) for h in membrane]
    contraction = [_extreme(h, np.abs) for h in sweep]
    columns = [np.array(column) for pair in (abscissa, contraction) for column in zip(*pair, strict=True)]
    return Spectrum(columns[0], columns[2], columns[1], columns[3])


def _extreme(h: np.ndarray, size: Any) -> tuple[float, float]:
    if not np.isfinite(h).all():
        return float("nan"), float("nan")
    values, residuals = ritz(h)
    position = int(np.argmax(size(values)))
    return float(size(values[position])), float(residuals[position])


@eqx.filter_jit
def _projections(
    system: System, x: Any, state: PyTree, solver: AbstractSolver, steps: int, key: PRNGKeyArray
) -> tuple[Array, Array]:
    def of_force(u: PyTree, d: Any) -> Any:
        return membrane_jacobian(system, u, d)

    def of_sweep(u: PyTree, d: Any) -> Any:
        return jax.linearize(lambda v: solver.sweep(Free(system, d), v)[0], u)[1]

    def single(sample: tuple[PyTree, Any, PRNGKeyArray]) -> tuple[Array, Array]:
        u, d, sample_key = sample
        size = sum(leaf.size for leaf in jax.tree.leaves(u))
        start = jax.random.normal(sample_key, (size,), trees.dtype_of(u))
        dimension = min(steps, size)
        membrane, sweep = (arnoldi(flat_operator(build, u, d), start, dimension)[1] for build in (of_force, of_sweep))
        return membrane, sweep

    keys = jax.random.split(key, trees.batch_size(state))
    return trees.map_in_pieces(single, (state, system.injection(x), keys), 16)
