"""Coupled and contrastive Hebbian learning, against dense linear algebra, SciPy's roots and the contrast of two energies."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import root

import equiprop as ep
from equiprop.errors import InputError
from equiprop.estimators import ClampedResponse, ContrastiveHebbian, CoupledLearning
from networks import batch, network
from tiers import quick_where

RNG = np.random.default_rng(5)
HIDDEN, OUT, BATCH = 5, 3, 4
SIZE = HIDDEN + OUT
W = 0.5 * RNG.standard_normal((SIZE, SIZE)) / np.sqrt(SIZE)
X, Y = RNG.standard_normal((BATCH, SIZE)), RNG.uniform(-0.5, 0.5, (BATCH, OUT))
TIGHT = ep.GaussSeidel(tolerance=1e-12, max_steps=2000, nudged_max_steps=2000)


def linear(weights):
    return ep.from_force(
        lambda w, u, x: u @ w.T - u + x, weights, initial_state=np.zeros(SIZE), output=lambda r: r[:, HIDDEN:]
    )


def curved(weights):
    return ep.from_force(
        lambda w, u, x: jnp.tanh(u) @ w.T - u + x,
        weights,
        initial_state=np.zeros(SIZE),
        activity=jnp.tanh,
        output=lambda r: r[:, HIDDEN:],
    )


@pytest.mark.slow
def test_a_linear_system_is_solved_exactly_at_any_nudge():
    """Its clamped state is linear in η: δ_o = r − y, δ_h = J_hh⁻¹…, and every estimator of the family says so."""
    system = linear(jnp.asarray(W))
    jacobian = W - np.eye(SIZE)
    free = np.linalg.solve(jacobian, -X.T).T
    output = free[:, HIDDEN:] - Y
    hidden = -np.linalg.solve(jacobian[:HIDDEN, :HIDDEN], jacobian[:HIDDEN, HIDDEN:] @ output.T).T
    expected = np.concatenate([hidden, output], axis=1)
    for estimator in (
        CoupledLearning(0.3),
        ContrastiveHebbian(),
        ClampedResponse(linear_solver=ep.GMRES(tolerance=1e-12)),
    ):
        found = ep.estimate(system, X, Y, estimator, solver=TIGHT)
        assert np.allclose(found.error_vector, expected, atol=1e-9)
        assert (found.error_bar < 1e-6).all() and not found.unconverged.any()
    # ½·δ(r + r_C)ᵀ is the trapezoid of the two states.
    clamped = free - 0.3 * expected
    gradient = np.einsum("bi,bj->ij", expected, (free + clamped) / 2) / BATCH
    found = ep.estimate(system, X, Y, CoupledLearning(0.3), solver=TIGHT)
    assert np.allclose(found.gradient.params, gradient, atol=1e-9)


def clamped_by_scipy(eta, target):
    """The activities of the curved system with the output clamped, sample by sample."""
    free = np.array([root(lambda u, x: W @ np.tanh(u) - u + x, np.zeros(SIZE), args=(x,), tol=1e-12).x for x in X])
    clamped = np.tanh(free)
    clamped[:, HIDDEN:] += eta * (target - clamped[:, HIDDEN:])

    def hidden(u, x, r):
        activity = np.concatenate([np.tanh(u), r])
        return W[:HIDDEN] @ activity - u + x[:HIDDEN]

    for x, r in zip(X, clamped, strict=True):
        r[:HIDDEN] = np.tanh(root(hidden, np.zeros(HIDDEN), args=(x, r[HIDDEN:]), tol=1e-12).x)
    return np.tanh(free), clamped


@pytest.mark.slow
@pytest.mark.parametrize("eta", [0.1, 1.0])
def test_a_curved_system_is_clamped_where_scipy_says(eta):
    free, clamped = clamped_by_scipy(eta, Y)
    estimator = ContrastiveHebbian() if eta == 1 else CoupledLearning(eta)
    found = ep.estimate(curved(jnp.asarray(W)), X, Y, estimator, solver=TIGHT)
    assert np.allclose(found.error_vector, (free - clamped) / eta, atol=1e-8)
    gradient = np.einsum("bi,bj->ij", (free - clamped) / eta, (free + clamped) / 2) / BATCH
    assert np.allclose(found.gradient.params, gradient, atol=1e-8)


@pytest.mark.slow
def test_the_limit_and_its_bar():
    """The nudged estimates tend to the linear one in proportion to η, and their bars cover their distance from it."""
    system = curved(jnp.asarray(2 * W))
    limit = ep.estimate(system, X, Y, ClampedResponse(linear_solver=ep.GMRES(tolerance=1e-10)), solver=TIGHT)
    errors = []
    for eta in (0.2, 0.02):
        found = ep.estimate(system, X, Y, CoupledLearning(eta), solver=TIGHT)
        error = np.linalg.norm(found.error_vector - limit.error_vector, axis=1) / np.linalg.norm(
            limit.error_vector, axis=1
        )
        assert (error <= found.error_bar).all()
        errors.append(error.max())
    assert 5 < errors[0] / errors[1] < 20


@pytest.mark.slow
def test_a_layered_network_learns_from_the_contrast_of_two_hebbian_terms():
    """Tied weights: the gradient is r·rᵀ of the free phase less that of the clamped one, at outputs that no sigmoid reaches."""
    system = network("tied")
    system = eqx.tree_at(lambda s: s.cost, system, ep.SquaredError())
    x, labels = batch(n=5)
    found = ep.estimate(system, x, labels, ContrastiveHebbian(), solver=TIGHT)
    free = system.activity(found.equilibrium.state)
    clamped = {name: r - system.mobility[name] * found.error_vector[name] for name, r in free.items()}
    assert np.allclose(clamped["output"], jax.nn.one_hot(labels, 3))
    name, source, target = "hidden_1->hidden_2", "hidden_1", "hidden_2"
    hebbian = [jnp.einsum("bi,bj->ij", r[source], r[target]) / 5 for r in (free, clamped)]
    factor = 1 / system.mobility[target]
    assert np.allclose(found.gradient.weights[name], -factor * (hebbian[1] - hebbian[0]), atol=1e-9)


def clamped_densely(system, state, x, label):
    """The limit for one sample: r − y at the output, −J_hh⁻¹J_ho of it elsewhere, over the mobilities."""
    flat, shape = ravel_pytree(state)
    jacobian = np.array(jax.jacfwd(lambda u: ravel_pytree(system.force(shape(u), system.injection(x)))[0])(flat))
    jacobian /= np.diag(jax.jacfwd(lambda u: ravel_pytree(system.activity(shape(u)))[0])(flat))
    output = np.asarray(ravel_pytree({name: jnp.full_like(u, name == "output") for name, u in state.items()})[0]) > 0
    response = np.zeros(flat.size)
    response[output] = system.activity(state)["output"][0] - jax.nn.one_hot(label, 3)
    response[~output] = -np.linalg.solve(jacobian[~output][:, ~output], jacobian[~output][:, output] @ response[output])
    mobility = system.mobility or dict.fromkeys(state, 1.0)
    return {name: v[0] / mobility[name] for name, v in shape(jnp.asarray(response)).items()}


@pytest.mark.parametrize("kind", quick_where(lambda kind: kind == "untied", ["untied", "general"]))
def test_the_limit_by_dense_linear_algebra(kind):
    """Of layered networks with asymmetric weights and mobilities."""
    system = eqx.tree_at(lambda s: s.cost, network(kind), ep.SquaredError())
    x, labels = batch(n=3)
    found = ep.estimate(system, x, labels, ClampedResponse(linear_solver=ep.GMRES(tolerance=1e-11)), solver=TIGHT)
    nudged = ep.estimate(system, x, labels, CoupledLearning(1e-4), solver=TIGHT)
    for i in range(3):
        state = jax.tree.map(lambda u, i=i: u[i : i + 1], found.equilibrium.state)
        for name, expected in clamped_densely(system, state, x[i : i + 1], labels[i]).items():
            assert np.allclose(found.error_vector[name][i], expected, atol=1e-8)
            assert np.allclose(nudged.error_vector[name][i], expected, rtol=1e-2, atol=1e-4)


@pytest.mark.slow
def test_who_cannot_be_clamped_is_told():
    x, labels = batch(n=2)
    with pytest.raises(InputError, match="SoftmaxReadout names no output to clamp at; use a cost that does"):
        ep.estimate(network("untied"), x, labels, CoupledLearning())
    doubled = ep.from_force(lambda p, u, x: p * u + x, -jnp.ones(3), initial_state=np.zeros(3), output=lambda r: 2 * r)
    with pytest.raises(InputError, match="its output is not a part of its activity"):
        ep.estimate(doubled, np.ones((2, 3)), np.ones((2, 3)), ContrastiveHebbian())
    with pytest.raises(InputError, match=r"nudge = 2\.0: must be above 0 and at most 1"):
        CoupledLearning(2.0)
