"""Numbers of estimators, solvers and homeostasis are leaves: new ones compile nothing, and many are a `vmap`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.estimators import Adjoint, Centered, Holomorphic, OneSided, RecurrentBackprop, estimate
from equiprop.homeostasis import AntisymmetricHomeostasis, Batch, Controlled, JacobianHomeostasis
from equiprop.numerics import Schedule
from equiprop.solvers import GMRES, GaussSeidel, relax
from equiprop.systems import cost_gradient, from_force, mlp
from networks import CLASSES, INPUTS, batch

TEN = np.linspace(0.02, 0.2, 10)
UNITS = 3
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, UNITS)))
Y = jnp.asarray(np.random.default_rng(1).normal(size=(4, UNITS)))
SOLVER = GaussSeidel(tolerance=1e-10, max_steps=500, nudged_max_steps=500)


class Traced:
    """A system that counts how often its force is asked for by a tracer, which is while something compiles."""

    def __init__(self):
        self.calls = 0
        matrix = jnp.asarray(np.random.default_rng(2).normal(size=(UNITS, UNITS)) / 3)
        self.system = from_force(self.force, matrix, initial_state=jnp.zeros(UNITS), holomorphic=True)

    def force(self, p, u, x):
        self.calls += isinstance(u, jax.core.Tracer)
        return jnp.tanh(u) @ p + x - u

    def during(self, run):
        """How many of the calls were made by each of the runs."""
        calls = []
        for each in run:
            before = self.calls
            each()
            calls.append(self.calls - before)
        return calls


def assert_only_the_first(calls):
    assert calls[0] > 0 and not any(calls[1:]), calls


ESTIMATORS = {
    "nudge": lambda v: Centered(nudge=v),
    "nudges of either sign": lambda v: OneSided(nudge=v - 0.1),
    "clip": lambda v: Centered(clip=10 * v),
    "tolerance": lambda v: Centered(tolerance=v),
    "shrink": lambda v: Centered(tolerance=0.1, shrink=v),
    "branch switch threshold": lambda v: Centered(branch_switch_threshold=v),
    "accuracy": lambda v: RecurrentBackprop(accuracy=v),
    "tolerance of the linear solver": lambda v: Adjoint(linear_solver=GMRES(tolerance=v)),
    "everything": lambda v: Holomorphic(
        nudge=v, clip=50 * v, tolerance=v, shrink=v, branch_switch_threshold=v, points=3
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATORS)
def test_ten_numbers_of_an_estimator_are_traced_once(name):
    traced = Traced()
    runs = [lambda v=v: estimate(traced.system, X, Y, ESTIMATORS[name](float(v)), solver=SOLVER) for v in TEN]
    assert_only_the_first(traced.during(runs))


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver",
    [
        lambda v: GaussSeidel(tolerance=v * 1e-4),
        lambda v: GaussSeidel(tolerance=v * 1e-3, damping=v, divergence=1e4 / v),
    ],
    ids=["tolerance", "tolerance, damping and divergence"],
)
def test_ten_numbers_of_a_solver_are_traced_once(solver):
    traced = Traced()
    runs = [lambda v=v: estimate(traced.system, X, Y, Centered(), solver=solver(float(v))) for v in TEN]
    assert_only_the_first(traced.during(runs))
    again = [lambda v=v: relax(traced.system, X, solver(float(v))) for v in TEN]
    assert_only_the_first(traced.during(again))


@pytest.mark.slow
@pytest.mark.parametrize(
    "homeostasis",
    [
        lambda v: JacobianHomeostasis(strength=v, probes=1),
        lambda v: AntisymmetricHomeostasis(strength=Schedule("cosine", v, v / 2), probes=1),
        lambda v: JacobianHomeostasis(strength=Controlled(target=v, start=v, gain=v), probes=1),
    ],
    ids=["number", "schedule", "controlled"],
)
def test_ten_strengths_are_traced_once(homeostasis):
    traced = Traced()
    state = relax(traced.system, X, SOLVER).state
    seen = Batch(X, state, jnp.ones(4, bool))
    zero = jax.tree.map(jnp.zeros_like, traced.system)

    @eqx.filter_jit
    def regularise(chosen, progress):
        return chosen.regularise(zero, traced.system, seen, key=jax.random.key(0), progress=progress)

    runs = [lambda v=v: regularise(homeostasis(float(v)), jnp.asarray(v)) for v in TEN]
    assert_only_the_first(traced.during(runs))


def test_under_a_jit_of_the_callers_own_nothing_is_traced_again():
    traced = Traced()
    jitted = eqx.filter_jit(estimate)
    runs = [lambda v=v: jitted(traced.system, X, Y, Centered(nudge=float(v)), solver=SOLVER) for v in TEN]
    assert_only_the_first(traced.during(runs))
    moved = eqx.tree_at(lambda s: s.params, traced.system, 0.9 * traced.system.params)
    assert traced.during([lambda: jitted(moved, X + 1, Y, Centered(), solver=SOLVER)]) == [0]


@pytest.mark.slow
def test_a_last_odd_batch_is_traced_once_more():
    traced = Traced()
    sizes = (4, 4, 3, 3, 4, 3)
    runs = [lambda n=n: estimate(traced.system, X[:n], Y[:n], Centered(), solver=SOLVER) for n in sizes]
    assert [bool(calls) for calls in traced.during(runs)] == [True, False, True, False, False, False]


@pytest.mark.slow
def test_many_nudges_at_once_are_each_of_them_alone():
    system, (x, y) = shallow(), batch()
    free = relax(system, x, SOLVER)

    def with_nudge(nudge):
        answer = estimate(system, x, y, Centered(nudge=nudge), solver=SOLVER, equilibrium=free)
        return answer.error_vector["hidden_1"], answer.gradient.weights["hidden_1->output"], answer.nudge

    together = eqx.filter_jit(jax.vmap(with_nudge))(jnp.asarray(TEN))
    for i, nudge in enumerate(TEN):
        for many, one in zip(together, with_nudge(float(nudge)), strict=True):
            assert np.allclose(many[i], one, rtol=1e-10, atol=1e-13)
    # As whole estimators stacked, too.
    stacked = jax.vmap(lambda v: Centered(nudge=v))(jnp.asarray(TEN))
    spread = eqx.filter_vmap(lambda e: estimate(system, x, y, e, solver=SOLVER, equilibrium=free).nudge)(stacked)
    assert np.allclose(spread, TEN[:, None])


@pytest.mark.slow
def test_off_is_no_number_and_a_program_of_its_own():
    assert [Centered(clip=np.inf).clip, Centered(tolerance=np.inf).tolerance] == [None, None]
    assert Centered(branch_switch_threshold=np.inf).branch_switch_threshold is None
    assert Holomorphic(nudge="auto", tolerance=0.1).nudge is None
    assert float(Centered(nudge=0.3).nudge) == 0.3
    traced = Traced()
    runs = [lambda c=c: estimate(traced.system, X, Y, Centered(clip=c), solver=SOLVER) for c in (np.inf, 3.0, 4.0)]
    assert [bool(calls) for calls in traced.during(runs)] == [True, True, False]


def test_a_whole_number_is_a_number_of_the_same_program():
    traced = Traced()
    runs = [
        lambda v=v, c=c: estimate(traced.system, X, Y, Centered(nudge=v, clip=c), solver=SOLVER)
        for v, c in ((1.5, 50.0), (1, 50), (2, 3))
    ]
    assert_only_the_first(traced.during(runs))


def test_a_number_out_of_range_is_still_refused():
    with pytest.raises(ValueError, match=r"nudge = 0\.0: must be a finite number other than 0"):
        Centered(nudge=jnp.asarray(0.0))
    with pytest.raises(ValueError, match=r"must be a single number; use jax\.vmap for several"):
        Centered(nudge=jnp.asarray(TEN))
    with pytest.raises(ValueError, match="estimator: holds a schedule"):
        estimate(Traced().system, X, Y, Centered(nudge=Schedule("linear", 0.5, 0.1)))


def exact(**options):
    return Adjoint(linear_solver=GMRES(tolerance=1e-12, restart=30, max_restarts=20), **options)


TIGHT = GaussSeidel(tolerance=1e-12, max_steps=2000)


def shallow():
    return mlp(INPUTS, (4,), CLASSES, key=jax.random.key(3), gain=1.5, feedback_gain=0.5)


def cost_by_input(system, x, y):
    """The gradient of every sample's own cost at equilibrium for its own input, by central differences."""

    @eqx.filter_jit
    def cost(inputs):
        state = relax(system, inputs, TIGHT).state
        return system.cost(system.output(system.activity(state)), y)

    slopes = np.empty(x.shape)
    for index in np.ndindex(x.shape[1:]):
        up, down = (cost(x.at[(slice(None), *index)].add(h)) for h in (1e-5, -1e-5))
        slopes[(slice(None), *index)] = (up - down) / 2e-5
    return slopes


