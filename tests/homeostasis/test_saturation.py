"""Homeostasis and diagnostics of a user's force whose units are saturated, against dense linear algebra."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.diagnostics import certificate, spectrum, symmetry
from equiprop.homeostasis import (
    AntisymmetricHomeostasis,
    AutoHomeostasis,
    Batch,
    Controlled,
    JacobianHomeostasis,
    RotationHomeostasis,
)
from equiprop.solvers import GaussSeidel, Jacobi, relax
from equiprop.systems import from_force, slope

N, SAMPLES = 8, 4
KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
WEIGHTS = jnp.asarray(RNG.normal(size=(N, N)) / N**0.5)
SIGNS = RNG.choice([-1.0, 1.0], (SAMPLES, N))
PLAIN_SWEEPS = Jacobi(damping=0.0)
PLAIN = {"strength": 1.0, "samples": 0, "shared_updates": False, "feedback_only": False}


def force(p, u, x):
    """u̇ = W·tanh(u) + x − u."""
    return jnp.tanh(u) @ p.T + x - u


def rectified(p, u, x):
    return jax.nn.relu(u) @ p.T + x - u


def saturated(weights=WEIGHTS):
    return from_force(force, weights, initial_state=jnp.zeros(N), activity=jnp.tanh, leak=1.0, holomorphic=True)


def inputs(least, most):
    return jnp.asarray(SIGNS * np.random.default_rng(1).uniform(least, most, (SAMPLES, N)))


# Slopes from 1e-2 to 1e-6.
FAR = inputs(4.0, 7.0)


@pytest.fixture(scope="module")
def at_rest():
    system = saturated()
    free = relax(system, FAR, GaussSeidel(tolerance=1e-10))
    slopes = np.asarray(slope(system, free.state))
    assert free.converged.all() and slopes.max() < 0.05 and slopes.min() < 1e-5 and slopes.all()
    return system, Batch(FAR, free.state, free.converged)


def antisymmetric(weights):
    return (np.asarray(weights) - np.asarray(weights).T) / 2


def dense_symmetry(weights):
    off = np.asarray(weights) * (1 - np.eye(N))
    s, a = (np.linalg.norm(off + sign * off.T) for sign in (1, -1))
    return s / (s + a)


KINDS = {
    "jacobian": JacobianHomeostasis(**PLAIN),
    "antisymmetric": AntisymmetricHomeostasis(**PLAIN),
    "rotation": RotationHomeostasis(**PLAIN),
    "auto": AutoHomeostasis(**PLAIN),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_finite_however_far_units_are_saturated(name):
    """Slopes are down to 1e-6, to 1e-13, and zero."""
    system = saturated()
    zero = jax.tree.map(jnp.zeros_like, system)
    regularise = eqx.filter_jit(KINDS[name].regularise)
    for x in (FAR, inputs(4.0, 15.0), inputs(4.0, 30.0), inputs(25.0, 40.0)):
        answer = regularise(zero, system, Batch(x, x, jnp.ones(SAMPLES, bool)), key=KEY)
        assert np.isfinite(answer.gradient.params).all() and np.isfinite(answer.loss)
        # And no larger than where nothing is saturated.
        assert np.linalg.norm(answer.gradient.params) < 10 * np.linalg.norm(WEIGHTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jacobian", "antisymmetric"])
def test_the_expected_gradient_is_that_of_the_antisymmetric_part(name, at_rest):
    """2(W − Wᵀ)/n of 2‖A‖²/n, although every probe sees one half of the units act on the other."""
    system, seen = at_rest
    homeostasis = type(KINDS[name])(**PLAIN, probes=1)
    draws = 4000

    def draw(key):
        own, loss, _ = homeostasis.gradient(system, seen, key=key)
        return own.params, loss

    gradients, losses = jax.jit(jax.vmap(draw))(jax.random.split(KEY, draws))
    a = antisymmetric(WEIGHTS)
    mean, spread = gradients.mean(axis=0), np.asarray(gradients).std(axis=0, ddof=1) / draws**0.5
    assert (np.abs(mean - 4 * a / N) <= 4 * spread + 1e-12).mean() > 0.98
    assert np.linalg.norm(mean - 4 * a / N) < 0.1 * np.linalg.norm(4 * a / N)
    off = abs(float(losses.mean()) - 2 * np.sum(a**2) / N)
    assert off < 4 * float(losses.std()) / draws**0.5


@pytest.mark.slow
def test_units_whose_activity_does_not_move_act_on_none_and_teach_nothing():
    """Of slope zero: their columns of J are, whatever the weights."""
    system = saturated()
    x = jnp.asarray(np.where(np.arange(N) < 3, 40.0, 0.3)) * jnp.ones((SAMPLES, 1))
    seen = Batch(x, x, jnp.ones(SAMPLES, bool))
    homeostasis = AntisymmetricHomeostasis(**PLAIN, probes=4000)
    own, loss, _ = eqx.filter_jit(homeostasis.gradient)(system, seen, key=KEY)
    moves = np.arange(N) >= 3

    def dense(weights):
        j = weights * moves
        return 2 * jnp.sum(((j - j.T) / 2 * (1 - jnp.eye(N))) ** 2) / N

    expected = np.asarray(jax.grad(dense)(WEIGHTS))
    assert np.linalg.norm(own.params - expected) < 0.1 * np.linalg.norm(expected)
    assert not own.params[:, ~moves].any() and float(loss) == pytest.approx(float(dense(WEIGHTS)), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jacobian", "antisymmetric"])
def test_descent_raises_the_symmetry_step_by_step(name):
    """Three hundred steps of plain gradient descent, each at equilibria of its own."""
    homeostasis = KINDS[name]
    solver = GaussSeidel(tolerance=1e-6)

    @eqx.filter_jit
    def descend(system):
        def step(system, key):
            free = relax(system, FAR, solver)
            zero = jax.tree.map(jnp.zeros_like, system)
            answer = homeostasis.regularise(zero, system, Batch(FAR, free.state, free.converged), key=key)
            moved = jax.tree.map(lambda w, g: w - 0.03 * g, system, answer.gradient)
            return moved, (moved.params, free.converged.all(), jnp.linalg.norm(answer.gradient.params))

        return jax.lax.scan(step, system, jax.random.split(KEY, 300))

    after, (weights, converged, norms) = descend(saturated())
    assert converged.all() and np.isfinite(norms).all()
    seen = np.array([dense_symmetry(WEIGHTS), *(dense_symmetry(w) for w in weights[29::30])])
    assert (np.diff(seen) > (0 if name == "antisymmetric" else -0.01)).all()
    assert seen[0] < 0.6 and seen[-1] > 0.9
    state = relax(after, FAR, solver).state
    assert float(symmetry(after, FAR, state).symmetry) == pytest.approx(seen[-1], abs=1e-6)


@pytest.mark.slow
def test_a_controlled_strength_holds_the_symmetry_of_saturated_units(at_rest):
    """While a cost gradient keeps pulling the weights apart, the symmetry by dense algebra stays at its target."""
    system, seen = at_rest
    pull = eqx.tree_at(lambda s: s.params, jax.tree.map(jnp.zeros_like, system), -0.3 * antisymmetric(WEIGHTS))
    strength = Controlled(hold="symmetry", target=0.8, start=0.1, every=1, samples=4)
    homeostasis = JacobianHomeostasis(**PLAIN | {"strength": strength}, probes=20)

    @eqx.filter_jit
    def run(theta):
        def step(carry, key):
            theta, memory = carry
            answer = homeostasis.regularise(pull, theta, seen, key=key, memory=memory)
            moved = jax.tree.map(lambda w, g: w - 0.05 * g, theta, answer.gradient)
            return (moved, answer.memory), (moved.params, answer.strength)

        return jax.lax.scan(step, (theta, homeostasis.init(jnp.float64)), jax.random.split(KEY, 800))[1]

    weights, strengths = run(system)
    held = [dense_symmetry(w) for w in weights[600::20]]
    assert np.mean(held) == pytest.approx(0.8, abs=0.03) and np.max(np.abs(np.array(held) - 0.8)) < 0.08
    assert 0.1 < float(strengths[-1]) < 100


def rotation(weights, slopes):
    """‖K̃‖₂ of D^½WD^½ − 1, which is defined where slopes are zero too."""
    root = np.sqrt(slopes)
    j = root[:, None] * np.asarray(weights) * root - np.eye(N)
    s, a = (j + j.T) / 2, (j - j.T) / 2
    factor = np.linalg.cholesky(-s)
    return np.linalg.norm(np.linalg.solve(factor, np.linalg.solve(factor, a).T), 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_certificate_and_spectrum_are_those_of_dense_algebra_where_slopes_vanish(name):
    """Dead units of a rectifier, and saturated ones: what is left of them is their leak."""
    weights = 0.6 * WEIGHTS
    system = saturated(weights)
    if name == "relu":
        system = from_force(
            rectified, weights, initial_state=jnp.zeros(N), activity=jax.nn.relu, leak=1.0, holomorphic=False
        )
    x = jnp.asarray(np.where(np.random.default_rng(5).uniform(size=(SAMPLES, N)) < 0.4, 25.0 * SIGNS, 0.3 * SIGNS))
    free = relax(system, x, GaussSeidel(tolerance=1e-10, max_steps=1000))
    slopes = np.asarray(slope(system, free.state))
    assert free.converged.all() and (slopes == 0).any(axis=1).all() and (slopes > 0).any(axis=1).all()
    found = certificate(system, x, free.state, key=KEY)
    assert found.granted.all() and found.reason() is None
    rates = spectrum(system, x, free.state, PLAIN_SWEEPS, key=KEY)
    for i, d in enumerate(slopes):
        assert float(found.sigma[i]) == pytest.approx(rotation(weights, d), rel=1e-4, abs=1e-6)
        eigenvalues = np.linalg.eigvals(np.asarray(weights) * d - np.eye(N))
        assert float(rates.abscissa[i]) == pytest.approx(eigenvalues.real.max(), abs=1e-7)
        assert float(rates.contraction[i]) == pytest.approx(np.abs(eigenvalues + 1).max(), abs=1e-5)


@pytest.mark.slow
def test_where_every_slope_is_zero_nothing_is_turned_and_the_leak_is_the_spectrum():
    system = saturated()
    x = jnp.asarray(40 * SIGNS)
    found = certificate(system, x, x, key=KEY)
    assert found.granted.all() and np.allclose(found.sigma, 0, atol=1e-6) and np.allclose(found.cosine, 1)
    assert np.allclose(spectrum(system, x, x, PLAIN_SWEEPS, key=KEY).abscissa, -1)
    assert float(symmetry(system, x, x).symmetry) == 1


def test_a_state_that_is_no_number_has_no_certificate_and_a_reason():
    system = saturated()
    found = certificate(system, FAR, FAR.at[0, 0].set(jnp.nan), key=KEY)
    assert found.granted.tolist() == [False, True, True, True]
    assert "J gives no number for 1 of 4 samples: the state or J is not finite" in (found.reason() or "")
