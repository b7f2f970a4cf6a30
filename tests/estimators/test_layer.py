"""A relaxing system as a layer: its derivatives against finite differences, inside of the usual transformations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop import homeostasis as family
from equiprop.estimators import Adjoint, Centered, Holomorphic, Layer, RecurrentBackprop
from equiprop.homeostasis import (
    AntisymmetricHomeostasis,
    Batch,
    JacobianHomeostasis,
    KolenPollack,
    LocalHomeostasis,
    NoHomeostasis,
)
from equiprop.numerics import AbstractCost, Schedule, SoftmaxReadout, SquaredError
from equiprop.solvers import GMRES, GaussSeidel, Jacobi, Status, relax
from equiprop.systems import System, from_force, loop_network, mlp
from networks import CLASSES, IMAGE, INPUTS, batch, network
from tiers import quick_where

SOLVER = GaussSeidel(tolerance=1e-12, max_steps=2000, nudged_max_steps=2000)
EXACT = Adjoint(linear_solver=GMRES(tolerance=1e-12, restart=40, max_restarts=20))
RELAXED = RecurrentBackprop(accuracy=1e-12)
KEY = jax.random.key(7)
STEP = 1e-5
X, _ = batch()


class Sent(System):
    """A user's own system: a state of two leaves, and an output with a parameter of its own."""

    w: jax.Array
    v: jax.Array
    read: jax.Array
    cost: AbstractCost

    def force(self, state, injection, only=None):
        a, b = jnp.tanh(state["b"]) @ self.v + injection, jnp.sin(state["a"]) @ self.w
        return {"a": a - state["a"], "b": b - state["b"]}

    def initial_state(self, x):
        return {"a": jnp.zeros((x.shape[0], 3)), "b": jnp.zeros((x.shape[0], 2))}

    def output(self, activity):
        return activity["b"] @ self.read


def drawn(*shape, seed=0, size=0.5):
    return jnp.asarray(size * np.random.default_rng(seed).normal(size=shape))


def sent():
    return Sent(w=drawn(3, 2), v=drawn(2, 3, seed=1), read=drawn(2, 4, seed=2), cost=SquaredError())


def user_force():
    """A force on a pytree, with an activity, and a cost whose readout is trained: the layer makes no use of it."""
    params = {"w": drawn(3, 2, seed=1), "v": drawn(2, 3, seed=2)}

    def force(p, u, x):
        return {"a": jnp.tanh(u["b"]) @ p["v"] + x - u["a"], "b": jnp.sin(jnp.tanh(u["a"])) @ p["w"] - u["b"]}

    return from_force(
        force,
        params,
        initial_state={"a": jnp.zeros(3), "b": jnp.zeros(2)},
        activity=lambda u: jax.tree.map(jnp.tanh, u),
        output=lambda r: r["b"],
        cost=SoftmaxReadout.create(2, 3, key=KEY),
    )


SYSTEMS = {
    "mlp": lambda: (mlp(INPUTS, (4,), CLASSES, key=jax.random.key(3), gain=1.5, feedback_gain=0.5), X),
    "loop": lambda: (loop_network(INPUTS, (4, 3), CLASSES, key=jax.random.key(3), gain=1.5), X),
    "convolutional": lambda: (network("convolutional"), batch(shape=IMAGE)[0][:2]),
    "force": lambda: (user_force(), drawn(4, 3, seed=3, size=1.0)),
    "own output": lambda: (sent(), drawn(4, 3, seed=3, size=1.0)),
}


def loss(layer, x):
    """Of no symmetry, and as much of one sample as of another."""
    output = layer(x)
    return jnp.sum(jnp.sin(output + 0.1 * jnp.arange(output.size).reshape(output.shape)))


def directions(tree):
    """One random direction for each array of a tree, of that array alone."""
    leaves, structure = jax.tree.flatten(tree)
    for i, leaf in enumerate(leaves):
        chosen = [jnp.zeros_like(a) if j != i else drawn(*a.shape, seed=9, size=1.0) for j, a in enumerate(leaves)]
        yield leaf, jax.tree.unflatten(structure, chosen)


