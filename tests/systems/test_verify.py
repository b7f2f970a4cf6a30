"""What a system promises is tested when it is first used: its leak, samples that stand alone, a cost a sample, holomorphy."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.estimators import Adjoint, Centered, Holomorphic, estimate
from equiprop.numerics import AbstractCost
from equiprop.solvers import GaussSeidel, Jacobi, relax
from equiprop.systems import LayeredNetwork, from_energy, from_force, is_holomorphic, mlp, verify
from networks import batch, network

RNG = np.random.default_rng(11)
UNITS, SAMPLES = 4, 3
W = jnp.asarray(0.3 * RNG.normal(size=(UNITS, UNITS)))
X, Y = (jnp.asarray(RNG.normal(size=(SAMPLES, UNITS))) for _ in range(2))


def leaking(pull, **options):
    """tanh units that their own states pull back by `pull(u)`."""
    return from_force(
        lambda p, u, x: jnp.tanh(u) @ p + x - pull(u),
        W,
        initial_state=jnp.zeros(UNITS),
        activity=jnp.tanh,
        **options,
    )


RATES = jnp.asarray([0.3, 1.0, 2.0, 0.5])


def test_another_leak_than_the_one_said_is_refused_by_the_one_found():
    system = leaking(lambda u: 0.3 * u)
    message = (
        r"^leak: where the activity is flat the force falls by 0\.3 for each unit of the state, .* says 1; give the"
    )
    with pytest.raises(InputError, match=message) as error:
        relax(system, X)
    assert error.value.path == ("leak",) and "\n" not in str(error.value)
    with pytest.raises(InputError, match=message):
        estimate(system, X, Y, Centered())


def test_a_leak_that_differs_from_unit_to_unit_is_told_by_its_range():
    with pytest.raises(InputError, match=r"falls by 0\.3 to 2 for each unit of the state, and the leak says 1;"):
        relax(leaking(lambda u: RATES * u), X)
    with pytest.raises(InputError, match=r"falls by 1 for each unit of the state, and the leak says 0\.3 to 2;"):
        relax(leaking(lambda u: u, leak=RATES), X)


def test_what_a_flat_unit_still_does_is_found_below_a_threshold():
    """Rectified units are flat only where they are negative, and there the tanh of small states is not."""
    system = from_force(
        lambda p, u, x: jnp.tanh(u) @ p + x - u, W, initial_state=jnp.zeros(UNITS), activity=jax.nn.relu
    )
    with pytest.raises(
        InputError, match=r"^leak: where the activity is flat the force falls by .* and the leak says 1; give"
    ):
        relax(system, X)


@pytest.mark.parametrize(
    ("pull", "leak"),
    [
        (lambda u: u, 1.0),
        (lambda u: u, 1),
        (lambda u: 0.3 * u, 0.3),
        (lambda u: 0.3 * u, jnp.asarray(0.3)),
        (lambda u: RATES * u, RATES),
        (lambda u: RATES * u, np.asarray(RATES)),
        (lambda u: 0.3 * u, lambda u: 0.3 * u),
        (lambda u: u + 0.1 * u**3, lambda u: u + 0.1 * u**3),
        (lambda u: 0.3 * u, None),
        (lambda u: u + 0.1 * jnp.roll(u, 1, axis=1), None),
    ],
    ids=["1.0", "1", "number", "0-d", "array", "NumPy", "function", "cubic", "not known", "of another form"],
)
def test_the_right_leak_is_accepted(pull, leak):
    system = leaking(pull, leak=leak)
    assert relax(system, X, Jacobi(tolerance=1e-8, max_steps=1000, damping=0.5)).converged.all()
    said = system.leak(X)
    assert (said is None) if leak is None else np.allclose(said, pull(X))


@pytest.mark.slow
def test_a_leak_in_the_structure_of_the_state():
    def force(p, u, x):
        return {"a": p * jnp.tanh(u["b"]) + x - 0.3 * u["a"], "b": jnp.tanh(u["a"]) - 2 * u["b"]}

    def system(leak):
        return from_force(
            force,
            jnp.asarray(0.5),
            initial_state={"a": jnp.zeros(UNITS), "b": jnp.zeros(UNITS)},
            activity=lambda u: jax.tree.map(jnp.tanh, u),
            leak=leak,
            output=lambda r: r["b"],
        )

    assert relax(system({"a": 0.3, "b": 2.0}), X).converged.all()
    assert relax(system({"a": jnp.full(UNITS, 0.3), "b": 2}), X).converged.all()
    with pytest.raises(InputError, match=r"falls by 0\.3 to 2 .* says 0\.3 to 1;"):
        relax(system({"a": 0.3, "b": 1.0}), X)


def test_a_state_that_saturates_on_one_side_is_checked_there():
    """The rectifier is flat below zero and never above."""
    options: dict[str, Any] = {"initial_state": jnp.zeros(UNITS), "activity": jax.nn.relu}
    force = lambda p, u, x: jax.nn.relu(u) @ p + x - 0.3 * u  # noqa: E731
    assert relax(from_force(force, 0.1 * W, **options, leak=0.3), X).converged.all()
    with pytest.raises(InputError, match=r"falls by 0\.3"):
        relax(from_force(force, 0.1 * W, **options), X)


def test_without_an_activity_there_is_no_leak_to_check():
    system = from_force(lambda p, u, x: x - 0.3 * u, W, initial_state=jnp.zeros(UNITS))
    assert relax(system, X).converged.all()
    assert system.leak(X) is None


@pytest.mark.parametrize("leak", [jnp.nan, jnp.inf, {"a": jnp.asarray([1.0, jnp.nan])}])
def test_a_leak_that_is_no_number_is_refused_at_once(leak):
    with pytest.raises(InputError, match=r"^leak = .*: must be finite numbers, or a function of the state"):
        leaking(lambda u: u, leak=leak)


def test_the_leak_is_checked_inside_of_compiled_and_differentiated_functions():
    """Where parameters and inputs have no values, and however the function is wrapped."""

    system = leaking(lambda u: 0.3 * u)

    def loss(scale, x):
        return jnp.sum(relax(eqx.tree_at(lambda s: s.params, system, scale * W), x).state)

    for run in (jax.jit(loss), jax.grad(loss), jax.jit(jax.grad(loss, argnums=(0, 1)))):
        with pytest.raises(InputError, match=r"falls by 0\.3"):
            run(jnp.asarray(1.0), X)


def built(start):
    """The states of a system that is made where it is used, which may be inside of a compiled function."""

    def run(w, x):
        force = lambda p, u, x: jnp.tanh(u) @ p + x - u  # noqa: E731
        return relax(from_force(force, w, initial_state=start(), activity=jnp.tanh), x).state

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "start", [lambda: np.zeros(UNITS), lambda: lambda x: jnp.zeros((len(x), UNITS))], ids=["NumPy", "function"]
)
def test_a_system_can_be_built_inside_of_a_compiled_function(start):
    assert np.allclose(jax.jit(built(start))(W, X), built(start)(W, X))


def test_a_start_that_has_no_value_inside_of_a_compiled_function_is_refused():
    """The zeros of JAX are not known there."""
    with pytest.raises(InputError, match=r"^initial_state: ") as error:
        jax.jit(built(lambda: jnp.zeros(UNITS)))(W, X)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_single_precision_is_checked_as_well():
    half = lambda tree: jax.tree.map(lambda a: a.astype(jnp.float32), tree)  # noqa: E731

    def system(leak):
        return from_force(
            lambda p, u, x: jnp.tanh(u) @ p + x - 0.3 * u,
            half(W),
            initial_state=jnp.zeros(UNITS, jnp.float32),
            activity=jnp.tanh,
            leak=leak,
        )

    assert relax(system(0.3), half(X)).converged.all()
    with pytest.raises(InputError, match=r"falls by 0\.3"):
        relax(system(1.0), half(X))


COUPLED = {
    "mean": lambda p, u, x: x + 0.1 * u.mean(axis=0) - u,
    "normalised": lambda p, u, x: (x - x.mean(axis=0)) @ p - u,
    "first": lambda p, u, x: x + 0.1 * u[:1] - u,
    "moved by two": lambda p, u, x: x + 0.1 * jnp.roll(u, 2, axis=0) - u,
    "weakly": lambda p, u, x: x + 0.001 * u.mean(axis=0) - u,
    "sum of squares": lambda p, u, x: x - u * (1 + 0.1 * jnp.sum(u**2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUPLED)
def test_a_force_that_couples_samples_is_refused(name):
    system = from_force(COUPLED[name], W, initial_state=jnp.zeros(UNITS))
    for use in (lambda: relax(system, X), lambda: estimate(system, X, Y, Adjoint()), lambda: verify(system, X)):
        with pytest.raises(
            InputError, match=r"^force: the force on a sample depends on the other samples of its batch;"
        ):
            use()


def test_samples_that_are_coupled_by_what_is_nothing_yet_are_refused():
    """A gain that starts at zero is trained, and a system is tested once."""
    system = from_force(
        lambda p, u, x: x @ p["w"] + p["gain"] * u.mean(axis=0) - u,
        {"w": W, "gain": jnp.asarray(0.0)},
        initial_state=jnp.zeros(UNITS),
    )
    with pytest.raises(InputError, match=r"^force: .* depends on the other samples"):
        relax(system, X)


@pytest.mark.parametrize("output", [lambda r: r - r.mean(axis=0), lambda r: r / (1 + r.std(axis=0))])
def test_an_output_that_couples_samples_is_refused(output):
    system = from_force(lambda p, u, x: x @ p - u, W, initial_state=jnp.zeros(UNITS), output=output)
    with pytest.raises(InputError, match=r"^output: the output of a sample depends on the other samples of its batch;"):
        estimate(system, X, Y, Adjoint())


def test_an_energy_that_couples_samples_is_refused():
    system = from_energy(
        lambda p, u, x: jnp.sum((u - x) ** 2, axis=1) + 0.1 * jnp.sum(u * u.mean(axis=0), axis=1),
        W,
        initial_state=jnp.zeros(UNITS),
    )
    with pytest.raises(InputError, match=r"^force: .* depends on the other samples"):
        relax(system, X)


def test_a_single_sample_has_no_others():
    assert relax(from_force(COUPLED["mean"], W, initial_state=jnp.zeros(UNITS)), X[:1]).converged.all()


class Mean(AbstractCost):
    def __call__(self, output, target):
        return 0.5 * jnp.mean(jnp.sum((output - target) ** 2, axis=1))


class Normalised(AbstractCost):
    def __call__(self, output, target):
        return 0.5 * jnp.sum((output - output.mean(axis=0) - target) ** 2, axis=1)


class Row(AbstractCost):
    def __call__(self, output, target):
        return 0.5 * jnp.sum((output - target) ** 2, axis=1, keepdims=True)


class Own(AbstractCost):
    sharpness: float

    def __call__(self, output, target):
        return 0.5 * self.sharpness * jnp.sum((output - target) ** 2, axis=1)


def costing(cost):
    return from_force(lambda p, u, x: jnp.tanh(u) @ p + x - u, W, initial_state=jnp.zeros(UNITS), cost=cost)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (Mean(), r"^cost: gives an array of shape \[\] for 2 samples: must give one number a sample, not their mean"),
        (Row(), r"^cost: gives an array of shape \[2, 1\] for 2 samples"),
        (Normalised(), r"^cost: that of a sample depends on the other samples of its batch"),
    ],
    ids=["mean", "row", "normalised"],
)
def test_a_cost_that_is_not_one_number_a_sample_is_refused(cost, message):
    system = costing(cost)
    with pytest.raises(InputError, match=message) as error:
        estimate(system, X, Y, Adjoint())
    assert error.value.path == ("cost",) and "\n" not in str(error.value)
    with pytest.raises(InputError, match=message):
        jax.jit(lambda x: estimate(system, x, Y, Adjoint()).gradient.params)(X)


def test_a_cost_of_ones_own_is_accepted():
    found = estimate(costing(Own(2.0)), X, Y, Adjoint(), solver=GaussSeidel(tolerance=1e-10))
    assert np.isfinite(found.gradient.params).all() and found.weight.all()


@pytest.fixture
def unchecked(monkeypatch):
    """As users have it: no annotation is enforced."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.usefixtures("unchecked")
