"""The bar of a gradient: the error that it tells against that found by dense linear algebra."""

import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equiprop as ep
from equiprop.errors import InputError
from equiprop.estimators import CAUSES, gradient_from_error_vector
from equiprop.numerics import trees
from networks import Subtracting

SOLVER = ep.GaussSeidel(tolerance=1e-12)
# What a bar holds besides what was found.
SAFETY = 1.15


def force(p, u, x):
    return jnp.tanh(u) @ p["w"] + x @ p["v"] - u


def output(r):
    return r[:, :3]


def system_of(key, n=6, gain=0.5):
    """A bare force, asymmetric, whose first three units are the output."""
    a, b = jax.random.split(key)
    params = {"w": gain * jax.random.normal(a, (n, n)) / n**0.5, "v": jax.random.normal(b, (4, n))}
    return ep.from_force(force, params, initial_state=jnp.zeros(n), output=output, holomorphic=True)


def batch_of(key, size):
    return jax.random.normal(key, (size, 4)), jnp.arange(size) % 3


@eqx.filter_jit
def jacobian_and_gradient(system, x, y, state):
    def single(u, i, t):
        jacobian = jax.jacobian(lambda v: force(system.params, v[None], i[None])[0])(u)
        return jacobian, jax.grad(lambda v: system.cost(system.output(v[None]), t[None])[0])(u)

    return jax.vmap(single)(state, x, y)


def dense(system, x, y, state):
    """−J⁻¹∇C and −J⁻ᵀ∇C of every sample, by NumPy."""
    jacobian, gradient = map(np.asarray, jacobian_and_gradient(system, x, y, state))
    both = jacobian, np.swapaxes(jacobian, 1, 2)
    return [jnp.asarray(-np.linalg.solve(each, gradient[..., None])[..., 0]) for each in both]


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def error(gradient, true):
    return np.linalg.norm(flat(gradient) - flat(true)) / np.linalg.norm(flat(true))


@pytest.fixture(scope="module")
def problem():
    system = system_of(jax.random.key(0))
    x, y = batch_of(jax.random.key(1), 12)
    free = ep.relax(system, x, SOLVER)
    response, exact = (gradient_from_error_vector(system, x, y, free, v) for v in dense(system, x, y, free.state))
    return system, x, y, free, response, exact


@pytest.mark.parametrize(
    "estimator", [ep.Centered(0.3), ep.Holomorphic(0.3, points=4), ep.OneSided(0.1), ep.ExactResponse(), ep.Adjoint()]
)
def test_of_a_batch_that_is_audited_as_a_whole_it_is_the_error(problem, estimator):
    system, x, y, free, response, exact = problem
    answer = ep.estimate(system, x, y, estimator, solver=SOLVER, equilibrium=free)
    bar = answer.audit(len(x))
    follows_adjoint = isinstance(estimator, ep.Adjoint)
    limit = exact if follows_adjoint else response
    # The equations are solved to a tenth of the error.
    close = {"rel": 0.02, "abs": 1e-8}
    assert float(bar.exact) == pytest.approx(SAFETY * error(answer.gradient, exact), **close)
    assert float(bar.limit) == pytest.approx(SAFETY * error(answer.gradient, limit), **close)
    assert float(bar.causes["asymmetry"]) == pytest.approx(SAFETY * error_between(limit, exact), **close)
    assert float(bar.causes["exclusion"]) == 0 and int(bar.samples) == 12 and int(bar.unsolved) == 0
    for name, ours, theirs in zip(
        trees.paths(exact), jax.tree.leaves(answer.gradient), jax.tree.leaves(exact), strict=True
    ):
        assert float(bar.exact_of[name]) == pytest.approx(SAFETY * error(ours, theirs), **close)
    assert set(bar.causes) == set(CAUSES)
    assert re.search(r"\n  exact +\S+, relative: off the exact gradient\n", repr(bar))


@pytest.mark.parametrize("estimator", [ep.Adjoint(), ep.ExactResponse(), ep.Centered(0.02)])
@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-4])
def test_what_the_free_phase_has_left_undone_is_error(problem, estimator, tolerance):
    """Against the gradient at the equilibrium itself, that of the readout and of ∂F/∂θ too."""
    system, x, y, _, _, exact = problem
    solver = ep.Jacobi(tolerance=tolerance, nudged_max_steps=2000)
    answer = ep.estimate(system, x, y, estimator, solver=solver)
    true = error(answer.gradient, exact)
    bar = answer.audit(len(x))
    assert int(answer.counts["excluded"]) == 0 and 0.8 * true <= float(bar.exact) <= 1.6 * true
    if isinstance(estimator, ep.Adjoint):
        assert float(bar.causes["relaxation"]) == pytest.approx(float(bar.exact), rel=0.2)