def inner(a, b):
    return sum(float(jnp.sum(p * q)) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", quick_where(lambda name: name not in ("convolutional", "loop"), SYSTEMS))
def test_derivatives_are_those_of_finite_differences(name):
    """For every array of parameters along a direction of its own, and for the input."""
    system, x = SYSTEMS[name]()
    arguments, rest = eqx.partition((system, x), eqx.is_inexact_array)

    @eqx.filter_jit
    def moved(step, direction):
        here = eqx.combine(jax.tree.map(lambda a, d: a + step * d, arguments, direction), rest)
        return loss(Layer(here[0], EXACT, SOLVER), here[1])

    @eqx.filter_jit
    def gradients():
        def of(pair, estimator):
            return loss(Layer(pair[0], estimator, SOLVER), pair[1])

        return [eqx.filter_grad(of)((system, x), estimator) for estimator in (EXACT, RELAXED)]

    found = gradients()
    for _, direction in directions(arguments):
        slope = float(moved(STEP, direction) - moved(-STEP, direction)) / (2 * STEP)
        for gradient in found:
            assert inner(gradient, direction) == pytest.approx(slope, rel=1e-6, abs=1e-8)
    for gradient in found:
        assert jax.tree.structure(gradient) == jax.tree.structure(arguments)
        assert not any(g.any() for g in jax.tree.leaves(gradient[0].cost))


def test_the_output_is_that_of_the_relaxed_system_and_its_cost_is_not_asked():
    system = network("untied")
    state = relax(system, X, SOLVER).state
    layer = Layer(system, EXACT, SOLVER)
    assert np.allclose(layer(X), system.output(system.activity(state)), atol=1e-12)
    assert layer.relax(X).converged.all()
    # Without a cost of its own it is the same layer.
    assert np.allclose(Layer(eqx.tree_at(lambda s: s.cost, system, SquaredError()), EXACT, SOLVER)(X), layer(X))


@pytest.mark.slow
def test_equilibrium_propagation_of_a_symmetric_network_is_the_exact_layer():
    """Whatever the size of the loss: the cotangents of the samples nudge at length one."""
    system = mlp(INPUTS, (4,), CLASSES, key=jax.random.key(3), gain=1.5, feedback="tied", feedback_gain=0.7)

    @eqx.filter_jit
    def gradients(pair, factor):
        def of(pair, estimator):
            return factor * loss(Layer(pair[0], estimator, SOLVER), pair[1])

        return [eqx.filter_grad(of)(pair, e) for e in (EXACT, Centered(0.01), Holomorphic(nudge=0.1, points=4))]

    exact = gradients((system, X), 1.0)[0]
    for factor in (1.0, 1e-6, 1e6):
        for nudged in gradients((system, X), factor)[1:]:
            for ours, theirs in zip(jax.tree.leaves(nudged), jax.tree.leaves(exact), strict=True):
                assert np.linalg.norm(ours / factor - theirs) <= 0.01 * np.linalg.norm(theirs)


@pytest.fixture(scope="module")
def small():
    return Layer(mlp(INPUTS, (4,), CLASSES, key=jax.random.key(3), gain=1.5, feedback_gain=0.5), EXACT, SOLVER)


@eqx.filter_jit
def gradient_of(layer, x):
    return eqx.filter_value_and_grad(loss)(layer, x)


@pytest.mark.slow
def test_samples_one_by_one_are_the_batch(small):
    """`batched=False` under vmap, as layers of Equinox are used."""
    single = Layer(small.system, EXACT, SOLVER, batched=False)
    assert single(X[0]).shape == (CLASSES,)

    @eqx.filter_jit
    def mapped(layer, x):
        return eqx.filter_value_and_grad(lambda m, inputs: loss(jax.vmap(m), inputs))(layer, x)

    (value, gradient), (expected, reference) = mapped(single, X), gradient_of(small, X)
    assert float(value) == pytest.approx(float(expected))
    for ours, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(reference), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
def test_it_is_trained_between_ordinary_layers():
    """An encoder, an equilibrium layer and a head: the gradient of each by finite differences."""
    encoder, head = (
        eqx.nn.Linear(5, INPUTS, key=KEY, dtype=jnp.float64),
        eqx.nn.Linear(CLASSES, 2, key=KEY, dtype=jnp.float64),
    )
    middle = Layer(loop_network(INPUTS, (4, 3), CLASSES, key=KEY, gain=1.5), EXACT, SOLVER, batched=False)
    model, x = (encoder, middle, head), drawn(4, 5, size=1.0)

    def cost(model, x):
        encoder, middle, head = model
        return jnp.mean(jax.vmap(lambda one: head(jnp.tanh(middle(jnp.tanh(encoder(one))))))(x) ** 2)

    gradient = eqx.filter_jit(eqx.filter_grad(cost))(model, x)
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)

    @eqx.filter_jit
    def moved(step, direction):
        return cost(eqx.combine(jax.tree.map(lambda a, d: a + step * d, arrays, direction), rest), x)

    for _, direction in directions(arrays):
        slope = float(moved(STEP, direction) - moved(-STEP, direction)) / (2 * STEP)
        assert inner(gradient, direction) == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_the_numbers_of_its_estimator_and_solver_are_no_parameters(small):
    for layer in (small, Layer(small.system, Holomorphic(nudge=0.1), Jacobi(damping=0.2))):
        parameters = eqx.filter(layer, eqx.is_inexact_array)
        assert len(jax.tree.leaves(parameters)) == len(jax.tree.leaves(eqx.filter(small.system, eqx.is_inexact_array)))
    assert float(Layer(small.system, Centered(0.3)).estimator.nudge) == 0.3
    assert float(small.solver.tolerance) == 1e-12
    assert isinstance(Layer(small.system).estimator, Adjoint) and isinstance(Layer(small.system).solver, GaussSeidel)


