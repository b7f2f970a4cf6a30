"""Krylov projections of one linear operator on flat vectors: solutions and extreme eigenvalues without forming the matrix.

There is no Arnoldi iteration in JAX or SciPy that can be traced, batched with `vmap`, and given another inner product.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float, Inexact, Int, PRNGKeyArray

from equiprop.numerics.small import dot, hessenberg_least_squares, last_component, tridiagonal_eigenvalues

Operator = Callable[[Inexact[Array, " n"]], Inexact[Array, " n"]]


def arnoldi(
    operator: Operator, start: Inexact[Array, " n"], steps: int, *, metric: Operator | None = None
) -> tuple[Inexact[Array, "{steps}+1 n"], Inexact[Array, "{steps}+1 {steps}"]]:
    """A basis of the Krylov space of `start`, orthonormal in the inner product x*·metric(y), and the projection H of `operator`
    on it.

    Arnoldi's iteration (1951) with Gram–Schmidt done twice. H[steps, steps − 1] measures how far the space is from invariant.
    Once it is invariant, further rows and columns are zero.

    **Arguments:**

    - `metric`: v ↦ Mv, symmetric positive definite; the identity by default. One product a step.
    """
    eps = jnp.finfo(start.dtype).eps

    def unit(v: Array) -> tuple[Array, Array, Array]:
        image = v if metric is None else metric(v)
        length = jnp.sqrt(jnp.maximum(dot(v.conj(), image).real, 0))
        inverse = jnp.where(length > 0, 1 / jnp.where(length > 0, length, 1), 0)
        return v * inverse, image * inverse, length

    first, first_image, _ = unit(start)
    vectors = jnp.zeros((steps + 1, start.size), start.dtype).at[0].set(first)
    # Without a metric they are their own images.
    images = None if metric is None else vectors.at[0].set(first_image)

    def step(j: Array, carry: tuple[Array, Array | None, Array]) -> tuple[Array, Array | None, Array]:
        vectors, images, h = carry
        w = operator(vectors[j])
        before = unit(w)[2]
        column = jnp.zeros(steps + 1, start.dtype)
        for _ in range(2):
            along = dot((vectors if images is None else images).conj(), w)
            w = w - dot(along, vectors)
            column = column + along
        v, image, length = unit(w)
        # What is left of an invariant space is rounding, and no new direction; what is no number stays none.
        new = ~(length <= 100 * eps * before)
        column = column.at[j + 1].set(jnp.where(new, length, 0))
        vectors = vectors.at[j + 1].set(jnp.where(new, v, 0))
        images = None if images is None else images.at[j + 1].set(jnp.where(new, image, 0))
        return vectors, images, h.at[:, j].set(column)

    vectors, _, h = jax.lax.fori_loop(0, steps, step, (vectors, images, jnp.zeros((steps + 1, steps), start.dtype)))
    return vectors, h


def gmres_cycle(operator: Operator, residual: Inexact[Array, " n"], steps: int) -> Inexact[Array, " n"]:
    """What is to be added to a solution, in the Krylov space of its residual, so that the residual becomes smallest.

    Saad & Schultz 1986, doi:10.1137/0907058. Products: `steps`.
    """
    vectors, h = arnoldi(operator, residual, steps)
    return dot(hessenberg_least_squares(h, jnp.linalg.norm(residual)), vectors[:-1])


def gmres(
    operator: Operator, right: Inexact[Array, " n"], *, tolerance: Float[Array, ""], restart: int, max_restarts: int
) -> tuple[Inexact[Array, " n"], Float[Array, ""], Int[Array, ""]]:
    """operator⁻¹·right by restarted GMRES (`gmres_cycle`): the solution, the norm of its residual, and how many cycles it took.

    Ends where that norm is at most `tolerance` and the last cycle changed the solution by no more than that share of it, which
    a small residual alone does not say; or where no cycle makes the residual smaller. Nothing is raised where it is not
    reached. Has no derivative of its own; lineax's GMRES has, but solves its small problems by LAPACK, see
    `equiprop.numerics.small`.
    """
    norm = jnp.linalg.norm

    def unfinished(carry: tuple[Array, Array, Array, Array, Array]) -> Array:
        value, residual, change, count, improved = carry
        solved = (norm(residual) <= tolerance) & (change <= tolerance * norm(value))
        return improved & (count < max_restarts) & ~solved

    def cycle(carry: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array, Array]:
        value, residual, _, count, _ = carry
        correction = gmres_cycle(operator, residual, restart)
        left = right - operator(value + correction)
        improved = norm(left) < norm(residual)
        value, left = jnp.where(improved, value + correction, value), jnp.where(improved, left, residual)
        return value, left, norm(correction), count + 1, improved

    zero = jnp.zeros((), norm(right).dtype)
    start = (jnp.zeros_like(right), right, zero, jnp.zeros((), jnp.int32), jnp.ones((), bool))
    value, residual, _, count, _ = jax.lax.while_loop(unfinished, cycle, start)
    return value, norm(residual), count


def ritz(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of a projection by `arnoldi` of a nonsymmetric operator, and the norm of each one's residual, by NumPy."""
    steps = h.shape[1]
    broken = np.flatnonzero(np.diagonal(h, -1) == 0)
    dimension = int(broken[0]) + 1 if broken.size else steps
    values, vectors = np.linalg.eig(h[:dimension, :dimension])
    return values, abs(h[dimension, dimension - 1]) * np.abs(vectors[-1])