def test_a_cost_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"^cost = .*: must be a cost object such as ep\.SquaredError\(\)"):
        costing(lambda output, target: jnp.sum(output - target, axis=1))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("system", [None, "mlp", lambda u: u, jnp.zeros(3)])
def test_what_is_no_system_is_refused(system):
    with pytest.raises(InputError, match=r"^system: must be a system such as ep\.mlp"):
        relax(system, X)


def test_each_structure_is_tested_once():
    """Another value of a parameter or an input is no other structure, another shape is one."""
    calls = []

    def force(p, u, x):
        calls.append(u.shape)
        return jnp.tanh(u) @ p + x - u

    def use(w, x):
        calls.clear()
        verify(from_force(force, w, initial_state=jnp.zeros(UNITS), activity=jnp.tanh), x)
        return len(calls)

    assert use(W, X) > 0
    assert use(2 * W, X + 1) == 0
    assert use(W, X[:2]) > 0


HOLOMORPHIC = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "polynomial": lambda u: u**3 - 2 * u,
    "sine": jnp.sin,
    "exponential": jnp.exp,
    "softplus": jax.nn.softplus,
}
KINKED = {
    "relu": jax.nn.relu,
    "by the real part": lambda u: jnp.where(u.real > 0, u, 0 * u),
    "leaky relu": jax.nn.leaky_relu,
    "abs": jnp.abs,
    "squared modulus": lambda u: jnp.abs(u) ** 2,
    "conj": jnp.conj,
    "real": jnp.real,
    "sign": jnp.sign,
    "hard tanh": jax.nn.hard_tanh,
    "hard sigmoid": jax.nn.hard_sigmoid,
    "0 to 1": lambda u: jnp.where(u.real < 0, 0 * u, jnp.where(u.real > 1, 1 + 0 * u, u)),
    "clip": lambda u: jnp.clip(u, -1, 1),
    "no complex numbers": jax.scipy.special.erf,
}


