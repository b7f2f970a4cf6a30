"""Systems from a user's own function."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from equiprop.errors import InputError
from equiprop.estimators import Adjoint, Centered, Problem, estimate
from equiprop.estimators._circle import relax_nudged
from equiprop.numerics import SoftmaxCrossEntropy
from equiprop.solvers import GMRES, GaussSeidel, relax
from equiprop.systems import coupling, from_energy, from_force, jacobian

RNG = np.random.default_rng(7)
MATRIX = jnp.asarray(RNG.normal(size=(3, 3)))


def spring(params, u, x):
    """−½ uᵀKu + u·x has the force x − Ku, K symmetric."""
    return 0.5 * jnp.einsum("bi,ij,bj->b", u, params, u) - jnp.sum(u * x, axis=1)


@pytest.mark.slow
def test_energy_descends():
    k = MATRIX @ MATRIX.T
    system = from_energy(spring, k, initial_state=jnp.zeros(3))
    x, u = jnp.asarray(RNG.normal(size=(2, 3))), jnp.asarray(RNG.normal(size=(2, 3)))
    assert np.allclose(system.force(u, x), x - u @ k)
    z = u + 1j * u[::-1]
    assert np.allclose(system.force(z, x), x - z @ k)


@pytest.mark.slow
def test_an_activation_belongs_into_energy_and_output():
    """Scellier & Bengio's energy, E = ½|u|² − ½φᵀWφ − φᵀx with symmetric W: what is nudged descends E + βC."""

    def energy(w, u, x):
        r = jnp.tanh(u)
        return jnp.sum(0.5 * u**2 - r * x, axis=1) - 0.5 * jnp.einsum("bi,ij,bj->b", r, w, r)

    w = 0.1 * (MATRIX + MATRIX.T)
    system = from_energy(energy, w, initial_state=jnp.zeros(3), output=lambda u: jnp.tanh(u)[:, :2])
    x, y = jnp.asarray(RNG.normal(size=(4, 3))), jnp.zeros((4, 2))
    solver = GaussSeidel(tolerance=1e-12, max_steps=1000, nudged_max_steps=1000)

    def cost(w):
        """By SciPy's root of ∂E/∂u."""
        found = [optimize.root(lambda u, one=one: u - (1 - np.tanh(u) ** 2) * (w @ np.tanh(u) + one), np.zeros(3), tol=1e-13).x
                 for one in np.asarray(x)]  # fmt: skip
        return 0.5 * np.mean(np.sum(np.tanh(np.stack(found))[:, :2] ** 2, axis=1))

    h, direction = 1e-5, np.ones((3, 3))
    expected = (cost(w + h * direction) - cost(w - h * direction)) / (2 * h)
    for estimator in (Centered(nudge=1e-2, clip=math.inf), Adjoint(linear_solver=GMRES(tolerance=1e-10))):
        found = estimate(system, x, y, estimator, solver=solver).gradient.params
        assert np.isclose(jnp.sum(found), expected, rtol=1e-4)


def test_energy_must_be_per_sample():
    system = from_energy(lambda p, u, x: jnp.sum(u), 1.0, initial_state=jnp.zeros(3))
    with pytest.raises(InputError, match=r"energy: must return one number per sample, \[batch\]"):
        system.force(jnp.ones((2, 3)), jnp.ones((2, 3)))


def test_any_pytree_state():
    def force(p, u, x):
        return {"fast": p["w"] * u["slow"] - u["fast"] + x, "slow": (jnp.tanh(u["fast"]) - u["slow"],)[0]}

    system = from_force(
        force,
        {"w": jnp.asarray(0.3)},
        initial_state={"fast": jnp.zeros(2), "slow": jnp.zeros(2)},
        output=lambda r: r["slow"],
        cost=SoftmaxCrossEntropy(),
    )
    state = system.initial_state(jnp.ones((4, 2)))
    assert jax.tree.map(jnp.shape, state) == {"fast": (4, 2), "slow": (4, 2)}
    assert system.force(state, system.injection(jnp.ones((4, 2))))["fast"].shape == (4, 2)


