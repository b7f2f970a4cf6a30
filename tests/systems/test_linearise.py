"""Jacobians where activities saturate: what is known of them there, to how many digits, and that nothing is infinite."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.systems import (
    balanced_jacobian,
    clamped_force,
    coupling,
    coupling_is_exact,
    from_energy,
    from_force,
    jacobian,
    leak_slope,
    membrane_jacobian,
    over_slope,
    slope,
    symmetric_parts,
)
from networks import batch, network

UNITS = 5
RNG = np.random.default_rng(4)
W = RNG.normal(size=(UNITS, UNITS))
RATE = 0.7
X = jnp.zeros((1, UNITS))
OFF = ~np.eye(UNITS, dtype=bool)


def system(leak=RATE, activity=jnp.tanh):
    """u̇ = φ(u)·W + x − 0.7·u, so that ∂H/∂r = Wᵀ everywhere."""
    return from_force(
        lambda p, u, x: activity(u) @ p + x - RATE * u,
        jnp.asarray(W),
        initial_state=np.zeros(UNITS),
        activity=activity,
        leak=leak,
    )


def dense(operator, units=UNITS):
    """Column by column."""
    return np.stack([np.asarray(operator(jnp.asarray(e)[None])[0]) for e in np.eye(units)], axis=1)


MODERATE = jnp.asarray([[0.3, -0.5, 1.2, 0.0, -0.8]])
SATURATED = jnp.asarray([[14.0, -14.5, 0.4, 13.9, -14.2]])
"""Where 1 − tanh² is a few times 10⁻¹², but for one unit."""
FLAT = jnp.asarray([[30.0, -40.0, 0.4, 25.0, -0.3]])
"""Where 1 − tanh² is 0 to the last digit, but for two units."""


@pytest.mark.parametrize("state", [MODERATE, SATURATED], ids=["moderate", "saturated"])
def test_the_coupling_between_units_is_their_weight(state):
    found = dense(coupling(system(), state, X))
    assert np.isfinite(found).all()
    assert np.abs(found - W.T)[OFF].max() < 1e-6


@pytest.mark.parametrize("state", [MODERATE, SATURATED], ids=["moderate", "saturated"])
def test_the_jacobian_between_units_is_their_weight(state):
    found, d = dense(jacobian(system(), state, X)), np.asarray(slope(system(), state)[0])
    assert np.isfinite(found).all()
    assert np.abs(found - W.T)[OFF].max() < 1e-6
    assert np.allclose(np.diag(found), np.diag(W) - RATE / d, rtol=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_coupling_of_saturated_units_to_others_is_their_weight_for_any_vector(sign):
    """On some units, read at the others: as probes do where the diagonal is lost."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        state = jnp.asarray(sign * rng.uniform(13.5, 14.5, (1, UNITS)))
        v = jnp.asarray(rng.normal(size=(1, UNITS)) * [1, 1, 1, 0, 0])
        found, expected = np.asarray(coupling(system(), state, X)(v))[0], np.asarray(v)[0] @ W
        assert np.abs(found - expected)[3:].max() < 1e-6


def test_the_diagonal_of_a_coupling_is_lost_only_where_an_activity_is_flat():
    assert np.allclose(dense(coupling(system(), MODERATE, X)), W.T, atol=1e-12)
    found = np.diag(dense(coupling(system(), SATURATED, X)))
    assert np.isclose(found[2], W[2, 2], atol=1e-12)


def test_a_coupling_says_whether_its_diagonal_is_kept():
    layered, (x, _) = network("general"), batch()
    assert coupling_is_exact(layered, layered.initial_state(x), layered.injection(x))
    assert coupling_is_exact(from_force(lambda p, u, x: x - u, 0.0, initial_state=np.zeros(UNITS)), MODERATE, X)
    assert not coupling_is_exact(system(), MODERATE, X)


@pytest.mark.parametrize("state", [MODERATE, SATURATED, FLAT], ids=["moderate", "saturated", "flat"])
def test_the_balanced_jacobian_is_that_of_its_formula(state):
    """D^½·Wᵀ·D^½ less the leak, at slopes of exactly 0, too."""
    d = np.asarray(slope(system(), state)[0])
    assert (d[[0, 1, 3]] == 0).all() == (state is FLAT)
    expected = np.sqrt(d)[:, None] * W.T * np.sqrt(d) - RATE * np.eye(UNITS)
    assert np.allclose(dense(balanced_jacobian(system(), state, X)), expected, rtol=0, atol=1e-9)


def test_the_balanced_jacobian_of_one_state_is_finite_where_the_leak_is_not_known():
    assert np.isfinite(dense(balanced_jacobian(system(leak=None), SATURATED, X))).all()


