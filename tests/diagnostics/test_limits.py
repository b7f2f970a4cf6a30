"""Certificate, spectrum, bias split and analyticity against dense linear algebra and closed forms."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.diagnostics import (
    Verdict,
    analyticity,
    bias_split,
    certificate,
    metric_cosine,
    period,
    spectrum,
    symmetry,
)
from equiprop.errors import InputError
from equiprop.estimators import Adjoint, Centered, ExactResponse, Neumann, estimate
from equiprop.solvers import GMRES, GaussSeidel, Jacobi, relax
from equiprop.systems import Free, from_force, mlp
from networks import CLASSES, INPUTS, batch, network
from oracle import Dense, shifted_sigmoid_slope
from tiers import quick_where

X, Y = batch()
SOLVER = GaussSeidel(tolerance=1e-10, max_steps=2000, nudged_max_steps=2000)
KEY = jax.random.key(4)


def free_state(system, x):
    return eqx.filter_jit(relax)(system, x, SOLVER).state


def dense_sigma(dense, u):
    """‖K̃‖₂ by Cholesky factors, and the largest eigenvalue of the balanced S."""
    slope = shifted_sigmoid_slope(u)
    j = dense.in_metric(dense.jacobian(u))
    s, a = (j + j.T) / 2, (j - j.T) / 2
    balanced = np.sqrt(slope)[:, None] * s * np.sqrt(slope)
    root = np.linalg.cholesky(-s)
    return np.linalg.norm(np.linalg.solve(root, np.linalg.solve(root, a).T), 2), np.linalg.eigvalsh(balanced).max()


@pytest.mark.parametrize("kind", quick_where(lambda kind: kind == "general", ["general", "loop", "tied"]))
def test_certificate(kind):
    system = network(kind)
    state, dense = free_state(system, X), Dense.of(system)
    found = certificate(system, X, state, key=KEY)
    assert found.granted.all() and found.reason() is None
    linear = {"linear_solver": GMRES(tolerance=1e-10), "clip": float("inf")}
    ours, theirs = (
        estimate(system, X, Y, which(**linear), solver=SOLVER).error_vector for which in (ExactResponse, Adjoint)
    )
    cosines = metric_cosine(system, X, state, ours, theirs)
    for i, u in enumerate(dense.flat(state)):
        sigma, largest = dense_sigma(dense, u)
        assert np.isclose(found.sigma[i], sigma, rtol=1e-4, atol=1e-6)
        assert np.isclose(found.largest_eigenvalue[i], largest, rtol=1e-6)
        assert np.isclose(found.angle[i], np.rad2deg(2 * np.arctan(found.sigma[i])))
        # And what it certifies is true, of the vectors themselves.
        j = dense.in_metric(dense.jacobian(u))
        cost_gradient = dense.cost_gradient(u, int(Y[i]))
        exact, response = -np.linalg.solve(j.T, cost_gradient), -np.linalg.solve(j, cost_gradient)
        metric = -(j + j.T) / 2
        assert np.isclose(exact @ metric @ exact, response @ metric @ response)
        cosine = (exact @ metric @ response) / (exact @ metric @ exact)
        assert cosine >= float(found.cosine[i]) - 1e-9 and np.isclose(cosines[i], cosine, atol=1e-7)


@pytest.mark.slow
def test_certificate_of_five_hundred_units():
    system = mlp(20, (200, 200), 100, key=jax.random.key(1), gain=1.8, feedback_gain=1.0)
    x = jax.random.normal(jax.random.key(2), (2, 20))
    state, dense = free_state(system, x), Dense.of(system)
    found = certificate(system, x, state, steps=40, key=KEY)
    for i, u in enumerate(dense.flat(state)):
        sigma, largest = dense_sigma(dense, u)
        assert len(u) == 500 and bool(found.granted[i])
        assert np.isclose(found.sigma[i], sigma, rtol=1e-3)
        assert sigma <= float(found.sigma[i]) + 1e-4
        assert np.isclose(found.largest_eigenvalue[i], largest, rtol=1e-3)


@pytest.mark.slow
def test_certificate_is_refused_with_a_reason():
    """S = x·(p + pᵀ)/2 − 1 is indefinite for x = 3; an activity that falls has no metric at all."""
    p = jnp.asarray([[0.0, 1.0], [0.2, 0.0]])
    system = from_force(lambda w, u, x: x * (u @ w) - u, p, initial_state=jnp.zeros(2))
    x, u = jnp.asarray([[0.5], [3.0]]), jnp.zeros((2, 2))
    found = certificate(system, x, u, key=KEY)
    assert found.granted.tolist() == [True, False] and math.isnan(found.angle[1])
    assert "not negative definite for 1 of 2 samples" in (found.reason() or "")
    falling = from_force(
        lambda w, v, x: x * v - jnp.cos(v), p, initial_state=jnp.zeros(2), activity=lambda v: jnp.cos(v)
    )
    refused = certificate(falling, x, u + 1, key=KEY)
    assert not refused.granted.any() and "the activation falls" in (refused.reason() or "")
    assert np.isnan(refused.largest_eigenvalue).all()


def test_a_metric_that_single_precision_cannot_invert_grants_nothing():
    """−S is all but singular, so that conjugate gradients may give no number: σ, truly 47, was said to be 0 of some samples."""
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    s = -(q * np.append(np.linspace(0.5, 1.5, 39), 1e-4)) @ q.T
    a = rng.normal(size=(40, 40)) / 10
    root = np.linalg.cholesky(-s)
    sigma = np.linalg.norm(np.linalg.solve(root, np.linalg.solve(root, (a - a.T) / 2).T), 2)
    j = jnp.asarray(s + (a - a.T) / 2, jnp.float32)
    system = from_force(lambda w, u, x: u @ w.T + x, j, initial_state=jnp.zeros(40, jnp.float32))
    zeros = jnp.zeros((64, 40), jnp.float32)
    found = certificate(system, zeros, zeros, key=jax.random.key(0))
    granted = np.asarray(found.sigma)[found.granted]
    # The others were said to have any σ from 8 to 1e18.
    assert sigma > 40 and len(granted) and np.all((granted > 0.99 * sigma) & (granted < 1.3 * sigma))


@pytest.mark.parametrize("options", [{"steps": 1}, {"tolerance": 0.0}])
def test_certificate_bad_settings(options):
    system = network("untied")
    with pytest.raises(InputError, match=next(iter(options))):
        certificate(system, X, system.initial_state(X), key=KEY, **options)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [SOLVER, Jacobi(damping=0.4)], ids=["gauss_seidel", "damped"])
def test_spectrum(solver):
    """The rightmost eigenvalue of W·D − 1, and the rate at which sweeps from nearby really contract."""
    system = network("general")
    state, dense = free_state(system, X), Dense.of(system)
    found = spectrum(system, X, state, solver, key=KEY)
    injection = system.injection(X)
    sweep = jax.jit(lambda v: solver.sweep(Free(system, injection), v)[0])
    near = jax.tree.map(lambda a: a + 1e-4, state)
    distances = []
    for _ in range(60):
        near = sweep(near)
        distances.append(np.linalg.norm(dense.flat(near) - dense.flat(state), axis=1))
    distances = np.array(distances)
    for i, u in enumerate(dense.flat(state)):
        membrane = dense.matrix.T * shifted_sigmoid_slope(u) - np.eye(len(u))
        assert np.isclose(found.abscissa[i], np.linalg.eigvals(membrane).real.max())
        assert found.abscissa_error[i] < 1e-8
        asymptotic = np.flatnonzero((distances[:, i] < 2e-5) & (distances[:, i] > 3e-9))
        rate = np.exp(np.polyfit(asymptotic, np.log(distances[asymptotic, i]), 1)[0])
        assert np.isclose(found.contraction[i], rate, rtol=0.15)


@pytest.mark.slow
def test_spectrum_says_what_it_does_not_know():
    """A Krylov space of 12 in 100 units is not enough, and the residual says so."""
    system = mlp(5, (40, 40), 20, key=jax.random.key(1), gain=1.8, feedback_gain=1.0)
    x = jax.random.normal(jax.random.key(2), (2, 5))
    state, dense = free_state(system, x), Dense.of(system)
    few, many = (spectrum(system, x, state, SOLVER, steps=n, key=KEY) for n in (12, 100))
    for i, u in enumerate(dense.flat(state)):
        exact = np.linalg.eigvals(dense.matrix.T * shifted_sigmoid_slope(u) - np.eye(100)).real.max()
        assert np.isclose(many.abscissa[i], exact, atol=1e-6)
        assert few.abscissa_error[i] > 1e-3 > many.abscissa_error[i]
    with pytest.raises(InputError, match="steps = 1: must be at least 2"):
        spectrum(system, x, state, SOLVER, steps=1, key=KEY)


@pytest.mark.slow
def test_bias_split():
    """estimate − δ = finite nudge + asymmetry, as vectors; the first falls with the nudge, the second does not."""
    system = mlp(INPUTS, (7,), CLASSES, key=jax.random.key(3), gain=1.5, feedback_gain=1.0)
    dense = Dense.of(system)
    krylov = GMRES(tolerance=1e-10)
    large, small = (
        eqx.filter_jit(bias_split)(system, X, Y, Centered(nudge=b), solver=SOLVER, linear_solver=krylov)
        for b in (0.4, 0.1)
    )
    states = [dense.equilibrium(np.asarray(x)) for x in X]
    exact = np.array([dense.adjoint(u, int(y)) for u, y in zip(states, Y, strict=True)])
    response = np.array([dense.response(u, int(y)) for u, y in zip(states, Y, strict=True)])
    length = np.linalg.norm(exact, axis=1)
    for split in (large, small):
        assert np.allclose(dense.flat(split.asymmetry), response - exact, atol=1e-8)
        assert np.allclose(split.asymmetry_norm, np.linalg.norm(response - exact, axis=1) / length)
        total = dense.flat(split.finite_nudge) + dense.flat(split.asymmetry)
        assert np.allclose(split.total_norm, np.linalg.norm(total, axis=1) / length) and split.usable.all()
    assert np.allclose(large.finite_nudge_norm / small.finite_nudge_norm, 16, rtol=0.3)
    direct = eqx.filter_jit(bias_split)(system, X, Y, Neumann(terms=5), solver=SOLVER, linear_solver=krylov)
    assert (direct.asymmetry_norm == 0).all() and (direct.finite_nudge_norm > 1e-5).all()


@pytest.mark.slow
def test_analyticity_names_what_it_sees():
    """A smooth field, one with poles at ±0.1i, and one with a kink at the free state."""

    def force(p, u, x):
        kinked = jnp.where(u.real > 0, 0.5 * u, 0 * u)
        fields = [p * 0.1 - u, 0.02 / (1 + (u / 0.1) ** 2) - u, kinked - u, 3 * jnp.tanh(-2 * u) - 2.5 * u]
        return jnp.select([x == k for k in range(4)], fields)

    system = from_force(force, jnp.ones(()), initial_state=jnp.zeros(1), holomorphic=False)
    x = jnp.arange(4.0)[:, None]
    solver = GaussSeidel(tolerance=1e-9, max_steps=300, nudged_max_steps=300, damping=0.3)
    found = eqx.filter_jit(analyticity)(system, x, jnp.ones((4, 1)), nudge=0.2, solver=solver)
    expected = [Verdict.ANALYTIC, Verdict.SINGULARITY, Verdict.NOT_ANALYTIC, Verdict.UNCONVERGED]
    assert found.verdict.tolist() == expected
    assert {k: int(v) for k, v in found.counts.items()} == {v.name.lower(): 1 for v in Verdict}
    assert found.error_bar[1] > 0.05 > found.error_bar_inside[1] and found.error_bar_inside[2] > 0.1
    for options in ({"points": 3}, {"inside": 1.0}):
        with pytest.raises(InputError, match=next(iter(options))):
            analyticity(system, x, jnp.ones((4, 1)), **options)


@pytest.mark.slow
def test_exact_symmetry_agrees_with_probes():
    system = network("general")
    state, dense = free_state(system, X), Dense.of(system)
    coupling = dense.in_metric(dense.matrix.T)
    np.fill_diagonal(coupling, 0)
    s, a = (np.linalg.norm(coupling + sign * coupling.T) / 2 for sign in (1, -1))
    exact = eqx.filter_jit(symmetry)(system, X, state)
    assert np.isclose(exact.symmetry, s / (s + a)) and exact.standard_error == 0
    probed = eqx.filter_jit(symmetry)(system, X, state, probes=64, key=KEY)
    assert abs(probed.symmetry - exact.symmetry) < 4 * probed.standard_error and probed.standard_error > 0
    with pytest.raises(InputError, match="probes = 8: needs a key"):
        symmetry(system, X, state, probes=8)
    with pytest.raises(InputError, match="probes = -1"):
        symmetry(system, X, state, probes=-1)


@pytest.mark.slow
def test_a_certificate_without_a_jacobian_says_so():
    """Units of slope zero; and parameters that are no arrays, which a user's force may have."""
    params = {"w": 0.1 * jnp.ones((2, 2)), "bend": jnp.tanh}
    system = from_force(
        lambda p, u, x: p["bend"](u) @ p["w"] + x - u, params, initial_state=jnp.zeros(2), activity=jax.nn.relu,
        leak=None, holomorphic=False,
    )  # fmt: skip
    refused = certificate(system, jnp.zeros((3, 2)), jnp.full((3, 2), -1.0), key=KEY)
    assert "J gives no number for 3 of 3 samples: where a slope is 0" in (refused.reason() or "")


@pytest.mark.slow
def test_a_single_probe_has_no_spread_and_no_coupling_is_symmetric():
    system = network("untied")
    x, _ = batch()
    one = symmetry(system, x, system.initial_state(x), probes=1, key=KEY)
    assert math.isinf(one.standard_error) and 0 < float(one.symmetry) < 1
    alone = mlp(INPUTS, (), CLASSES, key=KEY, feedback_gain=1.0)
    assert float(symmetry(alone, x, alone.initial_state(x)).symmetry) == 1


def test_the_period_of_what_escapes_turns_or_creeps():
    """Growing by half a sweep; turning by a fortieth of a circle; on its way to rest."""
    plain = Jacobi(damping=0.0)
    angle = 2 * np.pi / 40
    turn = jnp.asarray([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for force, expected in [
        (lambda p, u, x: 0.5 * u, 0),
        (lambda p, u, x: u @ turn - u, 40),
        (lambda p, u, x: -0.01 * u, 0),
        (lambda p, u, x: 0 * u, 1),
    ]:
        system = from_force(force, 0.0, initial_state=jnp.ones(2))
        found = period(system, jnp.zeros((1, 1)), jnp.ones((1, 2)), plain, longest=45)
        assert found.tolist() == [expected]
