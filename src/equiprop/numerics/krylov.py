"""Krylov projections of one linear operator on flat vectors: extreme eigenvalues without forming the matrix.

There is no Arnoldi iteration in JAX or SciPy that can be traced, batched with `vmap`, and given another inner product.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

Operator = Callable[[Float[Array, " n"]], Float[Array, " n"]]


def arnoldi(
    operator: Operator, start: Float[Array, " n"], steps: int, *, metric: Operator | None = None
) -> Float[Array, "{steps}+1 {steps}"]:
    """The projection H of `operator` on its Krylov space, orthonormal in the inner product xᵀ·metric(y).

    Arnoldi's iteration (1951) with modified Gram–Schmidt done twice. H[steps, steps − 1] measures how far the space is from
    invariant. Once it is invariant, further rows and columns are zero.

    **Arguments:**

    - `metric`: v ↦ Mv, symmetric positive definite; the identity by default. One product a step.
    """
    metric = (lambda v: v) if metric is None else metric
    eps = jnp.finfo(start.dtype).eps

    def unit(v: Array) -> tuple[Array, Array, Array]:
        image = metric(v)
        length = jnp.sqrt(jnp.maximum(v @ image, 0))
        inverse = jnp.where(length > 0, 1 / jnp.where(length > 0, length, 1), 0)
        return v * inverse, image * inverse, length

    basis = jnp.zeros((steps + 1, start.size), start.dtype)
    first, first_image, _ = unit(start)
    basis, images = basis.at[0].set(first), basis.at[0].set(first_image)

    def step(j: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        basis, images, h = carry
        w = operator(basis[j])
        before = jnp.sqrt(jnp.maximum(w @ metric(w), 0))
        column = jnp.zeros(steps + 1, start.dtype)
        for _ in range(2):
            along = images @ w
            w = w - along @ basis
            column = column + along
        v, image, length = unit(w)
        # What is left of an invariant space is rounding, and no new direction.
        new = length > 100 * eps * before
        length = jnp.where(new, length, 0)
        basis, images = (a.at[j + 1].set(jnp.where(new, b, 0)) for a, b in ((basis, v), (images, image)))
        return basis, images, h.at[:, j].set(column.at[j + 1].set(length))

    return jax.lax.fori_loop(0, steps, step, (basis, images, jnp.zeros((steps + 1, steps), start.dtype)))[2]


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
    - `sigma_error`: the residual of that singular value.
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

    k = arnoldi(solved, start, steps, metric=minus_s)
    _, values, right = jnp.linalg.svd(k[:steps])
    return Rotation(values[0], jnp.abs(k[steps, steps - 1] * right[0, -1]), smallest)


def smallest_eigenvalue(operator: Operator, start: Float[Array, " n"], steps: int) -> Float[Array, ""]:
    """Of a symmetric operator, as the Krylov space of `start` sees it: from above. NaN if the operator gives NaN."""
    steps = min(steps, start.size)
    h = arnoldi(operator, start, steps)
    projection = (h[:steps] + h[:steps].T) / 2
    # Past an invariant space the projection is padded with zeros, which are no eigenvalues; a Rayleigh quotient is no smaller
    # than the smallest of them.
    inside = jnp.cumprod(jnp.append(1, jnp.diagonal(h, -1)[: steps - 1] > 0))
    padding = jnp.where(inside == 0, projection[0, 0], 0)
    return jnp.linalg.eigvalsh(projection + jnp.diag(padding))[0]


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