def with_activity(function, units=5, **options):
    return from_force(lambda p, u, x: x - u, W, initial_state=jnp.zeros(units), activity=function, **options), jnp.ones(
        (SAMPLES, units)
    )


def with_force(function, units=5, **options):
    return from_force(lambda p, u, x: x + function(u) - u, W, initial_state=jnp.zeros(units), **options), jnp.ones(
        (SAMPLES, units)
    )


@pytest.mark.slow
@pytest.mark.parametrize("make", [with_activity, with_force])
@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_what_continues_analytically_is_found_to(name, make):
    assert is_holomorphic(*make(HOLOMORPHIC[name]))


@pytest.mark.parametrize("make", [with_activity, with_force])
@pytest.mark.parametrize("name", KINKED)
def test_what_does_not_continue_analytically_is_found_not_to(name, make):
    assert not is_holomorphic(*make(KINKED[name]))


@pytest.mark.parametrize("name", ["relu", "abs", "conj", "hard tanh"])
def test_a_kink_is_found_in_a_single_unit(name):
    assert not is_holomorphic(*with_activity(KINKED[name], units=1))


@pytest.mark.parametrize("said", [True, False])
def test_what_is_said_of_holomorphy_is_not_tested(said):
    calls = []

    def function(u):
        calls.append(u)
        return jnp.abs(u)

    assert is_holomorphic(*with_activity(function, holomorphic=said)) is said
    assert not calls


