"""Anderson acceleration of Gauss–Seidel sweeps."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from equiprop.numerics import Number, count, number, solve_definite
from equiprop.solvers._solver import AbstractSolver, Step
from equiprop.solvers._sweeps import block_by_block
from equiprop.systems import AbstractField


class History(eqx.Module):
    """What the last sweeps of each sample showed.

    - `forces`, `sweeps`: how f = G(u) − u and G(u) changed from sweep to sweep; `valid` says which of them there are.
    - `gram`: the inner products of `forces`.
    - `force`, `sweep`, `size`: f, G(u) and ‖f‖ at the last step.
    """

    forces: Inexact[Array, "batch depth n"]
    sweeps: Inexact[Array, "batch depth n"]
    gram: Inexact[Array, "batch depth depth"]
    valid: Bool[Array, "batch depth"]
    force: Inexact[Array, "batch n"]
    sweep: Inexact[Array, "batch n"]
    size: Float[Array, " batch"]


class Anderson(AbstractSolver):
    """GaussSeidel sweeps G, extrapolated by what the last `depth` of them showed, sample by sample.

    u ← G(u) − Σ_j γ_j·ΔG_j with γ that minimises ‖f − Σ_j γ_j·Δf_j‖, f = G(u) − u: Anderson's method of type II (Walker & Ni
    2011, SIAM J. Numer. Anal. 49, 1715). γ is had from the normal equations, of which one row is new in each step; they are
    regularised by a few units of rounding. Complex states have complex γ.

    A sample whose ‖f‖ is more than `safeguard` times what it was forgets its history and goes on from the plain sweep. A
    converged sample ends with a plain sweep. Like every method that extrapolates it may find an equilibrium that sweeps would
    leave.
    """

    kind: ClassVar[str] = "anderson"
    label: ClassVar[str] = "Anderson"
    remedy: ClassVar[str] = "take shorter sweeps (relaxation = 0.3), or damped Gauss-Seidel ones (damping = 0.5)"
    citation: ClassVar[tuple[str, ...]] = (
        "Walker & Ni, Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. 2011, doi:10.1137/10078356X",
    )

    depth: int = count(3, "Differences between sweeps that are remembered.")
    relaxation: Number = number(
        1.0,
        "ω of the sweeps, u ← u + ω·F block after block; above 1 they are over-relaxed, which pays in chains of many layers.",
        above=0,
        below=2,
    )
    safeguard: Number = number(
        1.0,
        "A sample whose change grew by more than this factor forgets what it remembers; inf for off.",
        above=0,
        word=math.inf,
    )

    def sweep(self, field: AbstractField, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        return block_by_block(field, state, jnp.asarray(self.relaxation))

    def init(self, field: AbstractField, state: PyTree) -> History:
        del field
        flat = _flat(state)
        batch, n = flat.shape
        blank = jnp.zeros((batch, self.depth, n), flat.dtype)
        gram = jnp.zeros((batch, self.depth, self.depth), flat.dtype)
        return History(
            blank, blank, gram, jnp.zeros((batch, self.depth), bool), flat, flat, jnp.zeros(batch, flat.real.dtype)
        )

    def step(self, field: AbstractField, state: PyTree, memory: History, count: Int[Array, ""], phases: int) -> Step:
        del phases
        swept, largest = self.sweep(field, state)
        sweep = _flat(swept)
        force = sweep - _flat(state)
        size = _norm(force)

        slot = count % self.depth
        goes_on = count > 0
        if self.safeguard is not None:
            goes_on &= size <= self.safeguard * memory.size
        goes_on = jnp.broadcast_to(goes_on, size.shape)
        here = jnp.arange(self.depth) == slot
        valid = goes_on[:, None] & (memory.valid | here)
        forces = memory.forces.at[:, slot].set(force - memory.force)
        sweeps = memory.sweeps.at[:, slot].set(sweep - memory.sweep)
        row = _inner(forces, forces[:, slot])
        gram = jnp.where(here[:, None], row.conj()[:, None, :], jnp.where(here, row[:, :, None], memory.gram))
        gamma = _least_squares(gram, _inner(forces, force), valid)
        extrapolated = sweep - jnp.einsum("bm,bmn->bn", gamma, sweeps)
        return Step(
            swept,
            _unflat(extrapolated, swept),
            largest,
            History(forces, sweeps, gram, valid, force, sweep, size),
        )


def _least_squares(gram: Array, right: Array, valid: Array) -> Array:
    """γ of the normal equations among the valid differences; zero for the others."""
    both = valid[:, :, None] & valid[:, None, :]
    among = jnp.where(both, gram, 0)
    n = gram.shape[-1]
    diagonal = jnp.einsum("bii->bi", among).real
    # Scaled to a unit diagonal, so that differences of all sizes are told apart from rounding alike.
    size = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    among = among / (size[:, :, None] * size[:, None, :])
    ridge = jnp.where(diagonal > 0, 10 * n * jnp.finfo(diagonal.dtype).eps, 1)
    among += jnp.eye(n, dtype=gram.dtype) * ridge[:, None, :].astype(gram.dtype)
    right = jnp.where(valid, right, 0) / size
    return solve_definite(among, right) / size


def _inner(vectors: Array, one: Array) -> Array:
    return jnp.einsum("bmn,bn->bm", vectors.conj(), one)


def _norm(vectors: Array) -> Array:
    return jnp.sqrt(jnp.einsum("bn,bn->b", vectors.conj(), vectors).real)


def _flat(state: PyTree) -> Array:
    return jax.vmap(lambda one: ravel_pytree(one)[0])(state)


def _unflat(flat: Array, like: PyTree) -> PyTree:
    _, unravel = ravel_pytree(jax.tree.map(lambda a: a[0], like))
    return jax.vmap(unravel)(flat)