@pytest.mark.slow
def test_a_number_that_is_traced_may_still_be_given(small):
    """And has no derivative."""
    system = small.system

    @eqx.filter_jit
    def one(nudge):
        layer = Layer(system, Centered(nudge), SOLVER)
        return eqx.filter_grad(lambda x: loss(layer, x))(X)

    at, again = one(jnp.asarray(0.02)), one(jnp.asarray(0.04))
    assert not np.allclose(at, again, rtol=1e-9) and np.allclose(at, again, rtol=0.05, atol=1e-3)
    slope = jax.grad(lambda n: loss(Layer(system, Centered(n), SOLVER), X))(jnp.asarray(0.02))
    assert float(slope) == 0


@pytest.mark.slow
def test_what_was_excluded_is_told_and_why(small):
    x = X.at[1].set(jnp.nan)
    answer = small.estimate(x, jnp.ones((4, CLASSES)))
    assert answer.weight.tolist() == [1, 0, 1, 1] and int(answer.counts["diverged"]) == 1
    assert answer.equilibrium.status[1] == Status.DIVERGED and answer.input_gradient.shape == x.shape
    assert int(small.relax(x).status[1]) == Status.DIVERGED
    few = Layer(small.system, Centered(nudge=0.05, clip=1e-3, clipped="drop"), SOLVER)
    told = few.estimate(X, jnp.ones((4, CLASSES)))
    assert told.clipped.all() and (told.weight == 0).all() and not any(g.any() for g in jax.tree.leaves(told.gradient))


@pytest.mark.slow
def test_an_excluded_sample_contributes_nothing(small):
    """Its gradient is that of the batch without it, and zero for its own input."""
    rest = jnp.asarray([0, 2, 3])

    @eqx.filter_jit
    def gradient(pair, weight):
        def total(pair):
            layer, x = pair
            return jnp.sum(weight * jnp.where(weight > 0, jnp.sin(layer(x)).sum(axis=1), 0))

        return eqx.filter_grad(total)(pair)

    spoilt = gradient((small, X.at[1].set(jnp.nan)), jnp.asarray([1.0, 1, 1, 1]))
    without = gradient((small, X), jnp.asarray([1.0, 0, 1, 1]))
    for ours, theirs in zip(jax.tree.leaves(spoilt[0]), jax.tree.leaves(without[0]), strict=True):
        assert np.isfinite(ours).all() and np.allclose(ours, theirs, rtol=1e-9, atol=1e-13)
    assert not spoilt[1][1].any() and np.allclose(spoilt[1][rest], without[1][rest], rtol=1e-9, atol=1e-13)


STRENGTH = 0.7
KINDS = {
    "jacobian": JacobianHomeostasis(strength=STRENGTH, probes=2, samples=0, feedback_only=False),
    "antisymmetric": AntisymmetricHomeostasis(strength=STRENGTH, probes=2, samples=2, feedback_only=True),
    "local": LocalHomeostasis(strength=STRENGTH, probes=2),
    "kolen_pollack": KolenPollack(strength=STRENGTH, decay=0.1),
    "schedule": JacobianHomeostasis(strength=Schedule("linear", STRENGTH, 0.0), probes=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_the_derivative_of_a_penalty_is_strength_times_the_homeostasis_own_gradient(name):
    """Whether that is the gradient of its loss or not; the inputs have none, since the equilibria are held fixed."""
    system, homeostasis = network("untied"), KINDS[name]
    state = relax(system, X, SOLVER).state

    @eqx.filter_jit
    def both(theta, x):
        def of(pair):
            return family.penalty(homeostasis, pair[0], pair[1], solver=SOLVER, key=KEY)

        value, slope = eqx.filter_value_and_grad(of)((theta, x))
        decided = homeostasis.decide(theta)
        own, loss, _ = decided.gradient(theta, Batch(x, state, jnp.ones(len(x), bool)), key=KEY)
        return value, slope, decided.mask(own, theta), loss

    value, (of_system, of_inputs), own, cost = both(system, X)
    assert float(value) == pytest.approx(STRENGTH * float(cost), rel=1e-9)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(own)) > 0
    for ours, theirs in zip(jax.tree.leaves(of_system), jax.tree.leaves(own), strict=True):
        assert np.allclose(ours, STRENGTH * theirs, rtol=1e-7, atol=1e-12)
    assert of_inputs is None or not of_inputs.any()


@pytest.mark.slow
def test_no_homeostasis_is_no_penalty():
    system = mlp(INPUTS, (4,), CLASSES, key=KEY)
    value, slope = eqx.filter_value_and_grad(lambda s: family.penalty(NoHomeostasis(), s, X, key=KEY))(system)
    assert float(value) == 0 and not any(g.any() for g in jax.tree.leaves(slope))
