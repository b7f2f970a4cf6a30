"""The relaxation loop: fixed points against SciPy, and a named status for everything that can happen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from equiprop.errors import InputError
from equiprop.numerics import Schedule, trees
from equiprop.solvers import SOLVERS, Anderson, FixedIterations, GaussSeidel, Jacobi, Status, Step, relax, relax_field
from equiprop.systems import AbstractField, Free, Nudged, System, from_force
from networks import KINDS, batch, network, nudged
from oracle import Dense

SOLVE = [
    Jacobi(tolerance=1e-11, max_steps=500, damping=0.0),
    Jacobi(tolerance=1e-11, max_steps=500, damping=0.4),
    GaussSeidel(tolerance=1e-11),
]


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVE, ids=["jacobi", "damped", "gauss_seidel"])
@pytest.mark.parametrize("kind", KINDS)
def test_fixed_point(kind, solver):
    system = network(kind)
    x, _ = batch()
    answer = relax(system, x, solver)
    assert answer.converged.all()
    dense = Dense.of(system)
    expected = [dense.equilibrium(np.asarray(xi)) for xi in x]
    assert np.allclose(dense.flat(answer.state), expected, atol=1e-9)
    residual = trees.max_abs(system.force(answer.state, system.injection(x)))
    assert np.array_equal(answer.residual, residual)
    assert (answer.residual <= solver.tolerance).all()


def test_alternating_sweeps_need_about_half():
    system, (x, _) = network("tied"), batch()
    steps = [
        relax(system, x, solver).steps.mean()
        for solver in (Jacobi(tolerance=1e-9, max_steps=500, damping=0.0), GaussSeidel(tolerance=1e-9))
    ]
    assert steps[1] < 0.65 * steps[0]


def scalar(force, start=0.5, **options):
    """A system of one unit; x is ignored unless the force uses it."""
    return from_force(lambda p, u, x: force(u, x), jnp.zeros(()), initial_state=jnp.full(1, start), **options)


X = jnp.zeros((1, 1))


@pytest.mark.parametrize(
    ("name", "force", "status"),
    [
        ("contracts", lambda u, x: -0.5 * u, Status.CONVERGED),
        ("slow", lambda u, x: -1e-3 * u, Status.MAX_STEPS),
        ("period two", lambda u, x: -2 * u, Status.OSCILLATING),
        ("runs away", lambda u, x: u, Status.DIVERGED),
        ("blows up at once", lambda u, x: 1 / (u - 0.5), Status.DIVERGED),
        ("not a number", lambda u, x: jnp.where(u < 0.4, jnp.nan, -0.3 * u), Status.DIVERGED),
    ],
)
@pytest.mark.parametrize(
    "solver", [Jacobi(tolerance=1e-6, max_steps=100, damping=0.0), FixedIterations(tolerance=1e-6, max_steps=100)]
)
def test_status(name, force, status, solver):
    answer = relax(scalar(force), X, solver)
    assert Status(int(answer.status[0])) == status
    assert np.isfinite(answer.state).all()


def test_two_states_that_turn_are_a_limit_cycle():
    """Undamped rotation by a fixed angle: bounded, never at rest, period not 2."""
    turn = jnp.asarray([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    system = from_force(lambda p, u, x: u @ turn.T - u, 0.0, initial_state=jnp.ones(2))
    answer = relax(system, X, Jacobi(max_steps=400, damping=0.0))
    assert int(answer.status[0]) == Status.OSCILLATING


def test_damping_removes_period_two():
    system = scalar(lambda u, x: -2 * u)
    assert relax(system, X, Jacobi(damping=0.3)).converged.all()


def test_nan_input_spoils_only_its_own_sample():
    system, (x, _) = network("untied"), batch()
    clean = relax(system, x, GaussSeidel())
    spoilt = relax(system, x.at[1, 0].set(jnp.nan), GaussSeidel())
    assert [Status(int(s)).name for s in spoilt.status] == ["CONVERGED", "DIVERGED", "CONVERGED", "CONVERGED"]
    others = np.array([0, 2, 3])
    for name, state in spoilt.state.items():
        assert np.isfinite(state).all()
        assert np.array_equal(state[others], clean.state[name][others])


def test_start_that_is_not_a_number_is_named():
    answer = relax(scalar(lambda u, x: -u, start=np.nan), X, Jacobi())
    assert int(answer.status[0]) == Status.DIVERGED


def test_a_sample_does_not_depend_on_its_batch():
    system, (x, _) = network("untied"), batch()
    together = relax(system, x, GaussSeidel())
    assert len(set(np.asarray(together.steps).tolist())) > 1
    for i in range(len(x)):
        alone = relax(system, x[i : i + 1], GaussSeidel())
        assert int(alone.steps[0]) == int(together.steps[i])
        for name, state in alone.state.items():
            assert np.allclose(state[0], together.state[name][i], atol=1e-14)


def test_phases_of_a_sample_stop_together():
    system, (x, y) = network("untied"), batch()
    injection = trees.broadcast_batch(system.injection(x), 2)
    state = trees.broadcast_batch(system.initial_state(x), 2)
    pulled = nudged(system, injection, jnp.tile(y, 2), jnp.repeat(jnp.asarray([0.0, 3.0]), len(x)))
    plain = GaussSeidel(damping=0.0)
    apart = relax_field(pulled, state, plain)
    together = relax_field(pulled, state, plain, phases=2)
    assert not np.array_equal(*np.asarray(apart.steps).reshape(2, -1))
    assert np.array_equal(*np.asarray(together.steps).reshape(2, -1))
    assert np.array_equal(together.steps[:4], np.asarray(apart.steps).reshape(2, -1).max(axis=0))


def test_a_diverging_phase_stops_its_sample():
    system = scalar(lambda u, x: jnp.where(x > 0, u, -0.01 * u))
    x = jnp.asarray([[0.0], [0.0], [0.0], [1.0]])
    field = Free(system, system.injection(x))
    answer = relax_field(field, system.initial_state(x), Jacobi(tolerance=1e-12, max_steps=1000, damping=0.0), phases=2)
    assert [Status(int(s)).name for s in answer.status] == ["MAX_STEPS", "MAX_STEPS", "MAX_STEPS", "DIVERGED"]
    assert int(answer.steps[1]) == int(answer.steps[3]) < 1000


def test_fixed_steps_are_fixed():
    system, (x, y) = network("untied"), batch()
    solver = FixedIterations(max_steps=7, nudged_max_steps=3)
    assert (relax(system, x, solver).steps == 7).all()
    pushed = nudged(system, system.injection(x), y, 0.1)
    steps = relax_field(pushed, system.initial_state(x), solver, max_steps=solver.nudged_max_steps).steps
    assert (steps == 3).all()


def test_fixed_step_is_the_plain_iteration():
    system, (x, _) = network("general"), batch()
    dense = Dense.of(system)
    u = np.zeros((len(x), len(dense.matrix)))
    for _ in range(5):
        u = u + np.array([dense.force(a, np.asarray(b)) for a, b in zip(u, x, strict=True)])
    assert np.allclose(dense.flat(relax(system, x, FixedIterations(max_steps=5)).state), u)


def test_tolerance_per_sample():
    system, (x, _) = network("untied"), batch()
    goal = jnp.asarray([1e-2, 1e-4, 1e-6, 1e-8])
    x = jnp.broadcast_to(x[:1], x.shape)
    answer = relax_field(Free(system, system.injection(x)), system.initial_state(x), GaussSeidel(), tolerance=goal)
    assert (answer.residual <= goal).all()
    steps = np.asarray(answer.steps)
    assert (np.diff(steps) >= 0).all()
    assert steps[0] < steps[-1]


def test_complex_state_reaches_the_complex_fixed_point():
    """u = ½u + c has the solution 2c, for complex c too."""
    system = scalar(lambda u, x: -0.5 * u + x)
    c = jnp.asarray([[0.3 + 0.4j]])
    answer = relax(system, c, Jacobi(tolerance=1e-12), state=jnp.zeros((1, 1), complex))
    assert np.allclose(answer.state, 2 * c)
    assert answer.residual.dtype == jnp.float64


def test_float32_stays_float32():
    system = network("untied")
    system = jax.tree.map(lambda a: a.astype(jnp.float32), system)
    x, _ = batch()
    answer = relax(system, x.astype(jnp.float32), GaussSeidel())
    assert answer.converged.all()
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves((answer.state, answer.residual)))


BAD_SETTINGS = [
    ({"tolerance": 0.0}, "tolerance = 0.0: must be a finite number above 0"),
    ({"max_steps": 0}, "max_steps = 0: must be at least 1"),
    ({"nudged_max_steps": 0}, "nudged_max_steps = 0: must be at least 1"),
    ({"divergence": 1.0}, "divergence = 1.0: must be a finite number above 1"),
]
BAD_DAMPING = [
    ({"damping": 1.0}, "damping = 1.0: must be at least 0 and below 1"),
    ({"damping": -0.1}, "damping = -0.1"),
]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (kind, *bad)
        for kind, solver in SOLVERS.members().items()
        for bad in BAD_SETTINGS + (BAD_DAMPING if hasattr(solver(), "damping") else [])
    ],
)
def test_bad_settings(kind, options, message):
    with pytest.raises(InputError, match=message):
        SOLVERS.find(kind)(**options)


@pytest.mark.slow
@pytest.mark.parametrize("phases", [1, 2])
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.complex128])
def test_going_on_with_the_unconverged_samples_only_changes_nothing(monkeypatch, phases, dtype):
    """Sixty-four samples that need from a few to hundreds of sweeps: the same states, steps and status, sample by sample."""
    from equiprop.solvers import _relax

    rng = np.random.default_rng(0)
    gain = jnp.asarray(np.linspace(0.1, 1.02, 64))[:, None]
    rotation = jnp.asarray(np.linalg.qr(rng.normal(size=(5, 5)))[0])
    x = {"gain": gain, "b": jnp.asarray(0.1 * rng.normal(size=(64, 5)))}
    nudge = jnp.repeat(jnp.asarray([0.1, -0.2])[:phases], 64).astype(dtype)
    y = jnp.tile(jnp.asarray(rng.normal(size=(64, 5))), (phases, 1))
    solver = GaussSeidel(tolerance=1e-9, max_steps=300, damping=0.0)
    answers = []
    for worthwhile in (float("inf"), 1):
        monkeypatch.setattr(_relax, "_WORTHWHILE", worthwhile)
        # A force of its own each time: what was compiled with the other threshold must not be found again.
        system = from_force(
            lambda p, u, x: x["gain"] * jnp.tanh(u @ p) + x["b"] - u,
            rotation,
            initial_state=jnp.zeros(5),
            holomorphic=True,
        )
        answer = relax_field(
            nudged(system, trees.broadcast_batch(x, phases), y, nudge),
            jnp.zeros((64 * phases, 5), dtype),
            solver,
            phases=phases,
        )
        answers.append(answer)
    plain, compact = answers
    assert np.array_equal(plain.steps, compact.steps) and np.array_equal(plain.status, compact.status)
    assert np.allclose(plain.state, compact.state, rtol=0, atol=1e-12)
    assert plain.steps.min() < 20 and plain.steps.max() == 300


class Whole(AbstractField):
    """A field that cannot be had for some of its samples."""

    system: System
    x: Array

    def force(self, state, only=None):
        return self.system.force(state, self.x, only)


def test_a_field_whose_samples_cannot_be_separated_is_relaxed_whole(monkeypatch):
    """`index_batch` answers None for it, all the way through a nudge."""
    from equiprop.solvers import _relax

    monkeypatch.setattr(_relax, "_WORTHWHILE", 1)

    system = from_force(lambda p, u, x: p * x - u, jnp.asarray(1.0), initial_state=jnp.zeros(1))
    x = jnp.ones((64, 1))
    whole = Whole(system, x)
    assert whole.index_batch(jnp.arange(2)) is None
    assert Nudged(whole, system, jnp.ones((64, 1)), jnp.full(64, 0.1)).index_batch(jnp.arange(2)) is None
    some = nudged(system, x[:4], jnp.arange(4.0)[:, None], jnp.arange(4.0)).index_batch(jnp.asarray([2, 0]))
    assert some is not None and some.nudge.tolist() == [2, 0] and some.target[:, 0].tolist() == [2, 0]
    assert np.allclose(relax_field(whole, jnp.zeros((64, 1)), GaussSeidel()).state, 1)


class TwoBlocks(AbstractField):
    """Unit a feels b ten times, b feels a a twentieth; the equilibrium is zero."""

    gain: Array

    def force(self, state, only=None):
        force = {"a": self.gain * state["b"] - state["a"], "b": 0.05 * state["a"] - state["b"]}
        return {name: force[name] for name in only or force}

    @property
    def blocks(self):
        return (("a",), ("b",))


@pytest.mark.slow
@pytest.mark.parametrize("solver", [GaussSeidel(damping=0.0), GaussSeidel(), Anderson()], ids=str)
@pytest.mark.parametrize("phases", [1, 2])
def test_a_last_sweep_that_disturbs_what_went_before_is_not_the_last(solver, phases):
    """a is where b wants it, and b nearly at rest: the sweep meets little force, and leaves ten times as much behind."""
    goal, far = 1e-3, jnp.asarray([[0.9e-3], [0.0]])
    answer = relax_field(
        TwoBlocks(jnp.asarray(10.0)), {"a": 10 * far, "b": far}, solver, phases=phases, tolerance=jnp.full(2, goal)
    )
    assert answer.converged.all() and answer.residual.max() <= goal
    if solver == GaussSeidel(damping=0.0):
        # The second sweep meets 4.5 times the tolerance, each one half of the last, until it is a quarter: 4.5/2⁵ at the seventh.
        assert answer.steps.tolist() == ([7, 1] if phases == 1 else [7, 7])


def test_a_converged_sample_ends_where_the_sweep_ends():
    """Where a solver would go on from is of no concern to a sample that need not go on."""

    class Astray(GaussSeidel):
        def step(self, field, state, memory, count, phases):
            del memory, count, phases
            swept, force = self.sweep(field, state)
            return Step(swept, jax.tree.map(lambda u: jnp.where(force[:, None] < 5e-3, u + 1, u), swept), force, ())

        def init(self, field, state):
            return ()

    system = scalar(lambda u, x: 0.5 * jnp.tanh(u) + x - u)
    x = jnp.linspace(-1, 1, 5)[:, None]
    answer = relax(system, x, Astray(tolerance=1e-2, damping=0.0))
    expected = relax(system, x, GaussSeidel(tolerance=1e-2, damping=0.0))
    assert answer.converged.all()
    assert np.array_equal(answer.state, expected.state) and np.array_equal(answer.residual, expected.residual)


def test_other_numbers_of_a_solver_compile_nothing():
    traces = []

    def force(p, u, x):
        traces.append(1)
        return 0.5 * jnp.tanh(u) + x - u

    system, x = from_force(force, jnp.zeros(()), initial_state=np.zeros(1)), jnp.ones((2, 1))
    steps, counts = [], []
    for tolerance, damping in ((1e-2, 0.0), (1e-8, 0.0), (1e-8, 0.5)):
        steps.append(int(relax(system, x, GaussSeidel(tolerance=tolerance, damping=damping)).steps[0]))
        counts.append(len(traces))
    assert steps[0] < steps[1] < steps[2] and counts[0] == counts[1] == counts[2]


def test_a_sweep_over_the_numbers_of_a_solver_is_a_map():
    system, (x, _) = network("untied"), batch()
    tolerances = jnp.asarray([1e-2, 1e-5, 1e-8])
    swept = jax.vmap(lambda tolerance: relax(system, x, GaussSeidel(tolerance=tolerance)))(tolerances)
    for row, tolerance in enumerate(tolerances):
        alone = relax(system, x, GaussSeidel(tolerance=float(tolerance)))
        assert np.array_equal(swept.steps[row], alone.steps)
        assert (swept.residual[row] <= tolerance).all()


def test_a_schedule_in_a_solver_that_is_not_trained_with_is_refused():
    system, (x, _) = network("untied"), batch()
    with pytest.raises(InputError, match=r"^solver: holds a schedule, which only training can follow"):
        relax(system, x, GaussSeidel(tolerance=Schedule("linear", 1e-2, 1e-6)))


def test_a_system_without_an_input_is_relaxed():
    """Its start says how many samples there are."""
    system = from_force(lambda p, u, x: p - u, jnp.arange(3.0), initial_state=lambda x: jnp.zeros((2, 3)))
    answer = relax(system, None, Jacobi(tolerance=1e-8))
    assert answer.converged.all() and np.allclose(answer.state, [[0, 1, 2]] * 2)