def test_layered_networks_say_whether_they_are_holomorphic():
    x, _ = batch()
    for kind, expected in (("untied", True), ("relu", False)):
        system = network(kind)
        assert isinstance(system, LayeredNetwork) and system.holomorphic is expected
        assert is_holomorphic(system, x) is expected


@pytest.mark.slow
def test_an_estimator_that_needs_holomorphy_refuses_a_kink():
    system = from_force(
        lambda p, u, x: jax.nn.relu(u) @ (0.1 * p) + x - u, W, initial_state=jnp.zeros(UNITS), activity=jax.nn.relu
    )
    with pytest.raises(InputError, match="holomorphic"):
        estimate(system, X, Y, Holomorphic(points=6))
    assert estimate(system, X, Y, Centered()).equilibrium.converged.all()


def test_parameters_are_real():
    system = from_force(
        lambda p, u, x: x - u + 0 * p["w"].real.sum(), {"w": jnp.ones(2) + 0j}, initial_state=jnp.zeros(3)
    )
    with pytest.raises(InputError, match=r"^params\.w: is complex, and a parameter must be real; hold its real"):
        verify(system, jnp.ones((4, 3)))


def test_inputs_of_a_gradient_are_real_and_those_of_a_relaxation_may_be_complex():
    system = from_force(lambda p, u, x: x - p * u, jnp.asarray(2.0), initial_state=jnp.zeros(3), holomorphic=True)
    x = jnp.full((4, 3), 1 + 2j)
    found = relax(system, x, GaussSeidel(tolerance=1e-9), state=jnp.zeros((4, 3), complex))
    assert np.allclose(found.state, x / 2)
    with pytest.raises(InputError, match=r"^x: is complex, and the gradient of a cost wants real numbers"):
        estimate(system, x, jnp.zeros((4, 3)), Centered())


OWN = """
import jax.numpy as jnp
from equiprop.numerics import AbstractActivation


class Among(AbstractActivation):
    kind = "among"

    def __call__(self, u):
        return jnp.tanh(u - 0.5 * u.mean(axis=0))


class Alone(AbstractActivation):
    kind = "alone"

    def __call__(self, u):
        return jnp.tanh(u)
"""


def test_an_activation_of_ones_own_that_looks_at_other_samples_is_refused(tmp_path):
    """Of a layered network, whose own parts leave samples apart."""
    (tmp_path / "own.py").write_text(OWN)
    x, y = batch()

    def of(name):
        return mlp(x.shape[1], (5,), 3, activation=f"{tmp_path / 'own.py'}:{name}", key=jax.random.key(0))

    with pytest.raises(InputError, match="a sample depends on the other samples of its batch"):
        estimate(of("Among"), x, y, Centered())
    assert (estimate(of("Alone"), x, y, Centered(nudge=0.01)).weight > 0).all()
