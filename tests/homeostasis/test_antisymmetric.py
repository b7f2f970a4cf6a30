"""The same loss from J − Jᵀ: against dense matrices, and without noise where the Jacobian is symmetric."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.homeostasis import AntisymmetricHomeostasis, Batch, JacobianHomeostasis
from equiprop.solvers import GaussSeidel, relax
from networks import batch, network
from oracle import Dense

X, _ = batch()
KEY = jax.random.key(11)
POPULATIONS = (7, 5, 3)


def at_rest(kind):
    system = network(kind)
    free = relax(system, X, GaussSeidel())
    return system, Batch(X, free.state, free.converged)


def antisymmetric(dense):
    matrix = dense.in_metric(dense.matrix.T)
    return (matrix - matrix.T) / 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["untied", "loop"])
@pytest.mark.parametrize("balanced", [False, True])
def test_loss_against_dense_matrices(kind, balanced):
    """2‖Aσ‖²/n, where balanced with σ² = n/(P·n_p): each of P populations then has the same share of all probes."""
    system, seen = at_rest(kind)
    a = antisymmetric(Dense.of(system))
    n = len(a)
    share = np.concatenate([np.full(p, n / (len(POPULATIONS) * p)) for p in POPULATIONS]) if balanced else np.ones(n)
    assert share.sum() == pytest.approx(n)
    homeostasis = AntisymmetricHomeostasis(probes=2000, samples=0, balanced=balanced)
    loss = float(eqx.filter_jit(homeostasis.loss)(system, seen, key=KEY))
    assert loss == pytest.approx(2 * np.sum(a**2 * share) / n, rel=0.05)


def test_gradient_by_finite_differences():
    system, seen = at_rest("untied")
    homeostasis = AntisymmetricHomeostasis(
        probes=3, samples=0, balanced=True, strength=0.7, shared_updates=False, feedback_only=False
    )
    loss = eqx.filter_jit(homeostasis.loss)
    zero = jax.tree.map(jnp.zeros_like, system)
    answer = eqx.filter_jit(homeostasis.regularise)(zero, system, seen, key=KEY)
    assert float(answer.loss) == pytest.approx(float(loss(system, seen, key=KEY)))
    for name, index in [("hidden_1->hidden_2", (2, 3)), ("output->hidden_2", (1, 1))]:
        where = lambda s, n=name: s.weights[n]  # noqa: E731
        weight = system.weights[name]
        up, down = (
            float(loss(eqx.tree_at(where, system, weight.at[index].add(h)), seen, key=KEY)) for h in (1e-5, -1e-5)
        )
        assert answer.gradient.weights[name][index] == pytest.approx(0.7 * (up - down) / 2e-5, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["convolutional", "untied"])
def test_no_noise_where_it_has_nothing_to_do(kind):
    """With equal weights of every pair the published loss is zero in the mean only; this one is zero, and so is its gradient."""
    system = network(kind)
    equal = {forward: system.weights[feedback] for forward, feedback in system.pairs.values()}
    system = eqx.tree_at(lambda s: s.weights, system, dict(system.weights) | equal)
    x = X if kind == "untied" else batch(shape=(4, 4, 2))[0]
    free = relax(system, x, GaussSeidel())
    zero = jax.tree.map(jnp.zeros_like, system)

    def largest(homeostasis):
        own = eqx.filter_jit(homeostasis.regularise)(
            zero, system, Batch(x, free.state, free.converged), key=KEY
        ).gradient
        return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(own))

    plain = {"strength": 1.0, "probes": 1, "samples": 0, "shared_updates": False, "feedback_only": False}
    assert largest(AntisymmetricHomeostasis(**plain, balanced=False)) < 1e-14
    assert largest(JacobianHomeostasis(**plain)) > 1e-3


@pytest.mark.parametrize(
    ("options", "message"), [({"probes": 0}, "probes = 0: must be at least 1"), ({"samples": -1}, "samples = -1")]
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=message):
        AntisymmetricHomeostasis(**options)
