"""Derivatives of an equilibrium, by one linear solve, against finite differences of equilibria."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.estimators import Adjoint, estimate
from equiprop.numerics import trees
from equiprop.solvers import GMRES, FixedIterations, GaussSeidel, Jacobi, NewtonGMRES, relax
from equiprop.systems import from_force, loop_network, mlp
from tiers import quick_where

TIGHT = GaussSeidel(tolerance=1e-13, max_steps=2000, damping=0.0)
STEP = 1e-5
RNG = np.random.default_rng(21)
SAMPLES = 3


def drawn(*shape):
    return jnp.asarray(RNG.normal(size=shape))


def tree_force(p, u, x):
    """Two leaves of different shapes, one of them an image, and parameters in a list."""
    near, far = jnp.tanh(u["near"]), u["far"][0]
    return {
        "near": jnp.einsum("bij,ijk->bk", far, p[0]) + x["a"] - u["near"],
        "far": (0.3 * jnp.tanh(jnp.einsum("bk,ijk->bij", near, p[1])) + x["b"] * p[2] - far,),
    }


TREE = from_force(
    tree_force,
    [0.3 * drawn(2, 3, 4), 0.3 * drawn(2, 3, 4), jnp.asarray(0.8)],
    initial_state={"near": np.zeros(4), "far": (np.zeros((2, 3)),)},
    output=lambda u: u["near"],
)
SYSTEMS = {
    "mlp": (mlp(4, (5, 3), 2, key=jax.random.key(1), gain=1.5, feedback_gain=1.0), drawn(SAMPLES, 4)),
    "weak feedback": (mlp(4, (5,), 2, key=jax.random.key(2), activation="tanh"), drawn(SAMPLES, 4)),
    "loop": (loop_network(4, (5, 3), 2, key=jax.random.key(3), gain=1.5), drawn(SAMPLES, 4)),
    "pytree": (TREE, {"a": drawn(SAMPLES, 4), "b": drawn(SAMPLES, 2, 3)}),
}


@eqx.filter_jit
def reading(system, x, weights):
    """A number that depends on every unit of every sample."""
    found = relax(system, x, TIGHT)
    return jnp.sum(trees.inner(weights, jax.tree.map(jnp.sin, found.state)))


def along(function, tree, direction):
    """The derivative along a direction, by central differences."""
    moved = (jax.tree.map(lambda a, d, h=h: a + h * d, tree, direction) for h in (STEP, -STEP))
    up, down = (float(function(each)) for each in moved)
    return (up - down) / (2 * STEP)


def assert_gradient(function, tree, gradient):
    """Leaf by leaf, along a random direction each."""
    leaves, structure = jax.tree.flatten(tree)
    slopes = jax.tree.leaves(gradient)
    assert len(slopes) == len(leaves)
    for place, (leaf, slope) in enumerate(zip(leaves, slopes, strict=True)):
        direction = drawn(*leaf.shape)
        others = [direction if i == place else jnp.zeros_like(a) for i, a in enumerate(leaves)]
        expected = along(function, tree, jax.tree.unflatten(structure, others))
        found = float(jnp.sum(direction * slope))
        assert np.isclose(found, expected, rtol=1e-6, atol=1e-8), (trees.paths(tree)[place], found, expected)


def weights_for(system, x):
    return jax.tree.map(lambda u: drawn(*u.shape), system.initial_state(x))


@pytest.mark.parametrize("name", quick_where(lambda name: name in ("mlp", "pytree"), SYSTEMS))
def test_gradients_for_parameters_and_inputs(name):
    system, x = SYSTEMS[name]
    weights = weights_for(system, x)
    arrays, rest = eqx.partition(system, eqx.is_inexact_array)
    function = lambda both: reading(eqx.combine(both["system"], rest), both["x"], weights)  # noqa: E731
    both = {"system": arrays, "x": x}
    assert relax(system, x, TIGHT).converged.all()
    gradient = jax.grad(function)(both)
    for part in both:
        assert np.abs(jax.tree.leaves(gradient[part])[0]).max() > 1e-3
    assert_gradient(function, both, gradient)


@pytest.mark.slow
def test_gradient_for_an_injection_that_is_given():
    """It then stands for the input, which is no longer asked for."""
    system, x = SYSTEMS["mlp"]
    weights, injection = weights_for(system, x), system.injection(x)

    def function(injection, x):
        return jnp.sum(trees.inner(weights, relax(system, x, TIGHT, injection=injection).state))

    found, of_x = jax.grad(function, argnums=(0, 1))(injection, x)
    assert_gradient(lambda d: function(d, x), injection, found)
    assert not of_x.any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver",
    [
        Jacobi(tolerance=1e-12, max_steps=1000),
        NewtonGMRES(tolerance=1e-12),
        FixedIterations(max_steps=400),
    ],
    ids=lambda s: s.kind,
)
def test_the_gradient_does_not_depend_on_the_way_to_the_equilibrium(solver):
    system, x = SYSTEMS["mlp"]

    def gradient(solver):
        return eqx.filter_grad(lambda s: jnp.sum(jnp.sin(relax(s, x, solver).state["output"])))(system)

    for a, b in zip(jax.tree.leaves(gradient(solver)), jax.tree.leaves(gradient(TIGHT)), strict=True):
        assert np.allclose(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_the_gradient_does_not_depend_on_the_start():
    system, x = SYSTEMS["pytree"]
    weights = weights_for(system, x)
    start = jax.tree.map(lambda u: u + 0.3, system.initial_state(x))

    def gradient(state):
        return jax.grad(lambda x: jnp.sum(trees.inner(weights, relax(system, x, TIGHT, state=state).state)))(x)

    for a, b in zip(jax.tree.leaves(gradient(start)), jax.tree.leaves(gradient(None)), strict=True):
        assert np.allclose(a, b, rtol=1e-9)


@pytest.mark.slow
def test_the_start_has_no_gradient():
    """As when one relaxation begins where another ended."""
    system, x = SYSTEMS["mlp"]
    output = lambda found: jnp.sum(jnp.sin(found.state["output"]))  # noqa: E731
    of_start = jax.grad(lambda state: output(relax(system, x, TIGHT, state=state)))(system.initial_state(x))
    assert not any(leaf.any() for leaf in jax.tree.leaves(of_start))
    warm = jax.grad(lambda x: output(relax(system, x, TIGHT, state=relax(system, x).state)))(x)
    assert np.allclose(warm, jax.grad(lambda x: output(relax(system, x, TIGHT)))(x), rtol=1e-9)


@pytest.mark.slow
def test_the_gradient_of_the_cost_is_the_adjoint_estimate():
    system, x = SYSTEMS["mlp"]
    y = jnp.asarray([0, 1, 1])

    @eqx.filter_grad
    def through(system):
        state = relax(system, x, TIGHT).state
        return jnp.mean(system.cost(system.output(system.activity(state)), y))

    answer = estimate(system, x, y, Adjoint(linear_solver=GMRES(tolerance=1e-10)), solver=TIGHT)
    for a, b in zip(jax.tree.leaves(through(system)), jax.tree.leaves(answer.gradient), strict=True):
        assert np.allclose(a, b, rtol=1e-7, atol=1e-10)


@pytest.mark.slow
def test_a_system_of_many_units_is_differentiated_as_exactly():
    """More units than one Krylov space has dimensions."""
    system, x = mlp(8, (60, 40), 10, key=jax.random.key(4), gain=1.8, feedback_gain=1.0), drawn(SAMPLES, 8)
    weights = weights_for(system, x)
    function = lambda x: reading(system, x, weights)  # noqa: E731
    assert_gradient(function, x, jax.grad(function)(x))


@pytest.mark.slow
def test_it_is_differentiated_inside_of_compiled_and_mapped_functions():
    system, x = SYSTEMS["mlp"]
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(relax(system, x, TIGHT).state["output"])))
    plain = gradient(x)
    assert np.allclose(jax.jit(gradient)(x), plain, rtol=1e-9)
    assert np.allclose(jax.vmap(gradient)(jnp.stack([x, 2 * x]))[0], plain, rtol=1e-9)


def test_what_only_reports_on_the_relaxation_has_no_gradient():
    system, x = SYSTEMS["mlp"]
    assert not jax.grad(lambda x: jnp.sum(relax(system, x, TIGHT).residual))(x).any()


def test_forward_mode_is_refused():
    system, x = SYSTEMS["mlp"]
    with pytest.raises((TypeError, RuntimeError), match=r"forward|jvp|custom_vjp"):
        jax.jvp(lambda x: relax(system, x, TIGHT).state["output"], (x,), (x,))


@pytest.mark.slow
def test_single_precision_is_kept():
    system, x = jax.tree.map(lambda a: a.astype(jnp.float32), SYSTEMS["mlp"])
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(relax(system, x).state["output"])))(x)
    exact = jax.grad(lambda x: jnp.sum(jnp.sin(relax(SYSTEMS["mlp"][0], x, TIGHT).state["output"])))(SYSTEMS["mlp"][1])
    assert gradient.dtype == jnp.float32 and np.allclose(gradient, exact, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_integers_among_parameters_and_inputs_are_left_alone():
    system = from_force(
        lambda p, u, x: jnp.tanh(u) @ p["w"] + x["a"] + p["bias"][x["row"]] - u,
        {"w": 0.3 * drawn(4, 4), "bias": drawn(2, 4), "steps": jnp.arange(3)},
        initial_state=np.zeros(4),
    )
    x = {"a": drawn(SAMPLES, 4), "row": jnp.asarray([0, 1, 1])}
    gradient = eqx.filter_grad(lambda s: jnp.sum(relax(s, x, TIGHT).state))(system)
    assert gradient.params["steps"] is None and np.abs(gradient.params["bias"]).min() > 0


def test_arguments_of_another_type_are_refused(monkeypatch):
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    system, x = SYSTEMS["mlp"]
    with pytest.raises(InputError, match=r"^solver: must be a solver object such as ep\.GaussSeidel\(\)"):
        relax(system, x, "gauss_seidel")


@pytest.mark.slow
def test_a_derivative_that_does_not_converge_is_said_unless_it_is_left_out():
    """F = x·u² is at rest at u = 0, where ∂F/∂u is zero."""
    system = from_force(lambda p, u, x: p * x * u**2, jnp.asarray(1.0), initial_state=jnp.zeros(2))

    @eqx.filter_jit
    @eqx.filter_grad
    def slope(x, keep):
        found = relax(system, x, TIGHT)
        return jnp.sum(jnp.where(keep[:, None], found.state, 0))

    x = jnp.ones((2, 2))
    assert np.array_equal(slope(x, jnp.zeros(2, bool)), jnp.zeros((2, 2)))
    with pytest.raises(RuntimeError, match="the derivative of a sample's equilibrium did not converge"):
        jax.block_until_ready(slope(x, jnp.ones(2, bool)))


@pytest.mark.slow
def test_the_linear_solver_of_the_derivative_may_be_given():
    system, x = SYSTEMS["loop"]
    rough, fine = (
        jax.grad(lambda x, s=s: relax(system, x, TIGHT, linear_solver=s).state["output"].sum())(x)
        for s in (GMRES(tolerance=0.3, restart=1), GMRES(tolerance=1e-12))
    )
    assert not np.allclose(rough, fine, rtol=1e-6)
    moved = [relax(system, x + h * jnp.ones_like(x), TIGHT).state["output"].sum() for h in (STEP, -STEP)]
    assert np.isclose(fine.sum(), (moved[0] - moved[1]) / (2 * STEP), rtol=1e-8)
