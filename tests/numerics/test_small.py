"""Small dense problems and GMRES against NumPy and SciPy, for real and complex numbers."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg

from equiprop.numerics import arnoldi, gmres, rotation, solve_definite
from equiprop.numerics.small import hessenberg_least_squares, last_component, tridiagonal_eigenvalues

RNG = np.random.default_rng(5)
KINDS = pytest.mark.parametrize("complex_", [False, True], ids=["real", "complex"])


def drawn(*shape, complex_=False):
    real = RNG.normal(size=shape)
    return real + 1j * RNG.normal(size=shape) if complex_ else real


@KINDS
def test_hessenberg_least_squares(complex_):
    h = np.triu(drawn(7, 6, complex_=complex_), -1)
    right = np.zeros(7)
    right[0] = 2.5
    expected = np.linalg.lstsq(h, right, rcond=None)[0]
    assert np.allclose(hessenberg_least_squares(jnp.asarray(h), jnp.asarray(2.5)), expected, rtol=1e-11)


def test_a_projection_that_ended_early_has_zeros_beyond_it():
    """As Arnoldi's iteration leaves it where the Krylov space is invariant."""
    h = np.zeros((6, 5))
    h[:3, :3] = np.triu(drawn(3, 3), -1)
    right = np.zeros(3)
    right[0] = 1.5
    found = hessenberg_least_squares(jnp.asarray(h), jnp.asarray(1.5))
    assert np.allclose(found[:3], np.linalg.solve(h[:3, :3], right), rtol=1e-10)
    assert not np.any(found[3:])


@KINDS
def test_definite_systems(complex_):
    root = drawn(3, 4, 4, complex_=complex_)
    a = root @ root.conj().swapaxes(1, 2) + 0.1 * np.eye(4)
    b = drawn(3, 4, complex_=complex_)
    expected = np.stack([scipy.linalg.solve(m, v, assume_a="pos") for m, v in zip(a, b, strict=True)])
    assert np.allclose(solve_definite(jnp.asarray(a), jnp.asarray(b)), expected, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 9])
def test_tridiagonal_eigenvalues_and_the_end_of_the_last_eigenvector(n):
    diagonal, beside = drawn(n), drawn(n - 1)
    matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    values, vectors = np.linalg.eigh(matrix)
    found = tridiagonal_eigenvalues(jnp.asarray(diagonal), jnp.asarray(beside))
    assert np.allclose(found, values, rtol=1e-10, atol=1e-12)
    minor = jnp.asarray(np.linalg.eigvalsh(matrix[:-1, :-1]))
    assert np.isclose(last_component(found, minor), abs(vectors[-1, -1]), rtol=1e-6)


def test_no_matrix_has_an_eigenvector_that_ends_in_nothing():
    """The converged end of an eigenvector is known to rounding, and said to be that, not 0."""
    diagonal, beside = jnp.asarray([0.0, 0.0, 1.0]), jnp.asarray([1e-12, 1.0])
    values = tridiagonal_eigenvalues(diagonal[::-1], beside[::-1])
    ending = last_component(values, tridiagonal_eigenvalues(diagonal[::-1][:2], beside[::-1][:1]))
    assert 0 < float(ending) < 1e-7


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("restart", [4, 30])
def test_gmres_solves_what_scipy_solves(complex_, restart):
    n = 25
    a = np.eye(n) + 0.4 * drawn(n, n, complex_=complex_) / np.sqrt(n)
    b = drawn(n, complex_=complex_)
    value, residual, cycles = gmres(
        lambda v: jnp.asarray(a) @ v, jnp.asarray(b), tolerance=jnp.asarray(1e-11), restart=restart, max_restarts=60
    )
    theirs, failed = scipy.sparse.linalg.gmres(a, b, rtol=1e-13, restart=restart, maxiter=200)
    assert not failed
    assert np.allclose(value, theirs, rtol=1e-9)
    assert np.isclose(residual, np.linalg.norm(b - a @ value), atol=1e-13)
    assert residual <= 1e-11
    assert (int(cycles) == 2) == (restart == 30)


