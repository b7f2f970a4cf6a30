"""Alignment, symmetry, weight angles and the comparison of estimators against NumPy."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.diagnostics import alignment, compare, parameter_names, symmetry, weight_angle
from equiprop.estimators import Adjoint, Centered, Estimate, ExactResponse, Holomorphic, estimate
from equiprop.solvers import GMRES, GaussSeidel, relax
from equiprop.systems import mlp
from networks import KINDS, batch, network
from oracle import Dense

X, Y = batch()
SOLVER = GaussSeidel(tolerance=1e-10, max_steps=1000)


@pytest.fixture(scope="module")
def pair():
    system = network("untied")
    krylov = GMRES(tolerance=1e-11)
    run = eqx.filter_jit(lambda s, e: estimate(s, X, Y, e, solver=SOLVER))
    return (
        system,
        run(system, ExactResponse(linear_solver=krylov)),
        run(system, Adjoint(linear_solver=krylov, clip=math.inf)),
    )


def cosine(a, b):
    return np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.slow
def test_alignment_is_plain_cosines(pair):
    _, ours, exact = pair
    found = alignment(ours, exact)
    for name, vector in ours.error_vector.items():
        a, b = np.asarray(vector), np.asarray(exact.error_vector[name])
        assert np.isclose(found.cosine[name], np.mean([cosine(u, v) for u, v in zip(a, b, strict=True)]))
        cosines = np.array([cosine(u, v) for u, v in zip(a, b, strict=True)])
        assert np.isclose(found.cosine_spread[name], cosines.std())
        assert np.isclose(found.weighted_cosine[name], np.average(cosines, weights=np.linalg.norm(b, axis=1)))
        relative = np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
        assert np.isclose(found.relative_error[name], relative.mean())
    a, b = (np.concatenate([np.ravel(g) for g in jax.tree.leaves(e.gradient)]) for e in (ours, exact))
    assert np.isclose(found.total_cosine, cosine(a, b))
    assert np.isclose(found.total_relative_error, np.linalg.norm(a - b) / np.linalg.norm(b))
    for name, g, h in zip(
        parameter_names(exact.gradient), jax.tree.leaves(ours.gradient), jax.tree.leaves(exact.gradient), strict=True
    ):
        assert np.isclose(found.gradient_cosine[name], cosine(np.asarray(g), np.asarray(h)))
        assert np.isclose(found.gradient_norm_ratio[name], np.linalg.norm(g) / np.linalg.norm(h))
    assert "weights.hidden_1->hidden_2" in found.gradient_norm_ratio


def test_alignment_averages_over_what_both_kept(pair):
    _, ours, exact = pair
    partial = eqx.tree_at(lambda e: e.weight, ours, jnp.asarray([1.0, 0.0, 1.0, 1.0]))
    found = alignment(partial, exact)
    assert int(found.samples) == 3
    a, b = np.asarray(ours.error_vector["hidden_1"]), np.asarray(exact.error_vector["hidden_1"])
    assert np.isclose(found.cosine["hidden_1"], np.mean([cosine(a[i], b[i]) for i in (0, 2, 3)]))


def test_nothing_to_compare_is_not_a_number(pair):
    _, ours, exact = pair
    none: Estimate = eqx.tree_at(lambda e: e.weight, ours, jnp.zeros(4))
    assert np.isnan(alignment(none, exact).cosine["output"])


@pytest.mark.parametrize("kind", KINDS)
def test_symmetry(kind, key):
    system = network(kind)
    dense = Dense.of(system)
    matrix = dense.in_metric(dense.matrix.T)
    np.fill_diagonal(matrix, 0)
    s, a = np.linalg.norm((matrix + matrix.T) / 2), np.linalg.norm((matrix - matrix.T) / 2)
    state = relax(system, X, GaussSeidel()).state
    found = eqx.filter_jit(symmetry)(system, X, state, probes=1500, key=key)
    assert abs(float(found.symmetry) - s / (s + a)) < 5 * float(found.standard_error) + 0.03
    assert float(found.symmetric_norm) == pytest.approx(s, rel=0.05)
    assert float(found.antisymmetric_norm) == pytest.approx(a, rel=0.05, abs=0.1 * s)


def test_standard_error_shrinks_with_probes(key):
    system = network("untied")
    state = relax(system, X, GaussSeidel()).state
    few, many = (eqx.filter_jit(symmetry)(system, X, state, probes=n, key=key) for n in (20, 2000))
    assert 3 < float(few.standard_error / many.standard_error) < 30


def test_weight_angle():
    system = mlp(6, (40, 40), 30, key=jax.random.key(1), weight_angle=35.0, feedback_gain=1.0)
    angles = weight_angle(system)
    assert set(angles) == {"hidden_1->hidden_2", "hidden_2->output"}
    for name, (forward, feedback) in system.pairs.items():
        exact = np.degrees(np.arccos(cosine(np.asarray(system.weights[forward]), np.asarray(system.weights[feedback]))))
        assert float(angles[name]) == pytest.approx(exact)
    turned = eqx.tree_at(lambda s: s.weights["hidden_2->output"], system, system.weights["output->hidden_2"] * 3)
    assert float(weight_angle(turned)["hidden_2->output"]) == pytest.approx(0, abs=1e-6)
    assert weight_angle(network("tied")) == {}


@pytest.mark.slow
def test_compare_ranks_and_reports_refusals():
    seen = []
    family = {
        "centered": Centered(nudge=0.05),
        "adjoint": Adjoint(),
        "holomorphic": Holomorphic(points=4, nudge=0.05),
    }
    rows = compare(network("relu"), X, Y, family, solver=SOLVER, repeats=1, on_estimator=seen.append)
    assert seen == list(family)
    assert [r.estimator for r in rows] == ["adjoint", "centered", "holomorphic"]
    assert rows[0].cosine == pytest.approx(1) and rows[0].relative_error < 1e-3
    assert rows[2].refused is not None and math.isnan(rows[2].cosine)
    assert set(rows[0].populations or {}) == {"hidden_1", "output"}
    assert rows[1].relaxation_steps > 0 and rows[1].seconds > 0


def test_tiny_vectors_are_compared_like_any_other(pair):
    """In single precision the squares of what is below 1e-19 are zero: gradients of deep networks are that small."""

    def scaled(found, factor):
        vectors = found.error_vector, found.gradient
        single = jax.tree.map(lambda a: (factor * a).astype(jnp.float32), vectors)
        return eqx.tree_at(lambda e: (e.error_vector, e.gradient), found, single)

    _, response, adjoint = pair
    ours, theirs = (alignment(scaled(response, f), scaled(adjoint, f)) for f in (1.0, 1e-25))
    for field in ("cosine", "relative_error", "gradient_cosine", "gradient_norm_ratio"):
        for name, value in getattr(ours, field).items():
            assert float(getattr(theirs, field)[name]) == pytest.approx(float(value), rel=1e-4)
    assert float(theirs.total_cosine) == pytest.approx(float(ours.total_cosine), rel=1e-4)
    assert float(theirs.total_relative_error) == pytest.approx(float(ours.total_relative_error), rel=1e-4)
