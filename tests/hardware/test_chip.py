"""A system on a chip: what relaxes, what is read and what is learnt, against NumPy, autodiff and finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.estimators import (
    Adjoint,
    Centered,
    ContinuousTime,
    CoupledLearning,
    ExactResponse,
    Holomorphic,
    Unrolled,
    estimate,
)
from equiprop.hardware import (
    DEVICES,
    AbstractCells,
    Device,
    Drift,
    GoodCMOS,
    Inputs,
    Lines,
    Mismatch,
    Perfect,
    PoorMemristor,
    Programming,
    Quantisation,
    Readout,
    Stuck,
    Timing,
    Units,
    Update,
    WeightRange,
)
from equiprop.homeostasis import HOMEOSTASES, JacobianHomeostasis, KolenPollack, LocalHomeostasis
from equiprop.homeostasis import Batch as Usable
from equiprop.numerics import SquaredError, trees
from equiprop.numerics.settings import build, decode, encode, settings_of
from equiprop.solvers import GaussSeidel, relax
from equiprop.systems import (
    correct,
    cost_gradient,
    from_force,
    is_holomorphic,
    jacobian,
    membrane_jacobian,
    mlp,
    predict,
)
from networks import BATCH, CLASSES, INPUTS, batch, network

SOLVER = GaussSeidel(tolerance=1e-12)
X, Y = batch()
KEY = jax.random.key(5)

EVERYTHING = Device(
    quantisation=Quantisation(bits=6),
    programming=Programming(noise=0.01),
    mismatch=Mismatch(gain=0.1, offset=0.01),
    stuck=Stuck(at_zero=0.05, at_full_scale=0.02),
    weight_range=WeightRange(lowest=-0.4, highest=0.45),
    drift=Drift(exponent=0.05, spread=0.02, time=100.0),
    lines=Lines(resistance=20.0),
    units=Units(gain=0.1, offset=0.02, saturation=3.0),
    inputs=Inputs(bits=6, range=2.0),
    readout=Readout(noise=1e-3, bits=10),
    update=Update(step=1e-3, asymmetry=0.2),
)
SMOOTH = Device(mismatch=Mismatch(gain=0.2), drift=Drift(exponent=0.05, time=100.0), units=EVERYTHING.units)


PRESETS = [
    (GoodCMOS, "quantisation", {"bits": 6}),
    (GoodCMOS, "inputs", {"bits": 5}),
    (GoodCMOS, "readout", {"bits": 8}),
    (PoorMemristor, "programming", {"noise": 0.1}),
    (PoorMemristor, "update", {"step": 0.0017, "asymmetry": -0.14, "spread": 0.2, "variation": 5.0}),
]


def norm(tree):
    return float(jnp.sqrt(sum(jnp.sum(a**2) for a in jax.tree.leaves(tree))))


def close(a, b, rtol=1e-12):
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=rtol, atol=1e-14), a, b)


def at_zero():
    """A device with every size of every part given as the one that turns it off."""
    parts = {}
    for name, setting in settings_of(Device).items():
        if setting.type == "part":
            sizes = {
                key: one.word
                for key, one in settings_of(setting.part).items()
                if one.word in (0.0, float("inf"), -float("inf"))
            }
            parts[name] = setting.part(**sizes)
    assert {"mismatch", "timing", "coding", "readout", "lines"} <= set(parts)
    return Device(**parts)


@pytest.mark.parametrize("device", [Device(), Perfect(), at_zero()])
@pytest.mark.parametrize("kind", ["untied", "general", "convolutional"])
def test_on_a_perfect_device_a_system_is_what_it_is_bit_for_bit(device, kind):
    system = network(kind)
    chip = device.instance(system, 3)
    x = X if kind != "convolutional" else batch(shape=(4, 4, 2))[0]
    state, injection = jax.tree.map(lambda a: a + 0.3, system.initial_state(x)), system.injection(x)
    updates = eqx.filter(chip, eqx.is_inexact_array)
    for found, wanted in (
        (chip.injection(x), injection),
        (chip.force(state, injection), system.force(state, injection)),
        (chip.activity(state), system.activity(state)),
        (chip.updated(updates, key=KEY).system, eqx.apply_updates(system, updates.system)),
    ):
        jax.tree.map(np.testing.assert_array_equal, *(eqx.filter(tree, eqx.is_array) for tree in (found, wanted)))
    assert chip.reading_error is None and chip.dynamics is None


@pytest.mark.slow
def test_each_imperfection_alone_makes_a_difference():
    system = network("untied")
    x = 0.77 * X
    plain = relax(system, x, SOLVER).state
    for name in (
        "quantisation",
        "programming",
        "mismatch",
        "stuck",
        "weight_range",
        "drift",
        "lines",
        "units",
        "inputs",
    ):
        chip = Device(**{name: getattr(EVERYTHING, name)}).instance(system, 3)
        found = relax(chip, x, SOLVER).state
        assert max(float(jnp.abs(a - b).max()) for a, b in zip(found.values(), plain.values(), strict=True)) > 1e-4, (
            name
        )


def test_the_same_chip_does_the_same_and_another_chip_something_else():
    one, again, other = (EVERYTHING.instance(network("untied"), seed) for seed in (1, 1, 2))
    answers = [relax(chip, X, SOLVER).state for chip in (one, again, one, other)]
    for answer in answers[1:3]:
        jax.tree.map(np.testing.assert_array_equal, answers[0], answer)
    assert norm(trees.subtract(answers[0], answers[3])) > 1e-2


def test_units_that_differ_are_those_of_numpy():
    system = network("untied")
    chip = Device(units=EVERYTHING.units).instance(system, 3)
    state = relax(chip, X, SOLVER).state
    at_rest = jax.tree.map(jnp.zeros_like, state)
    quiet = system.force(at_rest, system.injection(X))
    offsets = trees.subtract(
        Device(units=Units(offset=0.02)).instance(system, 3).force(at_rest, system.injection(X)), quiet
    )
    gains = {
        name: Device(units=Units(gain=0.1)).instance(system, 3).force(at_rest, system.injection(X))[name] / quiet[name]
        for name in state
    }
    passed = {name: jnp.asarray(3 * np.tanh(np.asarray(u) / 3)) for name, u in state.items()}
    arriving = trees.add(system.force(passed, system.injection(X)), passed)
    for name, u in state.items():
        np.testing.assert_allclose(gains[name] * arriving[name] + offsets[name], u, atol=1e-9)
        # One gain a unit, the same for every sample.
        assert np.ptp(np.asarray(gains[name]), axis=0).max() < 1e-9
    everyone = np.concatenate([np.asarray(gains[name])[0] - 1 for name in state])
    assert 0.03 < everyone.std() < 0.2


def test_what_is_wrong_with_one_part_says_nothing_of_another():
    """A unit of large gain has no larger offset for that, and is no slower; a cell of small gain is not stuck for that."""
    system, x = mlp(30, (400,), 10, key=0), jnp.ones((1, 30))

    def made(**parts):
        return Device(**parts).instance(system, 3)

    def at_rest(chip):
        force = chip.force(chip.initial_state(x), chip.injection(x))
        return np.concatenate([np.ravel(force[name]) for name in sorted(force)])

    dynamics = made(timing=Timing(spread=0.1)).dynamics
    assert dynamics is not None
    units = (
        at_rest(made(units=Units(gain=0.1))) / at_rest(system) - 1,
        at_rest(made(units=Units(offset=0.1))) - at_rest(system),
        np.concatenate([np.log(np.ravel(constant)) for _, constant in sorted(dynamics.time_constants.items())]),
    )
    stuck = np.concatenate([np.ravel(w) == 0 for w in made(stuck=Stuck(at_zero=0.3)).programmed.weights.values()])
    gains = [
        np.ravel(made(mismatch=Mismatch(gain=0.1)).programmed.weights[name] / w) for name, w in system.weights.items()
    ]
    for together in np.corrcoef(units), np.corrcoef(stuck, np.concatenate(gains)):
        np.testing.assert_allclose(together, np.eye(len(together)), atol=0.2)


def test_a_system_that_does_not_say_its_leak_has_no_gains():
    system = from_force(lambda p, u, x: x @ p - u, jnp.eye(3), initial_state=jnp.zeros(3))
    with pytest.raises(InputError, match="units: the system does not say what its leak is"):
        relax(Device(units=Units(gain=0.1)).instance(system, x=jnp.ones((2, 3))), jnp.ones((2, 3)))
    relax(Device(units=Units(offset=0.1)).instance(system, x=jnp.ones((2, 3))), jnp.ones((2, 3)))
    with pytest.raises(InputError, match="units: its units follow from the inputs"):
        Device(units=Units(offset=0.1)).instance(system)


def test_nothing_but_what_is_asked_for_is_trained():
    system = network("general")
    chip = EVERYTHING.instance(system, 3)
    found = jax.tree.leaves(eqx.filter(chip, eqx.is_inexact_array))
    wanted = jax.tree.leaves(eqx.filter(system, eqx.is_inexact_array))
    assert len(found) == len(wanted)
    assert all(a is b for a, b in zip(found, wanted, strict=True))


def test_vectors_and_the_parameters_of_the_cost_are_as_they_are_asked_for():
    system = network("untied")
    programmed = EVERYTHING.instance(
        eqx.tree_at(lambda s: s.biases["output"], system, jnp.full(CLASSES, 0.123)), 3
    ).programmed
    np.testing.assert_array_equal(programmed.biases["output"], np.full(CLASSES, 0.123))
    np.testing.assert_array_equal(programmed.cost.weight, system.cost.weight)


def test_full_scale_is_of_each_array_when_the_chip_is_made():
    system = network("untied")
    device = Device(quantisation=Quantisation(bits=2), headroom=1.0)
    for name, found in device.instance(system).programmed.weights.items():
        largest = float(jnp.abs(system.weights[name]).max())
        np.testing.assert_allclose(np.unique(found), [-largest, 0, largest], rtol=1e-6)
    fixed = Device(quantisation=Quantisation(bits=2), full_scale=0.25).instance(system).programmed
    np.testing.assert_allclose(np.unique(fixed.weights["input->hidden_1"]), [-0.25, 0, 0.25])


@pytest.mark.slow
def test_derivatives_of_a_chip_are_true():
    chip = SMOOTH.instance(network("untied"), 3)

    def loss(chip):
        return jnp.mean(chip.cost(chip.output(chip.activity(relax(chip, X, SOLVER).state)), Y))

    found = estimate(chip, X, Y, Adjoint(), solver=SOLVER).gradient
    close(found, eqx.filter_grad(loss)(chip), rtol=1e-7)
    direction = jax.tree.map(lambda a: jnp.cos(jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape), found)
    up, down = (loss(eqx.apply_updates(chip, jax.tree.map(lambda d, s=s: s * 1e-5 * d, direction))) for s in (1, -1))
    slope = sum(float(jnp.sum(a * b)) for a, b in zip(*map(jax.tree.leaves, (found, direction)), strict=True))
    np.testing.assert_allclose((up - down) / 2e-5, slope, rtol=1e-6)


def test_what_is_learnt_is_what_a_learner_knows():
    chip = SMOOTH.instance(network("untied"), 3)
    answer = estimate(chip, X, Y, Centered(1e-3), solver=SOLVER)
    activity = chip.activity(answer.equilibrium.state)
    delta = answer.error_vector
    wanted = np.asarray(activity["hidden_1"]).T @ np.asarray(delta["hidden_2"]) / BATCH
    np.testing.assert_allclose(answer.gradient.system.weights["hidden_1->hidden_2"], wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_bar_of_the_gradient_holds_what_a_learner_does_not_know():
    chip = SMOOTH.instance(network("tied"), 3)
    exact = estimate(chip, X, Y, Adjoint(), solver=SOLVER).gradient
    answer = estimate(chip, X, Y, Centered(1e-3), solver=SOLVER)
    bar = answer.gradient_bar
    error = norm(jax.tree.map(jnp.subtract, answer.gradient, exact)) / norm(exact)
    np.testing.assert_allclose(bar.exact, 1.15 * error, rtol=1e-2)
    assert bar.causes["mismatch"] > 0 < bar.causes["drift"]


@pytest.mark.slow
def test_where_weights_fade_alike_the_gradient_is_too_long_by_as_much():
    system = mlp(INPUTS, (5,), CLASSES, key=KEY, feedback="tied", cost="squared_error")
    chip = Device(drift=Drift(exponent=0.1, time=99.0)).instance(system)
    target = jax.nn.one_hot(Y, CLASSES)
    bar = estimate(chip, X, target, Centered(1e-4), solver=SOLVER).gradient_bar
    factor = 100**-0.1
    for name in system.weights:
        # The bar is 1.15 times the error.
        np.testing.assert_allclose(bar.exact_of[f"system.weights.{name}"], 1.15 * (1 / factor - 1), rtol=1e-3)
    assert bar.exact_of["system.biases.output"] < 1e-3


@pytest.mark.slow
def test_it_is_as_holomorphic_as_its_system():
    chip = SMOOTH.instance(network("untied"), 3)
    state = jax.tree.map(lambda a: a + 0.3, chip.initial_state(X))
    turned = jax.tree.map(lambda a: a + 1e-30j * jnp.cos(jnp.arange(a.size)).reshape(a.shape), state)
    product = membrane_jacobian(chip, state, chip.injection(X))
    step = chip.force(turned, chip.injection(X))
    close(jax.tree.map(lambda a: a.imag / 1e-30, step), product(jax.tree.map(lambda a: a.imag / 1e-30, turned)))
    mean = sum(
        np.asarray(
            chip.force(jax.tree.map(lambda a, t=t: a + 0.1 * jnp.exp(1j * t), state), chip.injection(X))["output"]
        )
        for t in 2 * np.pi * np.arange(32) / 32
    )
    np.testing.assert_allclose(mean / 32, chip.force(state, chip.injection(X))["output"], atol=1e-12)
    assert is_holomorphic(chip, X)
    circle, exact = (
        estimate(chip, X, Y, e, solver=SOLVER) for e in (Holomorphic(nudge=0.2, points=8), ExactResponse())
    )
    close(circle.error_vector, exact.error_vector, rtol=1e-4)


@pytest.mark.parametrize(("kind", "block"), [("general", "a"), ("pooled", "hidden_1")])
def test_differences_of_forces_are_those_of_forces(kind, block):
    inner = network(kind)
    chip = Device(mismatch=SMOOTH.mismatch, units=SMOOTH.units).instance(inner, 3)
    x, _ = batch(shape=inner.topology.population("input").shape)
    state = jax.tree.map(lambda a: a + 0.3 * jnp.sin(jnp.arange(a.size)).reshape(a.shape), chip.initial_state(x))
    moved = jax.tree.map(lambda a: 0.2 * jnp.cos(jnp.arange(a.size)).reshape(a.shape), state)
    there = trees.add(state, moved)
    response = trees.subtract(chip.activity(there), chip.activity(state))
    injection = chip.injection(x)
    wanted = trees.subtract(chip.force(there, injection), chip.force(state, injection))
    origin = chip.measured_from(chip.activity(state))
    close(chip.force_difference(origin, moved, response), wanted, rtol=1e-9)
    close(chip.force_difference(origin, moved, response, (block,)), {block: wanted[block]}, rtol=1e-9)
    close(chip.force(there, injection, (block,)), {block: chip.force(there, injection)[block]})
    arriving = trees.subtract(*(chip.recurrent_input(chip.activity(u), injection) for u in (there, state)))
    close(trees.subtract(arriving, moved), wanted, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("points", [1, 2, 3, 6])
def test_noise_of_reading_is_what_the_estimate_says(points):
    system = network("untied")
    chip = Device(readout=Readout(noise=1e-3, repeats=4)).instance(system)
    estimator = Holomorphic(nudge=0.3, points=points)
    clean = estimate(system, X, Y, estimator, solver=SOLVER)
    run = eqx.filter_jit(lambda key: estimate(chip, X, Y, estimator, solver=SOLVER, key=key))
    tries = jax.vmap(run)(jax.random.split(KEY, 300))
    off = jax.tree.map(lambda a, b: a - b, tries.error_vector, clean.error_vector)
    size = jnp.sqrt(jnp.mean(jax.vmap(trees.squared_norm)(off), axis=0)) / trees.norm(clean.error_vector)
    assert tries.grounds is not None
    said = tries.grounds.parts[:, :, 2].mean(axis=0)
    np.testing.assert_allclose(said, size, rtol=0.1)
    # Real and imaginary parts of N phases, of which half are conjugates of the other.
    variance = 2.0 if points == 1 else (0.5 if points == 2 else (2 * points - 2 + points % 2) / points**2)
    wanted = 1e-3 / 2 * (variance * 15) ** 0.5 / 0.3
    np.testing.assert_allclose(size * trees.norm(clean.error_vector), wanted, rtol=0.1)


@pytest.mark.slow
def test_the_bar_of_a_gradient_says_that_it_is_noise():
    chip = Device(readout=Readout(noise=0.02)).instance(network("tied"))
    bar = estimate(chip, X, Y, Centered(0.05), solver=SOLVER, key=KEY).gradient_bar
    assert bar.causes["noise"] > 0.9 * bar.limit
    assert max(bar.causes, key=lambda name: float(bar.causes[name])) == "noise"


@pytest.mark.parametrize(("preset", "part", "values"), PRESETS)
def test_presets_have_the_figures_of_their_sources_and_keep_them_where_one_is_changed(preset, part, values):
    assert DEVICES.find(preset.kind) is preset and preset().cited() and not preset().is_perfect
    usual = encode(preset())[part]
    assert {name: usual[name] for name in values} == pytest.approx(values, rel=1e-6)
    name, *others = values
    changed = encode(build(preset, decode(preset, {part: {name: 3}})))[part]
    assert changed[name] == 3 and all(changed[other] == usual[other] for other in others)
    chip = preset().instance(network("tied"), 1)
    free = relax(chip, X, SOLVER)
    assert bool(free.converged.all()) and norm(trees.subtract(free.state, relax(network("tied"), X, SOLVER).state)) > 0


@pytest.mark.slow
def test_what_is_computed_on_a_chip_knows_its_cells():
    """Walking back through the relaxation gives the true gradient of the chip, and its bar holds no mismatch."""
    chip = SMOOTH.instance(network("untied"), 1)
    exact = estimate(chip, X, Y, Adjoint(), solver=SOLVER)
    answer = estimate(chip, X, Y, Unrolled(steps=200), solver=SOLVER)
    close(answer.gradient, exact.gradient, rtol=1e-6)
    assert float(answer.gradient_bar.causes["mismatch"]) < 1e-6 and float(answer.gradient_bar.exact) < 1e-4
    # What is learnt from does not know them.
    nudged = estimate(chip, X, Y, Centered(nudge=0.01), solver=SOLVER)
    assert float(nudged.gradient_bar.causes["mismatch"]) > 0.01


@pytest.mark.slow
def test_what_cells_hold_is_worked_out_once_and_is_the_same():
    chip = EVERYTHING.instance(network("untied"), 1)
    ready = chip.ready
    assert (
        ready.held is not None and ready.ready is ready and chip.believed.held is None and ready.believed.held is None
    )
    state, injection = chip.initial_state(X), chip.injection(X)
    state = jax.tree.map(lambda a: a + 0.3, state)
    jax.tree.map(np.testing.assert_array_equal, ready.force(state, injection), chip.force(state, injection))


@pytest.mark.slow
def test_of_a_batch_audited_in_part_the_bar_knows_how_noise_averages_out():
    """Of 200 samples 16 are audited: the bar is above the error in 95 of 100 draws, and within a factor of three of it."""
    system = network("tied")
    x, y = batch(seed=5, n=200)
    chip = Device(readout=Readout(noise=0.005)).instance(system)
    estimator = Centered(0.05)
    exact = estimate(system, x, y, ExactResponse(), solver=SOLVER)
    free = exact.equilibrium
    errors, bars = [], []
    for key in jax.random.split(KEY, 40):
        answer = estimate(chip, x, y, estimator, solver=SOLVER, equilibrium=free, key=key)
        errors.append(norm(trees.subtract(answer.gradient.system, exact.gradient)) / norm(exact.gradient))
        bars.append(float(answer.gradient_bar.limit))
    ratio = np.array(bars) / np.array(errors)
    assert np.mean(ratio >= 1) >= 0.95 and np.median(ratio) < 3


def test_reading_needs_a_key_to_be_noisy():
    chip = Device(readout=Readout(noise=0.02)).instance(network("tied"))
    with pytest.raises(InputError, match="key: needs a key to draw the noise of its readings with"):
        estimate(chip, X, Y, Centered(0.05))


@pytest.mark.slow
def test_converters_of_few_bits_see_nothing_of_a_weak_nudge():
    chip = Device(readout=Readout(bits=6)).instance(network("tied"))
    weak = estimate(chip, X, Y, Centered(nudge=1e-5, clip=float("inf")), solver=SOLVER, key=KEY).error_vector
    step = 1 / 31
    multiples = np.concatenate([np.asarray(a).ravel() for a in weak.values()]) * 2e-5 / step
    np.testing.assert_allclose(multiples, np.round(multiples), atol=1e-6)


@pytest.mark.slow
def test_what_other_estimators_read_is_noisy_too():
    system = mlp(INPUTS, (5,), CLASSES, key=KEY, feedback="tied", cost="squared_error")
    target = jax.nn.one_hot(Y, CLASSES)
    chip = Device(readout=Readout(noise=1e-3)).instance(system)
    for estimator in (CoupledLearning(0.1), ContinuousTime(nudge=0.1, periods=8)):
        clean, noisy = (estimate(s, X, target, estimator, solver=SOLVER, key=KEY) for s in (system, chip))
        assert norm(trees.subtract(clean.error_vector, noisy.error_vector)) > 1e-3
        assert noisy.grounds is not None and bool(jnp.all(noisy.grounds.parts[:, 2] > 0))
    close(*(estimate(s, X, target, ExactResponse(), solver=SOLVER).error_vector for s in (system, chip)))


@pytest.mark.slow
def test_with_an_ideal_way_back_the_response_is_that_of_the_system_where_the_chip_is():
    system = network("untied")
    device = Device(mismatch=SMOOTH.mismatch, units=Units(gain=0.1, offset=0.02), backward="ideal")
    chip = device.instance(system, 3)
    answer = estimate(chip, X, Y, Centered(1e-4), solver=SOLVER)
    state = answer.equilibrium.state
    close(state, relax(chip, X, SOLVER).state, rtol=1e-9)
    pushed = jacobian(system, state, system.injection(X))(answer.error_vector)
    wanted = trees.negative(cost_gradient(system, system.activity(state), Y))
    assert norm(trees.subtract(pushed, wanted)) < 1e-6 * norm(wanted)
    # Anchored nowhere it is the system.
    free, _ = chip.backward(state, X, chip.injection(X))
    close(free.force(state, free.injection(X)), system.force(state, system.injection(X)))
    with pytest.raises(InputError, match="cannot measure them on two systems"):
        estimate(chip, X, Y, ContinuousTime())


@pytest.mark.slow
def test_homeostasis_looks_at_the_chip_and_moves_what_is_asked_for():
    system = network("tied")
    chip = Device(mismatch=Mismatch(gain=0.3)).instance(system, 3)
    free = relax(chip, X, SOLVER)
    usable = Usable(X, free.state, free.converged)
    for homeostasis in (JacobianHomeostasis(1.0, probes=50), LocalHomeostasis(1.0, probes=50)):
        # Tied weights are one array of cells, which is as asymmetric as its units are.
        one = homeostasis.gradient(chip, usable, key=KEY)[1]
        other = homeostasis.gradient(SMOOTH.instance(system, 3), usable, key=KEY)
        assert float(one) < 1e-9 < float(other[1])
        assert jax.tree.structure(other[0]) == jax.tree.structure(
            eqx.filter(SMOOTH.instance(system, 3), eqx.is_inexact_array)
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOMEOSTASES.members())
def test_every_homeostasis_regularises_on_a_chip_or_says_that_it_cannot(kind):
    system = network("untied")
    chip, free = EVERYTHING.instance(system, 3), relax(system, X, SOLVER)
    homeostasis, usable = HOMEOSTASES.find(kind)(), Usable(X, free.state, free.converged)
    if kind == "weight_mirror":
        with pytest.raises(InputError, match="needs to know the connections"):
            homeostasis.check(chip)
        return
    homeostasis.check(chip)
    gradient = estimate(chip, X, Y, Adjoint(), solver=SOLVER, key=KEY).gradient
    made = homeostasis.regularise(gradient, chip, usable, key=KEY)
    assert jax.tree.structure(made.gradient) == jax.tree.structure(gradient)


def test_kolen_and_pollack_decay_what_is_asked_for():
    """A programmer knows no other weights: on any chip their own gradient is that of the network."""
    system = network("untied")
    free = relax(system, X, SOLVER)
    usable = Usable(X, free.state, free.converged)
    ours, theirs = (KolenPollack().gradient(s, usable, key=KEY) for s in (EVERYTHING.instance(system, 3), system))
    close(ours[0].system.weights, theirs[0].weights)
    assert float(ours[1]) == float(theirs[1]) > 0


def test_updates_are_what_cells_make_of_them_and_writing_throws_the_dice_again():
    system = network("untied")
    device = Device(update=Update(step=1e-2, asymmetry=0.5), programming=Programming(noise=0.01), headroom=1.0)
    chip = device.instance(system, 3)
    asked = jax.tree.map(lambda a: jnp.full_like(a, 0.02), eqx.filter(chip, eqx.is_inexact_array))
    after = chip.updated(asked, key=KEY)
    assert int(after.written) == 1
    name = "hidden_1->hidden_2"
    scale = float(jnp.abs(system.weights[name]).max())
    pulses = np.asarray(after.system.weights[name] - system.weights[name]) / (1.5 * 0.01 * scale)
    np.testing.assert_allclose(pulses, np.round(pulses), atol=1e-9)
    np.testing.assert_array_equal(after.system.biases["output"], system.biases["output"] + 0.02)
    missed = [np.asarray(c.programmed.weights[name] - c.system.weights[name]) / scale for c in (chip, after)]
    assert abs(np.corrcoef(missed[0].ravel(), missed[1].ravel())[0, 1]) < 0.5
    again = chip.updated(asked, key=KEY)
    np.testing.assert_array_equal(again.programmed.weights[name], after.programmed.weights[name])


def test_a_chip_grows_older():
    chip = Device(drift=Drift(exponent=0.1)).instance(network("untied"))
    for name, weight in chip.aged(999.0).programmed.weights.items():
        np.testing.assert_allclose(weight, chip.system.weights[name] * 1000**-0.1, rtol=1e-6)
    with pytest.raises(InputError, match="drift: its weights do not drift"):
        Device().instance(network("untied")).aged(1.0)


@pytest.mark.slow
def test_chips_side_by_side_are_each_alone():
    system = network("untied")
    make = eqx.filter_vmap(lambda key: EVERYTHING.instance(system, key))
    keys = jax.random.split(KEY, 3)
    chips = make(keys)
    states = eqx.filter_vmap(lambda chip: relax(chip, X, SOLVER).state, in_axes=(_lanes(chips),))(chips)
    for lane, key in enumerate(keys):
        close(
            jax.tree.map(lambda a, lane=lane: a[lane], states),
            relax(EVERYTHING.instance(system, key), X, SOLVER).state,
            rtol=1e-7,
        )


def _lanes(chips):
    return jax.tree.map(lambda a: 0 if eqx.is_array(a) else None, chips)


def test_an_imperfection_of_ones_own():
    class Halved(AbstractCells):
        @property
        def is_off(self):
            return False

        def stored(self, weight, drawn):
            return weight / 2

    class Mine(Device):
        halved: Halved = Halved()

    system = network("untied")
    for name, weight in Mine().instance(system).programmed.weights.items():
        np.testing.assert_allclose(weight, system.weights[name] / 2, rtol=1e-12)


def test_what_is_no_system_has_no_chip():
    with pytest.raises(InputError, match="system: must be a system"):
        Device().instance(SquaredError())


def on_levels(values, bits, limit):
    levels = np.linspace(-limit, limit, 2**bits - 1)
    return levels[np.abs(np.asarray(values)[..., None] - levels).argmin(axis=-1)]


@pytest.mark.parametrize(("bits", "limit"), [(3, 0.7), (5, 2.0)])
def test_inputs_and_readings_are_on_the_nearest_of_all_levels(bits, limit):
    values = jnp.asarray(np.random.default_rng(3).uniform(-1.5, 1.5, (4, 6)))
    np.testing.assert_allclose(
        Inputs(bits=bits, range=limit).brought(values), on_levels(values, bits, limit), atol=1e-15
    )
    labels = jnp.arange(4)
    assert Inputs(bits=bits, range=limit).brought(labels) is labels
    read = Readout(bits=bits, range=limit).read(values + 0.5j * values[::-1], key=KEY)
    wanted = on_levels(values, bits, limit) + 1j * on_levels(0.5 * values[::-1], bits, limit)
    np.testing.assert_allclose(read, wanted, atol=1e-15)


def test_readings_of_the_same_differ_by_their_noise():
    values, part = jnp.full((200, 100), 0.3), Readout(noise=0.05, repeats=4)
    one, other = (np.asarray(part.read(values, key=jax.random.key(lot))) for lot in (0, 1))
    for found, size in ((one - 0.3, 0.025), (one - other, 0.025 * 2**0.5)):
        assert abs(found.std() / size - 1) < 0.03 and abs(found.mean()) < 4 * size / found.size**0.5
    assert float(part.error) == pytest.approx(0.025)


def test_what_is_predicted_is_what_is_read():
    system = mlp(INPUTS, (7,), CLASSES, key=KEY, cost="squared_error")
    state = relax(system, X, SOLVER).state
    exact = np.asarray(predict(system, state))
    coarse = Device(readout=Readout(bits=4)).instance(system, 0)
    np.testing.assert_allclose(predict(coarse, state, key=KEY), on_levels(exact, 4, 1.0), atol=1e-15)
    np.testing.assert_array_equal(predict(coarse, state), exact)
    noisy = Device(readout=Readout(noise=10.0)).instance(system, 0)
    wrong = [np.asarray(correct(noisy, state, Y, key=jax.random.key(lot))) for lot in range(20)]
    # What is all noise is right by chance.
    assert abs(np.mean(wrong) - 1 / CLASSES) < 4 * (1 / CLASSES / np.size(wrong)) ** 0.5
