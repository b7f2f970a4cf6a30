"""Harmonic balance against transfer functions of linear networks, quadrature, and the differential equation itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.estimators import ContinuousTime, ExactResponse, HarmonicBalance, OneSided, estimate
from equiprop.hardware import Device, Readout, Timing, safe_frequency
from equiprop.solvers import ODE, GaussSeidel
from equiprop.systems import from_force
from networks import batch, network

X, Y = batch()
SOLVER = GaussSeidel(tolerance=1e-11)
UNITS = 4
DRAW = np.random.default_rng(3)
COUPLING = 0.3 * DRAW.normal(size=(UNITS, UNITS))
INPUT, TARGET = DRAW.normal(size=(2, 3, UNITS))


def linear(rate=1.0, coupling=COUPLING):
    return from_force(
        lambda w, u, x: u @ w.T + x - rate * u,
        jnp.asarray(coupling),
        initial_state=np.zeros(len(coupling)),
        activity=lambda u: u,
        leak=rate,
    )


def length(tree):
    return float(jnp.sqrt(sum(jnp.sum(a**2) for a in jax.tree.leaves(tree))))


def off(a, b):
    return length(jax.tree.map(jnp.subtract, a, b)) / length(b)


@pytest.mark.parametrize(
    "timing", [Timing(), Timing(time_constant=2.0, spread=0.3), Timing(pole=0.4, delay=0.5, delay_stages=2)]
)
@pytest.mark.parametrize("frequency", [0.1, *(pytest.param(f, marks=pytest.mark.slow) for f in (0.001, 2.0))])
def test_a_linear_network_answers_by_its_transfer_function(timing, frequency):
    """(iωτ + 1 − W·Π1/(1 + iωT))⁻¹: what is in phase of it, and what comes late."""
    chip = Device(timing=timing).instance(linear(), 1, x=INPUT)
    estimator = HarmonicBalance(nudge=1e-4, frequency=frequency, harmonics=2)
    found = estimate(chip, jnp.asarray(INPUT), jnp.asarray(TARGET), estimator, solver=SOLVER)
    dynamics = chip.dynamics
    tau, poles = (1.0, ()) if dynamics is None else (np.asarray(dynamics.time_constants), dynamics.poles)
    tau = np.broadcast_to(tau, (1, UNITS))[0]
    s = 2j * np.pi * frequency
    through = 1 / np.prod([1 + s * float(pole) for pole in poles])
    gradient = np.linalg.solve(np.eye(UNITS) - COUPLING, INPUT.T).T - TARGET
    response = np.linalg.solve(np.diag(1 + s * tau) - through * COUPLING, gradient.T).T
    np.testing.assert_allclose(found.error_vector, response.real, atol=1e-6 * np.abs(response).max())
    late = np.linalg.norm(response.imag, axis=1) / np.linalg.norm(response.real, axis=1)
    np.testing.assert_allclose(np.asarray(found.tracking), late, rtol=1e-5)
    assert not bool(found.unconverged.any())


@pytest.mark.slow
def test_where_it_is_slow_it_is_a_mean_of_estimates_at_all_nudges():
    """By quadrature at M nodes: (2/M)·Σcos²θ·[r(0) − r(β·cos θ)]/(β·cos θ)."""
    system, beta, points = network("untied"), 0.5, 7
    slow = estimate(system, X, Y, HarmonicBalance(nudge=beta, frequency=1e-9, harmonics=3), solver=SOLVER)
    cosines = np.cos(2 * np.pi * np.arange(points) / points)
    each = [estimate(system, X, Y, OneSided(nudge=beta * c), solver=SOLVER).error_vector for c in cosines]
    mean = jax.tree.map(lambda *a: sum(2 * c**2 * e for c, e in zip(cosines, a, strict=True)) / points, *each)
    assert off(slow.error_vector, mean) < 1e-6


@pytest.mark.slow
def test_the_differential_equation_leads_there():
    """`ContinuousTime` on `ode`, under a nudge that oscillates in small steps, on a chip with all that is slow."""
    timing = Timing(spread=0.2, pole=0.3, delay=0.2, delay_stages=2, slew=1.0)
    chip = Device(timing=timing).instance(network("untied"), 1)
    points, interval = 240, 0.05
    dynamics = chip.dynamics
    assert dynamics is not None
    frequency = 1 / (points * interval * float(dynamics.slowest))
    wanted = estimate(chip, X, Y, HarmonicBalance(nudge=0.2, frequency=frequency, harmonics=4), solver=SOLVER)
    lock_in = ContinuousTime(
        nudge=0.2,
        points=points,
        steps_per_point=1,
        dead_time=0.0,
        periods=1,
        warmup=5,
        drive="oscillating",
        largest_lag=2.0,
    )
    found = estimate(chip, X, Y, lock_in, solver=ODE(interval=interval, accuracy=1e-6))
    # Held from position to position the nudge is half a step behind a smooth one, and what is averaged half a step ahead.
    assert off(found.error_vector, wanted.error_vector) < 0.02
    np.testing.assert_allclose(np.asarray(found.tracking), np.asarray(wanted.tracking), rtol=0.1)
    exact = estimate(chip, X, Y, ExactResponse(), solver=SOLVER)
    assert off(wanted.error_vector, exact.error_vector) > 0.1


@pytest.mark.slow
def test_lag_is_a_cause_of_the_bar():
    chip = Device(timing=Timing(time_constant=1.0, spread=0.1)).instance(network("untied"), 1)
    fast, slow = (estimate(chip, X, Y, HarmonicBalance(nudge=0.01, frequency=f), solver=SOLVER) for f in (0.05, 1e-4))
    exact = estimate(chip, X, Y, ExactResponse(), solver=SOLVER)
    for answer in (fast, slow):
        true = off(answer.gradient, exact.gradient)
        assert true <= float(answer.gradient_bar.limit) <= 5 * max(true, 1e-3)
    causes = fast.gradient_bar.causes
    assert float(causes["lag"]) > 0.5 * float(fast.gradient_bar.limit) and float(causes["lag"]) > float(causes["nudge"])
    assert float(slow.gradient_bar.causes["lag"]) < 1e-3


@pytest.mark.slow
def test_readings_are_noisy_where_the_device_says_so():
    chip = Device(readout=Readout(noise=1e-3)).instance(network("untied"), 1)
    noisy = estimate(chip, X, Y, HarmonicBalance(nudge=0.5), solver=SOLVER, key=jax.random.key(0))
    clear = estimate(network("untied"), X, Y, HarmonicBalance(nudge=0.5), solver=SOLVER)
    units = sum(a.shape[1] for a in jax.tree.leaves(clear.error_vector))
    # M = 7 readings, of which each counts 2cos θ/(M·β).
    wanted = 1e-3 * (2 / 7) ** 0.5 / 0.5 * np.sqrt(units * len(X))
    found = length(jax.tree.map(jnp.subtract, noisy.error_vector, clear.error_vector))
    assert found == pytest.approx(wanted, rel=0.3)


def test_the_safe_frequency_of_a_unit_alone_is_where_its_pole_says():
    """Of 1/(k + iωτ) what is in phase is short by ω²τ²/(k² + ω²τ²)."""
    chip = Device(timing=Timing(time_constant=3.0)).instance(linear(0.5, np.zeros((1, 1))), x=INPUT[:, :1])
    found = safe_frequency(
        chip, jnp.asarray(INPUT[:, :1]), jnp.asarray(TARGET[:, :1]), tolerance=0.1, nudge=1e-4, solver=SOLVER
    )
    wanted = 0.5 / 3.0 * np.sqrt(0.1 / 0.9) / (2 * np.pi)
    assert float(found.frequency) == pytest.approx(wanted, rel=0.01) and float(found.slowest) == 3.0
    assert float(found.tracking) == pytest.approx(np.sqrt(0.1 / 0.9), rel=0.01)
    assert float(found.error) <= 0.1 and np.all(np.diff(np.asarray(found.frequencies)) > 0)
