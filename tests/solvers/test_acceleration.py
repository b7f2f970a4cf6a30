"""Faster ways to the same fixed points: over-relaxation and damping sample by sample, and Anderson's extrapolation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equiprop.errors import InputError
from equiprop.estimators import Centered, estimate
from equiprop.numerics import trees
from equiprop.solvers import Anderson, FixedIterations, GaussSeidel, Jacobi, NewtonGMRES, Status, relax, relax_field
from equiprop.systems import AbstractField, LayeredNetwork, from_force, mlp
from networks import batch, network, nudged, skip_and_lateral
from oracle import Dense
from tiers import quick_where

FAST = {
    "over-relaxed": GaussSeidel(tolerance=1e-10, max_steps=400, nudged_max_steps=400),
    "anderson": Anderson(tolerance=1e-10, max_steps=400, nudged_max_steps=400),
    "newton": NewtonGMRES(tolerance=1e-10, max_steps=400, nudged_max_steps=400),
}


def slow_chain(n=12, gain=0.97, samples=3):
    """A linear chain with symmetric weights whose synchronous iteration has the spectral radius `gain`."""
    rng = np.random.default_rng(3)
    W = rng.normal(size=(n, n))
    W *= gain / np.linalg.norm(W, 2)
    system = mlp(
        n,
        (n,),
        n,
        key=jax.random.key(0),
        activation="identity",
        cost="squared_error",
        weight_angle=0.0,
        feedback_gain=1.0,
    )
    weights = dict.fromkeys(system.weights, jnp.asarray(W))
    weights["input->hidden_1"] = jnp.eye(n)
    system = LayeredNetwork(weights, system.biases, system.cost, system.topology)
    return system, jnp.asarray(rng.normal(size=(samples, n))), W


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("graph", ["loop", "general"])
def test_the_same_fixed_points(name, graph):
    """Newton's method in NumPy finds where they must end."""
    system, (x, _) = network(graph), batch()
    answer = relax(system, x, FAST[name])
    dense = Dense.of(system)
    expected = np.array([dense.equilibrium(np.asarray(xi)) for xi in x])
    assert answer.converged.all()
    assert np.allclose(dense.flat(answer.state), expected, atol=1e-9)


@pytest.mark.slow
@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), angle=st.floats(0.0, 180.0), gain=st.floats(0.2, 1.5), phase=st.floats(0.0, 6.28))
def test_the_same_nudged_fixed_points_on_random_graphs(seed, angle, gain, phase):
    """Real and complex nudges, weights at any angle: the plain sweeps and the fast ones agree, sample by sample."""
    system = LayeredNetwork.create(skip_and_lateral(), classes=3, key=jax.random.key(seed), gain=gain)
    turned = {k: np.cos(np.deg2rad(angle)) * w for k, w in system.weights.items()}
    system = LayeredNetwork(turned, system.biases, system.cost, system.topology)
    x, y = batch(seed)
    nudge = jnp.asarray([1.0, np.exp(1j * phase)] * 2) * 0.2
    start = jax.tree.map(lambda a: a.astype(complex), system.initial_state(x))
    pushed = nudged(system, system.injection(x), y, nudge)
    plain, *fast = [
        relax_field(pushed, start, solver)
        for solver in (GaussSeidel(tolerance=1e-10, max_steps=400, damping=0.0), *FAST.values())
    ]
    for answer in fast:
        both = np.asarray(plain.converged & answer.converged)
        assert (np.asarray(answer.converged) | ~np.asarray(plain.converged)).all()
        for a, b in zip(jax.tree.leaves(answer.state), jax.tree.leaves(plain.state), strict=True):
            assert np.allclose(a[both], b[both], atol=1e-7)


@eqx.filter_jit
def _gradients(system, x, y):
    """By the plain path in the precision given, and by every fast one in single precision."""
    estimator = Centered(nudge=0.5, clip=float("inf"), unconverged="keep", branch_switch="keep")
    plain = estimate(system, x, y, estimator, solver=FixedIterations(max_steps=300, nudged_max_steps=300))
    single, x = jax.tree.map(lambda a: a.astype(jnp.float32), (system, x))
    options = {"tolerance": 2e-6, "max_steps": 300, "nudged_max_steps": 300}
    fast = {
        "over-relaxed": GaussSeidel(**options),
        "begun in half precision": GaussSeidel(**options, low_precision_start="bfloat16"),
        "all at once": Jacobi(**options),
        "anderson": Anderson(**options),
    }
    return plain, {name: estimate(single, x, y, estimator, solver=solver) for name, solver in fast.items()}