def by_input(system, x, y, estimator):
    """The answer of an estimator, and its gradient for the inputs."""
    answer = estimate(system, x, y, estimator, solver=TIGHT, wrt_input=True)
    assert answer.input_gradient is not None
    return answer, answer.input_gradient


@pytest.mark.slow
def test_the_gradient_for_the_inputs_is_that_of_each_samples_own_cost():
    for system, (x, y) in [(shallow(), batch()), (Traced().system, (X, Y))]:
        _, gradient = by_input(system, x, y, exact())
        assert np.allclose(gradient, cost_by_input(system, x, y), rtol=1e-6, atol=1e-10)
        assert estimate(system, x, y, exact(), solver=TIGHT).input_gradient is None


@pytest.mark.slow
def test_the_input_gradient_of_an_excluded_sample_is_zero_and_the_others_do_not_notice():
    system, (x, y) = shallow(), batch()
    _, clean = by_input(system, x, y, exact())
    answer, spoilt = by_input(system, x.at[1].set(jnp.nan), y, exact())
    others = jnp.asarray([0, 2, 3])
    assert answer.weight.tolist() == [1, 0, 1, 1] and not spoilt[1].any()
    assert np.allclose(spoilt[others], clean[others], rtol=1e-9)
    length = np.linalg.norm(np.concatenate(_error_vectors(system, x, y), axis=1), axis=1)
    limit = float(np.sort(length)[2] * 1.0001)
    answer, clipped = by_input(system, x, y, exact(clip=limit, clipped="drop"))
    assert 0 < answer.weight.sum() < 4
    for kept, ours, theirs in zip(answer.weight, clipped, clean, strict=True):
        assert np.allclose(ours, theirs) if kept else not ours.any()
    _, nothing = by_input(system, jnp.full_like(x, jnp.nan), y, exact())
    assert not nothing.any()