class Rotation(eqx.Module):
    """How far an operator J = S + A with S negative definite turns vectors, in the inner product of −S.

    - `sigma`: ‖K̃‖₂, K̃ = L⁻¹A L⁻ᵀ with −S = L·Lᵀ, as the Krylov space sees it: from below.
    - `sigma_error`: the residual of that singular value, and how far the projection is from skew: that is what solves with −S
      have left undone, if S is nearly singular for the precision, and then there may be any σ.
    - `smallest`: the smallest eigenvalue of −S as the Krylov space sees it: from above. S is negative definite where positive.
    """

    sigma: Float[Array, ""]
    sigma_error: Float[Array, ""]
    smallest: Float[Array, ""]


def rotation(
    minus_s: Operator, a: Operator, like: Float[Array, " n"], *, key: PRNGKeyArray, steps: int, solver: lx.CG
) -> Rotation:
    """σ by Arnoldi's iteration on (−S)⁻¹A, which is skew in the inner product of −S; one solve with −S a step."""
    start = jax.random.normal(key, like.shape, like.dtype)
    steps = min(steps, like.size)
    smallest = smallest_eigenvalue(minus_s, start, steps)

    def solved(v: Array) -> Array:
        return solve_positive(minus_s, a(v), solver)

    _, k = arnoldi(solved, start, steps, metric=minus_s)
    # A skew projection is tridiagonal, and as a Hermitian matrix, times i, has the eigenvalues ±σ of a real one with the same
    # entries beside a zero diagonal. The two singular vectors are the even and the odd entries of its eigenvector.
    beside = (jnp.diagonal(k, -1)[:-1] - jnp.diagonal(k[:steps], 1)) / 2
    unskewed = jnp.linalg.norm(k[:steps] + k[:steps].T) / 2
    zero = jnp.zeros(steps, k.dtype)
    values = tridiagonal_eigenvalues(zero, beside)
    last = last_component(values, tridiagonal_eigenvalues(zero[:-1], beside[:-1]))
    return Rotation(values[-1], 2**0.5 * jnp.abs(k[steps, steps - 1]) * last + unskewed, smallest)


def smallest_eigenvalue(operator: Operator, start: Float[Array, " n"], steps: int) -> Float[Array, ""]:
    """Of a symmetric operator, as the Krylov space of `start` sees it: from above. NaN if the operator gives NaN.

    Has no derivative.
    """
    steps = min(steps, start.size)
    _, h = arnoldi(operator, start, steps)
    diagonal, beside = jnp.diagonal(h[:steps]), (jnp.diagonal(h, -1)[:-1] + jnp.diagonal(h[:steps], 1)) / 2
    # Past an invariant space the projection is padded with zeros, which are no eigenvalues; a Rayleigh quotient is no smaller
    # than the smallest of them.
    inside = jnp.cumprod(jnp.append(1, jnp.diagonal(h, -1)[:-1] > 0))
    return tridiagonal_eigenvalues(jnp.where(inside == 0, diagonal[0], diagonal), beside)[0]


def solve_positive(operator: Operator, right: Float[Array, " n"], solver: lx.CG) -> Float[Array, " n"]:
    """operator⁻¹·right for a symmetric positive definite operator, by conjugate gradients; differentiable.

    The tolerance is relative to `right`, and in derivatives to theirs. Nothing is raised where it is not reached.
    """

    def solve(product: Operator, b: Array) -> Array:
        length = jnp.linalg.norm(b)
        unit = b / jnp.where(length > 0, length, 1)
        linear = lx.FunctionLinearOperator(product, jax.eval_shape(lambda: b), lx.positive_semidefinite_tag)
        return lx.linear_solve(linear, unit, solver, throw=False).value * length

    # lineax raises in the solves of a derivative, whatever `throw` says.
    return jax.lax.custom_linear_solve(operator, right, solve, symmetric=True)