def test_initial_state_from_the_input():
    system = from_force(lambda p, u, x: x - u, 0.0, initial_state=lambda x: 2 * x)
    assert np.allclose(system.initial_state(jnp.ones((2, 3))), 2)


@pytest.mark.slow
def test_activity_and_general_jacobian():
    """J = (∂F/∂u)·D⁻¹ for a force that knows nothing of layers."""

    def force(p, u, x):
        return jnp.sin(u) @ p + x - u**3

    system = from_force(force, MATRIX, initial_state=jnp.zeros(3), activity=jnp.tanh, leak=None)
    u, x, v = (jnp.asarray(RNG.normal(size=(1, 3))) for _ in range(3))
    membrane = jax.jacfwd(lambda a: force(MATRIX, a[None], x)[0])(u[0])
    expected = np.asarray(membrane) @ np.diag(np.cosh(u[0]) ** 2) @ np.asarray(v[0])
    assert np.allclose(jacobian(system, u, x)(v)[0], expected)
    assert np.allclose(coupling(system, u, x)(v)[0], expected)
    assert np.isinf(system.singularity_distance(u)).all()


def test_empty_state_is_refused():
    with pytest.raises(InputError, match=r"initial_state = \{\}: must hold at least one array"):
        from_force(lambda p, u, x: u, 0.0, initial_state={})


def test_an_activity_of_another_structure_is_refused():
    system = from_force(lambda p, u, x: u, 0.0, initial_state=jnp.zeros(2), activity=lambda u: {"r": u})
    with pytest.raises(InputError, match="activity: must keep the structure and the shapes of the state"):
        system.activity(jnp.zeros((1, 2)))


@pytest.mark.parametrize("x", [None, jnp.zeros(()), {"a": jnp.zeros((2, 1)), "b": jnp.zeros((3, 1))}])
def test_one_start_for_a_batch_of_unknown_size_is_refused(x):
    system = from_force(lambda p, u, x: -u, 0.0, initial_state=jnp.zeros(2))
    with pytest.raises(InputError, match="every array of x must have the batch as its first axis"):
        system.initial_state(x)


@pytest.mark.slow
def test_the_start_is_of_the_type_of_the_force():
    mixed = {"a": jnp.zeros(2, jnp.float32), "b": jnp.zeros(1, int)}
    system = from_force(
        lambda p, u, x: {"a": p * x - u["a"], "b": -u["b"]}, jnp.ones((), jnp.float32), initial_state=mixed,
        output=lambda r: r["a"],
    )  # fmt: skip
    x = jnp.ones((3, 2))
    assert {leaf.dtype for leaf in jax.tree.leaves(system.initial_state(x))} == {jnp.dtype("float64")}
    free = relax(system, x, GaussSeidel())
    assert free.converged.all()
    problem = Problem(system, x, system.injection(x), jnp.zeros((3, 2)), free, GaussSeidel())
    turned = relax_nudged(problem, jnp.full((1, 3), 0.1j))
    assert {leaf.dtype for leaf in jax.tree.leaves(turned.displacement)} == {jnp.dtype("complex128")}


def test_what_samples_share_belongs_into_params():
    """F may be asked for some samples alone, and cannot know which arrays of x to take those of."""
    system = from_force(lambda p, u, x: x[0] @ x[1] - u, 0.0, initial_state=lambda x: jnp.zeros((len(x[0]), 2)))
    with pytest.raises(InputError, match=r"x: holds an array of shape \[3, 2\], and the initial state is of 4 samples"):
        relax(system, (jnp.ones((4, 3)), jnp.ones((3, 2))), GaussSeidel())


@pytest.mark.parametrize("start", [jnp.zeros(()), {"a": jnp.zeros((3, 2)), "b": jnp.zeros((2, 2))}, ()])
def test_a_start_without_a_batch_is_refused(start):
    system = from_force(lambda p, u, x: u, 0.0, initial_state=lambda x: start)
    with pytest.raises(InputError, match=r"initial_state: gives arrays of shapes .*the batch as their first axis"):
        system.initial_state(jnp.ones((3, 2)))


