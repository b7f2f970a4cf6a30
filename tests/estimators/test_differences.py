"""Responses told from displacements: as precise as they are small."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import equiprop as ep
from equiprop.estimators import Problem
from equiprop.estimators._circle import displaced
from equiprop.estimators.corrected import corrected
from equiprop.numerics import ACTIVATIONS, activation
from equiprop.solvers import relax
from equiprop.systems import Anchor, Free, LayeredNetwork, Stage, cnn, convolutional, mlp
from networks import KINDS, Subtracting, batch, network


def single(tree):
    """In single precision, as it is by default."""
    return jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, tree)


def cosine(a, b):
    a, b = (np.asarray(v, float).ravel() for v in (a, b))
    return a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-300)


@pytest.mark.parametrize("kind", tuple(ACTIVATIONS.members()))
@given(at=st.floats(-6, 6), exponent=st.floats(-12, 0), angle=st.floats(0, 2 * np.pi), is_complex=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_difference_of_activities_is_precise_however_small(kind, at, exponent, angle, is_complex):
    """In single precision, beside the difference in double precision of what single precision can hold."""
    phi = activation(kind)
    if is_complex and not phi.holomorphic:
        is_complex = False
    u = jnp.full((1, 1), at, jnp.float32)
    moved = 10.0**exponent * (np.exp(1j * angle) if is_complex else np.sign(np.cos(angle) + 1e-9))
    moved = jnp.full((1, 1), moved, jnp.complex64 if is_complex else jnp.float32)
    system = ep.from_force(
        lambda p, u, x: -p * u, jnp.float32(1), initial_state=jnp.zeros(1, jnp.float32), activity=phi
    )
    anchor = Anchor.at(Free(system, jnp.zeros((1, 1), jnp.float32)), system, u)
    found = np.asarray(anchor.response(phi, moved))
    wide = jnp.asarray(u, jnp.float64)
    true = np.asarray(phi(wide + jnp.asarray(moved, jnp.complex128 if is_complex else jnp.float64)) - phi(wide))
    # Against how far a unit of this slope moves: where it is saturated there is less to know.
    scale = np.abs(np.asarray(moved)) * max(1e-3, float(np.abs(anchor.slope).max()))
    assert np.abs(found - true) <= 1e-2 * scale + 1e-3 * np.abs(true)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, "pooled"])
@pytest.mark.parametrize("nudge", [0.3, 0.2j])
def test_a_displacement_relaxes_to_where_the_nudged_state_is(kind, nudge):
    """At the zero of the displaced force the force of the system is that of the nudge, to all digits of double precision."""
    system = network(kind)
    x, y = batch(shape=system.topology.population("input").shape)
    solver = ep.GaussSeidel(tolerance=1e-11, max_steps=3000, nudged_max_steps=3000)

    @eqx.filter_jit
    def forces(system):
        free = relax(system, x, solver)
        problem = Problem(system, x, system.injection(x), y, free, solver)
        field = displaced(problem, jnp.full((1, len(y)), nudge))
        v = jax.tree.map(lambda u: 0.1 * jnp.cos(7 * u).astype(field.nudge.dtype), free.state)
        moved = field.displacement(v)
        state = jax.tree.map(jnp.add, free.state, moved)
        pushed = field.field.force(state)
        gradient = jax.grad(lambda r: system.cost(system.output(r), y).sum(), holomorphic=True)
        wanted = gradient(jax.tree.map(lambda a: a.astype(complex), system.activity(state)))
        direct = jax.tree.map(lambda f, f0, g: f - f0 - nudge * g, pushed, field.anchor.force, wanted)
        mobility = system.mobility or dict.fromkeys(direct, 1.0)
        return field.force(v), {name: direct[name] / mobility[name] for name in direct}

    told, subtracted = forces(system)
    for name in told:
        assert np.allclose(told[name], subtracted[name], atol=1e-11 / (system.mobility or {name: 1})[name]), name


@pytest.mark.slow
def test_the_corrected_force_differs_by_the_transposed_jacobian():
    system = network("untied")
    x, y = batch()
    free = relax(system, x, ep.GaussSeidel(tolerance=1e-11, max_steps=3000))
    problem = Problem(system, x, system.injection(x), y, free, ep.GaussSeidel())
    turned = eqx.tree_at(lambda p: p.corrected, problem, corrected(problem), is_leaf=lambda a: a is None)
    field = displaced(turned, jnp.zeros((1, len(y))))
    v = jax.tree.map(lambda u: 1e-7 * jnp.cos(7 * u), free.state)
    _, pullback = jax.vjp(problem.force, free.state)
    slope = field.anchor.slope
    over = jax.tree.map(lambda a, d: a * d, v, slope)
    expected = jax.tree.map(lambda t, d: t / d, pullback(over)[0], slope)
    found = field.force(v)
    for name in found:
        assert np.allclose(found[name], expected[name], rtol=1e-4, atol=1e-12), name


ESTIMATORS = [ep.Centered(0.05), ep.Holomorphic(0.1, points=4), ep.OneSided(1e-4)]


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_single_precision_reads_weak_feedback_through_many_layers(estimator):
    """γ = 0.1 and 8 layers: the response of the lowest is 1e-8 of that of the output, below what single precision resolves."""
    system = mlp(6, (8,) * 8, 4, key=jax.random.key(0), feedback_gain=0.1, gain=2.0)
    x, y = jax.random.normal(jax.random.key(1), (4, 6)), jnp.arange(4)
    double = ep.estimate(system, x, y, estimator)
    one, half = (
        ep.estimate(s, x.astype(jnp.float32), y, estimator) for s in (single(system), Subtracting.of(single(system)))
    )
    for name in double.error_vector:
        assert cosine(one.error_vector[name], double.error_vector[name]) > 0.999, name
    assert np.allclose(one.error_bar, double.error_bar, rtol=0.1, atol=1e-3)
    assert min(cosine(half.error_vector[n], double.error_vector[n]) for n in double.error_vector) < 0.9


@pytest.mark.slow
def test_single_precision_reads_weak_feedback_through_pooling():
    """γ = 0.02 and 4 layers, three of them pooled: the mobility of the lowest is 2e-7, and a subtraction has few digits left."""
    stages = (Stage(3), Stage(4, pool=2), Stage(4, pool=2), Stage(5, pool=2))
    topology = convolutional((8, 8, 2), stages, activation="tanh", feedback_gain=0.02)
    system = LayeredNetwork.create(topology, classes=4, key=jax.random.key(0), gain=2.0)
    x, y = jax.random.normal(jax.random.key(1), (4, 8, 8, 2)), jnp.arange(4)
    double = ep.estimate(system, x, y, ep.Centered(0.05))
    one, half = (
        ep.estimate(s, x.astype(jnp.float32), y, ep.Centered(0.05))
        for s in (single(system), Subtracting.of(single(system)))
    )
    for name in double.error_vector:
        assert cosine(one.error_vector[name], double.error_vector[name]) > 0.9999, name
    assert min(cosine(half.error_vector[n], double.error_vector[n]) for n in double.error_vector) < 0.9


def test_a_bar_that_is_rounding_says_so():
    """Forces that are subtracted, in single precision: a smaller nudge makes the bar larger, and double precision small."""
    system = mlp(6, (8,) * 2, 4, key=jax.random.key(0), feedback_gain=0.01, gain=2.0)
    x, y = jax.random.normal(jax.random.key(1), (4, 6)), jnp.arange(4)
    double, *found = (
        ep.estimate(Subtracting.of(change(system)), change(x), y, ep.Centered(nudge, tolerance=0.01, retries=0))
        for change, nudge in ((lambda tree: tree, 0.01), (single, 1e-4), (single, 0.01))
    )
    assert not (double.limited_by_rounding | double.inaccurate).any()
    for answer in found:
        errors = [
            jnp.sum((a - b) ** 2, axis=1)
            for a, b in zip(*map(jax.tree.leaves, (answer.error_vector, double.error_vector)), strict=True)
        ]
        lengths = [jnp.sum(a**2, axis=1) for a in jax.tree.leaves(double.error_vector)]
        assert (jnp.sqrt(sum(errors) / sum(lengths)) <= answer.error_bar).all()
        assert (answer.inaccurate & answer.limited_by_rounding).all()
    assert (found[0].error_bar > 3 * found[1].error_bar).all()


@pytest.mark.slow
def test_a_deep_convolutional_network_in_single_precision():
    """Every layer as in double precision: the mobility of the first is 4e-9. `benchmarks/small_responses.py` has deeper ones."""
    system = cnn((8, 8, 1), 3, preset="deep_10", key=jax.random.key(0))
    x, y = jax.random.normal(jax.random.key(1), (2, 8, 8, 1)), jnp.arange(2)
    double = ep.estimate(system, x, y, ep.Centered(0.05))
    one = ep.estimate(single(system), x.astype(jnp.float32), y, ep.Centered(0.05))
    assert double.weight.all() and one.weight.all()
    for name in double.error_vector:
        assert cosine(one.error_vector[name], double.error_vector[name]) > 0.99, name
