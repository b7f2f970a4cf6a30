"""Every estimator against dense linear algebra in NumPy, in double precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equiprop as ep
from at_rest import estimated
from differences import Exact, flat
from equiprop.errors import InputError
from equiprop.estimators import (
    ESTIMATORS,
    Adjoint,
    Centered,
    Corrected,
    ExactResponse,
    Holomorphic,
    OneSided,
    Problem,
    estimate,
)
from equiprop.estimators._circle import circle, harmonics, relax_circle, relax_nudged
from equiprop.solvers import GMRES, FixedIterations, GaussSeidel, relax
from equiprop.systems import mlp
from networks import BATCH, CLASSES, IMAGE, INPUTS, batch, network
from oracle import Dense, gradient_by_name

SOLVER = GaussSeidel(tolerance=1e-12, max_steps=2000, nudged_max_steps=2000)
KRYLOV = GMRES(tolerance=1e-12, restart=30, max_restarts=20)
X, Y = batch()


def run(system, estimator, x=X, y=Y, solver=SOLVER, **given):
    return estimated(system, x, y, estimator, solver=solver, **given)


@eqx.filter_jit
def respond(system, estimator, points, nudge):
    """The response at a nudge that is traced, so that one program serves them all."""
    free = relax(system, X, SOLVER)
    problem = Problem(system, X, system.injection(X), Y, free, SOLVER)
    return estimator.respond_at(problem, points, nudge * jnp.ones(BATCH))


class Case:
    """A network, its equilibria by SciPy, and both error vectors by dense solves."""

    def __init__(self, kind):
        self.system = network(kind)
        self.dense = Dense.of(self.system)
        self.states = [self.dense.equilibrium(np.asarray(x)) for x in X]
        pairs = list(zip(self.states, np.asarray(Y), strict=True))
        self.exact = np.array([self.dense.adjoint(u, y) for u, y in pairs])
        self.response = np.array([self.dense.response(u, y) for u, y in pairs])
        self.cost_gradient = np.array([np.linalg.norm(self.dense.cost_gradient(u, y)) for u, y in pairs])

    def error(self, answer, reference):
        """Relative error of the error vectors, per sample."""
        ours = self.dense.flat(answer.error_vector)
        return np.linalg.norm(ours - reference, axis=1) / np.linalg.norm(reference, axis=1)

    def gradient(self, delta, weight=None):
        """The parameter gradient that belongs to an error vector, averaged over samples."""
        weight = np.full(BATCH, 1 / BATCH) if weight is None else weight
        parts = [
            self.dense.parameter_gradient(u, np.asarray(x), int(y), d)
            for u, x, y, d in zip(self.states, X, Y, delta, strict=True)
        ]
        return {name: sum(w * part[name] for w, part in zip(weight, parts, strict=True)) for name in parts[0]}


@pytest.fixture(scope="module", params=["loop", "general"])
def case(request):
    return Case(request.param)


@pytest.fixture(scope="module")
def untied():
    return Case("untied")


def assert_gradient(answer, expected, rtol):
    ours = gradient_by_name(answer.gradient)
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert np.allclose(ours[name], value, rtol=rtol, atol=rtol * np.abs(value).max()), name


@pytest.mark.slow
def test_adjoint(case):
    answer = run(case.system, Adjoint(linear_solver=KRYLOV))
    assert case.error(answer, case.exact).max() < 1e-9
    assert_gradient(answer, case.gradient(case.exact), 1e-8)
    assert (answer.weight == 1).all() and (answer.error_bar < 1e-11).all()


@pytest.mark.slow
def test_adjoint_is_the_gradient_of_the_cost_at_equilibrium(untied):
    """Finite differences through the whole relaxation: the sign and the factor of everything at once."""
    answer = run(untied.system, Adjoint(linear_solver=KRYLOV))

    @eqx.filter_jit
    def loss(system):
        free = relax(system, X, SOLVER)
        return system.cost(system.output(system.activity(free.state)), Y).mean()

    step = 1e-5
    for where, index in [
        (lambda s: s.weights["hidden_2->hidden_1"], (1, 2)),
        (lambda s: s.weights["hidden_1->hidden_2"], (0, 0)),
        (lambda s: s.weights["input->hidden_1"], (3, 1)),
        (lambda s: s.biases["output"], (1,)),
        (lambda s: s.cost.weight, (2, 0)),
        (lambda s: s.cost.bias, (1,)),
    ]:
        parameter = where(untied.system)
        up, down = (loss(eqx.tree_at(where, untied.system, parameter.at[index].add(h))) for h in (step, -step))
        assert np.isclose(where(answer.gradient)[index], (up - down) / (2 * step), rtol=1e-6, atol=1e-10)


@pytest.mark.slow
def test_exact_response(case):
    answer = run(case.system, ExactResponse(linear_solver=KRYLOV))
    assert case.error(answer, case.response).max() < 1e-9
    assert_gradient(answer, case.gradient(case.response), 1e-8)


@pytest.mark.slow
def test_a_convolutional_network():
    """Pooling makes the coupling depend on the state: the response and the exact vector by finite differences."""
    system, (x, y) = network("convolutional"), batch(shape=IMAGE)
    exact = Exact.of(system, x, y, SOLVER, lambda s: s.biases)
    estimators = {
        "response": (ExactResponse(linear_solver=KRYLOV), exact.response, 1e-7),
        "adjoint": (Adjoint(linear_solver=KRYLOV), exact.adjoint, 1e-7),
        "centered": (Centered(nudge=0.01), exact.response, 1e-3),
        "holomorphic": (Holomorphic(nudge=0.1, points=8), exact.response, 1e-6),
    }

    @eqx.filter_jit
    def everything(system):
        free = relax(system, x, SOLVER)
        return {
            name: estimate(system, x, y, estimator, solver=SOLVER, equilibrium=free)
            for name, (estimator, _, _) in estimators.items()
        }

    for name, answer in everything(system).items():
        _, expected, bound = estimators[name]
        error = np.linalg.norm(flat(answer.error_vector) - expected, axis=1) / np.linalg.norm(expected, axis=1)
        assert (error < bound).all(), name
        assert answer.equilibrium.converged.all() and (answer.weight == 1).all(), name


def test_response_is_not_the_adjoint_without_symmetry(untied):
    assert untied.error(run(untied.system, ExactResponse(linear_solver=KRYLOV)), untied.exact).min() > 0.05


@pytest.mark.parametrize(
    ("estimator", "sign", "order"),
    [
        (OneSided(), 1, 1),
        (OneSided(), -1, 1),
        (Centered(), 1, 2),
        (Holomorphic(points=3), 1, 3),
        (Holomorphic(points=6), 1, 6),
    ],
)
def test_order_of_convergence(untied, estimator, sign, order):
    """Halving |β| divides the error by 2^N."""
    coarse, fine = (
        untied.error(respond(untied.system, estimator, order, jnp.asarray(sign * radius)), untied.response)
        for radius in (0.2, 0.1)
    )
    assert np.allclose(np.log2(coarse / fine), order, atol=0.25)


def test_nudged_gradient_is_the_gradient_of_its_error_vector(case):
    answer = run(case.system, Holomorphic(nudge=0.1, points=8))
    assert case.error(answer, case.response).max() < 1e-6
    assert_gradient(answer, case.gradient(case.response), 1e-5)


@pytest.mark.slow
def test_centered_is_two_point_holomorphic(untied):
    centered, holomorphic = (
        run(untied.system, Centered(nudge=0.3)),
        run(untied.system, Holomorphic(nudge=0.3, points=2)),
    )
    for a, b in zip(jax.tree.leaves(centered), jax.tree.leaves(holomorphic), strict=True):
        assert np.allclose(a, b, atol=1e-14)


@pytest.mark.slow
def test_one_sided_is_one_point_holomorphic(untied):
    a, b = run(untied.system, OneSided(nudge=0.3)), run(untied.system, Holomorphic(nudge=0.3, points=1))
    assert np.allclose(untied.dense.flat(a.error_vector), untied.dense.flat(b.error_vector), atol=1e-12)


@pytest.mark.slow
def test_symmetric_weights_make_centered_the_adjoint():
    case = Case("tied")
    errors = [
        case.error(respond(case.system, Centered(), 2, jnp.asarray(b)), case.exact).max() for b in (0.1, 0.05, 0.025)
    ]
    assert np.allclose(np.diff(np.log2(errors)), -2, atol=0.1)


@pytest.mark.slow
def test_only_half_of_the_circle_is_relaxed(untied):
    """⌈(N + 1)/2⌉ phases; the conjugates give the same sums, checked against relaxing them all."""
    for points in (1, 2, 3, 4, 5, 6, 7, 8):
        assert len(circle(points)) == -(-(points + 1) // 2) if points > 1 else 1
    system = untied.system
    free = eqx.filter_jit(relax)(system, X, SOLVER)
    problem = Problem(system, X, system.injection(X), Y, free, SOLVER)
    everywhere = np.exp(2j * np.pi * np.arange(5) / 5)
    phases, half = (
        eqx.filter_jit(relax_nudged)(problem, jnp.asarray(0.2 * unit)[:, None] * jnp.ones(BATCH))
        for unit in (everywhere, circle(5))
    )
    for name, values in harmonics(half.response, 5, range(5)).items():
        for m, value in enumerate(values):
            rotation = np.exp(-2j * np.pi * np.arange(5) * m / 5)
            direct = np.tensordot(rotation, np.asarray(phases.response[name]), axes=1) / 5
            assert np.allclose(direct.imag, 0, atol=1e-10)
            assert np.allclose(value, direct.real, atol=1e-10)


@pytest.mark.slow
def test_phases_begun_where_they_are_predicted_end_where_those_from_rest_do(untied):
    """The same states, in fewer sweeps."""
    system, solver = untied.system, GaussSeidel(tolerance=1e-9, nudged_max_steps=500, damping=0.0)

    @eqx.filter_jit
    def phases(system):
        free = relax(system, X, solver)
        problem = Problem(system, X, system.injection(X), Y, free, solver)
        radius = jnp.full(BATCH, 0.05)
        return relax_circle(problem, 6, radius), relax_nudged(problem, jnp.asarray(circle(6))[:, None] * radius)

    predicted, from_rest = phases(system)
    assert predicted.converged.all() and from_rest.converged.all()
    for a, b in zip(jax.tree.leaves(predicted.displacement), jax.tree.leaves(from_rest.displacement), strict=True):
        assert np.allclose(a, b, atol=1e-8)
    # Half of the four phases are real ones, which begin at rest.
    assert (np.asarray(predicted.steps) < 0.9 * np.asarray(from_rest.steps)).all()


@pytest.mark.parametrize("estimator", [OneSided(nudge=0.2), Centered(nudge=0.2)], ids=["one_sided", "centered"])
def test_residual_bar_follows_the_error(untied, estimator):
    answer = run(untied.system, estimator)
    ratio = np.asarray(answer.error_bar) / untied.error(answer, untied.response)
    assert (ratio > 0.3).all() and (ratio < 10).all()


@pytest.mark.slow
def test_bar_of_an_unfinished_relaxation(untied):
    """With too few nudged steps the response is not there yet, and the bar says so."""
    solver = FixedIterations(max_steps=500, nudged_max_steps=2, tolerance=1e-10)
    answer = run(untied.system, Centered(nudge=0.1), X, Y, solver)
    assert (answer.error_bar > 0.1).all()
    assert answer.unconverged.all() and (answer.weight == 0).all()


@pytest.mark.slow
def test_kinks_are_refused_or_shown():
    kinked, smooth = network("relu"), mlp(INPUTS, (7,), CLASSES, key=jax.random.key(3), gain=1.5, feedback_gain=1.0)
    with pytest.raises(InputError, match="points = 4: the system is not holomorphic"):
        run(kinked, Holomorphic(points=4))

    @eqx.filter_jit
    def bars(system):
        free = relax(system, X, SOLVER)
        circles = [
            Holomorphic(points=n, nudge=0.8, allow_non_holomorphic=True, unconverged="keep", error_bar="aliasing")
            for n in (4, 8)
        ]
        return [
            jnp.median(estimate(system, X, Y, circle, solver=SOLVER, equilibrium=free).error_bar) for circle in circles
        ]

    four, eight = bars(smooth)
    assert eight < 0.1 * four
    four, eight = bars(kinked)
    assert eight > 0.1 * four


def test_clip_bounds_and_flags(untied):
    gain = np.linalg.norm(untied.exact, axis=1) / untied.cost_gradient
    limit = float(np.sort(gain)[1] * 1.0001)
    answer = run(untied.system, Adjoint(linear_solver=KRYLOV, clip=limit))
    assert np.array_equal(answer.clipped, gain > limit)
    assert 0 < int(answer.counts["clipped"]) < BATCH
    expected = untied.exact * np.minimum(1, limit / gain)[:, None]
    assert np.allclose(untied.dense.flat(answer.error_vector), expected, rtol=1e-8, atol=1e-12)
    assert_gradient(answer, untied.gradient(expected), 1e-8)
    dropped = run(untied.system, Adjoint(linear_solver=KRYLOV, clip=limit, clipped="drop"))
    assert np.array_equal(dropped.weight, (gain <= limit).astype(float))


def bistable(gain=6.0):
    """One unit with two stable states, and an x that selects which; the cost pulls it upward."""
    from equiprop.systems import from_force

    return from_force(lambda p, u, x: jnp.tanh(p * u) + x - u, jnp.asarray(gain), initial_state=jnp.full(1, -1.0))


def test_jump_to_another_branch_is_flagged_and_dropped():
    """Near the fold a positive nudge carries the unit to the other state, a negative one does not."""
    system, y = bistable(), jnp.full((2, 1), 1.0)
    x = jnp.asarray([[0.5], [-1.0]])
    answer = run(system, Centered(nudge=0.2), x, y, GaussSeidel(tolerance=1e-8, max_steps=500))
    assert answer.branch_switch.tolist() == [True, False]
    assert answer.weight.tolist() == [0, 1]
    kept = run(system, Centered(nudge=0.2, branch_switch="keep"), x, y, GaussSeidel(tolerance=1e-8))
    assert kept.weight.tolist() == [1, 1]
    many = run(system, Holomorphic(nudge=0.2, points=6), x, y, GaussSeidel(tolerance=1e-8, max_steps=500))
    assert many.branch_switch.tolist()[1] is False
    assert bool(many.branch_switch[0]) or bool(many.unconverged[0]) or float(many.error_bar[0]) > 0.5


@pytest.mark.slow
def test_a_strongly_bent_response_is_no_switch_of_branch():
    """u = βy/(1 + β), of a linear system, has an even part of |β| against the odd one, whatever N and |β|."""
    from equiprop.systems import from_force

    system = from_force(lambda p, u, x: p * x - u, jnp.asarray(1.0), initial_state=jnp.zeros(1))
    x, y = jnp.zeros((1, 1)), jnp.ones((1, 1))
    many = run(system, Holomorphic(nudge=0.6, points=8), x, y)
    assert not many.branch_switch.any() and float(many.error_bar[0]) < 0.06
    assert np.isclose(many.error_vector[0, 0], -1.0, rtol=0.05)
    for kind, points in ((Holomorphic, 2), (Holomorphic, 3), (Holomorphic, 4), (Holomorphic, 6), (Corrected, 4)):
        for nudge in (0.51, 0.55, 0.8):
            answer = run(system, kind(nudge=nudge, points=points), x, y)
            assert not answer.branch_switch.any() and answer.weight.all()
            # The sum over the circle in closed form.
            assert np.isclose(answer.error_vector[0, 0], -1 / (1 - (-nudge) ** points), rtol=0.02)


def test_a_force_that_flattens_on_the_way_leads_to_no_other_branch():
    """u = ln(1 + β) of F = 1 − eᵘ: on the way to β = −0.97 it falls from its slope at the beginning to a thirtieth of that."""
    x, y = jnp.zeros((1, 1)), jnp.zeros((1, 1))
    system = ep.from_force(
        lambda p, u, x: p - jnp.exp(u) + x, jnp.asarray(1.0), initial_state=jnp.zeros(1), cost=Lift(), holomorphic=True
    )
    solver = GaussSeidel(tolerance=1e-9, max_steps=3000, nudged_max_steps=3000)
    answer = run(system, Centered(nudge=0.97), x, y, solver)
    assert np.isclose(answer.error_vector[0, 0], -np.log(1.97 / 0.03) / (2 * 0.97), rtol=1e-6)
    assert not answer.branch_switch.any() and answer.weight.all()


def test_a_network_that_is_bent_by_its_units_has_switched_no_branch(untied):
    """A strong nudge on a smooth network of one equilibrium: its even part is large, and it is found again from there."""
    answer = run(untied.system, Centered(nudge=3.0, branch_switch_threshold=0.05))
    assert not answer.branch_switch.any()


class Lift(ep.SquaredError):
    """The higher the output the better."""

    def __call__(self, output, target):
        del target
        return -output[..., 0]


@pytest.mark.slow
@pytest.mark.parametrize("points", [2, 4, 6])
@pytest.mark.parametrize("start", [-0.62, -0.8, -1.0])
def test_a_switch_of_branch_is_told_from_near_and_from_far(points, start):
    """F = u − u³ + x with u* = start, nudged a little beyond the fold at −1/√3 by a linear cost."""
    from equiprop.systems import from_force

    x = jnp.full((1, 1), start**3 - start)
    beyond = 1.05 * (2 / 27**0.5 - x[0, 0])
    system = from_force(
        lambda p, u, x: p * u - u**3 + x, jnp.asarray(1.0), initial_state=jnp.full(1, start), cost=Lift()
    )
    solver = GaussSeidel(tolerance=1e-8, max_steps=3000, nudged_max_steps=3000, damping=0.5)
    answer = run(system, Holomorphic(nudge=float(beyond), points=points), x, jnp.zeros((1, 1)), solver)
    assert answer.branch_switch.all() or answer.unconverged.all()
    if points == 2:
        assert answer.branch_switch.all()
    within = run(system, Holomorphic(nudge=0.5 * float(beyond), points=points), x, jnp.zeros((1, 1)), solver)
    assert not within.branch_switch.any()


def test_what_is_excluded_does_not_spoil_the_rest(untied):
    """A sample of NaN is dropped, counted, and adds nothing to the mean over the batch, or over the others."""
    x = X.at[2].set(jnp.nan)
    answer = run(untied.system, Adjoint(linear_solver=KRYLOV), x, Y, SOLVER)
    others = run(untied.system, Adjoint(linear_solver=KRYLOV, divide_by="kept"), x, Y, SOLVER)
    assert answer.weight.tolist() == [1, 1, 0, 1]
    counts = {name: int(v) for name, v in answer.counts.items()}
    assert counts["samples"] == 4 and counts["diverged"] == 1 and counts["excluded"] == 1 and counts["converged"] == 3
    assert_gradient(answer, untied.gradient(untied.exact, np.array([1, 1, 0, 1]) / 4), 1e-8)
    assert_gradient(others, untied.gradient(untied.exact, np.array([1, 1, 0, 1]) / 3), 1e-8)


def test_samples_that_are_fitted_are_not_excluded_for_their_relative_error():
    """Nine of ten are fitted to 1e-5: what they have is noise of reading, relative, and they add nothing."""
    from equiprop.hardware import Device, Readout
    from equiprop.systems import from_force

    system = from_force(lambda p, u, x: x @ p - u, jnp.eye(2), initial_state=jnp.zeros(2))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(10, 2)))
    y = (x + 1e-5).at[0].add(2.0)
    exact = run(system, Adjoint(linear_solver=KRYLOV), x, y)
    chip = Device(readout=Readout(noise=3e-6)).instance(system)
    for divide_by in ("batch", "kept"):
        # A tolerance between the error of the heavy sample, of β², and the bar of the light ones.
        estimator = Centered(nudge=0.05, tolerance=0.02, divide_by=divide_by)
        answer = run(chip, estimator, x, y, GaussSeidel(tolerance=1e-7), key=jax.random.key(4))
        assert (answer.error_bar[1:] > 1).all()
        assert answer.weight.all() and not answer.inaccurate.any()
        assert np.allclose(answer.gradient.system.params, exact.gradient.params, rtol=0.01, atol=1e-4)
    # One that matters and is inaccurate is excluded all the same, and counts as nothing.
    strict = run(system, Centered(nudge=0.05, tolerance=1e-5, retries=0), x, y, GaussSeidel(tolerance=1e-7))
    assert not strict.weight[0] and strict.inaccurate[0]
    assert np.linalg.norm(strict.gradient.params) < 1e-4 * np.linalg.norm(exact.gradient.params)


def test_an_equilibrium_of_other_inputs_or_parameters_is_not_believed(untied):
    system, x = untied.system, X
    free = eqx.filter_jit(relax)(system, x, SOLVER)
    for estimator in (Adjoint(linear_solver=KRYLOV), Centered(0.1)):
        assert run(system, estimator, x, Y, SOLVER, equilibrium=free).weight.all()
        moved = x.at[1].add(1.0)
        answer = run(system, estimator, moved, Y, SOLVER, equilibrium=free)
        assert answer.weight.tolist() == [1, 0, 1, 1] and answer.unconverged.tolist() == [False, True, False, False]
        assert float(answer.equilibrium.residual[1]) > 0.01
        other = jax.tree.map(lambda a: 1.1 * a if eqx.is_inexact_array(a) else a, system)
        assert not run(other, estimator, x, Y, SOLVER, equilibrium=free).weight.any()
    with pytest.raises(
        InputError, match=r"equilibrium: is of shapes .*, where the states have .*; give that of this system"
    ):
        run(system, Centered(0.1), x[:2], Y[:2], SOLVER, equilibrium=free)


@pytest.mark.slow
def test_unconverged_samples_by_policy(untied):
    solver = FixedIterations(max_steps=12, nudged_max_steps=12, tolerance=1e-3)
    free = eqx.filter_jit(relax)(untied.system, X, solver)
    assert 0 < int(free.converged.sum()) < BATCH or pytest.fail("the example must have both kinds")
    dropped = run(untied.system, Centered(nudge=0.5), X, Y, solver)
    kept = run(untied.system, Centered(nudge=0.5, unconverged="keep"), X, Y, solver)
    assert np.array_equal(dropped.weight, (~dropped.unconverged).astype(float))
    assert (kept.weight == 1).all()


def test_nothing_kept_gives_zero(untied):
    x = jnp.full_like(X, jnp.nan)
    answer = run(untied.system, Centered(), x, Y, SOLVER)
    assert all((g == 0).all() for g in jax.tree.leaves(answer.gradient))


def test_not_converged_is_said(untied):
    """One GMRES vector is not enough: flagged, and dropped by default."""
    answer = run(untied.system, Adjoint(linear_solver=GMRES(tolerance=1e-10, restart=1, max_restarts=1)))
    assert answer.unconverged.all() and (answer.weight == 0).all() and (answer.error_bar > 1e-10).all()


def test_near_a_bifurcation_the_adjoint_stays_finite_and_bounded():
    """At gain one, u̇ = φ(u) − u has a singular Jacobian."""
    from equiprop.systems import from_force

    system = from_force(lambda p, u, x: p * jnp.tanh(u) - u, jnp.asarray(1.0), initial_state=jnp.zeros(1))
    y = jnp.ones((1, 1))
    answer = run(system, Adjoint(clip=2.0), jnp.zeros((1, 1)), y, GaussSeidel())
    assert bool(answer.unconverged[0]) or bool(answer.clipped[0])
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(answer.gradient))


def test_pytree_states_and_user_force():
    """A system that is no network: the gradient of the equilibrium cost by finite differences."""
    from equiprop.systems import from_force

    rng = np.random.default_rng(0)
    params = {"w": jnp.asarray(rng.normal(size=(3, 2)) * 0.5), "v": jnp.asarray(rng.normal(size=(2, 3)) * 0.5)}

    def force(p, u, x):
        return {"a": jnp.tanh(u["b"] @ p["v"]) + x - u["a"], "b": jnp.sin(u["a"]) @ p["w"] - u["b"]}

    system = from_force(force, params, initial_state={"a": jnp.zeros(3), "b": jnp.zeros(2)}, output=lambda r: r["b"])
    x, y = jnp.asarray(rng.normal(size=(2, 3))), jnp.asarray(rng.normal(size=(2, 2)))

    @eqx.filter_jit
    def loss(p):
        moved = eqx.tree_at(lambda s: s.params, system, p)
        return moved.cost(moved.output(relax(moved, x, SOLVER).state), y).mean()

    exact = run(system, Adjoint(linear_solver=KRYLOV), x, y, SOLVER).gradient.params
    step = 1e-6
    for name, index in (("w", (1, 0)), ("v", (0, 2))):
        up, down = (loss(params | {name: params[name].at[index].add(h)}) for h in (step, -step))
        assert np.isclose(exact[name][index], (up - down) / (2 * step), rtol=1e-6)
    response = run(system, ExactResponse(linear_solver=KRYLOV), x, y, SOLVER)
    nudged = run(system, Holomorphic(nudge=0.1, points=8), x, y, SOLVER)
    for a, b in zip(jax.tree.leaves(response.error_vector), jax.tree.leaves(nudged.error_vector), strict=True):
        assert np.allclose(a, b, rtol=1e-5, atol=1e-8)


def test_rotation_identities(untied):
    """δE and δ have the same length in the metric of −S, and asymmetry is a rotation (Cayley transform)."""
    for u, exact, response in zip(untied.states, untied.exact, untied.response, strict=True):
        j = untied.dense.jacobian(u)
        s, a = (j + j.T) / 2, (j - j.T) / 2
        assert np.linalg.eigvalsh(s).max() < 0
        k = np.linalg.solve(s, a)
        eye = np.eye(len(j))
        assert np.allclose(response, np.linalg.solve(eye + k, (eye - k) @ exact))
        assert np.isclose(exact @ s @ exact, response @ s @ response)
        root = np.linalg.cholesky(-s)
        sigma = np.linalg.norm(np.linalg.solve(root, np.linalg.solve(root, a).T).T, 2)
        cosine = (exact @ s @ response) / (exact @ s @ exact)
        assert cosine >= (1 - sigma**2) / (1 + sigma**2) - 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "reference"),
    [(Centered(nudge=0.02), "response"), (Holomorphic(nudge=0.5), "response"), (Adjoint(), "exact")],
    ids=["centered", "holomorphic", "adjoint"],
)
def test_float32(untied, estimator, reference):
    system = jax.tree.map(lambda a: a.astype(jnp.float32), untied.system)
    answer = run(system, estimator, X.astype(jnp.float32), Y, GaussSeidel())
    assert all(
        a.dtype == jnp.float32 for a in jax.tree.leaves((answer.gradient, answer.error_vector, answer.error_bar))
    )
    assert_gradient(answer, untied.gradient(getattr(untied, reference)), 0.02)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("one_sided", {"nudge": 0.0}, "nudge = 0.0: must be a finite number other than 0"),
        ("centered", {"nudge": np.inf}, "nudge = inf"),
        ("holomorphic", {"points": 0}, "points = 0: must be at least 1"),
        ("centered", {"clip": 0.0}, "clip = 0.0: must be a finite number above 0"),
        ("centered", {"branch_switch_threshold": -1.0}, "branch_switch_threshold = -1.0"),
        ("adjoint", {"unconverged": "ignore"}, "unconverged = 'ignore': is not known; choose one of drop, keep"),
    ],
)
def test_bad_settings(kind, options, message):
    with pytest.raises(InputError, match=message):
        ESTIMATORS.find(kind)(**options)


@pytest.mark.parametrize(("name", "value"), [("tolerance", 0.0), ("restart", 0), ("max_restarts", 0)])
def test_bad_krylov(name, value):
    with pytest.raises(InputError, match=f"{name} = {value}"):
        GMRES(**{name: value})
