"""Resistive networks against Kirchhoff's laws in NumPy, finite differences and ngspice."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import root

from equiprop.data import load as load_dataset
from equiprop.errors import InputError
from equiprop.estimators import Adjoint, Centered, Holomorphic, estimate
from equiprop.experiment import fit
from equiprop.hardware import Device, Inputs, Mismatch, Stuck, Units, WeightRange
from equiprop.hardware.netlists import check_circuit, netlist, transient
from equiprop.homeostasis import NoHomeostasis
from equiprop.numerics import voltage_beside_diodes
from equiprop.solvers import GaussSeidel, relax, relax_field
from equiprop.systems import Free, Nudged, is_holomorphic, jacobian, resistive
from networks import CLASSES, INPUTS, batch
from simulator import needs_ngspice

SOLVER = GaussSeidel(tolerance=1e-12, max_steps=2000, nudged_max_steps=2000)
X, Y = batch()


def network(**settings):
    return resistive(INPUTS, (5, 4), CLASSES, key=jax.random.key(2), **settings)


def length(tree):
    return float(jnp.sqrt(sum(jnp.sum(a**2) for a in jax.tree.leaves(tree))))


@given(st.floats(-50, 50), st.floats(-0.5, 0.5), st.sampled_from([(5e-3, 0.05), (1e-9, 0.026), (1.0, 0.3)]))
def test_the_voltage_beside_diodes_solves_its_equation(real, imaginary, diode):
    """Also for complex currents near the real line; and it is differentiated by the rule of the inverse function."""
    a, voltage = diode
    for u in (jnp.asarray(real), jnp.asarray(complex(real, imaginary * min(1, abs(real) + voltage)))):
        v = voltage_beside_diodes(u, a, voltage)
        assert abs(v + a * jnp.sinh(v / voltage) - u) <= 1e-12 * (1 + abs(u))
    slope = jax.grad(lambda u: voltage_beside_diodes(u, a, voltage))(real)
    np.testing.assert_allclose(
        slope, 1 / (1 + a / voltage * np.cosh(voltage_beside_diodes(jnp.asarray(real), a, voltage) / voltage))
    )


def test_currents_are_those_of_kirchhoff_and_their_law_has_the_same_solution():
    """SciPy's root of the currents, node by node, in volts."""
    system = network()
    design, (first, second, third) = system.design, [np.asarray(g) for g in system.crossbars]
    x = np.asarray(X[0])
    lines = np.concatenate([x, -x, [1.0, -1.0]])
    gain, a, v0 = design.amplification, design.diode_current, design.diode_voltage

    def currents(voltages):
        one, two, out = np.split(voltages, [5, 9])
        diodes = [a * g * np.sinh(v / v0) for g, v in zip(design.nominal, (one, two), strict=False)]
        into_one = np.array([sum(first[j, i] * (lines[j] - one[i]) for j in range(len(lines))) for i in range(5)])
        into_one += np.array([sum(second[i, k] * (two[k] - gain * one[i]) for k in range(4)) for i in range(5)]) / gain
        into_two = np.array([sum(second[j, i] * (gain * one[j] - two[i]) for j in range(5)) for i in range(4)])
        into_two += (
            np.array([sum(third[i, k] * (out[k] - gain * two[i]) for k in range(2 * CLASSES)) for i in range(4)]) / gain
        )
        into_out = np.array([sum(third[j, i] * (gain * two[j] - out[i]) for j in range(4)) for i in range(2 * CLASSES)])
        return np.concatenate([into_one - diodes[0], into_two - diodes[1], into_out])

    solution = root(currents, np.zeros(9 + 2 * CLASSES), tol=1e-13)
    assert solution.success
    free = relax(system, X, SOLVER)
    volts = system.activity(free.state)
    found = np.concatenate([np.asarray(volts[name][0]) for name in system.layers])
    np.testing.assert_allclose(found, solution.x, atol=1e-10)
    # Away from equilibrium, too, the force is the current over the nominal conductance.
    state = jax.tree.map(lambda u: u + 0.01, free.state)
    force = system.force(state, system.injection(X))
    away = np.concatenate([np.asarray(system.activity(state)[name][0]) for name in system.layers])
    scale = np.repeat(design.nominal, design.sizes)
    np.testing.assert_allclose(
        np.concatenate([np.asarray(force[name][0]) for name in system.layers]) * scale, currents(away), atol=1e-10
    )


