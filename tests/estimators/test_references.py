"""The estimators that tend to the exact gradient, against dense linear algebra, on every kind of system."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_rest import estimated
from differences import Exact, flat
from equiprop.errors import InputError
from equiprop.estimators import Corrected, Dyadic, Neumann, RecurrentBackprop, Unrolled, estimate
from equiprop.solvers import GaussSeidel, Jacobi, relax
from equiprop.systems import Free, from_force
from networks import IMAGE, batch, network
from oracle import Dense, gradient_by_name
from tiers import quick_where

SOLVER = GaussSeidel(tolerance=1e-12, max_steps=2000, nudged_max_steps=2000)
X, Y = batch()
KINDS = ("general", "loop", "user", "convolutional")

# Name, estimator, and the relative error that it may have.
REFERENCES = {
    "recurrent_backprop": (RecurrentBackprop(accuracy=1e-12), 1e-9),
    "neumann": (Neumann(terms=200), 1e-9),
    "truncated": (Unrolled(steps=100), 1e-9),
    "whole": (Unrolled(steps=200, whole=True), 1e-9),
    "dyadic": (Dyadic(nudge=0.7), 1e-9),
    "one_sided": (Corrected(nudge=1e-4, points=1), 1e-3),
    "centred": (Corrected(nudge=0.1, points=2), 3e-2),
    "holomorphic": (Corrected(nudge=0.1, points=8), 1e-5),
}


# What is less of the same is read where compiling it costs least.
FEWER_POINTS = ("one_sided", "centred")
LEFT_OUT = {"general": FEWER_POINTS, "user": FEWER_POINTS, "convolutional": (*FEWER_POINTS, "neumann", "whole")}


def answers(system, x, y, names):
    """Those of such names in one program, at an equilibrium found by another; the dyad finds its own."""

    @eqx.filter_jit
    def at(system, free):
        return {
            name: estimate(
                system, x, y, reference, solver=SOLVER, equilibrium=free if reference.needs_free_phase else None
            )
            for name, (reference, _) in REFERENCES.items()
            if name in names
        }

    return at(system, relax(system, x, SOLVER))


def user_system():
    """A force on a pytree that is no network, with an activity of its own."""
    rng = np.random.default_rng(1)
    params = {"w": jnp.asarray(rng.normal(size=(3, 2)) * 0.6), "v": jnp.asarray(rng.normal(size=(2, 3)) * 0.6)}

    def force(p, u, x):
        return {"a": jnp.tanh(u["b"]) @ p["v"] + x - u["a"], "b": jnp.sin(jnp.tanh(u["a"])) @ p["w"] - u["b"]}

    return from_force(
        force,
        params,
        initial_state={"a": jnp.zeros(3), "b": jnp.zeros(2)},
        activity=lambda u: jax.tree.map(jnp.tanh, u),
        output=lambda r: r["b"],
    )


def user_batch():
    rng = np.random.default_rng(2)
    return jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(4, 2)))


def by_linear_algebra(kind, names):
    """What each estimator answers, with the exact error vectors of the samples and the exact gradient, by NumPy."""
    system = network(kind)
    dense = Dense.of(system)
    states = [dense.equilibrium(np.asarray(x)) for x in X]
    exact = np.array([dense.adjoint(u, int(y)) for u, y in zip(states, Y, strict=True)])
    parts = [
        dense.parameter_gradient(u, np.asarray(x), int(y), d) for u, x, y, d in zip(states, X, Y, exact, strict=True)
    ]
    gradient = {name: np.mean([p[name] for p in parts], axis=0) for name in parts[0]}
    return answers(system, X, Y, names), dense.flat, exact, gradient, gradient_by_name


def by_differences(kind, names):
    """The same by finite differences."""
    system, (x, y) = (user_system(), user_batch()) if kind == "user" else (network("convolutional"), batch(shape=IMAGE))
    parameters = lambda s: s.params if kind == "user" else s.weights  # noqa: E731
    exact = Exact.of(system, x, y, SOLVER, parameters)
    return answers(system, x, y, names), flat, exact.adjoint, exact.gradient, parameters


@pytest.mark.parametrize("kind", quick_where(lambda kind: kind == "general", KINDS))
def test_exact_error_vectors_and_gradients(kind):
    differences = kind in ("user", "convolutional")
    names = [name for name in REFERENCES if name not in LEFT_OUT.get(kind, ())]
    everything, flatten, exact, gradient, named = (by_differences if differences else by_linear_algebra)(kind, names)
    for name in names:
        answer, (_, bound) = everything[name], REFERENCES[name]
        bound = max(bound, 1e-7) if differences else bound  # what central differences resolve
        error = np.linalg.norm(flatten(answer.error_vector) - exact, axis=1) / np.linalg.norm(exact, axis=1)
        assert (error < bound).all(), name
        assert (answer.weight == 1).all() and (answer.error_bar >= error - 1e-7).all(), name
        for parameter, value in gradient.items():
            ours, size = named(answer.gradient)[parameter], max(np.abs(value).max(), 1e-3)
            resolved = 1e-9 if differences else 0  # the rounding of the cost, over the step
            assert np.allclose(ours, value, rtol=0, atol=max(bound, 1e-7) * size + resolved), (name, parameter)


@pytest.mark.slow
def test_whole_unrolling_is_the_gradient_of_the_cost_after_so_many_sweeps():
    """Few sweeps, far from equilibrium: finite differences of what the sweeps compute, transient included."""
    system, solver = network("untied"), Jacobi(tolerance=1e-12, max_steps=2000, damping=0.0)
    answer = estimated(system, X, Y, Unrolled(steps=3, whole=True, unconverged="keep", clip=jnp.inf), solver=solver)

    def loss(theta):
        injection, state = theta.injection(X), theta.initial_state(X)
        for _ in range(3):
            state, _ = solver.sweep(Free(theta, injection), state)
        return system.cost(theta.output(theta.activity(state)), Y).mean()

    for where, index in [
        (lambda s: s.weights["hidden_1->hidden_2"], (1, 2)),
        (lambda s: s.biases["output"], (1,)),
    ]:
        parameter = where(system)
        up, down = (loss(eqx.tree_at(where, system, parameter.at[index].add(h))) for h in (1e-6, -1e-6))
        assert np.isclose(where(answer.gradient)[index], (up - down) / 2e-6, rtol=1e-6, atol=1e-10)


def test_bounding_an_unrolled_gradient_scales_it():
    system = network("untied")
    free, clipped = (estimated(system, X[:1], Y[:1], Unrolled(steps=30, clip=g), solver=SOLVER) for g in (100.0, 0.1))
    assert bool(clipped.clipped[0]) and not bool(free.clipped[0])
    ratio = np.linalg.norm(clipped.error_vector["output"]) / np.linalg.norm(free.error_vector["output"])
    ours, theirs = clipped.gradient.weights["hidden_1->hidden_2"], free.gradient.weights["hidden_1->hidden_2"]
    assert ratio < 1 and np.allclose(ours, ratio * theirs)


def test_a_truncated_series_says_what_is_missing():
    """The residual of K terms is the first term left out, (Mᵀ)^K·D∇C, relative to D∇C."""
    system = network("untied")
    dense = Dense.of(system)
    answer = estimated(system, X, Y, Neumann(terms=3), solver=SOLVER)
    for i, (x, y) in enumerate(zip(np.asarray(X), np.asarray(Y), strict=True)):
        u = dense.equilibrium(x)
        slope = -1 / (np.diag(dense.jacobian(u)) - np.diag(dense.matrix))
        cost_gradient = slope * dense.cost_gradient(u, int(y))
        m = dense.matrix.T * slope
        missing = np.linalg.matrix_power(m.T, 3) @ cost_gradient
        assert np.isclose(answer.error_bar[i], 3 * np.linalg.norm(missing) / np.linalg.norm(cost_gradient), rtol=1e-6)


def test_dyadic_finds_the_equilibrium_itself():
    system = network("untied")
    free = eqx.filter_jit(relax)(system, X, SOLVER)
    answer = estimated(system, X, Y, Dyadic(), solver=SOLVER)
    for name, state in free.state.items():
        assert np.allclose(answer.equilibrium.state[name], state, atol=1e-10)
    assert answer.equilibrium.converged.all() and (answer.relaxation_steps == answer.equilibrium.steps).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Neumann(terms=0), "terms = 0: must be at least 1"),
        (lambda: Unrolled(steps=0), "steps = 0: must be at least 1"),
        (lambda: RecurrentBackprop(accuracy=1.5), "accuracy = 1.5: must be above 0 and below 1"),
        (lambda: Dyadic(nudge=0.0), "nudge = 0.0"),
        (lambda: Corrected(nudge="auto"), "tolerance = inf: an automatic nudge"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(InputError, match=message):
        make()