def test_the_balanced_jacobian_at_the_flat_side_of_a_rectifier():
    flat = system(activity=jax.nn.relu)
    state = jnp.asarray([[1.0, -1.0, 0.5, -3.0, -0.1]])
    d = np.asarray([1.0, 0, 1, 0, 0])
    assert np.allclose(dense(balanced_jacobian(flat, state, X)), d[:, None] * W.T * d - RATE * np.eye(UNITS))
    moving = d > 0
    both = np.outer(moving, moving) & OFF
    assert np.allclose(dense(coupling(flat, state, X))[both], W.T[both])
    assert np.isfinite(dense(jacobian(flat, state, X))).all()


def test_the_symmetric_parts_of_a_saturated_system_are_finite_and_add_up():
    for state in (MODERATE, SATURATED, FLAT):
        minus_s, a = symmetric_parts(system(), state[0], X[0])
        s, a = (np.stack([np.asarray(part(jnp.asarray(e))) for e in np.eye(UNITS)], axis=1) for part in (minus_s, a))
        assert np.allclose(s, s.T) and np.allclose(a, -a.T)
        assert np.allclose(-s + a, dense(balanced_jacobian(system(), state, X)))


def test_leak_slopes():
    assert np.allclose(leak_slope(system(), MODERATE), RATE)
    cubic = system(leak=lambda u: RATE * u + u**3)
    assert np.allclose(leak_slope(cubic, MODERATE), RATE + 3 * MODERATE**2)
    per_unit = system(leak=jnp.arange(5.0))
    assert np.allclose(leak_slope(per_unit, MODERATE), np.arange(5.0))
    assert leak_slope(system(leak=None), MODERATE) is None


def test_without_a_leak_the_coupling_is_the_jacobian():
    bare = system(leak=None)
    found = dense(coupling(bare, MODERATE, X))
    membrane, d = dense(membrane_jacobian(bare, MODERATE, X)), np.asarray(slope(bare, MODERATE)[0])
    assert np.array_equal(found, dense(jacobian(bare, MODERATE, X)))
    assert np.allclose(found, membrane / d) and np.allclose(found, W.T - np.diag(RATE / d))


def test_what_no_activity_can_move_is_left_out():
    d = jnp.asarray([1.0, 1e-12, 0.0, -2.0, 1e-320])
    assert np.array_equal(over_slope(jnp.ones(5), d), [1.0, 1e12, 0.0, -0.5, 0.0])


@pytest.mark.slow
def test_saturated_layers_keep_all_of_their_coupling():
    """They tell what arrives by itself: H(r) needs no division by a slope."""
    layered, (x, _) = network("general"), batch(n=1)
    injection = layered.injection(x)
    near = layered.initial_state(x)
    far = jax.tree.map(lambda u: u + 20 * np.sign(RNG.normal(size=u.shape)), near)
    v = jax.tree.map(lambda u: jnp.asarray(RNG.normal(size=u.shape)), near)
    here, there = (coupling(layered, state, injection)(v) for state in (near, far))
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        assert np.allclose(a, b, rtol=1e-12)
    balanced = balanced_jacobian(layered, far, injection)(v)
    for d, c, w, found in zip(*map(jax.tree.leaves, (slope(layered, far), there, v, balanced)), strict=True):
        assert np.abs(d).max() < 1e-20 and np.isfinite(c).all()
        assert np.allclose(found, -np.asarray(w), atol=1e-12)


def test_what_arrives_at_clamped_activities():
    layered, (x, _) = network("general"), batch()
    state = layered.initial_state(x)
    r = layered.activity(state)
    without_input = jax.tree.map(jnp.zeros_like, layered.injection(x))
    force = layered.force(state, without_input)
    for a, b in zip(
        jax.tree.leaves(clamped_force(layered, r, layered.injection(x))), jax.tree.leaves(force), strict=True
    ):
        assert np.allclose(a, b)
    bare = from_energy(lambda p, u, x: jnp.sum((u - x) ** 2, axis=1), 0.0, initial_state=np.zeros(UNITS))
    assert np.allclose(clamped_force(bare, MODERATE, X), -2 * MODERATE)
    with pytest.raises(
        InputError, match="FunctionSystem: does not say what force arrives when its activities are clamped"
    ):
        clamped_force(system(), MODERATE, X)


@pytest.mark.slow
def test_single_precision_stays_and_is_finite():
    half = eqx.tree_at(lambda s: s.params, system(), jnp.asarray(W, jnp.float32))
    state, x = (a.astype(jnp.float32) for a in (jnp.asarray([[7.0, -7.0, 0.4, 20.0, -0.3]]), X))
    v = jnp.eye(UNITS, dtype=jnp.float32)[1][None]
    for build in (coupling, jacobian, balanced_jacobian):
        found = build(half, state, x)(v)
        assert found.dtype == jnp.float32 and np.isfinite(found).all()
    found = np.asarray(coupling(half, state, x)(v)[0])
    assert np.allclose(found[OFF[1]], W[1][OFF[1]], rtol=1e-5)