def error_between(limit, exact):
    return np.linalg.norm(flat(limit) - flat(exact)) / np.linalg.norm(flat(exact))


@pytest.mark.slow
def test_a_readout_with_weights_has_a_part_in_what_the_free_phase_has_left_undone():
    """That is all the error there is of the output, whose own weights alone follow the cost."""
    system = ep.mlp(4, (6,), 3, key=jax.random.key(5))
    x, y = batch_of(jax.random.key(1), 12)
    answer = ep.estimate(system, x, y, ep.Adjoint(), solver=ep.Jacobi(tolerance=0.1))
    exact = ep.estimate(system, x, y, ep.Adjoint(), solver=SOLVER).gradient
    bar, true = answer.audit(len(x)), error(answer.gradient, exact)
    for name, ours, theirs in zip(
        trees.paths(exact), jax.tree.leaves(answer.gradient), jax.tree.leaves(exact), strict=True
    ):
        if name.startswith("cost"):
            assert (
                0.8 * error(ours, theirs) <= float(bar.exact_of[name]) <= 1.6 * error(ours, theirs)
                and error(ours, theirs) > 1e-4
            )
    assert 0.8 * true <= float(bar.exact) <= 1.6 * true


def test_a_few_samples_tell_the_error_of_many():
    """On forty random systems and batches the error lies below the bar, which is within five times of it."""
    audited = eqx.filter_jit(lambda answer: answer.audit(16))
    found = []
    for seed in range(40):
        key = jax.random.key(seed)
        system, (x, y) = system_of(key), batch_of(jax.random.fold_in(key, 1), 40)
        free = ep.relax(system, x, SOLVER)
        answer = ep.estimate(system, x, y, ep.Centered(0.3), solver=SOLVER, equilibrium=free)
        bar = audited(answer)
        response, exact = (gradient_from_error_vector(system, x, y, free, v) for v in dense(system, x, y, free.state))
        found += [
            (float(bar.exact), error(answer.gradient, exact)),
            (float(bar.limit), error(answer.gradient, response)),
        ]
    bars, errors = np.array(found).T
    assert np.mean(errors <= bars) >= 0.95
    assert np.mean((errors <= bars) & (bars <= 5 * errors)) >= 0.8


@pytest.mark.slow
def test_one_sample_that_holds_all_of_the_error_and_little_of_the_gradient_is_found():
    """Its own error bar tells of it."""
    system, (x, y) = system_of(jax.random.key(0)), batch_of(jax.random.key(2), 60)
    right = ep.estimate(system, x, y, ep.Adjoint(), solver=SOLVER)
    audited = eqx.filter_jit(lambda answer: answer.audit(8))
    for sample in np.argsort(trees.norm(right.error_vector))[:8]:
        vectors = right.error_vector.at[sample].multiply(1.5)
        gradient = gradient_from_error_vector(system, x, y, right.equilibrium, vectors)
        bars = right.error_bar.at[sample].set(0.5)
        wrong = eqx.tree_at(lambda e: (e.gradient, e.error_vector, e.error_bar), right, (gradient, vectors, bars))
        found, bar = error(gradient, right.gradient), float(audited(wrong).exact)
        assert found <= bar <= 5 * found


@pytest.mark.slow
@pytest.mark.parametrize("divide_by", ["batch", "kept"])
def test_what_is_excluded_is_a_cause(problem, divide_by):
    system, x, y, free, _, exact = problem
    answer = ep.estimate(system, x, y, ep.Adjoint(divide_by=divide_by), solver=SOLVER, equilibrium=free)
    kept = jnp.arange(12) >= 3
    part = ep.estimate(system, x[3:], y[3:], ep.Adjoint(), solver=SOLVER)
    left = jax.tree.map(lambda g: (9 / 12 if divide_by == "batch" else 1) * g, part.gradient)
    vectors = answer.error_vector.at[0].set(jnp.nan)
    less = eqx.tree_at(lambda e: (e.weight, e.gradient, e.error_vector), answer, (kept.astype(x.dtype), left, vectors))
    bar = less.audit(12)
    assert float(bar.causes["exclusion"]) == pytest.approx(SAFETY * error(left, exact), rel=0.02)
    assert float(bar.exact) == pytest.approx(float(bar.causes["exclusion"]), rel=1e-3)