@pytest.mark.slow
@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), gain=st.floats(0.2, 1.0))
def test_the_same_gradients_on_random_graphs(seed, gain):
    """Plain steps in double precision against every fast path in single: one part in ten thousand."""
    system = LayeredNetwork.create(skip_and_lateral(), classes=3, key=jax.random.key(seed), gain=gain)
    plain, fast = _gradients(system, *batch(seed))
    norm = lambda tree: np.sqrt(sum(np.sum(np.square(a, dtype=float)) for a in jax.tree.leaves(tree)))  # noqa: E731
    for name, answer in fast.items():
        assert answer.equilibrium.converged.all(), name
        for ours, theirs in zip(
            jax.tree.leaves(answer.equilibrium.state), jax.tree.leaves(plain.equilibrium.state), strict=True
        ):
            assert np.allclose(ours, theirs, atol=2e-5), name
        difference = jax.tree.map(lambda a, b: np.asarray(a, float) - b, answer.gradient, plain.gradient)
        assert norm(difference) < 1e-4 * norm(plain.gradient), name


@pytest.mark.slow
def test_extrapolation_nears_the_best_over_relaxation():
    """Gauss–Seidel falls by μ² a sweep, the best over-relaxation by ω − 1 (Young 1954, Trans. AMS 76, 92)."""
    system, x, W = slow_chain()
    mu = np.linalg.norm(W, 2)
    fall = 2 / (1 + np.sqrt(1 - mu**2)) - 1
    plain = relax(system, x, GaussSeidel(tolerance=1e-8, max_steps=3000, damping=0.0))
    fast = relax(system, x, GaussSeidel(tolerance=1e-8, max_steps=3000))
    assert plain.converged.all() and fast.converged.all()
    ideal = np.log(1e-8) / np.log(fall)
    assert plain.steps.min() > 0.8 * np.log(1e-8) / np.log(mu**2)
    assert fast.steps.max() < 0.6 * plain.steps.min() and fast.steps.max() < 4 * ideal
    flat = lambda state: np.concatenate([np.asarray(a) for a in jax.tree.leaves(state)], axis=1)  # noqa: E731
    assert np.allclose(flat(fast.state), flat(plain.state), atol=1e-5)


@pytest.mark.slow
def test_anderson_of_a_linear_problem_ends_as_krylov_does():
    """On a linear map with k distinct eigenvalues, an unlimited history ends after k + 1 steps."""
    rng = np.random.default_rng(1)
    V = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    G = V @ np.diag(np.repeat([0.9, -0.7, 0.5, 0.99], 5)) @ V.T
    b = rng.normal(size=(2, 20))
    system = from_force(lambda p, u, x: x + u @ p - u, jnp.asarray(G), initial_state=jnp.zeros(20), holomorphic=True)
    answer = relax(system, jnp.asarray(b), Anderson(tolerance=1e-9, depth=8, safeguard=float("inf")))
    assert answer.converged.all() and answer.steps.max() <= 7
    assert np.allclose(answer.state, np.linalg.solve(np.eye(20) - G, b.T).T, atol=1e-7)
    turned = b * np.exp(1j * np.arange(40).reshape(2, 20))
    unlimited = Anderson(tolerance=1e-9, depth=8, safeguard=float("inf"))
    complex_answer = relax(system, jnp.asarray(turned), unlimited, state=jnp.zeros((2, 20), complex))
    assert complex_answer.converged.all() and complex_answer.steps.max() <= 7
    truncated = relax(system, jnp.asarray(b), Anderson(tolerance=1e-9, depth=2, max_steps=1000))
    plain = relax(system, jnp.asarray(b), GaussSeidel(damping=0.0, tolerance=1e-9, max_steps=5000))
    assert truncated.converged.all() and truncated.steps.max() < 0.25 * plain.steps.min()


@pytest.mark.slow
@pytest.mark.parametrize("name", quick_where(lambda name: name == "anderson", ["anderson", "newton"]))
def test_extrapolation_is_holomorphic(name):
    """The derivative of what complex nudges give along 1 and along i is the same number."""
    system, (x, y) = network("untied"), batch()
    injection = system.injection(x)

    def state(nudge):
        start = jax.tree.map(lambda a: a.astype(complex), system.initial_state(x))
        return jax.tree.leaves(relax_field(nudged(system, injection, y, nudge), start, FAST[name]).state)

    h = 1e-4
    along = [[(p - m) / (2 * h * d) for p, m in zip(state(h * d), state(-h * d), strict=True)] for d in (1, 1j)]
    for a, b in zip(*along, strict=True):
        assert np.allclose(a, b, atol=1e-5) and np.abs(a).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("solver", [Anderson(tolerance=1e-10), NewtonGMRES(tolerance=1e-10)])