@pytest.mark.slow
def test_its_jacobian_is_symmetric_in_its_metric_and_estimates_are_the_gradient():
    system = network()
    assert system.holomorphic and is_holomorphic(system, X)
    exact = estimate(system, X, Y, Adjoint(), solver=SOLVER).gradient
    for estimator, tolerance in ((Centered(1e-3), 1e-4), (Holomorphic(nudge=0.2, points=8), 5e-3)):
        found = estimate(system, X, Y, estimator, solver=SOLVER)
        assert length(jax.tree.map(jnp.subtract, found.gradient, exact)) < tolerance * length(exact)
        assert not bool(found.unconverged.any())
    state = relax(system, X, SOLVER).state
    product = jacobian(system, state, system.injection(X))
    draw = [jax.tree.map(lambda u, k=k: jax.random.normal(jax.random.key(k), u.shape, u.dtype), state) for k in (0, 1)]
    one, other = (jax.tree.map(lambda v, m: v * m, d, system.mobility) for d in draw)

    def paired(v, w):
        return sum(jnp.sum(a * b / m) for a, b, m in zip(*map(jax.tree.leaves, (v, w, system.mobility)), strict=True))

    np.testing.assert_allclose(paired(product(one), other), paired(one, product(other)), rtol=1e-9)


def test_the_gradient_is_that_of_finite_differences():
    system = network()
    gradient = estimate(system, X, Y, Adjoint(), solver=SOLVER).gradient

    def cost(weights):
        changed = jax.tree.unflatten(jax.tree.structure(system), jax.tree.leaves(weights))
        free = relax(changed, X, SOLVER)
        return float(jnp.mean(changed.cost(changed.output(changed.activity(free.state)), Y)))

    direction = jax.tree.map(lambda g: jax.random.normal(jax.random.key(g.size), g.shape, g.dtype), system)
    h = 1e-5
    up, down = (cost(jax.tree.map(lambda g, d, s=s: g + s * h * d, system, direction)) for s in (1, -1))
    slope = sum(
        float(jnp.sum(g * d)) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    )
    assert slope == pytest.approx((up - down) / (2 * h), rel=1e-5)


def test_pseudo_power_is_stationary_and_tells_the_gradient():
    """By derivatives of P alone: currents, equilibria, and what each resistor learns."""
    system, nodes = network(), ("hidden_1", "hidden_2", "output")
    voltages = {
        n: jnp.asarray(np.random.default_rng(5).normal(0, 0.1, u.shape)) for n, u in system.initial_state(X).items()
    }
    slope = jax.grad(lambda v: jnp.sum(system.pseudo_power(v, X)))
    design, found = system.design, slope(voltages)
    a, voltage = design.diode_current, design.diode_voltage
    state = {n: v + (0 if n == "output" else a * jnp.sinh(v / voltage)) for n, v in voltages.items()}
    force = system.force(state, system.injection(X))
    for k, name in enumerate(nodes):
        scale = design.amplification ** (2 * (len(nodes) - 1 - k))
        # F = I/G + v + a·sinh(v/V) − u, and the last three add up to zero.
        np.testing.assert_allclose(-found[name] / scale, design.nominal[k] * force[name], rtol=1e-9, atol=1e-12)

    def by_resistors(nudge):
        free = Free(system, system.injection(X))
        end = relax_field(Nudged(free, system, Y, jnp.full(len(Y), nudge)), system.initial_state(X), SOLVER)
        at = system.activity(end.state)
        return jax.grad(lambda w: jnp.mean(eqx.tree_at(lambda s: s.weights, system, w).pseudo_power(at, X)))(
            system.weights
        )

    ups, downs = by_resistors(1e-4), by_resistors(-1e-4)
    exact = estimate(system, X, Y, Adjoint(), solver=SOLVER).gradient.weights
    for name, wanted in exact.items():
        told = (ups[name] - downs[name]) / (2e-4 * design.nominal[-1])
        np.testing.assert_allclose(told, wanted, rtol=1e-4, atol=1e-7 * float(jnp.abs(wanted).max()))


