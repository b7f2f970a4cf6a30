"""What connections do, against SciPy, and what leads back, against the derivative of their interaction energy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal, special

from equiprop.errors import InputError
from equiprop.numerics import PoolingOrigin, convolution, softmax_pool
from equiprop.systems.connections import Convolution, Dense, Identity, LocallyConnected
from tiers import quick_where

OPERATIONS = {
    "dense": Dense((6, 6, 2), (5,)),
    "same": Convolution((6, 6, 2), (6, 6, 3)),
    "valid": Convolution((6, 6, 2), (4, 4, 3), padding="valid"),
    "strided": Convolution((6, 6, 2), (3, 3, 3), stride=2),
    "even": Convolution((6, 6, 2), (5, 5, 3), kernel=2, padding="valid"),
    "pooled": Convolution((6, 6, 2), (2, 2, 3), padding="valid", pool=2, temperature=0.7),
    "local": LocallyConnected((6, 6, 2), (3, 3, 3), pool=2),
    "identity": Identity((6, 6, 2), (6, 6, 2)),
}


def given(name, seed=0, imaginary=0.0):
    """The operation, a weight, and activities of both of its ends."""
    operation, rng = OPERATIONS[name], np.random.default_rng(seed)
    at, r = (
        rng.normal(size=(2, *shape)) + 1j * imaginary * rng.normal(size=(2, *shape))
        for shape in (operation.source, operation.target)
    )
    weight = None if operation.weight_shape is None else jnp.asarray(rng.normal(size=operation.weight_shape))
    at, r = (jnp.asarray(a if imaginary else a.real) for a in (at, r))
    return operation, weight, at, r


def correlated(image, kernel, mode):
    """Σ over input channels of two-dimensional correlations, one output channel after the other, by SciPy."""
    return np.stack(
        [
            sum(signal.correlate2d(image[..., i], kernel[..., i, o], mode) for i in range(image.shape[-1]))
            for o in range(kernel.shape[-1])
        ],
        axis=-1,
    )


def pooled(image, window, temperature):
    rows, columns = image.shape[0] // window, image.shape[1] // window
    result = np.empty((rows, columns, image.shape[2]), image.dtype)
    for i, j, c in np.ndindex(result.shape):
        part = image[i * window : (i + 1) * window, j * window : (j + 1) * window, c].ravel()
        result[i, j, c] = special.softmax(part / temperature) @ part
    return result


@pytest.mark.parametrize("name", ["same", "valid", "even", "pooled"])
def test_convolution_is_that_of_scipy(name):
    operation, weight, at, _ = given(name)
    found = operation.apply(weight, at)
    for ours, image in zip(found, np.asarray(at), strict=True):
        expected = correlated(image, np.asarray(weight), operation.padding)
        if operation.pool > 1:
            expected = pooled(expected, operation.pool, operation.temperature)
        assert np.allclose(ours, expected, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["same", "valid", "strided", "even"])
def test_convolution_is_the_same_on_every_device(name):
    """And so are its derivatives, in an odd image too."""
    operation, weight, at, _ = given(name)
    for images in (at, at[:, :5, :4]):
        ours, theirs = (
            jax.vjp(lambda a, w, by=by: by(a, w, operation.stride, operation.padding), images, weight)
            for by in (convolution.by_products, convolution.by_library)
        )
        assert np.allclose(ours[0], theirs[0], atol=1e-12)
        for a, b in zip(ours[1](ours[0]), theirs[1](ours[0]), strict=True):
            assert np.allclose(a, b, atol=1e-11)


def test_strides_leave_out_places():
    """An even side under stride 2 and 'same' padding is padded at the end alone."""
    operation, weight, at, _ = given("strided")
    everywhere = np.stack(
        [correlated(np.pad(a, ((0, 1), (0, 1), (0, 0))), np.asarray(weight), "valid") for a in np.asarray(at)]
    )
    assert np.allclose(operation.apply(weight, at), everywhere[:, ::2, ::2], atol=1e-12)


def test_a_local_connection_with_the_same_weights_everywhere_is_a_convolution():
    operation, _, at, _ = given("local")
    shared = np.random.default_rng(1).normal(size=(3, 3, 2, 3))
    # Its windows list channels before places.
    rows = np.moveaxis(shared, 2, 0).reshape(operation.weight_shape[2:])
    weight = jnp.broadcast_to(jnp.asarray(rows), operation.weight_shape)
    same = Convolution(operation.source, operation.target, pool=2)
    assert np.allclose(operation.apply(weight, at), same.apply(jnp.asarray(shared), at), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", quick_where(lambda name: name in ("dense", "same", "pooled"), OPERATIONS))
def test_what_leads_back_is_the_derivative_of_the_interaction_energy(name):
    """By complex steps, exact to rounding: ∂/∂at of r·apply(weight, at). So it is for complex activities, by differences."""
    operation, weight, at, r = given(name)
    back = np.asarray(operation.apply_transpose(weight, r, at))
    energy = jax.jit(lambda a, r: jnp.sum(r * operation.apply(weight, a)))
    rng, h = np.random.default_rng(1), 1e-20
    places = [tuple(rng.integers(0, n) for n in at.shape) for _ in range(3)]
    for index in places:
        nudged = at.astype(complex).at[index].add(1j * h)
        assert np.isclose(back[index], energy(nudged, r).imag / h, rtol=1e-10, atol=1e-12)
    _, _, at, r = given(name, imaginary=0.3)
    back = np.asarray(operation.apply_transpose(weight, r, at))
    index = places[0]
    for h in (1e-5, 1e-5j):
        difference = (energy(at.at[index].add(h), r) - energy(at.at[index].add(-h), r)) / (2 * h)
        assert np.isclose(back[index], difference, rtol=1e-6, atol=1e-8)


def both_ways(operation, weight, at, r, at_change, change, subtracted):
    """How much more arrives at the target, and at the source, with these changes of activity."""
    if subtracted:
        forward = operation.apply(weight, at + at_change) - operation.apply(weight, at)
        back = operation.apply_transpose(weight, r + change, at + at_change) - operation.apply_transpose(weight, r, at)
        return forward, back
    origin = operation.measured_from(weight, at)
    return (
        operation.difference(weight, origin, at_change),
        operation.transpose_difference(weight, origin, r, change, at_change),
    )


compared = jax.jit(both_ways, static_argnums=(0, 6))


@pytest.mark.parametrize("imaginary", [0.0, 0.5])
@pytest.mark.parametrize("name", quick_where(lambda name: name in ("dense", "pooled"), OPERATIONS))
def test_a_difference_is_that_of_what_arrives(name, imaginary):
    """Of a real origin, for changes that hardly count and for those that turn the winner of a window into its loser."""
    operation, weight, at, r = given(name)
    _, _, at_change, change = given(name, seed=1, imaginary=imaginary)
    for size in (1e-3, 0.3, 10.0, 300.0):
        found, wanted = (compared(operation, weight, at, r, size * at_change, size * change, s) for s in (False, True))
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11 * float(jnp.abs(theirs).max()))


@pytest.mark.parametrize("imaginary", [0.0, 0.5])
@pytest.mark.parametrize("name", ["pooled", "local"])
def test_a_difference_has_as_many_digits_as_what_changed(name, imaginary):
    """In single precision 1e-12 of the activity, and in one window beside them 100 times of it, against double precision."""
    operation, weight, at, r = given(name)
    assert weight is not None
    _, _, at_change, change = given(name, seed=1, imaginary=imaginary)
    single = [
        a.astype(jnp.complex64 if jnp.iscomplexobj(a) else jnp.float32) for a in (weight, at, r, at_change, change)
    ]
    tiny = [1e-12 * a for a in single[3:]]
    found = compared(operation, *single[:3], *tiny, False)
    # So small a change does what a million times as much does, over a million.
    wide = [a.astype(complex if jnp.iscomplexobj(a) else float) for a in single]
    wanted = compared(operation, *wide[:3], *(1e-6 * a for a in wide[3:]), True)
    for ours, theirs in zip(found, wanted, strict=True):
        theirs = 1e-6 * np.asarray(theirs)
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())
    # A corner that changes much has nothing to do with the opposite one.
    loud = [tiny[0].at[:, :2, :2].set(100.0), tiny[1]]
    beside = compared(operation, *single[:3], *loud, False)
    np.testing.assert_allclose(beside[0][:, -1, -1], found[0][:, -1, -1], rtol=1e-5)
    np.testing.assert_allclose(beside[1][:, -1, -1], found[1][:, -1, -1], rtol=1e-4)


def test_a_difference_where_the_winner_changes_at_a_low_temperature():
    """Shares of e^(−100) that become the whole: nothing overflows, nothing is lost."""
    z = jnp.asarray([[0.0, -1.0], [-2.0, -3.0]], jnp.float32).reshape(1, 2, 2, 1)
    moved = jnp.asarray([[0.0, 3.0], [0.0, 0.0]], jnp.float32).reshape(1, 2, 2, 1)
    origin = PoolingOrigin.at(z, 2, 0.01)
    assert np.allclose(origin.difference(moved), softmax_pool(z + moved, 2, 0.01) - softmax_pool(z, 2, 0.01))
    one = jnp.ones((1, 1, 1, 1), jnp.float32)
    turned = np.asarray(origin.transpose_difference(moved, one, 0 * one)).ravel()
    assert np.allclose(turned, [-1, 1, 0, 0])


@pytest.mark.parametrize("name", ["same", "dense"])
def test_a_transposed_weight_acts_as_the_transpose(name):
    operation = {"same": Convolution((5, 5, 2), (5, 5, 2)), "dense": Dense((4,), (4,))}[name]
    rng = np.random.default_rng(0)
    weight = jnp.asarray(rng.normal(size=operation.weight_shape))
    a, b = (jnp.asarray(rng.normal(size=(1, *operation.source))) for _ in range(2))
    forth = jnp.sum(b * operation.apply(weight, a))
    assert np.isclose(forth, jnp.sum(a * operation.apply(operation.transposed_weight(weight), b)))


def test_pooling_between_maximum_and_mean():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 1)))
    windows = np.asarray(z).reshape(2, 2, 2, 2).swapaxes(1, 2).reshape(4, 4)
    assert np.allclose(softmax_pool(z, 2, 1e-3).ravel(), windows.max(axis=1), atol=1e-2)
    assert np.allclose(softmax_pool(z, 2, 1e6).ravel(), windows.mean(axis=1), atol=1e-5)
    # Large exponents do not overflow, and single precision stays single.
    large = softmax_pool((1e4 * z).astype(jnp.complex64), 2)
    assert large.dtype == jnp.complex64 and np.allclose(large.real.ravel(), 1e4 * windows.max(axis=1), rtol=1e-5)


def test_initial_weights_fill_their_range():
    operation = OPERATIONS["pooled"]
    weight = operation.initial_weight(jax.random.key(0), jnp.float32, gain=2.0)
    limit = 2 / 18**0.5
    assert weight.shape == (3, 3, 2, 3) and 0.8 * limit < jnp.abs(weight).max() <= limit


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Convolution((6,), (6, 6, 1)), r"the source has size \[6\]: a window slides over images"),
        (lambda: Convolution((6, 6, 1), (6, 6, 1), kernel=0), "kernel = 0: must be at least 1"),
        (lambda: Convolution((6, 6, 1), (6, 6, 1), padding="full"), "padding = 'full'"),
        (lambda: Convolution((6, 6, 1), (6, 6, 1), temperature=0.0), "temperature = 0.0"),
        (lambda: Convolution((6, 6, 1), (3, 3, 1), pool=4), r"pool = 4: does not divide the \[6, 6\]"),
        (lambda: Convolution((6, 6, 1), (6, 6, 1), kernel=9, padding="valid"), r"does not divide the \[-2, -2\]"),
        (lambda: Convolution((6, 6, 1), (4, 4, 1), pool=2), r"makes \[3, 3\] of \[6, 6\], but the target is \[4, 4\]"),
        (lambda: Identity((6,), (5,)), r"carries \[6\], but the target is \[5\]"),
        (lambda: Convolution((6, 6, 1), (6, 6, 1), temperature=2.0), "temperature = 2.0: is that of pooling"),
    ],
)
def test_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("strided", "only with an odd kernel"),
        ("even", "only with an odd kernel"),
        ("pooled", "only with an odd kernel"),
        ("local", "has no transpose of its kind"),
    ],
)
def test_which_have_no_transpose_of_their_own_kind(name, message):
    operation, weight, *_ = given(name)
    with pytest.raises(InputError, match=message):
        operation.transposed_weight(weight)
