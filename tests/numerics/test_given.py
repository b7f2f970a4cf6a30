"""What a user gives as arrays, before JAX takes it."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equiprop as ep
from equiprop.errors import InputError
from equiprop.numerics import as_key, require_numbers

SYSTEM = ep.mlp(3, (4,), 2, key=jax.random.key(0))
X, Y = np.ones((5, 3)), np.zeros(5, int)


@pytest.fixture
def single_precision():
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_whole_numbers_that_would_be_wrapped_around(single_precision, kind):
    limit = np.iinfo(np.int32 if kind is np.int64 else np.uint32).max
    require_numbers(np.array([limit], kind), "target")
    with pytest.raises(
        InputError, match=f"^target: holds whole numbers from 3 to {limit + 1}, where 32 bits reach from"
    ):
        require_numbers(np.array([3, limit + 1], kind), "target")
    # JAX has wrapped what is its own already; a tracer has no values.
    jax.eval_shape(lambda a: require_numbers(a, "target"), jnp.zeros(3))


def test_they_are_whole_in_double_precision():
    require_numbers(np.array([2**40, -(2**40)]), "target")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (None, "^x: holds no arrays; give arrays of numbers, not lists, whose leading axis is the samples"),
        ({}, "^x: holds no arrays"),
        ({"a": np.ones(3), "b": np.array(["one"])}, r"^x\.b: holds <U3 of shape \[1\]; give arrays of numbers"),
        ([1, 2], r"^x\.0: is a single number; give arrays"),
        (np.float32(3), "^x: is a single number"),
        (np.array([None, 1]), r"^x: holds object of shape \[2\]"),
        (SimpleNamespace(), r"^x: holds object of shape \[\]"),
        (np.ones((0, 3)), "^x: the batch holds no sample; give at least one"),
        (1j * np.ones(3), "^x: is complex"),
    ],
)
def test_refused(tree, message):
    with pytest.raises(InputError, match=message):
        require_numbers(tree, "x", real=True)


@pytest.mark.parametrize("target", [None, np.array(["one"] * 5), 1j * np.ones((5, 2)), np.array([None] * 5)])
def test_a_target_that_is_no_number(target):
    with pytest.raises(InputError, match=r"^target: "):
        ep.estimate(SYSTEM, X, target, ep.Centered())


@pytest.mark.slow
@pytest.mark.parametrize(("labels", "told"), [([0, 1, 2, 0, 1], "from 0 to 2"), ([0, 1, -1, 0, 1], "from -1 to 1")])
def test_a_label_that_is_no_class(labels, told):
    message = f"^target: labels go {told}; the cost tells 2 classes apart: give labels from 0 to 1"
    with pytest.raises(InputError, match=message):
        ep.estimate(SYSTEM, X, np.array(labels), ep.Centered())
    # Inside of a compiled function they are not known, and their samples are excluded.
    compiled = jax.jit(lambda y: ep.estimate(SYSTEM, X, y, ep.Centered()).weight == 0)
    assert compiled(np.array(labels)).tolist() == [False, False, True, False, False]


def test_a_cost_of_ones_own_may_compare_with_nothing():
    class Small(ep.AbstractCost):
        def __call__(self, output, target):
            assert target is None
            return (output**2).sum(axis=1)

    system = ep.from_force(
        lambda p, u, x: x @ p - u, jnp.ones((3, 2)), initial_state=jnp.zeros(2), cost=Small(), holomorphic=True
    )
    answer = ep.estimate(system, jnp.asarray(X), None, ep.ExactResponse())
    np.testing.assert_allclose(answer.gradient.params, np.full((3, 2), 6.0), rtol=1e-5)


@pytest.mark.parametrize("look", ["symmetry", "certificate", "spectrum"])
def test_a_state_that_is_not_of_the_inputs(look):
    state = ep.relax(SYSTEM, jnp.asarray(X)).state
    more = {"solver": ep.GaussSeidel()} if look == "spectrum" else {}
    for x, message in (
        (X[:0], "^x: the batch holds no sample"),
        (X[:2], "^state: is of shapes .*, where the states have"),
    ):
        with pytest.raises(InputError, match=message):
            getattr(ep, look)(SYSTEM, jnp.asarray(x), state, key=jax.random.key(0), **more)


def test_a_seed_is_a_key():
    made = ep.mlp(3, (4,), 2, key=0)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(SYSTEM), strict=True))
    raw = jax.random.PRNGKey(0)
    assert as_key(raw) is raw
    for key in (None, True, "0", 1.0, jnp.zeros(2), np.zeros(2)):
        with pytest.raises(InputError, match=r"^key.*: must be a whole number or a key such as jax.random.key\(0\)"):
            as_key(key)
    noisy = ep.ContinuousTime(periods=1, noise=0.1)
    x, y = jnp.asarray(X), jnp.asarray(Y)
    found = [ep.estimate(SYSTEM, x, y, noisy, key=key).error_vector for key in (3, jax.random.key(3))]
    assert jax.tree.all(jax.tree.map(np.array_equal, *found))


def test_hidden_is_any_sequence_of_whole_numbers():
    assert ep.systems.recipes.MLP([4, 5]).hidden == ep.systems.recipes.MLP(range(4, 6)).hidden == (4, 5)
    with pytest.raises(InputError, match=r"^hidden = 4: must be a list of whole numbers"):
        ep.systems.recipes.MLP(4)
