"""Costs against SciPy, and their complex gradients against complex finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from equiprop.errors import InputError
from equiprop.numerics import COSTS, SumOfCosts, softmax_cross_entropy

RNG = np.random.default_rng(1)
OUTPUT = RNG.normal(size=(4, 3))
COMPLEX_OUTPUT = OUTPUT + 0.3j * RNG.normal(size=(4, 3))
LABELS = np.array([0, 2, 1, 1])
NAMES = list(COSTS.members())


def make(name, key):
    return COSTS.find(name).create(3, 3, key=key)


def test_cross_entropy_is_minus_log_softmax():
    expected = -log_softmax(OUTPUT, axis=1)[np.arange(4), LABELS]
    assert np.allclose(softmax_cross_entropy(jnp.asarray(OUTPUT), jnp.asarray(LABELS)), expected)


def test_cross_entropy_continues_analytically():
    scores = COMPLEX_OUTPUT
    expected = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(4), LABELS]
    assert np.allclose(softmax_cross_entropy(jnp.asarray(scores), jnp.asarray(LABELS)), expected)


def test_cross_entropy_of_soft_targets():
    """By SciPy; a one-hot target costs what its label does, and a weight of zero lets a score be −∞."""
    soft = RNG.dirichlet(np.ones(3), size=4)
    found = softmax_cross_entropy(jnp.asarray(OUTPUT), jnp.asarray(soft))
    assert np.allclose(found, -(soft * log_softmax(OUTPUT, axis=1)).sum(axis=1))
    one_hot = softmax_cross_entropy(jnp.asarray(COMPLEX_OUTPUT), jnp.eye(3)[LABELS])
    assert np.allclose(one_hot, softmax_cross_entropy(jnp.asarray(COMPLEX_OUTPUT), jnp.asarray(LABELS)))
    assert np.isfinite(softmax_cross_entropy(jnp.asarray([[0.0, -np.inf]]), jnp.asarray([[1.0, 0.0]]))).all()


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "softmax_readout"])
def test_a_class_may_be_given_by_its_label_or_by_weights(name, key):
    cost, output = make(name, key), jnp.asarray(OUTPUT)
    one_hot = np.eye(3)[LABELS]
    for target in (one_hot, one_hot.astype(int)):
        assert np.allclose(cost(output, jnp.asarray(target)), cost(output, jnp.asarray(LABELS)))
    right = np.asarray(cost.scores(output)).argmax(axis=1) == LABELS
    soft = 0.9 * one_hot + 0.1 / 3
    assert all(np.array_equal(cost.correct(output, jnp.asarray(y)), right) for y in (LABELS, one_hot, soft))


def test_regression_has_no_right_class(key):
    cost = make("squared_error", key)
    assert cost.correct(jnp.asarray(OUTPUT), jnp.asarray(OUTPUT)) is None
    assert np.array_equal(cost.correct(jnp.asarray(OUTPUT), jnp.asarray(LABELS)), OUTPUT.argmax(axis=1) == LABELS)


def test_numbers_are_targets_of_a_single_unit(key):
    cost = make("squared_error", key)
    assert np.allclose(
        cost(jnp.asarray(OUTPUT[:, :1]), jnp.asarray(OUTPUT[:, 1])), 0.5 * (OUTPUT[:, 0] - OUTPUT[:, 1]) ** 2
    )


def test_a_label_that_is_no_class_has_no_cost():
    found = softmax_cross_entropy(jnp.zeros((3, 2)), jnp.asarray([-1, 1, 2]))
    assert np.isnan(found).tolist() == [True, False, True]


def test_cross_entropy_of_huge_scores_is_finite():
    assert np.isfinite(softmax_cross_entropy(jnp.asarray([[1e4 + 1j, -1e4 + 0j]]), jnp.asarray([1]))).all()


def test_squared_error(key):
    cost = make("squared_error", key)
    target = RNG.normal(size=(4, 3))
    assert np.allclose(cost(jnp.asarray(OUTPUT), jnp.asarray(target)), 0.5 * ((OUTPUT - target) ** 2).sum(axis=1))
    one_hot = np.eye(3)[LABELS]
    assert np.allclose(cost(jnp.asarray(OUTPUT), jnp.asarray(LABELS)), 0.5 * ((OUTPUT - one_hot) ** 2).sum(axis=1))


def test_squared_error_is_not_a_modulus(key):
    """|z|² would not be holomorphic: the square of a complex difference is complex."""
    value = make("squared_error", key)(jnp.asarray(COMPLEX_OUTPUT), jnp.asarray(LABELS))
    assert np.allclose(value, 0.5 * ((COMPLEX_OUTPUT - np.eye(3)[LABELS]) ** 2).sum(axis=1))


def test_readout_scores(key):
    cost = make("softmax_readout", key)
    expected = COMPLEX_OUTPUT @ np.asarray(cost.weight) + np.asarray(cost.bias)
    assert np.allclose(cost.scores(jnp.asarray(COMPLEX_OUTPUT)), expected)
    assert np.abs(cost.weight).max() <= 3**-0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", [LABELS, RNG.dirichlet(np.ones(3), size=4)], ids=["labels", "soft"])
def test_complex_gradient(name, target, key):
    """The pullback of ones is the holomorphic derivative, with no conjugate in it."""
    cost = make(name, key)
    labels = jnp.asarray(target)
    value, pullback = jax.vjp(lambda r: cost(r, labels), jnp.asarray(COMPLEX_OUTPUT))
    gradient = pullback(jnp.ones_like(value))[0]
    for sample, unit in [(0, 0), (2, 1), (3, 2)]:
        for step in (1e-6, 1e-6j):
            moved = COMPLEX_OUTPUT.copy()
            moved[sample, unit] += step
            other = COMPLEX_OUTPUT.copy()
            other[sample, unit] -= step
            quotient = (cost(jnp.asarray(moved), labels) - cost(jnp.asarray(other), labels))[sample] / (2 * step)
            assert np.isclose(gradient[sample, unit], quotient, rtol=1e-6)


def test_unknown_cost(key):
    with pytest.raises(InputError, match="cost = 'hinge': is not known; choose one of"):
        make("hinge", key)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", [np.ones(5), np.ones((5, 2)), np.zeros((5, 1), int), np.zeros(1, int)])
def test_a_target_of_another_shape_is_refused(name, target, key):
    """It would be broadcast: to a cost of every sample against the target of every other."""
    with pytest.raises(InputError, match="must be"):
        make(name, key)(jnp.ones((5, 3)), target)


def test_squared_error_takes_one_hot_integers_as_they_are_and_knows_its_labels(key):
    cost = make("squared_error", key)
    labels = [0, 2, 1]
    output = jnp.asarray(RNG.normal(size=(3, 3)))
    assert np.array_equal(cost(output, np.eye(3, dtype=int)[labels]), cost(output, labels))
    assert np.isnan(cost(output, [0, 3, -1])).tolist() == [False, True, True]


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "squared_error"])
def test_a_cost_without_readout_needs_a_unit_a_class(name, key):
    with pytest.raises(InputError, match="needs one output unit a class, 4, not 3"):
        COSTS.find(name).create(3, 4, key=key)


def test_a_sum_of_costs_by_name(key):
    cost = SumOfCosts({"a": make("softmax_readout", key), "b": make("squared_error", key)}, {"b": 0.25})
    output = {"a": jnp.asarray(OUTPUT), "b": jnp.asarray(OUTPUT[:, :2])}
    target = {"a": jnp.asarray(LABELS), "b": jnp.zeros((4, 2))}
    expected = make("softmax_readout", key)(output["a"], LABELS) + 0.125 * (OUTPUT[:, :2] ** 2).sum(axis=1)
    assert np.allclose(cost(output, target), expected) and cost.correct(output, target) is None
    with pytest.raises(InputError, match=r"output is \['a'\]: must be a dictionary of \['a', 'b'\]"):
        cost({"a": output["a"]}, target)
    with pytest.raises(InputError, match="weights: names 'c', which is no cost"):
        SumOfCosts({"a": cost}, {"c": 1.0})


@pytest.mark.parametrize("name", ["squared_error", "softmax_cross_entropy"])
def test_labels_name_one_of_a_row_of_scores_alone(name, monkeypatch, key):
    """Of an output `[batch, 2, 3]` a label says nothing."""
    import jaxtyping

    # As users have it: no annotation is enforced.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    cost = COSTS.find(name).create(3, 3, key=key)
    with pytest.raises(InputError, match=r"shape \[4, 2, 3\]|output, \[4, 2, 3\]$"):
        cost(jnp.ones((4, 2, 3)), jnp.zeros(4, int))
    if name == "squared_error":
        assert cost.correct(jnp.ones((4, 2, 3)), jnp.zeros(4, int)) is None