def test_extrapolation_brings_to_rest_what_sweeps_do_not(solver):
    """u ← −1.5·tanh(u) + x has one fixed point, which is unstable under sweeps."""
    system = from_force(lambda p, u, x: x - p * jnp.tanh(u) - u, jnp.asarray(1.5), initial_state=jnp.zeros(1))
    x = jnp.asarray([[0.1], [0.3]])
    assert not relax(system, x, GaussSeidel(damping=0.0)).converged.any()
    answer = relax(system, x, solver)
    u = np.asarray(answer.state)
    assert answer.converged.all() and np.allclose(u + 1.5 * np.tanh(u), x, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [GaussSeidel, Jacobi])
def test_a_sample_found_oscillating_is_damped_and_the_others_are_not(solver):
    """Gains −1 and 0.5: the first oscillates until its steps are shortened, the second converges as if it were alone."""
    system = from_force(lambda p, u, x: 1 + x * u - u, jnp.zeros(1), initial_state=jnp.zeros(1))
    x = jnp.asarray([[-1.0], [0.5]])
    plain, auto = relax(system, x, solver(damping=0.0)), relax(system, x, solver(damping="auto"))
    assert plain.status.tolist() == [Status.OSCILLATING, Status.CONVERGED]
    assert auto.converged.all() and np.allclose(auto.state[:, 0], [1 / 2, 2.0], atol=1e-3)
    if solver is Jacobi:
        assert auto.steps[1] == plain.steps[1]
    else:
        # Extrapolation along a line is exact.
        assert auto.steps[1] == 4


def _misleading():
    """From below 1 every prediction says 2, but beyond 1 something else pulls, whose oscillation could be extrapolated too."""
    force = lambda p, u, x: jnp.where(u < 1, 0.1 * (2 - u), 0.1 - 1.9 * (u - 1)) + 0 * x  # noqa: E731
    return from_force(force, (), initial_state=jnp.zeros(1)), jnp.zeros((1, 1))


def test_an_extrapolation_that_fails_is_taken_back_and_is_the_last():
    system, x = _misleading()
    plain, default = (
        relax(system, x, GaussSeidel(damping=damping, tolerance=1e-9, max_steps=1000)) for damping in (0.0, "auto")
    )
    assert default.converged.all() and default.steps[0] == plain.steps[0] + 1
    assert np.allclose(default.state, plain.state, rtol=1e-14) and np.isclose(plain.state[0, 0], 1 + 0.1 / 1.9)


@pytest.mark.slow
def test_the_last_step_is_no_extrapolation():
    """The second of two predictions that agree is made after the third sweep; only a fourth could judge it."""
    system, x = _misleading()
    states = [
        [relax(system, x, GaussSeidel(damping=damping, max_steps=steps)).state[0, 0] for steps in (2, 3, 4)]
        for damping in (0.0, "auto")
    ]
    assert np.allclose(states[0], [0.38, 0.542, 0.6878]) and np.allclose(states[1], [0.38, 0.542, 0.542])


def test_displacements_are_complex():
    """Along the imaginary axis as along the real one, and arrives in one extrapolation."""
    system = from_force(lambda p, u, x: x - 0.1 * u, (), initial_state=jnp.zeros(1), holomorphic=True)
    x = jnp.asarray([[1.0], [1j], [1 + 1j]])
    answer = relax(system, x, GaussSeidel(), state=jnp.zeros((3, 1), complex))
    assert np.allclose(answer.state, 10 * x) and answer.steps.tolist() == [4, 4, 4]


def test_phases_share_their_pace():
    """What is left of the drift of an unconverged sample cancels between its phases: they must move alike."""
    system, x, _ = slow_chain(gain=0.7, samples=2)
    injection = trees.broadcast_batch(system.injection(x), 2)
    pushed = nudged(system, injection, jnp.ones((4, 12)), jnp.asarray([0.4, 0.4, -0.4, -0.4]))

    @eqx.filter_jit
    def reaches(phases):
        solver = GaussSeidel()
        state = trees.broadcast_batch(system.initial_state(x), 2)

        def step(carry, count):
            state, memory = carry
            taken = solver.step(pushed, state, memory, count, phases)
            return (taken.state, taken.memory), taken.memory.reach

        return jax.lax.scan(step, (state, solver.init(pushed, state)), jnp.arange(60))[1]

    apart, together = np.asarray(reaches(1)), np.asarray(reaches(2))
    assert (apart[:, :2] != apart[:, 2:]).any(axis=0).all()
    assert np.array_equal(together[:, :2], together[:, 2:]) and (together > 1).any(axis=0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "depth = 0: must be at least 1"),
        ({"safeguard": 0.0}, "safeguard = 0.0: must be a finite number above 0, or inf"),
    ],
)
def test_bad_anderson(options, message):
    with pytest.raises(InputError, match=message):
        Anderson(**options)