@pytest.mark.parametrize("force", [lambda p, u, x: u[:, :1], lambda p, u, x: {"u": u}])
def test_a_force_of_another_shape_is_refused(force):
    """It would be broadcast, silently."""
    system = from_force(force, 0.0, initial_state=jnp.zeros(2))
    with pytest.raises(
        InputError, match=r"force: must have the structure and the shapes of the state, \[3, 2\]; it has"
    ):
        relax(system, jnp.ones((3, 1)), GaussSeidel())


def test_an_energy_summed_over_the_batch_is_refused():
    system = from_energy(lambda p, u, x: jnp.sum(u**2)[None], 0.0, initial_state=jnp.zeros(2))
    with pytest.raises(InputError, match=r"energy: must return one number per sample.*\(1,\) for 3 samples"):
        relax(system, jnp.ones((3, 1)), GaussSeidel())


def test_a_complex_energy_of_a_real_state_is_refused():
    system = from_energy(lambda p, u, x: 1j * jnp.sum(u**2, axis=1), 0.0, initial_state=jnp.zeros(2))
    with pytest.raises(InputError, match=r"^energy: gives complex numbers \(complex128\) for a real state"):
        relax(system, jnp.ones((3, 1)), GaussSeidel())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ({"activity": lambda u: u[:, :1]}, r"activity: must keep .* of the state, \[3, 2\]; it gives \[3, 1\]"),
        (
            {"activity": lambda u: u @ jnp.ones((3, 3))},
            r"activity: does not take state of shapes \[3, 2\] \(dot_general",
        ),
        (
            {"output": lambda r: r @ jnp.ones((3, 3))},
            r"output: does not take activity of shapes \[3, 2\] \(dot_general",
        ),
        ({"output": lambda r: r.T}, r"output: must have the batch of 3 as its first axis; it has the shapes \[2, 3\]"),
    ],
)
def test_functions_of_the_state_that_do_not_take_it_or_give_another_shape_are_refused(function, message):
    system = from_force(lambda p, u, x: -u, 0.0, initial_state=jnp.zeros(2), **function)
    with pytest.raises(InputError, match=message):
        estimate(system, jnp.ones((3, 1)), jnp.ones((3, 2)), Centered())


def test_inputs_of_one_sample_without_the_axis_of_samples_are_refused():
    """Four numbers look like four samples, and the force takes all of them but not one."""
    system = from_force(lambda p, u, x: x @ p - u, jnp.ones((4, 3)), initial_state=jnp.zeros(3))
    with pytest.raises(
        InputError, match=r"^force: the force on one sample cannot be computed by itself .*axis be the samples"
    ):
        relax(system, jnp.ones(4))


def test_a_batch_of_no_samples_is_refused():
    system = from_force(lambda p, u, x: -u, 0.0, initial_state=jnp.zeros(2))
    with pytest.raises(InputError, match="the batch holds no sample"):
        relax(system, jnp.ones((0, 1)), GaussSeidel())


def test_one_mobility_for_each_leaf():
    with pytest.raises(InputError, match=r"mobility = .*one for each leaf"):
        from_force(lambda p, u, x: -u, 0.0, initial_state=jnp.zeros(2), mobility=jnp.ones(2))


class Counted:
    """A force that counts how often it is traced."""

    def __init__(self):
        self.traces = 0

    def __call__(self, p, u, x):
        self.traces += 1
        return jnp.tanh(u) @ p["w"] + x + p["b"] - u


