"""Probes that leave the diagonal out, against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.numerics import antisymmetric_moments, probe_moments

RNG = np.random.default_rng(8)
MATRICES = RNG.normal(size=(2, 6, 6)) * (1 - np.eye(6))
LIKE = {"a": jnp.zeros((2, 4)), "b": jnp.zeros((2, 2))}
PROBES = 4000
SPREAD = {"a": 0.5, "b": 2.0}


def product(matrices):
    def jacobian(v):
        out = jnp.einsum("bij,bj->bi", matrices, jnp.concatenate([v["a"], v["b"]], axis=1))
        return {"a": out[:, :4], "b": out[:, 4:]}

    return jacobian


def all_moments(matrices):
    """‖J‖², tr J² and ‖Aσ‖² as each probe saw them."""
    jacobian, key = product(matrices), jax.random.key(5)
    moments = probe_moments(jacobian, LIKE, probes=PROBES, key=key, diagonal=False)
    turned = antisymmetric_moments(jacobian, LIKE, SPREAD, probes=PROBES, key=key, diagonal=False)
    return np.asarray(moments.squared_norm), np.asarray(moments.trace_of_square), np.asarray(turned)


@pytest.fixture(scope="module")
def seen():
    return all_moments(jnp.asarray(MATRICES))


def test_their_means_are_the_norms_and_the_trace_without_the_diagonal(seen):
    """Within four of their own standard errors."""
    spread = np.repeat([0.5, 2.0], [4, 2])
    antisymmetric = (MATRICES - np.swapaxes(MATRICES, 1, 2)) / 2
    exact = (
        (MATRICES**2).sum(axis=(1, 2)),
        np.trace(MATRICES @ MATRICES, axis1=1, axis2=2),
        ((antisymmetric * spread) ** 2).sum(axis=(1, 2)),
    )
    for estimates, value in zip(seen, exact, strict=True):
        error = estimates.std(axis=0) / PROBES**0.5
        assert (error > 0).all() and (np.abs(estimates.mean(axis=0) - value) < 4 * error).all()


def test_a_diagonal_of_any_size_changes_no_probe(seen):
    with_diagonal = jnp.asarray(MATRICES + 1e12 * np.eye(6))
    for mine, theirs in zip(seen, all_moments(with_diagonal), strict=True):
        assert np.array_equal(mine, theirs)


def test_a_symmetric_matrix_has_no_antisymmetric_part_whatever_the_probe():
    symmetric = jnp.asarray(MATRICES + np.swapaxes(MATRICES, 1, 2))
    assert np.abs(all_moments(symmetric)[2]).max() < 1e-25