@pytest.mark.slow
def test_newton_of_a_linear_problem_ends_at_once():
    """Four distinct eigenvalues, four products: a sweep, a Newton step, and a sweep to see that it is over. Complex ones, too."""
    rng = np.random.default_rng(1)
    V = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    G = V @ np.diag(np.repeat([0.9, -0.7, 0.5, 1.3], 5)) @ V.T
    system = from_force(lambda p, u, x: x + u @ p - u, jnp.asarray(G), initial_state=jnp.zeros(20))
    b = rng.normal(size=(2, 20)) * np.exp(1j * np.arange(40).reshape(2, 20))
    for x in (b.real, b):
        answer = relax(system, jnp.asarray(x), NewtonGMRES(tolerance=1e-9), state=jnp.zeros((2, 20), x.dtype))
        assert answer.converged.all() and answer.steps.max() <= 3
        assert np.allclose(answer.state, np.linalg.solve(np.eye(20) - G, x.T).T, atol=1e-7)


def test_newton_steps_that_do_not_pay_are_taken_back():
    """On the flat arms of tanh they overshoot without end; sweeps walk down, and the last steps are Newton's."""
    system = from_force(lambda p, u, x: -p * jnp.tanh(u), jnp.asarray(0.9), initial_state=jnp.full(1, 12.0))
    x = jnp.zeros((1, 1))
    answer = relax(system, x, NewtonGMRES(tolerance=1e-12))
    swept = relax(system, x, GaussSeidel(tolerance=1e-12, damping=0.0))
    assert answer.converged.all() and abs(float(answer.state[0, 0])) < 1e-11
    assert 10 < int(answer.steps[0]) <= int(swept.steps[0]) + 5


class Whole(AbstractField):
    """A field that cannot be had for some of its samples."""

    def force(self, state, only=None):
        return 1 - state


def test_bad_newton():
    with pytest.raises(InputError, match="dimension = 0: must be at least 1"):
        NewtonGMRES(dimension=0)
    with pytest.raises(InputError, match=r"Newton's method: Whole cannot be had for one sample alone"):
        relax_field(Whole(), jnp.ones((2, 1)), NewtonGMRES())


def test_unknown_word_for_damping():
    with pytest.raises(InputError, match="damping = 'automatic': must be a number or 'auto'"):
        GaussSeidel(damping="automatic")


@pytest.mark.slow
@pytest.mark.parametrize("half", quick_where(lambda half: half == "bfloat16", ["bfloat16", "float16"]))
def test_beginning_in_half_precision_ends_in_full(half):
    """To the same residual; what half precision cannot resolve or hold is left as it was."""
    system, x, _ = slow_chain()
    plain = relax(system, x, GaussSeidel(tolerance=1e-8, max_steps=4000))
    mixed = relax(system, x, GaussSeidel(tolerance=1e-8, max_steps=4000, low_precision_start=half))
    assert mixed.converged.all() and (mixed.residual <= 1e-8).all()
    for a, b in zip(jax.tree.leaves(mixed.state), jax.tree.leaves(plain.state), strict=True):
        assert a.dtype == b.dtype and np.allclose(a, b, atol=1e-5)
    again, expected = (
        relax(system, x, GaussSeidel(tolerance=1e-8, low_precision_start=c), state=plain.state) for c in (half, "none")
    )
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (again, expected)), strict=True))
    huge = from_force(lambda p, u, x: x - u, jnp.zeros(1), initial_state=jnp.zeros(1))
    answer = relax(huge, jnp.asarray([[1e39], [1.0]]), GaussSeidel(low_precision_start=half))
    assert answer.converged.all() and np.array_equal(answer.state, [[1e39], [1.0]])


def test_bad_half_precision():
    with pytest.raises(InputError, match="low_precision_start = 'half': is not known"):
        GaussSeidel(low_precision_start="half")