def _error_vectors(system, x, y):
    """In units of the cost gradient, as clips are."""
    answer = estimate(system, x, y, exact(), solver=TIGHT)
    output = cost_gradient(system, system.activity(answer.equilibrium.state), y)["output"]
    reference = np.linalg.norm(output, axis=1, keepdims=True)
    return [np.asarray(d) / reference for d in answer.error_vector.values()]


@pytest.mark.slow
def test_inputs_that_are_a_pytree_get_a_gradient_of_their_structure():
    matrix = jnp.asarray(np.random.default_rng(3).normal(size=(4, UNITS, UNITS)) / 4)
    system = from_force(
        lambda p, u, x: jnp.einsum("bij,bj->bi", x["w"], jnp.tanh(u)) + p + x["b"] - u,
        jnp.zeros(UNITS),
        initial_state=jnp.zeros(UNITS),
    )
    x = {"w": matrix, "b": X, "kind": jnp.arange(4)}
    _, gradient = by_input(system, x, Y, exact())
    assert gradient["kind"] is None and gradient["w"].shape == matrix.shape
    for name in ("w", "b"):

        @eqx.filter_jit
        def cost(value, name=name):
            return system.cost(system.output(relax(system, x | {name: value}, TIGHT).state), Y)

        direction = jnp.asarray(np.random.default_rng(4).normal(size=x[name].shape))
        slope = (cost(x[name] + 1e-5 * direction) - cost(x[name] - 1e-5 * direction)) / 2e-5
        ours = (gradient[name] * direction).reshape(4, -1).sum(axis=1)
        assert np.allclose(ours, slope, rtol=1e-6, atol=1e-10)
