"""What a user sees: how results and settings print, and what wrong arguments are answered."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from equiprop.errors import ExclusionWarning, InputError
from equiprop.estimators import Adjoint, Centered, ContinuousTime, Holomorphic, Layer, _estimate, estimate
from equiprop.homeostasis import AntisymmetricHomeostasis, Controlled, JacobianHomeostasis
from equiprop.numerics import Schedule, SquaredError
from equiprop.solvers import GMRES, Anderson, FixedIterations, GaussSeidel, Jacobi, relax
from equiprop.systems import FunctionSystem, LayeredNetwork, from_energy, from_force, mlp

X, Y = jnp.asarray([[0.5, -0.2], [0.1, 0.3], [-0.4, 0.2]]), jnp.zeros((3, 2))
NAN = X.at[1].set(jnp.nan)


def force(p, u, x):
    return jnp.tanh(u) @ p + x - u


NETWORK, LABELS = mlp(4, (3,), 2, key=jax.random.key(0)), jnp.zeros(2, int)
SYSTEM = from_force(force, jnp.asarray([[0.1, 0.4], [-0.3, 0.2]]), initial_state=jnp.zeros(2))

PRINTED = [
    (Centered(), "Centered(nudge=0.05)"),
    (Centered(nudge=0.2, clip=3, tolerance=0.01), "Centered(clip=3.0, tolerance=0.01, nudge=0.2)"),
    (Centered(unconverged="keep"), "Centered(unconverged='keep', nudge=0.05)"),
    (Holomorphic(nudge="auto", points="auto", tolerance=0.1), "nudge='auto', points='auto'"),
    (Adjoint(linear_solver=GMRES(tolerance=1e-6)), "linear_solver=GMRES(tolerance=1e-06"),
    (ContinuousTime(noise=0.01), "noise=0.01"),
    (Centered(nudge=Schedule("cosine", 0.5, 0.05)), "nudge={'schedule': 'cosine', 'from': 0.5, 'to': 0.05}"),
    (GaussSeidel(), "GaussSeidel(damping='auto', low_precision_start='none')"),
    (GaussSeidel(tolerance=1e-6, max_steps=10), "GaussSeidel(tolerance=1e-06, max_steps=10"),
    (FixedIterations(damping=0.1), "FixedIterations(damping=0.1)"),
    (Anderson(depth=5), "Anderson(depth=5, relaxation=1.0, safeguard=1.0)"),
    (JacobianHomeostasis(), "strength='auto', probes=5, samples=5"),
    (AntisymmetricHomeostasis(strength=3), "strength=3.0"),
    (JacobianHomeostasis(strength=Controlled(target=0.9)), "'target': 0.9"),
]


@pytest.mark.parametrize(("settings", "shown"), PRINTED, ids=lambda value: None)
def test_settings_print_their_values(settings, shown):
    printed = repr(settings)
    assert shown in printed
    assert_no_arrays(printed)


def assert_no_arrays(printed):
    for type_ in ("f32[", "f64[", "i32[", "bool[", "Array(", "weak"):
        assert type_ not in printed, printed


@pytest.mark.slow
def test_an_estimate_prints_its_values():
    printed = repr(estimate(SYSTEM, NAN, Y, Centered(nudge=0.1)))
    assert_no_arrays(printed)
    lines = dict(line.split(maxsplit=1) for line in printed.replace("error bar", "bar").splitlines()[1:-2])
    assert printed.startswith("Estimate\n") and lines["samples"] == "3, 2 in the gradient"
    assert lines["flags"] == "2 converged, 1 diverged, 1 unconverged, 1 excluded"
    assert "median" in lines["bar"] and "gradient norm" in printed and "a sample" in printed
    assert_no_arrays(repr(estimate(SYSTEM, jnp.full_like(X, jnp.nan), Y, Adjoint())))


def test_an_estimate_of_finite_costs_prints_their_mean():
    answer = estimate(SYSTEM, X, Y, Adjoint())
    assert f"{float(answer.cost.mean()):.4g}" in repr(answer)


def test_an_equilibrium_prints_how_it_was_reached():
    printed = repr(relax(SYSTEM, NAN))
    assert printed.startswith("Equilibrium(2 converged, 1 diverged; largest residual")
    assert_no_arrays(printed)
    assert repr(relax(SYSTEM, X, GaussSeidel(max_steps=1))).startswith("Equilibrium(3 max_steps; largest residual 0.")


@pytest.mark.slow
def test_within_a_transformation_printing_does_not_fail():
    shown = []

    @jax.jit
    def run(x):
        answer = estimate(SYSTEM, x, Y, Centered())
        shown.extend([repr(answer), repr(answer.equilibrium)])
        return answer.cost

    run(X)
    assert "f64[3]" in shown[0] and len(shown) == 2
    jax.jit(lambda estimator: shown.append(repr(estimator)))(Centered(tolerance=0.1))
    assert "tolerance=" in shown[2] and "nudge=" in shown[2]
    stacked = jax.vmap(lambda n: estimate(SYSTEM, X, Y, Centered(nudge=n)))(jnp.asarray([0.1, 0.2]))
    assert "f64[2,3]" in repr(stacked)
    assert "nudge=" in repr(jax.vmap(lambda n: Centered(nudge=n))(jnp.asarray([0.1, 0.2])))


WRONG = [
    (lambda: estimate(SYSTEM, X, Y, "centered"), r"estimator: must be an estimator object such as ep\.Centered\(\)"),
    (lambda: estimate(SYSTEM, X, Y, Centered), r"estimator: must be an estimator object"),
    (lambda: estimate(SYSTEM, X, Y, Centered(), solver="x"), r"solver: must be a solver object .* not 'x'"),
    (lambda: estimate(SYSTEM, X, Y, Centered(), solver=Jacobi), r"solver: must be a solver object"),
    (lambda: estimate(LayeredNetwork, X, Y, Centered()), r"system: must be a system such as .*LayeredNetwork"),
    (lambda: estimate(force, X, Y, Centered()), r"system: must be a system such as"),
    (lambda: relax(FunctionSystem, X), r"system: must be a system such as .*FunctionSystem"),
    (lambda: relax(SYSTEM, X, "gauss_seidel"), r"solver: must be a solver object .* 'gauss_seidel'"),
    (lambda: Layer(LayeredNetwork), r"system: must be a system such as"),
    (lambda: Layer(SYSTEM, "adjoint"), r"estimator: must be an estimator object"),
    (lambda: Layer(SYSTEM, Adjoint(), "newton"), r"solver: must be a solver object"),
    (
        lambda: estimate(NETWORK, jnp.ones((2, 3)), LABELS, Centered()),
        r"x: must be .* shape \[batch, 4\], not \[2, 3\]",
    ),
    (
        lambda: estimate(NETWORK, jnp.ones(4), LABELS, Centered()),
        r"x: must be an array of shape \[batch, 4\], not \[4\]",
    ),
    (lambda: relax(NETWORK, [[0.0] * 4]), r"x\.0\.0: is a single number; give arrays of numbers, not lists"),
    (lambda: NETWORK.injection(np.float64(1)), r"x: must be an array of shape \[batch, 4\], not \[\]"),
    (lambda: from_force(3, None, initial_state=jnp.zeros(2)), r"force = 3: must be a function"),
    (lambda: from_force(force, None, initial_state=jnp.zeros(2), activity="tanh"), r"activity = 'tanh': must be a fun"),
    (lambda: from_force(force, None, initial_state=jnp.zeros(2), output=0), r"output = 0: must be a function"),
    (lambda: from_energy(None, None, initial_state=jnp.zeros(2)), r"energy = None: must be a function"),
    (lambda: Centered("large"), r"nudge = 'large': must be a number"),
    (lambda: Centered(nudge=None), r"nudge = None: must be a number"),
    (lambda: Centered(nudge=True), r"nudge = True: must be a number"),
    (lambda: Holomorphic(points=2.5), r"points = 2\.5: must be a whole number"),
    (lambda: GaussSeidel(max_steps="many"), r"max_steps = 'many': must be a whole number"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=lambda value: None)
def test_wrong_types_are_answered_by_name(make, message, monkeypatch):
    """Without the checks of annotated types, which these tests run under and users do not."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InputError, match=message):
        make()