def test_conductances_stay_in_their_range():
    system = network(smallest=0.1, largest=3.0)
    for sign in (1.0, -1.0):
        updates = jax.tree.map(lambda g, s=sign: jnp.full_like(g, 100 * s), system)
        held = system.updated(updates, key=jax.random.key(0))
        assert all(bool(jnp.all(g == (3.0 if sign > 0 else 0.1))) for g in held.weights.values())


def test_without_diodes_it_is_linear_and_a_single_layer_will_do():
    system = resistive(INPUTS, (), CLASSES, key=jax.random.key(1), diode_current=0.0)
    (crossbar,) = system.crossbars
    volts = np.asarray(system.sources(X)) @ np.asarray(crossbar) / np.asarray(crossbar).sum(axis=0)
    found = relax(system, X, SOLVER).state["output"]
    np.testing.assert_allclose(found, volts, atol=1e-10)
    np.testing.assert_allclose(system.output({"output": jnp.asarray(volts)}), volts[:, :3] - volts[:, 3:])


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="x: must be an array of shape"):
        relax(network(), jnp.zeros((2, INPUTS + 1)))
    with pytest.raises(InputError, match=r"smallest = 2\.0: must be below largest"):
        network(smallest=2.0, largest=1.0)
    with pytest.raises(InputError, match="has no capacitances, and so no transient"):
        netlist(network(), X[:1], transient(1.0, 0.1))
    with pytest.raises(InputError, match="is of layered networks"):
        netlist(network(), X[:1], couplings="resistors")


@needs_ngspice
@pytest.mark.parametrize("settings", [{}, {"diode_current": 1e-4, "diode_voltage": 0.026, "cost": "softmax_readout"}])
def test_ngspice_finds_the_same_voltages_and_responses(settings):
    found = check_circuit(network(**settings), 2 * X[:2], Y[:2], nudge=0.1, solver=SOLVER)
    assert found.operating_point < 1e-6 and found.nudged_point is not None and found.nudged_point < 1e-6
    assert found.error_vector is not None and found.error_vector < 1e-6


@needs_ngspice
def test_ngspice_finds_the_same_on_a_chip_whose_cells_have_no_sign():
    signed = Device(mismatch=Mismatch(gain=0.3, offset=0.3), stuck=Stuck(at_zero=0.2), headroom=1.0)
    device = replace(signed, weight_range=WeightRange(lowest=0.0), inputs=Inputs(bits=4, range=3.0))
    least = [min(float(g.min()) for g in each.instance(network(), 3).programmed.crossbars) for each in (signed, device)]
    assert least[0] < 0 == least[1]
    found = check_circuit(device.instance(network(), 3), 2 * X[:2], Y[:2], nudge=0.1, solver=SOLVER)
    assert max(found.found.values()) < 1e-6
    uneven = Device(units=Units(gain=0.1)).instance(network(), 3, x=X)
    with pytest.raises(InputError, match="wrong with its units has no circuit"):
        netlist(uneven, X[:1])


@pytest.mark.slow
def test_it_learns_to_tell_digits_apart():
    data = load_dataset("digits")
    x = (data.train.x.reshape(len(data.train.x), -1) - 5.0) / 6.0
    system = resistive(64, (32,), 10, key=jax.random.key(0), dtype="float32")
    result = fit(
        system,
        (x[:1000].astype(np.float32), data.train.y[:1000]),
        estimator=Centered(nudge=0.05),
        optimizer=optax.adam(0.03),
        homeostasis=NoHomeostasis(),
        epochs=5,
        batch_size=50,
        validation=(x[1000:].astype(np.float32), data.train.y[1000:]),
        callbacks=[],
        key=jax.random.key(1),
    )
    assert result.history[-1]["validation_error_percent"] < 20
    assert min(float(g.min()) for g in result.system.weights.values()) >= result.system.design.smallest