def test_gradients_that_are_read_otherwise(problem):
    """Of the contrast of two clamped states, and of sweeps walked back, it is not that of δᵀ∂F/∂θ."""
    system, x, y, free, _, exact = problem
    unrolled = ep.estimate(system, x, y, ep.Unrolled(3), solver=SOLVER, equilibrium=free)
    bar = unrolled.audit(12)
    assert float(bar.exact) == pytest.approx(SAFETY * error(unrolled.gradient, exact), rel=0.03)


@pytest.mark.slow
def test_with_weak_feedback_the_lowest_layers_count_in_full():
    """Single precision, γ² = 1e-4 of the error vector: rounding is told, and called so."""
    network = ep.mlp(6, (8, 8), 4, key=jax.random.key(3), feedback_gain=0.01, weight_angle=0.0)
    network = jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, network)
    x = jax.random.normal(jax.random.key(4), (10, 6), jnp.float32)
    y = jnp.arange(10) % 4
    # That of a network is told from the displacement, and is precise; here two forces are subtracted.
    answer = ep.estimate(Subtracting.of(network), x, y, ep.Centered(0.01), solver=ep.GaussSeidel())
    exact = ep.estimate(network, x, y, ep.Adjoint(clip=math.inf), solver=ep.GaussSeidel())
    bar = answer.audit(10)
    lowest = "weights.input->hidden_1"
    true = error(answer.gradient.weights["input->hidden_1"], exact.gradient.weights["input->hidden_1"])
    assert true > 1e-3 and true <= float(bar.exact_of[lowest]) <= 2 * true
    assert float(bar.causes["rounding"]) > 3 * float(bar.causes["nudge"])


def test_what_cannot_be_audited(problem):
    system, x, y, free, _, _ = problem
    answer = ep.estimate(system, x, y, ep.Centered(0.3), solver=SOLVER, equilibrium=free)
    with pytest.raises(InputError, match="samples = 0: must be a number of samples, at least 1"):
        answer.audit(0)
    with pytest.raises(InputError, match="has no grounds to be audited on"):
        _ = answer.bare.gradient_bar
    several = jax.tree.map(lambda a: jnp.stack([a, a]) if eqx.is_array(a) else a, answer)
    with pytest.raises(InputError, match="is of several batches"):
        several.audit()


@pytest.mark.slow
def test_noise_is_a_cause_and_averages_out(problem):
    """Beside the scatter of the gradient over many draws."""
    system, x, y, _, _, exact = problem

    def answers(periods, noise, draws):
        estimator = ep.ContinuousTime(0.3, periods=periods, noise=noise, unconverged="keep")
        keys = jax.random.split(jax.random.key(5), draws)
        return [ep.estimate(system, x, y, estimator, solver=SOLVER, key=key) for key in keys]

    (quiet,) = answers(4, 0.0, 1)
    assert float(quiet.audit(len(x)).causes["noise"]) == 0
    scatters = []
    for periods in (4, 64):
        found = answers(periods, 0.02, 8)
        gradients = np.array([flat(each.gradient) for each in found])
        scatter = np.sqrt(np.sum(gradients.var(axis=0, ddof=1))) / np.linalg.norm(flat(exact))
        told = np.median([float(each.audit(len(x)).causes["noise"]) for each in found])
        assert 0.5 * scatter < told < 2.5 * scatter, (told, scatter)
        scatters.append(scatter)
    assert 2.5 < scatters[0] / scatters[1] < 6


def test_no_equilibrium_is_said(problem):
    """Of samples that have none the bar is not small, whatever it is."""
    system, x, y, _, _, _ = problem
    wild = eqx.tree_at(lambda s: s.params["w"], system, 1e3 * system.params["w"])
    answer = ep.estimate(wild, x, y, ep.Centered(0.3), solver=ep.GaussSeidel(max_steps=20))
    bar = answer.audit(12)
    assert int(jnp.sum(answer.weight)) < 12 and float(bar.exact) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("estimator", [ep.Centered, ep.Adjoint])
