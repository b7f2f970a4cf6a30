"""Complex arithmetic through real operations, Hutchinson probes, tree algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.numerics import (
    normal_like,
    probe_moments,
    real_dtype,
    real_linear,
    symmetric_antisymmetric_norms,
    trees,
)

RNG = np.random.default_rng(2)


def test_real_linear_is_the_complex_product():
    z, w = RNG.normal(size=(3, 4)) + 1j * RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2))
    assert np.allclose(real_linear(lambda a: a @ w, jnp.asarray(z)), z @ w)
    assert real_linear(lambda a: a @ w, jnp.asarray(z.real)).dtype == jnp.float64


def test_real_linear_never_makes_the_weights_complex():
    seen = []

    def operation(a):
        seen.append(a.dtype)
        return a @ jnp.ones((4, 2))

    real_linear(operation, jnp.ones((3, 4), complex))
    assert seen == [jnp.float64]


def test_real_linear_is_differentiated_as_a_complex_map():
    z, w = jnp.asarray(RNG.normal(size=(1, 4)) + 1j * RNG.normal(size=(1, 4))), RNG.normal(size=(4, 2))
    value, pullback = jax.vjp(lambda a: real_linear(lambda b: b @ w, a), z)
    cotangent = jnp.asarray(RNG.normal(size=value.shape) + 1j * RNG.normal(size=value.shape))
    assert np.allclose(pullback(cotangent)[0], cotangent @ w.T)


def test_real_dtype():
    assert real_dtype(jnp.dtype("complex64")) == jnp.dtype("float32")
    assert real_dtype(jnp.dtype("float64")) == jnp.dtype("float64")


@pytest.mark.slow
def test_probe_moments_estimate_norm_and_trace(key):
    """Means over many probes against the dense matrix, within four of their own standard errors."""
    matrices = RNG.normal(size=(2, 6, 6))
    like = {"a": jnp.zeros((2, 4)), "b": jnp.zeros((2, 2))}

    def jacobian(v):
        flat = jnp.concatenate([v["a"], v["b"]], axis=1)
        out = jnp.einsum("bij,bj->bi", matrices, flat)
        return {"a": out[:, :4], "b": out[:, 4:]}

    moments = probe_moments(jacobian, like, probes=4000, key=key)
    for estimates, exact in (
        (moments.squared_norm, (matrices**2).sum(axis=(1, 2))),
        (moments.trace_of_square, np.trace(matrices @ matrices, axis1=1, axis2=2)),
    ):
        error = estimates.std(axis=0) / 4000**0.5
        assert (np.abs(estimates.mean(axis=0) - exact) < 4 * error).all()
        assert (error > 0).all()
    symmetric, antisymmetric = symmetric_antisymmetric_norms(moments)
    s, a = (matrices + matrices.transpose(0, 2, 1)) / 2, (matrices - matrices.transpose(0, 2, 1)) / 2
    assert np.allclose(symmetric.mean(axis=0), (s**2).sum(axis=(1, 2)), rtol=0.1)
    assert np.allclose(antisymmetric.mean(axis=0), (a**2).sum(axis=(1, 2)), rtol=0.1)


def test_probes_differ_between_samples_leaves_and_keys(key):
    probe = normal_like({"a": jnp.zeros((2, 3)), "b": jnp.zeros((2, 3))}, key=key)
    assert not np.allclose(probe["a"], probe["b"])
    assert not np.allclose(probe["a"][0], probe["a"][1])
    assert normal_like(jnp.zeros(3, jnp.float32), key=key).dtype == jnp.float32


def test_tree_reductions_are_per_sample():
    tree = {"a": jnp.asarray([[3.0, 0], [1, -7]]), "b": jnp.asarray([[4j], [2.0]])}
    assert np.allclose(trees.norm(tree), [5, 54**0.5])
    assert np.allclose(trees.max_abs(tree), [4, 7])
    real = {"a": tree["a"], "b": tree["b"].real}
    assert np.allclose(trees.inner(real, real), [9, 54])
    assert np.isnan(trees.max_abs({"a": jnp.asarray([[np.nan, 1.0]])})).all()


def test_select_and_scale():
    a, b = {"u": jnp.ones((2, 3, 2))}, {"u": jnp.zeros((2, 3, 2))}
    chosen = trees.select(jnp.asarray([True, False]), a, b)["u"]
    assert (chosen[0] == 1).all() and (chosen[1] == 0).all()
    assert (trees.scale(jnp.asarray([2.0, 3.0]), a)["u"][1] == 3).all()


def test_copies_of_a_batch():
    tree = {"u": jnp.arange(6.0).reshape(2, 3)}
    copies = trees.split_copies(trees.broadcast_batch(tree, 3), 3)["u"]
    assert copies.shape == (3, 2, 3)
    assert all((copy == tree["u"]).all() for copy in copies)


@pytest.mark.slow
def test_a_batch_in_pieces_is_mapped_by_one_program(key):
    """The same as all at once, whatever the pieces; what fills the last one up is left out."""
    batch = {"a": jnp.asarray(RNG.normal(size=(7, 3))), "key": jax.random.split(key, 7)}
    traced = []

    def one(sample):
        traced.append(sample["a"].shape)
        return {"sum": sample["a"].sum(), "noise": sample["a"] + jax.random.normal(sample["key"], (3,))}

    whole = jax.vmap(one)(batch)
    for at_most in (1, 2, 3, 4, 6, 7, 16):
        traced.clear()
        found = jax.jit(lambda b, n=at_most: trees.map_in_pieces(one, b, n))(batch)
        assert len(traced) == 1 and traced[0] == (3,)
        assert all(np.allclose(found[name], whole[name], rtol=1e-14) for name in whole)