OPTIONS = {
    "plain": dict,
    "an array as initial state": lambda: {"initial_state": jnp.full(3, 0.5)},
    "activity": lambda: {"activity": jnp.tanh},
    "leak of each unit": lambda: {"activity": jnp.tanh, "leak": jnp.ones(3)},
    "mobility": lambda: {"mobility": 1.0},
    "declared": lambda: {"holomorphic": True, "cost": SoftmaxCrossEntropy()},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_built_twice_is_compiled_once(name):
    """Other values of the parameters, too; another start is another program."""
    force, x = Counted(), jnp.ones((2, 3))

    def build(scale, **options):
        options = {"initial_state": np.zeros(3)} | OPTIONS[name]() | options
        return from_force(force, {"w": 0.1 * scale * MATRIX, "b": jnp.full(3, scale)}, **options)

    first, second = build(1.0), build(2.0)
    assert first is not second and jax.tree.structure(first) == jax.tree.structure(second)
    assert hash(jax.tree.structure(first)) == hash(jax.tree.structure(second))
    answer = relax(first, x)
    assert answer.converged.all() and force.traces > 0
    before = force.traces
    other = relax(second, x)
    assert force.traces == before
    assert not np.allclose(answer.state, other.state)
    relax(build(1.0, initial_state=jnp.full(3, 0.25)), x)
    assert force.traces > before


def test_energies_and_pytrees_of_starts_that_are_built_twice_are_compiled_once():
    traces = []

    def energy(p, u, x):
        traces.append(1)
        return jnp.sum((u["a"] - x) ** 2, axis=1) / 2 + p * jnp.sum(u["b"] ** 2, axis=1) / 2

    def build(p):
        return from_energy(
            energy,
            jnp.asarray(p),
            initial_state={"a": jnp.zeros(3), "b": jnp.asarray([1.0, 2.0])},
            output=_first,
            mobility={"a": 1.0, "b": 0.5},
        )

    x = jnp.ones((2, 3))
    relax(build(0.5), x)
    before = len(traces)
    assert relax(build(0.7), x).converged.all() and len(traces) == before


def _first(activity):
    return activity["a"]


def test_what_differs_in_its_program_is_another_structure():
    built = [
        from_force(spring, MATRIX, initial_state=start, leak=leak, mobility=mobility, activity=activity)
        for start, leak, mobility, activity in [
            (np.zeros(3), 1.0, None, jnp.tanh),
            (np.zeros(3, np.float32), 1.0, None, jnp.tanh),
            (np.ones(3), 1.0, None, jnp.tanh),
            (np.zeros((3, 1)), 1.0, None, jnp.tanh),
            (np.zeros(3), 0.5, None, jnp.tanh),
            (np.zeros(3), None, None, jnp.tanh),
            (np.zeros(3), 1.0, 0.5, jnp.tanh),
            (np.zeros(3), 1.0, None, jnp.sin),
        ]
    ]
    structures = [jax.tree.structure(each) for each in built]
    assert all(a != b for i, a in enumerate(structures) for b in structures[:i])


X = jnp.ones((4, 3))


@pytest.mark.parametrize(
    ("force", "x", "message"),
    [
        (
            lambda p, u, x: x @ p - u,
            jnp.ones((4, 5)),
            r"force: does not take state of shapes \[4, 3\] and x of shapes \[4, 5\] \(.*; an initial_state of "
            "numbers is that of one sample",
        ),
        (lambda p, u, x: u + "a", X, r"force: does not take state of shapes .* \(.*"),
        (lambda p, u, x: jnp.ones((4, 3), int), X, "force: gives numbers of type int.* for a state of real ones"),
        (lambda p, u, x: 1j * u, X, "force: gives numbers of type complex.*; params, x and the force must be real"),
    ],
    ids=["width", "type", "whole", "complex"],
)
def test_a_force_that_does_not_fit_is_refused_in_one_line(force, x, message):
    system = from_force(force, MATRIX, initial_state=jnp.zeros(3))
    with pytest.raises(InputError, match=message) as refused:
        system.initial_state(x)
    assert "\n" not in str(refused.value)


def test_whole_numbers_are_no_energy():
    system = from_energy(lambda p, u, x: jnp.ones(len(u), int), 1.0, initial_state=jnp.zeros(3))
    with pytest.raises(InputError, match=r"energy: gives whole numbers \(int.*\), which have no slope"):
        system.initial_state(X)