def test_samples_that_are_kept_far_from_equilibrium_are_in_doubt(problem, estimator, steps):
    """The gradient is that of a state on the way; the bar is about that of the equilibrium."""
    system, x, y, _, _, exact = problem
    given = {"unconverged": "keep", **({"clip": math.inf} if estimator is ep.Adjoint else {"nudge": 0.01})}
    solver = ep.FixedIterations(max_steps=steps, nudged_max_steps=20)
    answer = ep.estimate(system, x, y, estimator(**given), solver=solver)
    assert int(jnp.sum(answer.weight)) == 12 and int(jnp.sum(answer.equilibrium.converged)) < 12
    true = error(answer.gradient, exact)
    bar = answer.audit(12)
    assert true <= float(bar.exact) < 2 * true and int(bar.unsolved) == 0
    if steps == 1:
        assert float(bar.causes["relaxation"]) > 0.8 * float(bar.exact)


def test_what_is_kept_without_an_equilibrium_is_unsolved(problem):
    system, x, y, _, _, _ = problem
    wild = eqx.tree_at(lambda s: s.params["w"], system, 20 * system.params["w"])
    estimator = ep.ExactResponse(unconverged="keep", clip=1.0)
    answer = ep.estimate(wild, x, y, estimator, solver=ep.FixedIterations(max_steps=20))
    bar = answer.audit(12)
    without = int(jnp.sum(~answer.equilibrium.converged))
    assert int(jnp.sum(answer.weight)) == 12 and without > 4
    assert without / 2 < int(bar.unsolved) <= without and float(bar.exact) > 0.5


def test_equations_that_are_not_solved_are_said():
    """At rest and in doubt all the same: the solution with a cyclic shift is in no Krylov space but the whole."""
    n = 32
    shift = jnp.roll(jnp.eye(n), 1, axis=1)
    system = ep.from_force(
        lambda p, u, x: u @ p["w"] - x, {"w": shift}, initial_state=jnp.zeros(n), output=output, leak=None
    )
    rest, y = jax.random.normal(jax.random.key(0), (5, n)), jnp.arange(5) % 3
    free = ep.relax(system, rest @ shift, SOLVER, state=rest)
    answer = ep.estimate(system, rest @ shift, y, ep.ExactResponse(unconverged="keep"), equilibrium=free)
    assert free.converged.all() and int(jnp.sum(answer.weight)) == int(answer.audit(5).unsolved) == 5


@pytest.mark.slow
def test_one_sample_may_hold_the_gradient():
    """Of forty, one has an error a thousand times that of the others: eight are enough, each over its probability."""
    key = jax.random.key(5)
    a, b = 0.2 * jax.random.normal(key, (6, 6)), jax.random.normal(jax.random.fold_in(key, 1), (4, 6))
    system = ep.from_force(
        lambda p, u, x: u @ p["w"] + x @ p["v"] - u,
        {"w": a, "v": b},
        initial_state=jnp.zeros(6),
        output=output,
        cost=ep.SquaredError(),
        holomorphic=True,
    )
    x = jax.random.normal(jax.random.fold_in(key, 2), (40, 4))
    free = ep.relax(system, x, SOLVER)
    off = jax.random.normal(jax.random.fold_in(key, 3), (40, 3)) * jnp.where(jnp.arange(40) == 17, 1.0, 1e-3)[:, None]
    y = system.output(system.activity(free.state)) + off
    answer = ep.estimate(system, x, y, ep.ExactResponse(), solver=SOLVER, equilibrium=free)
    exact = ep.estimate(system, x, y, ep.Adjoint(clip=math.inf), solver=SOLVER, equilibrium=free)
    true = error(answer.gradient, exact.gradient)
    assert true > 0.1 and true <= float(answer.audit(8).exact) <= 1.6 * true


def test_what_relaxation_leaves_is_not_called_rounding(problem):
    system, x, y, free, _, _ = problem
    answer = ep.estimate(system, x, y, ep.Centered(1e-3), solver=ep.GaussSeidel(tolerance=1e-3), equilibrium=free)
    causes = answer.audit(12).causes
    assert float(causes["relaxation"]) > 10 * float(causes["rounding"]) > 0


@pytest.mark.slow
def test_the_contrast_of_two_states_is_told_from_the_error_vector():
    network = ep.mlp(5, (6,), 3, key=jax.random.key(2), feedback_gain=1.0, weight_angle=0.0, cost="squared_error")
    x, y = jax.random.normal(jax.random.key(3), (8, 5)), jax.random.uniform(jax.random.key(4), (8, 3))
    answer = ep.estimate(network, x, y, ep.ContrastiveHebbian(), solver=SOLVER)
    exact = ep.estimate(network, x, y, ep.Adjoint(clip=math.inf), solver=SOLVER)
    assert float(answer.audit(8).exact) == pytest.approx(SAFETY * error(answer.gradient, exact.gradient), rel=0.02)
