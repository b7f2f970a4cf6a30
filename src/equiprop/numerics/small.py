"""Small dense problems, many at a time, without LAPACK.

Up to JAX 0.10 the LAPACK routines of a CPU share a batch out to the threads that programs run on, and wait for them: two such
programs at once, or two devices, can wait for each other for ever. On a GPU a loop of this kind is also the faster one.
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import eigh_tridiagonal
from jaxtyping import Array, Float, Inexact

_EXACT = jax.lax.Precision.HIGHEST


def dot(a: Array, b: Array) -> Array:
    """a·b in full precision on every device."""
    return jnp.dot(a, b, precision=_EXACT)


def hessenberg_least_squares(h: Inexact[Array, "rows n"], length: Float[Array, ""]) -> Inexact[Array, " n"]:
    """y that minimises ‖length·e₁ − H·y‖ of an upper Hessenberg H, by Givens rotations; 0 where H has no rank left."""
    n = h.shape[1]

    def rotate(j: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        r, g = carry
        norm = jnp.sqrt(jnp.abs(r[j, j]) ** 2 + jnp.abs(r[j + 1, j]) ** 2)
        safe = jnp.where(norm > 0, norm, 1)
        c, s = jnp.where(norm > 0, r[j, j], 1) / safe, r[j + 1, j] / safe

        def rotated(a: Array) -> Array:
            upper, lower = a[j], a[j + 1]
            return a.at[j].set(c.conj() * upper + s.conj() * lower).at[j + 1].set(c * lower - s * upper)

        return rotated(r), rotated(g)

    right = jnp.zeros(n + 1, h.dtype).at[0].set(length.astype(h.dtype))
    r, g = jax.lax.fori_loop(0, n, rotate, (h, right))
    pivots = jnp.abs(jnp.diagonal(r))
    full = pivots > jnp.finfo(pivots.dtype).eps * jnp.max(pivots)

    def substitute(i: Array, y: Array) -> Array:
        row = n - 1 - i
        rest = g[row] - dot(r[row], y)
        return y.at[row].set(jnp.where(full[row], rest / jnp.where(full[row], r[row, row], 1), 0))

    return jax.lax.fori_loop(0, n, substitute, jnp.zeros(n, h.dtype))


def solve_definite(a: Inexact[Array, "*batch n n"], b: Inexact[Array, "*batch n"]) -> Inexact[Array, "*batch n"]:
    """a⁻¹b of Hermitian positive definite matrices, by elimination without pivoting."""
    n = a.shape[-1]
    joined = jnp.concatenate([a, b[..., None]], axis=-1)

    def eliminate(k: Array, rows: Array) -> Array:
        row = rows[..., k, :] / rows[..., k, k, None]
        others = rows - rows[..., :, k, None] * row[..., None, :]
        return others.at[..., k, :].set(row)

    return jax.lax.fori_loop(0, n, eliminate, joined)[..., -1]


def tridiagonal_eigenvalues(diagonal: Float[Array, " n"], beside: Float[Array, " m"]) -> Float[Array, " n"]:
    """Those of a symmetric tridiagonal matrix, ascending, by bisection. NaN for a matrix with NaN. Has no derivative."""
    diagonal, beside = jax.lax.stop_gradient((diagonal, beside))
    if diagonal.size == 1:
        return diagonal
    return eigh_tridiagonal(diagonal, beside, eigvals_only=True)


def last_component(eigenvalues: Float[Array, " n"], of_minor: Float[Array, " m"]) -> Float[Array, ""]:
    """The last component of the unit eigenvector to the largest eigenvalue of a symmetric matrix.

    v_n² = ∏(λ_n − μ_j)/∏(λ_n − λ_j) with the eigenvalues μ of the matrix without its last row and column (Denton, Parke, Tao
    & Zhang 2022, Bull. Amer. Math. Soc. 59, 31). Both ascending. From above where it is as small as rounding.
    """
    largest = eigenvalues[-1]
    floor = jnp.finfo(largest.dtype).eps * jnp.abs(largest)
    # μ_j lies between λ_j and λ_{j+1}, so that no factor is above 1.
    above, below = largest - of_minor, largest - eigenvalues[:-1]
    factors = jnp.where(
        below > floor, jnp.clip(jnp.maximum(above, floor) / jnp.where(below > floor, below, 1), max=1), 1
    )
    return jnp.sqrt(jnp.prod(factors))