def test_a_mistyped_setting_is_told_with_the_nearest_one():
    with pytest.raises(
        InputError, match=r"unconverged = 'dropp': is not known; choose one of .*; did you mean 'drop'\?"
    ):
        Centered(unconverged="dropp")


def warned(*estimators):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for estimator in estimators:
            estimate(SYSTEM, NAN, Y, estimator)
    return [str(w.message) for w in caught if issubclass(w.category, ExclusionWarning)]


def test_that_many_samples_are_excluded_is_said_once_for_each_kind(monkeypatch):
    monkeypatch.setattr(_estimate, "_warned", set())
    said = warned(Centered(), Centered(nudge=0.1), Centered())
    mend = (
        "shorter steps (damping, or relaxation of Anderson's solver) or more of them (max_steps) may bring them to rest"
    )
    assert said == [
        f"Centered: 1 of 3 samples are excluded from the gradient (1 unconverged): {mend}; this is said once"
    ]
    assert warned(Adjoint(), Centered(), Adjoint()) == [said[0].replace("Centered", "Adjoint")]


class Undefined(SquaredError):
    """Of no number where the target is 9, with a gradient all the same."""

    def __call__(self, output, target):
        return super().__call__(output, target) + jnp.where(target[:, 0] == 9, jnp.nan, 0)


def test_samples_without_a_number_are_said_to_have_none(monkeypatch):
    monkeypatch.setattr(_estimate, "_warned", set())
    with pytest.warns(
        ExclusionWarning, match=r"1 of 3 .* \(whose cost or response is no finite number\); this is said once"
    ):
        system = eqx.tree_at(lambda s: s.cost, mlp(2, (3,), 2, key=jax.random.key(0)), Undefined())
        estimate(system, X, jnp.asarray([[1.0, 0.0], [9.0, 0.0], [0.0, 1.0]]), Centered())


@pytest.mark.slow
def test_nothing_is_said_of_few_excluded_samples_or_none(monkeypatch):
    monkeypatch.setattr(_estimate, "_warned", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExclusionWarning)
        estimate(SYSTEM, X, Y, Centered())
        many = jnp.asarray(np.tile(X[:1], (21, 1))).at[0].set(jnp.nan)
        assert int(estimate(SYSTEM, many, jnp.zeros((21, 2)), Centered()).counts["excluded"]) == 1
