"""Systems in time, against matrix exponentials, elementary solutions of differential equations, and statistics of noise."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from equiprop.errors import InputError
from equiprop.estimators import Centered, ContinuousTime, Holomorphic, Problem, estimate
from equiprop.hardware import Device, Timing, transient
from equiprop.solvers import ODE, GaussSeidel, NewtonGMRES, Status, relax
from equiprop.systems import Anchor, Displaced, Free, Motion, Nudged, from_force
from networks import batch, network

X, Y = batch()
UNITS = 4
DRAW = np.random.default_rng(3)
COUPLING = 0.3 * DRAW.normal(size=(UNITS, UNITS))
INPUT = DRAW.normal(size=(3, UNITS))


def linear(coupling=COUPLING):
    """F = W·u + x − u."""
    units = len(coupling)
    return from_force(
        lambda w, u, x: u @ w.T + x - u,
        jnp.asarray(coupling),
        initial_state=np.zeros(units),
        activity=lambda u: u,
    )


def alone(**timing):
    """A unit of F = x − u, on a device."""
    return Device(timing=Timing(**timing)).instance(linear(np.zeros((1, 1))), x=jnp.ones((1, 1)))


@pytest.mark.parametrize(
    "timing", [{}, {"spread": 0.4}, {"time_constant": 3.0, "pole": 0.5}, {"delay": 0.6, "delay_stages": 3}]
)
def test_a_linear_network_moves_by_the_exponential_of_its_matrix(timing):
    chip = Device(timing=Timing(**timing)).instance(linear(), 1, x=INPUT)
    times = [0.3, 1.0, 4.0]
    found = transient(chip, jnp.asarray(INPUT), times, accuracy=1e-9)
    dynamics = Motion(Free(chip, jnp.asarray(INPUT))).dynamics
    tau = np.broadcast_to(np.asarray(jax.tree.leaves(dynamics.time_constants)[0]), (1, UNITS))[0]
    poles = [float(pole) for pole in dynamics.poles]
    # Units first, then what is on the wires, pole after pole; the last is what arrives.
    n = UNITS * (1 + len(poles))
    matrix, pushed = np.zeros((n, n)), np.zeros((n, 3))
    matrix[:UNITS, :UNITS] -= np.diag(1 / tau)
    matrix[:UNITS, n - UNITS :] += COUPLING / tau[:, None]
    pushed[:UNITS] = INPUT.T / tau[:, None]
    for k, pole in enumerate(poles, 1):
        here = slice(k * UNITS, (k + 1) * UNITS)
        matrix[here, (k - 1) * UNITS : k * UNITS] += np.eye(UNITS) / pole
        matrix[here, here] -= np.eye(UNITS) / pole
    for i, t in enumerate(times):
        there = np.linalg.solve(matrix, (expm(matrix * t) - np.eye(n)) @ pushed)
        np.testing.assert_allclose(found.state[i], there[:UNITS].T, atol=1e-6)
        for k, wire in enumerate(found.wires, 1):
            np.testing.assert_allclose(wire[i], there[k * UNITS : (k + 1) * UNITS].T, atol=1e-6)
    residual = np.abs(np.asarray(found.state[-1]) @ COUPLING.T + INPUT - np.asarray(found.state[-1])).max(axis=1)
    np.testing.assert_allclose(found.residual[-1], residual, rtol=1e-12)
    assert bool(found.finished)


@pytest.mark.slow
def test_a_delay_of_many_poles_is_a_delay():
    """Through so many poles a step comes as the Erlang distribution, whose mean is the delay and whose variance a part of it."""
    chip = Device(timing=Timing(time_constant=1e-3, delay=1.0, delay_stages=16)).instance(
        linear(np.zeros((1, 1))), x=INPUT
    )
    times = np.linspace(0.05, 3, 60)
    wire = transient(chip, jnp.ones((1, 1)), times, method="kvaerno5").wires[-1][:, 0, 0]
    arrived = np.gradient(np.asarray(wire), times)
    mean = np.trapezoid(arrived * times, times)
    assert mean == pytest.approx(1.0, abs=0.01)
    assert np.trapezoid(arrived * (times - mean) ** 2, times) == pytest.approx(1 / 16, rel=0.05)


def test_a_unit_of_limited_slew_ramps_before_it_settles():
    """u̇ = s·tanh((1 − u)/s) has sinh((1 − u)/s) = sinh(1/s)·e^(−t)."""
    times = np.array([0.2, 1.0, 3.0, 8.0])
    found = transient(alone(slew=0.25), jnp.ones((1, 1)), times, accuracy=1e-9).state[:, 0, 0]
    np.testing.assert_allclose(found, 1 - 0.25 * np.arcsinh(np.sinh(4.0) * np.exp(-times)), atol=1e-6)


@pytest.mark.slow
def test_noise_wanders_as_much_as_it_is_said_to():
    """An Ornstein–Uhlenbeck process: σ·√(1 − e^(−2t/τ)), at a time between two steps, too."""
    many = from_force(lambda w, u, x: x - u + 0 * w, jnp.zeros(1000), initial_state=np.zeros(1000))
    chip = Device(timing=Timing(time_constant=2.0, noise=0.1)).instance(many, x=jnp.zeros((1, 1)))
    times = np.array([0.51, 1.0, 6.0])
    found = transient(chip, jnp.zeros((1, 1)), times, key=jax.random.key(1))
    wanted = 0.1 * np.sqrt(-np.expm1(-times))
    np.testing.assert_allclose(np.std(np.asarray(found.state[:, 0]), axis=1), wanted, rtol=4 / np.sqrt(2 * 1000))
    again = transient(chip, jnp.zeros((1, 1)), times, key=jax.random.key(1))
    np.testing.assert_array_equal(found.state, again.state)


def test_states_in_between_and_at_a_fixed_step():
    chip = alone()
    found = transient(chip, jnp.ones((1, 1)), [2.0], dense=True)
    np.testing.assert_allclose(found.at(0.7)[0, 0], -np.expm1(-0.7), atol=1e-5)
    steps = transient(chip, jnp.ones((1, 1)), [1.0], method="euler", step=0.25)
    np.testing.assert_allclose(steps.state[0, 0, 0], 1 - 0.75**4, rtol=1e-12)
    with pytest.raises(InputError, match="dense: was not asked for"):
        steps.at(0.5)


@pytest.mark.slow
def test_a_nudge_in_time_leads_to_the_nudged_equilibrium():
    """A complex one to a complex equilibrium, that of the holomorphic continuation."""
    system, x, y = linear(), jnp.asarray(INPUT), jnp.zeros((3, UNITS))
    for beta in (0.3, 0.1 + 0.2j):
        end = transient(system, x, [200.0], target=y, nudge=beta, accuracy=1e-9).state[0]
        # C = ½·Σ(r − y)², and its gradient is r.
        there = np.linalg.solve((1 + beta) * np.eye(UNITS) - COUPLING, INPUT.T).T
        np.testing.assert_allclose(end, there, atol=1e-6)
    late = transient(system, x, [200.0, 400.0], target=y, nudge=lambda t: jnp.where(t < 200, 0.0, 0.3), accuracy=1e-9)
    np.testing.assert_allclose(late.state[0], np.linalg.solve(np.eye(UNITS) - COUPLING, INPUT.T).T, atol=1e-6)
    np.testing.assert_allclose(late.state[1], np.linalg.solve(1.3 * np.eye(UNITS) - COUPLING, INPUT.T).T, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": [2.0, 1.0]}, "times: must be finite numbers that ascend"),
        ({"times": [0.0]}, "times: must be finite numbers that ascend"),
        ({"nudge": 0.1}, "target: is needed, as there is a nudge"),
        ({"method": "rk"}, "method = 'rk'"),
        ({"step": 0.0}, "step = 0.0: must be above 0"),
    ],
)
def test_what_cannot_be_integrated_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        transient(linear(), jnp.asarray(INPUT), **({"times": [1.0]} | arguments))


def test_noise_needs_a_key_and_a_method_that_takes_it():
    chip = alone(noise=0.1)
    with pytest.raises(InputError, match="noise: needs a key"):
        transient(chip, jnp.ones((1, 1)), [1.0])
    with pytest.raises(InputError, match="method = 'tsit5': takes no noise; use euler or heun"):
        transient(chip, jnp.ones((1, 1)), [1.0], method="tsit5", key=jax.random.key(0))


def test_wires_lag_only_where_it_is_known_what_is_on_them():
    system = from_force(
        lambda w, u, x: jnp.tanh(u) @ w.T + x - u,
        jnp.asarray(COUPLING),
        initial_state=np.zeros(UNITS),
        activity=jnp.tanh,
    )
    chip = Device(timing=Timing(pole=0.1)).instance(system, x=INPUT)
    with pytest.raises(InputError, match="does not say what force arrives when other activities are passed on"):
        transient(chip, jnp.asarray(INPUT), [1.0])


def test_noise_of_an_interval_is_that_of_the_process():
    dynamics = Timing(time_constant=2.0, noise=0.1).dynamics(None)
    for t in (1e-3, 1.0, 100.0):
        said = dynamics.noise_over(jnp.asarray(t), jnp.zeros((1, 1)))
        np.testing.assert_allclose(np.asarray(said), 0.1 * np.sqrt(1 - np.exp(-t)), rtol=1e-9)


def test_displacements_move_as_states_do():
    """In units of the mobility, with a slew that is in those of the force."""
    system = network("general")
    chip = Device(timing=Timing(spread=0.3, slew=0.1, pole=0.2)).instance(system, 1)
    free = Free(chip, chip.injection(X))
    state = relax(chip, X, GaussSeidel(tolerance=1e-13)).state
    v = jax.tree.map(lambda a: 0.1 + a, state)
    moved = Displaced(free, chip, Anchor.at(free, chip, state), chip.mobility, Y, jnp.full(len(X), 0.3))
    there = jax.tree.map(lambda u, m, a: u + m * a, state, chip.mobility, v)
    nudged = Nudged(free, chip, Y, jnp.full(len(X), 0.3))
    behind = jax.tree.map(lambda a: 0.9 * a, moved.passed_on(v))
    arriving = jax.tree.map(jnp.add, chip.activity(state), behind)
    of_state, of_displacement = Motion(nudged).velocity((there, (arriving,))), Motion(moved).velocity((v, (behind,)))
    jax.tree.map(
        lambda a, m, b: np.testing.assert_allclose(m * b, a, rtol=1e-7, atol=1e-12),
        of_state[0],
        chip.mobility,
        of_displacement[0],
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-7, atol=1e-12), of_state[1], of_displacement[1])


@pytest.mark.slow
def test_noise_in_time_averages_out_over_periods():
    """The error of the lock-in falls as one over the root of the periods, and the standard error says how large it is."""
    chip = Device(timing=Timing(noise=0.05)).instance(network("untied"), 1)
    x, y = batch(seed=5, n=60)
    solver = ODE(interval=0.5, accuracy=1e-4)
    listening = ContinuousTime(nudge=0.3, points=8, steps_per_point=2, dead_time=0.0, periods=32, drive="oscillating")
    start = relax(chip, x, GaussSeidel(tolerance=1e-9))
    problem = Problem(chip, x, chip.injection(x), y, start, solver, jax.random.key(3))
    heard = eqx.filter_jit(lambda p: listening.record(p))(problem)
    quiet = Problem(network("untied"), x, chip.injection(x), y, start, solver)
    wanted = eqx.filter_jit(lambda p: dataclasses.replace(listening, periods=1, warmup=4).record(p))(quiet)
    after = np.array([1, 2, 4, 8, 16, 32])
    off = jax.tree.map(lambda a, b: np.asarray(a)[after - 1] - np.asarray(b), heard.running, wanted.per_period)
    size = np.sqrt(sum((a**2).sum(axis=(1, 2)) for a in jax.tree.leaves(off)))
    slope = np.polyfit(np.log(after), np.log(size), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.05)
    said = np.sqrt(sum(float((a**2).sum()) for a in jax.tree.leaves(heard.standard_error)))
    assert said == pytest.approx(size[-1], rel=0.1)


# The solver.

TIMINGS = {
    "plain": Timing(),
    "spread": Timing(time_constant=0.1, spread=0.3),
    "wires": Timing(pole=0.3, delay=0.2, delay_stages=2, slew=0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("estimator", [Centered(nudge=0.1), Holomorphic(nudge=0.2, points=6)])
def test_equilibria_and_gradients_are_those_of_sweeps(timing, estimator):
    """Whatever the time constants, the slew and the wires; also with weak feedback, in units of the mobility."""
    system = network("general")
    chip = Device(timing=TIMINGS[timing]).instance(system, 1)
    found = estimate(chip, X, Y, estimator, solver=ODE(tolerance=1e-9))
    wanted = estimate(system, X, Y, estimator, solver=GaussSeidel(tolerance=1e-9))
    assert not bool(found.unconverged.any())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max()),
        found.error_vector,
        wanted.error_vector,
    )


@pytest.mark.slow
def test_newtons_method_serves_nudged_phases():
    system = network("general")
    found, wanted = (
        estimate(system, X, Y, Holomorphic(nudge=0.2, points=4), solver=solver)
        for solver in (NewtonGMRES(tolerance=1e-10), GaussSeidel(tolerance=1e-10))
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max()),
        found.error_vector,
        wanted.error_vector,
    )


def test_a_sweep_is_an_interval_of_the_slowest_time_constant():
    chip = alone(time_constant=5.0)
    half = relax(chip, jnp.ones((1, 1)), ODE(interval=0.5, max_steps=1, accuracy=1e-9))
    np.testing.assert_allclose(half.state[0, 0], -np.expm1(-0.5), rtol=1e-7)
    assert int(half.status[0]) == Status.MAX_STEPS


@pytest.mark.slow
def test_steps_that_are_too_long_for_fast_wires_diverge_and_are_named():
    chip = Device(timing=Timing(pole=1e-3)).instance(linear(), x=INPUT)
    found = relax(chip, jnp.asarray(INPUT), ODE(method="heun", steps=4))
    assert set(np.asarray(found.status).tolist()) == {Status.DIVERGED}
    assert bool(relax(chip, jnp.asarray(INPUT), ODE(method="kvaerno5")).converged.all())


def test_wires_at_rest_leave_the_force_as_it_is():
    """In units of the state and as displacements, told from differences."""
    system = network("general")
    free = Free(system, system.injection(X))
    state = jax.tree.map(lambda a: a + 0.1, system.initial_state(X))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-14),
        free.force_under(state, free.passed_on(state)),
        free.force(state),
    )
    moved = Displaced(free, system, Anchor.at(free, system, state), system.mobility, Y, jnp.full(len(X), 0.3))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14),
        moved.force_under(state, moved.passed_on(state)),
        moved.force(state),
    )
