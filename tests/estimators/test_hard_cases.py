"""Vector fields that users have and that hurt: every estimator gives each sample a name, and never a silent number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_rest import estimated
from equiprop.estimators import ESTIMATORS, Centered, ExactResponse, Holomorphic, Unrolled, estimate
from equiprop.numerics import SquaredError
from equiprop.solvers import GaussSeidel, Jacobi, Status, relax
from equiprop.systems import from_force

ORDINARY, POLE, BISTABLE, CYCLE, NAN_AT_START, SINGULAR = range(6)
NAMES = ("ordinary", "pole", "bistable", "cycle", "nan_at_start", "singular")
SOLVER = GaussSeidel(tolerance=1e-8, max_steps=400, nudged_max_steps=400, damping=0.4)


def force(p, u, x):
    """One field a sample, chosen by x: two units each."""
    a, b = u[:, :1], u[:, 1:]
    fields = {
        ORDINARY: (p * jnp.tanh(0.4 * b) + 0.3 - a, jnp.tanh(0.7 * a) - b),
        # Poles of the force at ±0.05i, nearer than the nudge reaches.
        POLE: (0.03 / (1 + (a / 0.05) ** 2) - a, p * 0.3 * a - b),
        # Two stable states, at the edge where the upper one is born.
        BISTABLE: (jnp.tanh(6 * p * a) + 0.5 - a, 0.3 * a - b),
        # Gain above one around a loop of negative feedback.
        CYCLE: (p * 3 * jnp.tanh(b) - a, -3 * jnp.tanh(a) - b),
        NAN_AT_START: (p * 0.5 * b - a, 0.5 * a - b),
        # dF/du = 0 at the equilibrium u = 0.
        SINGULAR: (p * jnp.tanh(a) - a, 0.3 * a - b),
    }
    parts = [x[:, :1] == k for k in fields]
    first, second = (jnp.select(parts, [f[i] for f in fields.values()]) for i in (0, 1))
    return jnp.concatenate([first, second], axis=1)


def start(x):
    u = jnp.where(x[:, :1] == BISTABLE, -1.0, 0.1) * jnp.ones((1, 2))
    return jnp.where(x[:, :1] == NAN_AT_START, jnp.nan, jnp.where(x[:, :1] == SINGULAR, 0.0, u))


SYSTEM = from_force(force, jnp.asarray(1.0), initial_state=start)
X = jnp.arange(6.0)[:, None]
Y = jnp.ones((6, 2))
# What is clamped has no response of its own: there has to be something besides it.
HALF = from_force(force, jnp.asarray(1.0), initial_state=start, output=lambda r: r[:, 1:])


def response_of_the_ordinary(tends_to):
    """By central differences of the force and a dense solve, at the equilibrium that iteration finds."""

    def f(u):
        return np.array([np.tanh(0.4 * u[1]) + 0.3 - u[0], np.tanh(0.7 * u[0]) - u[1]])

    u = np.zeros(2)
    for _ in range(500):
        u = u + f(u)
    jacobian = np.stack([(f(u + 1e-6 * e) - f(u - 1e-6 * e)) / 2e-6 for e in np.eye(2)], axis=1)
    if tends_to == "clamped":
        return np.array([-jacobian[0, 1] / jacobian[0, 0], 1]) * (u[1] - 1)
    return -np.linalg.solve(jacobian.T if tends_to == "adjoint" else jacobian, u - 1)


@pytest.fixture(scope="module", params=ESTIMATORS.members())
def answer(request):
    options = {
        "one_sided": {"nudge": 0.02},
        "centered": {"nudge": 0.1},
        "holomorphic": {"nudge": 0.2},
        "continuous_time": {"nudge": 0.1, "steps_per_point": 80},
        "corrected": {"nudge": 0.2},
    }
    estimator = ESTIMATORS.find(request.param)(**options.get(request.param, {}))
    system, y = (HALF, Y[:, 1:]) if estimator.tends_to == "clamped" else (SYSTEM, Y)
    return estimator, estimated(system, X, y, estimator, solver=SOLVER, key=jax.random.key(0))


@pytest.mark.slow
def test_every_sample_has_a_name_and_no_number_is_silent(answer):
    estimator, found = answer
    status = [Status(int(s)) for s in found.equilibrium.status]
    kept = np.asarray(found.weight) > 0
    assert status[ORDINARY] == Status.CONVERGED and kept[ORDINARY]
    assert status[NAN_AT_START] == Status.DIVERGED and not kept[NAN_AT_START]
    assert status[CYCLE] == Status.OSCILLATING and not kept[CYCLE]
    # The gradient is made of what is kept, and finite.
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(found.gradient))
    assert np.isfinite(np.asarray(found.error_vector)[kept]).all()
    assert not np.isnan(found.error_bar).any() and np.isinf(found.error_bar[NAN_AT_START])
    assert int(found.counts["excluded"]) == int((~kept).sum())
    # Where J is singular no linear method has an answer, and a nudge that moves it is far off: it is said either way.
    flags = found.unconverged | found.clipped | found.branch_switch | found.non_analytic
    if estimator.tends_to == "clamped":
        # Its second unit does not act on the first, whose J is singular: what is clamped moves nothing.
        assert abs(float(found.error_vector[SINGULAR, 0])) < 1e-6
        return
    assert bool(flags[SINGULAR]) or float(found.error_bar[SINGULAR]) > 0.2, estimator


def test_the_ordinary_sample_does_not_notice(answer):
    estimator, found = answer
    reference = response_of_the_ordinary(estimator.tends_to)
    error = np.linalg.norm(np.asarray(found.error_vector[ORDINARY]) - reference) / np.linalg.norm(reference)
    assert error < float(found.error_bar[ORDINARY]) + 1e-6 and error < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator", [Centered(nudge=0.3), Holomorphic(nudge=0.3, points=8)], ids=["centered", "holomorphic"]
)
def test_a_pole_within_reach_shows_in_the_bar(estimator):
    found = estimated(SYSTEM, X, Y, estimator, solver=SOLVER)
    exact = estimated(SYSTEM, X, Y, ExactResponse(), solver=SOLVER)
    error = np.linalg.norm(np.asarray(found.error_vector - exact.error_vector)[POLE])
    length = np.linalg.norm(np.asarray(exact.error_vector)[POLE])
    assert float(found.error_bar[POLE]) > 0.3 * error / length
    assert bool(found.unconverged[POLE]) or bool(found.branch_switch[POLE]) or float(found.error_bar[POLE]) > 0.05


def test_a_jump_to_the_other_state_is_named():
    found = estimated(SYSTEM, X, Y, Centered(nudge=0.2), solver=SOLVER)
    assert bool(found.branch_switch[BISTABLE]) and float(found.weight[BISTABLE]) == 0


@pytest.mark.slow
def test_what_is_excluded_leaves_no_trace_of_its_target():
    """A label that is missing, for a cost with a parameter of its own."""

    class Scaled(SquaredError):
        scale: jax.Array

        def __call__(self, output, target):
            return super().__call__(self.scale * output, target)

    system = from_force(
        lambda p, u, x: p * x - u, jnp.asarray(0.7), initial_state=jnp.zeros(2), cost=Scaled(jnp.asarray(2.0))
    )
    x, y = jnp.asarray([[1.0, 2.0], [3.0, 4.0]]), jnp.asarray([[1.0, 0.0], [jnp.nan, 0.0]])
    spoilt, alone = estimate(system, x, y, ExactResponse()), estimate(system, x[:1], y[:1], ExactResponse())
    assert spoilt.weight.tolist() == spoilt.cost_weight.tolist() == [1, 0]
    for ours, theirs in zip(jax.tree.leaves(spoilt.gradient), jax.tree.leaves(alone.gradient), strict=True):
        assert np.allclose(2 * ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
def test_unrolling_leaves_no_trace_of_a_sample_that_overflows(whole):
    """The second sample is found at rest by damped sweeps, and escapes under the plain ones that are unrolled."""
    system = from_force(lambda p, u, x: p * x - u**3 - u, jnp.ones(()), initial_state=jnp.zeros(1))
    x = jnp.asarray([[0.3], [40.0]])
    free = relax(system, x, Jacobi(damping=0.99, max_steps=4000))
    assert free.converged.all()
    unrolled = Unrolled(steps=20, whole=whole)
    found = estimate(system, x, jnp.zeros((2, 1)), unrolled, solver=Jacobi(damping=0.0), equilibrium=free)
    assert found.weight.tolist() == [1, 0] and 0 < float(found.gradient.params) < 1


@pytest.mark.slow
def test_a_circle_that_overflows_is_tried_again_at_a_smaller_radius():
    system = from_force(lambda p, u, x: 0.1 * p * jnp.exp(u) + x - u, jnp.ones(()), initial_state=jnp.zeros(2))
    y = jnp.asarray([[3.0, -3.0], [0.2, 0.2]])
    circle = Holomorphic(nudge=2.0, points=6, tolerance=0.05, retries=4)
    found = estimate(system, jnp.zeros((2, 2)), y, circle)
    assert np.all(found.nudge < 2) and found.retried.all() and not found.inaccurate.any()
    # The second is as far from its target as to add a tenth of what the first adds.
    length = np.linalg.norm(found.error_vector, axis=1)
    assert np.all(found.error_bar * np.minimum(1, length / length.mean()) < 0.05)
