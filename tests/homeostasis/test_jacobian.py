"""The homeostatic loss against ‖A‖² of dense matrices, its gradient against finite differences and its closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.homeostasis import Batch, JacobianHomeostasis, NoHomeostasis
from equiprop.solvers import GaussSeidel, relax
from equiprop.systems import from_force
from networks import batch, network
from oracle import Dense

X, _ = batch()
KEY = jax.random.key(11)


@pytest.fixture(scope="module")
def case():
    system = network("untied")
    return system, relax(system, X, GaussSeidel()).state, Dense.of(system)


def plain(**options):
    """At strength one on every sample, and every weight moved by itself."""
    usual = {"strength": 1.0, "samples": 0, "shared_updates": False, "feedback_only": False}
    return JacobianHomeostasis(**usual | options)


def many(**options):
    """Enough probes that the mean is within a few per cent of the expectation."""
    return plain(probes=2000, **options)


def loss(homeostasis, system, state, x=X):
    return float(eqx.filter_jit(homeostasis.loss)(system, everyone(x, state), key=KEY))


def everyone(x, state):
    return Batch(x, state, jnp.ones(len(x), bool))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["untied", "loop", "general"])
def test_loss_is_twice_the_antisymmetric_norm_per_unit(kind):
    system = network(kind)
    dense = Dense.of(system)
    matrix = dense.in_metric(dense.matrix.T)
    state = relax(system, X, GaussSeidel()).state
    expected = 2 * np.sum(((matrix - matrix.T) / 2) ** 2) / len(matrix)
    assert loss(many(), system, state) == pytest.approx(expected, rel=0.05)


def test_each_term_alone(case):
    system, state, dense = case
    n = len(dense.matrix)
    norm, square = np.sum(dense.matrix**2) / n, np.trace(dense.matrix @ dense.matrix) / n
    assert loss(many(square_term=False), system, state) == pytest.approx(norm, rel=0.05)
    assert loss(many(norm_term=False), system, state) == pytest.approx(-square, rel=0.05, abs=0.02 * norm)


def test_symmetric_network_has_none():
    system = network("tied")
    state = relax(system, X, GaussSeidel()).state
    dense = Dense.of(system)
    norm = np.sum(dense.in_metric(dense.matrix.T) ** 2) / 15
    assert abs(loss(many(), system, state)) < 0.05 * norm


def test_gradient_by_finite_differences(case):
    """The same probes on both sides, so that the quotient is of a deterministic function; the state is held fixed."""
    system, state, _ = case
    homeostasis = plain(probes=3, strength=0.7)
    zero = jax.tree.map(jnp.zeros_like, system)
    answer = eqx.filter_jit(homeostasis.regularise)(zero, system, everyone(X, state), key=KEY)
    regularised = answer.gradient
    assert float(answer.strength) == pytest.approx(0.7) and int(answer.skipped) == 0
    assert float(answer.loss) == pytest.approx(loss(homeostasis, system, state))
    for name, index in [("hidden_1->hidden_2", (2, 3)), ("output->hidden_2", (1, 1))]:
        where = lambda s, n=name: s.weights[n]  # noqa: E731
        weight = system.weights[name]
        up, down = (
            loss(homeostasis, eqx.tree_at(where, system, weight.at[index].add(h)), state) for h in (1e-5, -1e-5)
        )
        assert regularised.weights[name][index] == pytest.approx(0.7 * (up - down) / 2e-5, rel=1e-5)
    assert (regularised.weights["input->hidden_1"] == 0).all()
    assert (regularised.biases["hidden_1"] == 0).all()


def test_expected_gradient_of_a_pair(case):
    """For dense pairs L/n = ‖W − B‖²/n, so the gradient with respect to W is 2(W − B)/n."""
    system, state, dense = case
    zero = jax.tree.map(jnp.zeros_like, system)
    regularised = eqx.filter_jit(many().regularise)(zero, system, everyone(X, state), key=KEY).gradient
    forward, feedback = (np.asarray(system.weights[n]) for n in ("hidden_1->hidden_2", "hidden_2->hidden_1"))
    expected = 2 * (forward - feedback) / len(dense.matrix)
    ours = np.asarray(regularised.weights["hidden_1->hidden_2"])
    assert np.linalg.norm(ours - expected) < 0.2 * np.linalg.norm(expected)
    opposite = np.asarray(regularised.weights["hidden_2->hidden_1"])
    assert np.linalg.norm(opposite + expected) < 0.2 * np.linalg.norm(expected)


def test_it_adds_to_the_gradient(case):
    system, state, _ = case
    homeostasis = plain()
    ones, zero = (jax.tree.map(f, system) for f in (jnp.ones_like, jnp.zeros_like))
    regularise = eqx.filter_jit(homeostasis.regularise)
    a, b = (regularise(g, system, everyone(X, state), key=KEY).gradient for g in (ones, zero))
    assert all(np.allclose(p, q + 1) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_state_dependent_coupling_of_a_user_force():
    """A gated force, whose antisymmetric part depends on the state: the mean over the batch of 2‖A(u)‖²/n."""
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)))
    system = from_force(lambda p, u, x: jnp.tanh(u) @ p - u, matrix, initial_state=jnp.zeros(4))
    u = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)))
    jacobians = [np.asarray(matrix).T @ np.diag(1 / np.cosh(a) ** 2) - np.eye(4) for a in u]
    expected = np.mean([2 * np.sum(((j - j.T) / 2) ** 2) / 4 for j in jacobians])
    assert loss(many(), system, u, x=u) == pytest.approx(expected, rel=0.1)


@pytest.mark.slow
def test_unusable_samples_and_sample_limit(case):
    """A state of NaN is excluded; `samples` probes only the first ones."""
    system, state, _ = case
    spoilt = {name: a.at[2].set(jnp.nan) for name, a in state.items()}
    usable = jnp.asarray([True, True, False, True])
    value = eqx.filter_jit(plain().loss)(system, Batch(X, spoilt, usable), key=KEY)
    assert np.isfinite(value)
    gated = from_force(lambda p, u, x: jnp.tanh(u) @ p - u, jnp.eye(4), initial_state=jnp.zeros(4))
    u = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)))
    zero = jax.tree.map(jnp.zeros_like, gated)
    regularise = eqx.filter_jit(plain(samples=1).regularise)
    first, alone = (regularise(zero, gated, everyone(v, v), key=KEY).loss for v in (u, u[:1]))
    assert np.allclose(first, alone)


def test_none_changes_nothing(case):
    system, state, _ = case
    answer = NoHomeostasis().regularise(system, system, everyone(X, state), key=KEY)
    assert answer.loss == 0 and answer.strength == 0
    assert all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(answer.gradient), jax.tree.leaves(system), strict=True)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1.0}, "strength = -1.0: must be a finite number at least 0"),
        ({"probes": 0}, "probes = 0: must be at least 1"),
        ({"samples": -1}, "samples = -1: must be at least 0"),
        ({"norm_term": False, "square_term": False}, "both off"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=message):
        JacobianHomeostasis(**options)
