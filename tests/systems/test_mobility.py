"""Mobilities: what a system that is symmetric up to a metric is, and what its responses are read as."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from equiprop.errors import InputError
from equiprop.estimators import Adjoint, Centered, ExactResponse, Problem, estimate
from equiprop.estimators._circle import RESPONSE_ACCURACY, _sensitivity, displacement_tolerance, relax_circle
from equiprop.solvers import GMRES, GaussSeidel, relax
from equiprop.systems import (
    Connection,
    Population,
    Topology,
    from_energy,
    from_force,
    in_metric,
    jacobian,
    mlp,
)
from networks import CLASSES, INPUTS, Subtracting, batch

X, Y = batch()
SOLVER = GaussSeidel(tolerance=1e-12, max_steps=2000, nudged_max_steps=2000)
KRYLOV = GMRES(tolerance=1e-11)


def energy(p, u, x):
    """Two groups of units that pull on each other."""
    quadratic = (u["a"] ** 2).sum(axis=1) / 2 + (u["b"] ** 2).sum(axis=1) / 2
    coupled = jnp.einsum("bi,ij,bj->b", jnp.tanh(u["a"]), p, u["b"])
    return quadratic - coupled - (x * u["a"]).sum(axis=1)


P = jnp.asarray(np.random.default_rng(1).normal(size=(3, 2)) * 0.6)
START = {"a": jnp.zeros(3), "b": jnp.zeros(2)}
MOBILITY = {"a": 0.2, "b": 1.0}


@pytest.fixture(scope="module")
def descent():
    return from_energy(energy, P, initial_state=START, output=lambda r: r["b"], mobility=MOBILITY)


@pytest.mark.slow
def test_descent_of_an_energy_with_mobilities(descent):
    rng = np.random.default_rng(0)
    u = {"a": jnp.asarray(rng.normal(size=(4, 3))), "b": jnp.asarray(rng.normal(size=(4, 2)))}
    x = jnp.asarray(rng.normal(size=(4, 3)))
    slope = jax.grad(lambda u: energy(P, u, x).sum())(u)
    force = descent.force(u, x)
    for name, mobility in MOBILITY.items():
        assert np.allclose(force[name], -mobility * slope[name])
    # J is symmetric in the metric, and not as it is.
    _, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(lambda a: a[0], u))
    single = lambda v: jax.tree.map(lambda a: a[None], unravel(v))  # noqa: E731

    def dense(operator):
        return np.stack([jax.flatten_util.ravel_pytree(operator(single(e)))[0] for e in np.eye(5)], axis=1)

    raw = jacobian(descent, jax.tree.map(lambda a: a[:1], u), x[:1])
    j, balanced = dense(raw), dense(in_metric(descent, raw))
    assert np.allclose(balanced, balanced.T) and not np.allclose(j, j.T)
    root = np.sqrt([0.2] * 3 + [1.0] * 2)
    assert np.allclose(balanced, j * root / root[:, None])


@pytest.mark.slow
def test_a_response_divided_by_the_mobility_is_the_exact_error_vector(descent):
    """The gradient of the cost at equilibrium, by implicit differentiation, from a finite nudge and no transpose."""
    rng = np.random.default_rng(2)
    x, y = jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(4, 2)))
    run = eqx.filter_jit(lambda e, system=descent: estimate(system, x, y, e, solver=SOLVER))
    exact, response, nudged = (
        run(e) for e in (Adjoint(linear_solver=KRYLOV), ExactResponse(linear_solver=KRYLOV), Centered(nudge=1e-3))
    )
    assert np.allclose(response.gradient.params, exact.gradient.params, rtol=1e-7)
    assert np.allclose(nudged.gradient.params, exact.gradient.params, rtol=1e-4)
    # The same force without its mobilities is misread.
    blind = from_force(descent.function, P, initial_state=START, output=lambda r: r["b"])
    misread = run(ExactResponse(linear_solver=KRYLOV), blind)
    assert not np.allclose(misread.gradient.params, exact.gradient.params, rtol=0.1)


def test_weak_feedback_is_backpropagation():
    """Xie & Seung 2003: as γ → 0 the network is feedforward, and the response to a nudge its backpropagated error."""
    system = mlp(INPUTS, (7, 5), CLASSES, key=jax.random.key(3), gain=1.5, feedback="tied", feedback_gain=1e-3)

    def cost(weights):
        r = X
        for name in ("input->hidden_1", "hidden_1->hidden_2", "hidden_2->output"):
            r = jax.nn.sigmoid(4 * (r @ weights[name]) - 2)
        scores = r @ system.cost.weight + system.cost.bias
        return optax.softmax_cross_entropy_with_integer_labels(scores, Y).mean()

    expected = jax.grad(cost)(system.weights)
    run = eqx.filter_jit(lambda s: estimate(s, X, Y, Centered(nudge=1e-3), solver=SOLVER))
    found = run(system)
    for name, value in expected.items():
        assert np.allclose(found.gradient.weights[name], value, rtol=0.02, atol=0.02 * np.abs(value).max())
    assert (found.weight == 1).all() and (found.error_bar < 0.01).all()


@pytest.mark.parametrize("mobility", [0.0, -1.0, np.inf, np.nan])
def test_mobilities_that_cannot_be(mobility):
    with pytest.raises(InputError, match=r"mobility = .*must be a finite number above 0"):
        from_force(lambda p, u, x: -u, P, initial_state=jnp.zeros(2), mobility=mobility)
    with pytest.raises(InputError, match=r"populations\.a\.mobility = .*must be a finite number above 0"):
        Topology(
            (Population("input", 2), Population("a", 2, mobility=mobility), Population("output", 2)),
            (Connection("input", "a", "none"), Connection("a", "output")),
        )
    with pytest.raises(InputError, match=r"feedback_gain = .*must be a finite number above 0"):
        mlp(2, (3,), 2, key=jax.random.key(0), feedback_gain=mobility)


def test_mobilities_are_relative_to_the_output():
    with pytest.raises(InputError, match=r"output\.mobility = 0\.5: mobilities are relative to that of the output"):
        Topology(
            (Population("input", 2), Population("output", 2, mobility=0.5)), (Connection("input", "output", "none"),)
        )
    topology = mlp(2, (3, 3), 2, key=jax.random.key(0), feedback_gain=0.5).topology
    assert [p.mobility for p in topology.populations] == [1, 0.25, 0.5, 1]
    assert mlp(2, (3, 3), 2, key=jax.random.key(0), feedback_gain=1.0).mobility is None


@pytest.mark.slow
def test_a_population_of_small_mobility_is_at_rest_to_as_many_digits():
    """Its response is small, and so is the force that may be left: in units of μ as small as on the output."""
    system = mlp(INPUTS, (7, 5), CLASSES, key=jax.random.key(3), gain=1.5, feedback_gain=0.1)
    (x, y), solver = batch(), GaussSeidel(damping=0.0)
    mobility, radius = {"hidden_1": 0.01, "hidden_2": 0.1, "output": 1.0}, jnp.full(4, 0.3)

    @eqx.filter_jit
    def phases(system):
        free = relax(system, x, solver)
        problem = Problem(system, x, system.injection(x), y, free, solver)
        tolerance = displacement_tolerance(problem, radius, RESPONSE_ACCURACY)
        return relax_circle(problem, 6, radius), tolerance, _sensitivity(problem, tolerance)

    found, tolerance, sensitivity = phases(system)
    assert found.converged.all() and sensitivity is None
    for name, force in found.residual_force.items():
        assert (np.abs(force).max(axis=(0, 2)) <= np.asarray(tolerance)).all(), name
    # Where two forces are subtracted rounding keeps a force in units of a small mobility from falling as far.
    subtracted, tolerance, sensitivity = phases(Subtracting.of(system))
    assert subtracted.converged.all() and sensitivity is not None
    for name in mobility:
        assert np.allclose(sensitivity[name], 1)
        assert np.allclose(subtracted.displacement[name], found.displacement[name], atol=2e-3)
