"""Complex states in real numbers, against complex ones, waveforms in time by SciPy, and linear systems by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from equiprop.errors import InputError
from equiprop.estimators import (
    Adjoint,
    Centered,
    ContinuousTime,
    Corrected,
    HarmonicBalance,
    Holomorphic,
    Problem,
    estimate,
)
from equiprop.estimators._circle import reading_gain
from equiprop.hardware import (
    Device,
    Mismatch,
    PhaseCoded,
    PhaseCoding,
    Quantisation,
    Readout,
    Timing,
    monte_carlo,
    netlists,
    transient,
)
from equiprop.homeostasis import Batch as Usable
from equiprop.homeostasis import JacobianHomeostasis
from equiprop.numerics import SquaredError, trees
from equiprop.solvers import ODE, GaussSeidel, Jacobi, relax, relax_field
from equiprop.systems import Free, Nudged, from_force, innermost, is_holomorphic
from networks import batch, network

X, Y = batch()
KEY = jax.random.key(3)
SOLVER = GaussSeidel(tolerance=1e-11, nudged_max_steps=2000)
CIRCLE = Holomorphic(nudge=0.3, points=6)
UNITS, READ = 5, 2
DRAW = np.random.default_rng(8)
COUPLING, INPUT = 0.4 * DRAW.normal(size=(UNITS, UNITS)), DRAW.normal(size=UNITS)
TARGET = DRAW.normal(size=READ)


def small():
    """F = W·tanh(u) + x − u, of which two units are read."""
    return from_force(
        lambda w, u, x: jnp.tanh(u) @ w.T + x - u,
        jnp.asarray(COUPLING),
        initial_state=np.zeros(UNITS),
        activity=jnp.tanh,
        output=lambda r: r[:, :READ],
        cost=SquaredError(),
    )


def flat(gradient):
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(innermost(gradient))])


def off(found, right):
    return np.linalg.norm(flat(found) - flat(right)) / np.linalg.norm(flat(right))


def coded(scheme, system=None, **given):
    return PhaseCoding(scheme=scheme, **given).of(network("untied") if system is None else system)


@pytest.mark.parametrize(
    "estimator",
    [
        CIRCLE,
        *(
            pytest.param(estimator, marks=pytest.mark.slow)
            for estimator in (
                Holomorphic(nudge=0.2, points=3, error_bar="companion"),
                Holomorphic(nudge="auto", points="auto", tolerance=0.01),
                Corrected(nudge=0.2, points=4),
                Centered(nudge=0.1),
                Adjoint(),
                HarmonicBalance(nudge=0.1),
                ContinuousTime(nudge=0.3, points=4, periods=2),
                ContinuousTime(nudge=0.1, drive="oscillating", points=8, periods=2),
            )
        ),
    ],
    ids=lambda estimator: type(estimator).kind,
)
def test_two_units_are_a_complex_one(estimator):
    """Every estimate is that of the system with complex states, and so are its bar and its flags."""
    plain = network("untied")
    right = estimate(plain, X, Y, estimator, solver=SOLVER)
    found = estimate(coded("two_units", plain), X, Y, estimator, solver=SOLVER)
    assert off(found.gradient, right.gradient) < 1e-7
    np.testing.assert_allclose(found.error_bar, right.error_bar, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found.weight, right.weight)
    assert all(not jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(found.equilibrium.state))


def test_two_units_of_a_pooled_network_are_complex_ones():
    """What leads through pooling is a difference from where the complex activities were."""
    x, y = batch(shape=(4, 4, 2))
    plain = network("pooled")
    right = estimate(plain, x, y, CIRCLE, solver=SOLVER)
    found = estimate(coded("two_units", plain), x, y, CIRCLE, solver=SOLVER)
    assert off(found.gradient, right.gradient) < 1e-7


def under_nudge(system, nudge):
    """The mean activities of the system at rest under a complex nudge, as complex numbers."""
    x, y = jnp.asarray(INPUT)[None], jnp.asarray(TARGET)[None]
    field = Nudged(Free(system, x), system, y, jnp.asarray([nudge]))
    end = relax_field(
        field, system.initial_state(x), Jacobi(damping=0.3), tolerance=jnp.asarray([1e-11]), max_steps=5000
    )
    assert bool(end.converged.all())
    mean = system.activity(end.state)[0].mean(axis=-1)
    return np.asarray(mean[:, 0] + 1j * mean[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "angle"), [(0.0, 0.0), (0.2, -0.1)])
def test_a_quadrature_unit_is_what_mixers_and_capacitors_make_of_waveforms(gain, angle):
    """The same circuit in time: wires that carry Re(r·e^(iΩt)), two mixers a unit, and two capacitors."""
    carrier, nudge = 0.6, 0.4 * np.exp(0.8j)
    omega = 2 * np.pi * carrier

    def velocity(t, channels):
        z = channels[:UNITS] + 1j * channels[UNITS:]
        r, turn = np.tanh(z), np.exp(1j * omega * t)
        on_wires = COUPLING @ (r * turn).real + INPUT * turn.real
        on_wires[:READ] -= (nudge * (r[:READ] - TARGET) * turn).real
        in_phase = 2 * np.cos(omega * t) * on_wires
        second = -2 * (1 + gain) * np.sin(omega * t + angle) * on_wires
        return np.concatenate([in_phase - channels[:UNITS], second - channels[UNITS:]])

    period = 1 / (2 * carrier)
    begin = round(30 / period) * period
    times = begin + period * np.arange(32) / 32
    end = solve_ivp(velocity, (0, times[-1]), np.zeros(2 * UNITS), t_eval=times, rtol=1e-10, atol=1e-12).y
    right = np.tanh(end[:UNITS] + 1j * end[UNITS:]).mean(axis=1)
    system = coded("quadrature", small(), carrier=carrier, harmonics=5, gain_error=gain, angle_error=angle)
    np.testing.assert_allclose(under_nudge(system, nudge), right, atol=1e-7)
    ideal = under_nudge(coded("two_units", small()), nudge)
    assert np.abs(ideal - right).max() > 1e-2


@pytest.mark.slow
def test_amplitude_and_phase_are_those_of_oscillators_in_time():
    carrier, floor, nudge = 0.6, 0.3, 0.4 * np.exp(0.8j)
    omega = 2 * np.pi * carrier

    def velocity(t, state):
        amplitude, phase = state[:UNITS], state[UNITS:]
        r, turn = np.tanh(amplitude * np.exp(1j * phase)), np.exp(1j * omega * t)
        on_wires = COUPLING @ (r * turn).real + INPUT * turn.real
        on_wires[:READ] -= (nudge * (r[:READ] - TARGET) * turn).real
        heard = 2 * on_wires * np.exp(-1j * (omega * t + phase))
        rate = amplitude / (amplitude**2 + floor**2)
        return np.concatenate([heard.real - amplitude, rate * heard.imag])

    period = 1 / (2 * carrier)
    begin = round(60 / period) * period
    times = begin + period * np.arange(64) / 64
    start = np.concatenate([np.full(UNITS, 0.5), np.zeros(UNITS)])
    end = solve_ivp(velocity, (0, times[-1]), start, t_eval=times, rtol=1e-10, atol=1e-12).y
    right = np.tanh(end[:UNITS] * np.exp(1j * end[UNITS:])).mean(axis=1)
    found = under_nudge(coded("amplitude_phase", small(), carrier=carrier, harmonics=15, floor=floor), nudge)
    np.testing.assert_allclose(found, right, atol=1e-4)
    other = under_nudge(coded("quadrature", small(), carrier=carrier, harmonics=5), nudge)
    assert np.abs(found - other).max() > 1e-3


def test_channels_that_are_not_alike_make_the_response_of_a_linear_system_theirs():
    """For F = W·r + x − u both channels obey linear equations of their own, coupled by the angle that is missing."""
    gain, angle, nudge = 0.1, 0.2, 0.3 * np.exp(2.1j)
    linear = from_force(
        lambda w, u, x: u @ w.T + x - u,
        jnp.asarray(COUPLING),
        initial_state=np.zeros(UNITS),
        activity=lambda u: u,
        output=lambda r: r[:, :READ],
        cost=SquaredError(),
    )
    system = coded("two_units", linear, gain_error=gain, angle_error=angle)
    nudged = np.zeros((UNITS, UNITS), complex)
    nudged[:READ, :READ] = nudge * np.eye(READ)
    pull = np.zeros(UNITS, complex)
    pull[:READ] = nudge * TARGET
    matrix, pushed = COUPLING - nudged, INPUT + pull
    turned, turned_pushed = matrix * np.exp(-1j * angle), pushed * np.exp(-1j * angle)
    whole = np.block([[matrix.real, -matrix.imag], [(1 + gain) * turned.imag, (1 + gain) * turned.real]])
    right = np.linalg.solve(np.eye(2 * UNITS) - whole, np.concatenate([pushed.real, (1 + gain) * turned_pushed.imag]))
    np.testing.assert_allclose(under_nudge(system, nudge), right[:UNITS] + 1j * right[UNITS:], atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "given"), [("quadrature", {}), ("amplitude_phase", {"floor": 1e-9})])
def test_on_a_carrier_the_error_falls_with_the_square_of_its_frequency(scheme, given):
    """And the bar of the gradient covers it, the asymmetry of the network aside."""
    plain = network("untied")
    right = estimate(plain, X, Y, CIRCLE, solver=SOLVER)
    errors = []
    for carrier in (4.0, 16.0):
        found = estimate(coded(scheme, plain, carrier=carrier, **given), X, Y, CIRCLE, solver=SOLVER)
        errors.append(off(found.gradient, right.gradient))
        assert errors[-1] < float(found.gradient_bar.causes["nudge"]) < 0.05
    assert 12 < errors[0] / errors[1] < 20 if scheme == "quadrature" else errors[0] > 4 * errors[1]
    exact = estimate(coded(scheme, plain, carrier=16.0, **given), X, Y, Adjoint(), solver=SOLVER)
    assert off(exact.gradient, estimate(plain, X, Y, Adjoint(), solver=SOLVER).gradient) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["two_units", "quadrature"])
def test_noise_of_reading_is_what_it_is_said_to_be(scheme):
    device = Device(
        coding=PhaseCoding(scheme=scheme, harmonics=2 if scheme == "two_units" else 1), readout=Readout(noise=0.01)
    )
    chip = device.instance(network("untied"))
    readings = [estimate(chip, X, Y, CIRCLE, solver=SOLVER, key=jax.random.key(i)).error_vector for i in range(40)]
    mean = jax.tree.map(lambda *a: jnp.mean(jnp.stack(a), axis=0), *readings)
    scatter = np.mean([trees.norm(trees.subtract(r, mean)) for r in readings], axis=0) / np.sqrt(1 - 1 / 40)
    free = relax(chip, X, SOLVER)
    problem = Problem(chip, X, chip.injection(X), Y, free, SOLVER, KEY)
    said = problem.noise_of(reading_gain(problem, 6), jnp.full(len(Y), 0.3), jnp.ones(len(Y)))
    assert said is not None
    np.testing.assert_allclose(scatter, said, rtol=0.15)
    assert reading_gain(problem, 6) == pytest.approx(6**-0.5)


@pytest.mark.slow
def test_a_chip_is_coded_and_learns_as_a_chip():
    """Levels, gains and updates are those of the chip without coding; the Jacobian that a homeostasis sees is, too."""
    parts = {"quantisation": Quantisation(bits=5), "mismatch": Mismatch(gain=0.1), "timing": Timing(spread=0.2)}
    plain = Device(**parts).instance(network("untied"), 2)
    chip = Device(coding=PhaseCoding(scheme="two_units"), **parts).instance(network("untied"), 2)
    assert isinstance(chip, PhaseCoded)
    right, found = (estimate(s, X, Y, CIRCLE, solver=SOLVER) for s in (plain, chip))
    assert off(found.gradient, right.gradient) < 1e-7
    assert set(found.gradient_bar.causes) == set(right.gradient_bar.causes)
    assert float(found.gradient_bar.causes["mismatch"]) == pytest.approx(
        float(right.gradient_bar.causes["mismatch"]), rel=1e-4
    )
    homeostasis = JacobianHomeostasis(0.3)
    ends = []
    for system, answer in ((plain, right), (chip, found)):
        free = answer.equilibrium
        made = homeostasis.regularise(answer.gradient, system, Usable(X, free.state, free.converged), key=KEY)
        ends.append(system.updated(jax.tree.map(jnp.negative, made.gradient), key=KEY))
        assert float(made.loss) > 0
    assert off(ends[1], ends[0]) < 1e-7
    assert is_holomorphic(chip, X)
    by_lot = monte_carlo(Device(coding=PhaseCoding(scheme="two_units"), **parts), network("untied"), X, Y, chips=2)
    np.testing.assert_allclose(
        by_lot.cosine, monte_carlo(Device(**parts), network("untied"), X, Y, chips=2).cosine, atol=1e-4
    )


@pytest.mark.slow
def test_two_units_move_in_time_as_two_units():
    timing = Timing(spread=0.3, pole=0.2, slew=3.0)
    chip = Device(timing=timing, coding=PhaseCoding(scheme="two_units")).instance(network("untied"), 1)
    right = relax(Device(timing=timing).instance(network("untied"), 1), X, ODE(tolerance=1e-8))
    found = relax(chip, X, ODE(tolerance=1e-8))
    for a, b in zip(jax.tree.leaves(found.state), jax.tree.leaves(right.state), strict=True):
        np.testing.assert_allclose(a[..., 0, 0], b, atol=1e-6)
        np.testing.assert_array_equal(a[..., 1, 0], 0)
    complex_nudge = estimate(chip, X, Y, CIRCLE, solver=ODE(tolerance=1e-8))
    assert off(complex_nudge.gradient, estimate(network("untied"), X, Y, CIRCLE, solver=SOLVER).gradient) < 1e-4


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (lambda: PhaseCoding(scheme="two_units", carrier=3.0), ("carrier",)),
        (lambda: PhaseCoding(scheme="two_units", harmonics=3), ("harmonics",)),
        (lambda: PhaseCoding(scheme="quadrature", floor=0.1), ("floor",)),
        (lambda: PhaseCoding().of(network("untied")), ("scheme",)),
        (lambda: coded("two_units", coded("two_units")), ("system",)),
        (lambda: Device().instance(coded("two_units")), ("system",)),
        (lambda: Device().instance(Device(mismatch=Mismatch(gain=0.1)).instance(network("untied"))), ("system",)),
        (lambda: transient(coded("quadrature"), X, [1.0]), ("system",)),
        (lambda: netlists.netlist(coded("two_units"), X[:1]), ("system",)),
        (lambda: Device(backward="ideal", coding=PhaseCoding(scheme="two_units")), ("backward",)),
        (
            lambda: Device(timing=Timing(pole=0.1), coding=PhaseCoding(scheme="quadrature")).instance(
                network("untied")
            ),
            ("timing",),
        ),
        (
            lambda: relax(
                coded("quadrature", from_force(lambda w, u, x: x - w * u, 1.0, initial_state=np.zeros(6))), X
            ),
            ("coding",),
        ),
    ],
)
def test_what_cannot_be_is_refused(wrong, path):
    with pytest.raises(InputError) as error:
        wrong()
    assert error.value.path == path