def test_each_of_a_batch_ends_where_it_would_alone():
    a = np.stack([np.eye(12) + c * drawn(12, 12) for c in (0.01, 0.3)])
    b = drawn(2, 12)

    def solve(matrix, right):
        return gmres(lambda v: matrix @ v, right, tolerance=jnp.asarray(1e-9), restart=4, max_restarts=40)

    together = jax.vmap(solve)(jnp.asarray(a), jnp.asarray(b))
    for i in range(2):
        alone = solve(jnp.asarray(a[i]), jnp.asarray(b[i]))
        assert np.allclose(together[0][i], alone[0], rtol=1e-12)
        assert int(together[2][i]) == int(alone[2])
    assert int(together[2][0]) < int(together[2][1])


def test_a_singular_system_is_left_with_its_residual():
    value, residual, cycles = gmres(
        lambda v: v * jnp.asarray([1.0, 1.0, 0.0]), jnp.ones(3), tolerance=jnp.asarray(1e-6), restart=3, max_restarts=9
    )
    assert np.allclose(value[:2], 1)
    assert np.isclose(residual, 1)
    assert int(cycles) <= 2


def test_an_operator_that_is_no_number_is_no_solution():
    _, residual, _ = gmres(lambda v: v * jnp.nan, jnp.ones(3), tolerance=jnp.asarray(1e-6), restart=3, max_restarts=9)
    assert not residual <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("steps", [3, 6, 12])
def test_the_residual_of_a_rotation_is_that_of_its_singular_vectors(steps):
    """Against dense algebra: T = (−S)⁻¹A, its Krylov space in the inner product of −S, NumPy's singular vectors on that."""
    n = 12
    root, asymmetric = drawn(n, n), drawn(n, n)
    minus_s, a = root @ root.T / n + np.eye(n), (asymmetric - asymmetric.T) / 2
    key = jax.random.key(1)
    found = rotation(
        lambda v: jnp.asarray(minus_s) @ v,
        lambda v: jnp.asarray(a) @ v,
        jnp.zeros(n),
        key=key,
        steps=steps,
        solver=lx.CG(rtol=1e-13, atol=1e-13),
    )
    start = np.asarray(jax.random.normal(key, (n,)))
    t, lower = np.linalg.solve(minus_s, a), np.linalg.cholesky(minus_s)
    vectors = [start]
    for _ in range(steps - 1):
        vectors.append(t @ vectors[-1])
    # Orthonormal in the inner product of −S.
    basis = np.linalg.qr(lower.T @ np.stack(vectors, axis=1))[0]
    skew = lower.T @ t @ np.linalg.inv(lower.T)
    _, values, right = np.linalg.svd(basis.T @ skew @ basis)
    assert float(found.sigma) == pytest.approx(values[0], rel=1e-7)
    # Both singular vectors of the pair are as good as each other; the larger of their residuals counts.
    residuals = [np.linalg.norm(skew @ (basis @ v) - basis @ (basis.T @ skew @ basis @ v)) for v in right[:2]]
    assert float(found.sigma_error) == pytest.approx(np.linalg.norm(residuals), rel=1e-5, abs=1e-7)
    exact = np.linalg.svd(skew)[1]
    assert np.min(np.abs(exact - float(found.sigma))) <= float(found.sigma_error) + 1e-9


def test_what_is_no_number_does_not_end_a_krylov_space():
    """A projection that ends is one of an invariant space, whose eigenvalues are those of the operator: it would be believed."""
    diagonal = jnp.asarray([1.0, 2.0, 3.0, 4.0])

    def product(v):
        return jnp.where(jnp.abs(v - v[0]).max() < 1e-9, diagonal * v, jnp.nan)

    _, h = arnoldi(lambda v: diagonal * v, jnp.ones(4), 4)
    assert np.isfinite(h).all() and np.all(np.diagonal(h, -1)[:3] > 0.1) and h[4, 3] == 0
    _, h = arnoldi(product, jnp.ones(4), 4)
    assert np.isfinite(h[:, 0]).all() and np.isnan(h[2, 1])
