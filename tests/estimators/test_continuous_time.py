"""The phase-free estimate: what it tends to, its own stated error, and what noise does."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from at_rest import estimated
from equiprop.errors import InputError
from equiprop.estimators import ContinuousTime, ExactResponse, Holomorphic, Problem, estimate
from equiprop.solvers import GMRES, GaussSeidel, Status, relax
from equiprop.systems import from_force, mlp
from networks import batch, network
from oracle import Dense, gradient_by_name
from tiers import quick_where

SOLVER = GaussSeidel(tolerance=1e-10, max_steps=2000, nudged_max_steps=2000)
TRIALS = 100


@pytest.fixture(scope="module")
def untied():
    return network("untied")


@pytest.mark.slow
def test_the_oracle_is_reached_without_a_free_phase(untied):
    """δE, the gradient and the equilibrium, from a start far away."""
    x, y = batch()
    dense = Dense.of(untied)
    answer = estimated(untied, x, y, ContinuousTime(nudge=0.1, points=6, steps_per_point=80, periods=2), solver=SOLVER)
    states = [dense.equilibrium(np.asarray(a)) for a in x]
    response = np.array([dense.response(u, int(b)) for u, b in zip(states, y, strict=True)])
    assert np.allclose(dense.flat(answer.error_vector), response, rtol=0, atol=1e-6 * np.abs(response).max())
    assert np.allclose(dense.flat(answer.equilibrium.state), states, atol=1e-6)
    assert (answer.equilibrium.status == Status.CONVERGED).all() and not answer.unconverged.any()
    parts = [
        dense.parameter_gradient(u, np.asarray(a), int(b), d) for u, a, b, d in zip(states, x, y, response, strict=True)
    ]
    for name, value in gradient_by_name(answer.gradient).items():
        assert np.allclose(value, np.mean([p[name] for p in parts], axis=0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("points", quick_where(lambda points: points == 4, [3, 4]))
def test_converged_positions_are_the_cauchy_estimate(untied, points):
    """With enough sweeps at each position, the lock-in is the N-point rule at the same radius."""
    x, y = batch()
    lock_in, circle = (
        estimated(untied, x, y, estimator, solver=SOLVER)
        for estimator in (
            ContinuousTime(nudge=0.3, points=points, steps_per_point=120, dead_time=0.9, periods=1),
            Holomorphic(nudge=0.3, points=points),
        )
    )
    for ours, theirs in zip(jax.tree.leaves(lock_in.error_vector), jax.tree.leaves(circle.error_vector), strict=True):
        assert np.allclose(ours, theirs, atol=1e-8)


@pytest.mark.slow
def test_a_smoothly_turning_nudge_lags_in_second_order(untied):
    """One sweep at each of many positions: the lag turns the phase, and the in-phase part loses only its square."""
    x, y = batch()
    reference = estimated(untied, x, y, ExactResponse(linear_solver=GMRES(tolerance=1e-10)), solver=SOLVER)
    errors = []
    for points in (200, 400):
        turning = ContinuousTime(nudge=0.05, points=points, steps_per_point=1, dead_time=0.0, periods=1, warmup=2)
        answer = estimated(untied, x, y, turning, solver=SOLVER)
        difference = np.asarray(answer.error_vector["output"] - reference.error_vector["output"])
        errors.append(np.linalg.norm(difference) / np.linalg.norm(reference.error_vector["output"]))
    assert errors[0] < 0.05 and 3 < errors[0] / errors[1] < 5


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "bar"), [(0.0, "residual"), (0.04, "residual"), (0.04, "periods")])
def test_agreement_within_its_own_stated_error(untied, noise, bar):
    """In at least 95 of 100 trials, each with its own input and noise, against dense linear algebra."""
    x, y = batch(seed=5, n=TRIALS)
    dense = Dense.of(untied)
    listening = ContinuousTime(nudge=0.2, points=4, steps_per_point=60, periods=6, noise=noise, error_bar=bar)
    answer = estimated(untied, x, y, listening, solver=SOLVER, key=jax.random.key(8))
    response = np.array([dense.response(dense.equilibrium(np.asarray(a)), int(b)) for a, b in zip(x, y, strict=True)])
    error = np.linalg.norm(dense.flat(answer.error_vector) - response, axis=1)
    stated = np.asarray(answer.error_bar) * np.linalg.norm(dense.flat(answer.error_vector), axis=1)
    assert np.sum(error <= stated) >= 95
    # And the statement is worth something: half of the trials know their error within a factor of ten.
    assert np.median(stated / error) < 10
    assert (np.median(answer.error_bar) > 0.02) == (noise > 0)


@pytest.mark.slow
def test_noise_averages_out_over_periods(untied):
    """The running estimate: its error falls as one over the root of the periods, which the standard error says."""
    x, y = batch(seed=5, n=40)
    listening = ContinuousTime(nudge=0.2, points=4, steps_per_point=40, periods=16, noise=0.04)
    start = untied.initial_state(x)
    free = eqx.filter_jit(relax)(untied, x, SOLVER)
    problem = Problem(untied, x, untied.injection(x), y, free, SOLVER, jax.random.key(2))
    heard = eqx.filter_jit(lambda p: listening.record(p))(problem)
    assert heard.running["output"].shape == (16, *start["output"].shape)
    reference = estimated(untied, x, y, Holomorphic(nudge=0.2, points=4), solver=SOLVER)
    dense = Dense.of(untied)
    truth = dense.flat(reference.error_vector)
    running = np.concatenate([np.asarray(heard.running[name]) for name in dense.slices], axis=2)
    error = np.sqrt(np.mean((running - truth) ** 2, axis=(1, 2)))
    assert 0.15 < error[15] / error[0] < 0.4
    assert np.isclose(np.sqrt(np.mean(dense.flat(heard.standard_error) ** 2)), error[15], rtol=0.3)


@pytest.mark.slow
def test_noise_needs_a_key_and_the_key_decides(untied):
    x, y = batch()
    noisy = ContinuousTime(nudge=0.5, noise=0.04, steps_per_point=5, periods=2)
    with pytest.raises(InputError, match="noise: needs a key"):
        estimate(untied, x, y, noisy)
    run = eqx.filter_jit(lambda key: estimate(untied, x, y, noisy, solver=SOLVER, key=key).error_vector["output"])
    one, again, other = (run(jax.random.key(k)) for k in (1, 1, 2))
    assert np.array_equal(one, again) and not np.allclose(one, other)


def test_too_few_sweeps_are_flagged(untied):
    x, y = batch()
    answer = estimated(untied, x, y, ContinuousTime(nudge=0.5, steps_per_point=2, dead_time=0.0), solver=SOLVER)
    assert answer.unconverged.all() and (answer.equilibrium.status == Status.OSCILLATING).all()
    assert (answer.weight == 0).all()


def test_an_exploding_sample_is_diverged_and_the_others_are_not():
    system = from_force(lambda p, u, x: x * u**3 + p - u, jnp.asarray(0.1), initial_state=jnp.full(1, 2.0))
    x = jnp.asarray([[0.0], [3.0]])
    answer = estimated(system, x, jnp.ones((2, 1)), ContinuousTime(nudge=0.1))
    assert answer.equilibrium.status.tolist() == [Status.CONVERGED, Status.DIVERGED]
    assert answer.weight.tolist() == [1, 0] and np.isfinite(answer.gradient.params)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 1}, "points = 1: must be at least 2"),
        ({"steps_per_point": 0}, "steps_per_point = 0"),
        ({"periods": 0}, "periods = 0"),
        ({"warmup": -1}, "warmup = -1"),
        ({"dead_time": 1.0}, "dead_time = 1.0: must be at least 0 and below 1"),
        ({"noise": -0.1}, "noise = -0.1"),
        ({"error_bar": "aliasing"}, "error_bar = 'aliasing': is not known"),
        ({"nudge": 0.0}, "nudge = 0.0"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=message):
        ContinuousTime(**options)


def test_kinks_are_refused():
    with pytest.raises(InputError, match="points = 4: the system is not holomorphic"):
        estimate(network("relu"), *batch(), ContinuousTime())


def test_a_batch_without_samples_is_refused(monkeypatch):
    """Also where nothing is relaxed: by an estimator without a free phase, and with an equilibrium that is at hand."""
    system = mlp(4, (3,), 2, key=jax.random.key(0))
    x, y = jnp.ones((2, 4)), jnp.zeros(2, int)
    free = relax(system, x)
    with pytest.raises(InputError, match="the batch holds no sample; give at least one"):
        estimate(system, x[:0], y[:0], ContinuousTime())
    with pytest.raises(InputError, match="the batch holds no sample; give at least one"):
        estimate(system, x[:0], y[:0], ExactResponse(), equilibrium=jax.tree.map(lambda a: a[:0], free))
    with pytest.raises(InputError, match=r"^equilibrium: is of shapes .*\(1, 3\).*, where the states have .*\(2, 3\)"):
        estimate(system, x, y, ExactResponse(), equilibrium=jax.tree.map(lambda a: a[:1], free))
    # As users have it: no annotation is enforced.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InputError, match=r"^equilibrium: must be what ep\.relax gives, not int"):
        estimate(system, x, y, ExactResponse(), equilibrium=3)
