"""Transforms of batches: only what they say, each sample by itself, as often as they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equiprop as ep
from equiprop.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.normal(size=(400, 5, 6, 3)))
LABELS = jnp.asarray(RNG.integers(0, 4, 400))
KEY = jax.random.key(0)


def inputs(transform, x, key=KEY):
    found, y = transform(x, LABELS, key=key)
    assert y is LABELS
    return np.asarray(found)


def test_half_of_the_images_are_mirrored():
    found = inputs(ep.Flip(), IMAGES)
    same = (found == np.asarray(IMAGES)).all(axis=(1, 2, 3))
    mirrored = (found == np.asarray(IMAGES)[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all() and 160 < mirrored.sum() < 240


@pytest.mark.parametrize("shape", [(5, 6, 3), (5, 6)])
def test_crops_are_shifts_of_every_size(shape):
    images = np.asarray(IMAGES)[..., 0] if len(shape) == 2 else np.asarray(IMAGES)
    found = inputs(ep.Crop(1), jnp.asarray(images))
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), *[(0, 0)] * (len(shape) - 2)])
    shifts = [padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3)]
    which = np.array([(found == shifted).reshape(400, -1).all(axis=1) for shifted in shifts])
    assert (which.sum(axis=0) == 1).all() and (which.sum(axis=1) > 20).all()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5, 6, 3), (5, 6)])
def test_cutout_is_a_square_anywhere(shape):
    """Every pixel is a centre as often as any other, and squares at the border lose what lies outside."""
    found = inputs(ep.Cutout(3), jnp.ones((4000, *shape)))
    holes = found == 0
    if len(shape) == 3:
        assert (holes == holes[..., :1]).all()
        holes = holes[..., 0]
    sizes = np.unique(holes.sum(axis=(1, 2)))
    assert set(sizes) == {4, 6, 9}
    middle = holes[:, 2, 3].mean()
    assert abs(middle - 9 / 30) < 0.03 and abs(holes[:, 0, 0].mean() - 4 / 30) < 0.03
    assert all(hole[np.ix_(hole.any(axis=1), hole.any(axis=0))].all() for hole in holes[:50])


@pytest.mark.slow
def test_mixup_mixes_inputs_and_targets_alike():
    """Inputs that are one-hot codes of the labels stay equal to the targets, whatever is mixed with what."""
    codes = jnp.asarray(np.eye(4)[np.asarray(LABELS)])
    x, y = ep.Mixup(0.5, classes=4)(codes, LABELS, key=KEY)
    assert np.allclose(x, y, atol=1e-6) and np.allclose(y.sum(axis=1), 1)
    own = np.asarray(y)[np.arange(400), np.asarray(LABELS)]
    assert (own >= 0.5 - 1e-6).all() and (own < 0.99).sum() > 100 and len(np.unique(own)) > 100


def test_smoothed_labels():
    expected = 0.9 * np.eye(4)[np.asarray(LABELS)] + 0.025
    for target in (LABELS, jnp.asarray(np.eye(4)[np.asarray(LABELS)])):
        _, found = ep.LabelSmoothing(0.1, classes=4)(IMAGES, target, key=KEY)
        assert np.allclose(found, expected)


@pytest.mark.parametrize("transform", [ep.Flip(), ep.Crop(2), ep.Cutout(2)])
def test_the_key_decides(transform):
    a, b, c = (inputs(transform, IMAGES, jax.random.key(k)) for k in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_normalized_by_part():
    normalize = ep.Normalize.of({"a": 2.0, "b": np.asarray([1.0, 3.0])}, {"a": 4.0, "b": 0.5}, jnp.float32)
    found = normalize({"a": jnp.asarray([6], jnp.uint8), "b": jnp.asarray([[1.0, 4.0]])})
    assert found["a"].dtype == jnp.float32 and found["a"].tolist() == [1.0] and found["b"].tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ep.Crop(0), "pixels = 0: must be at least 1"),
        (lambda: ep.Mixup(0.0), "alpha = 0.0: must be a finite number above 0"),
        (lambda: ep.Mixup(1.0)(IMAGES, LABELS, key=KEY), "classes: Mixup of labels needs to know how many there are"),
        (lambda: ep.LabelSmoothing(1.0), "amount = 1.0: must be at least 0 and below 1"),
        (lambda: ep.Flip()(jnp.ones((3, 4)), LABELS, key=KEY), "Flip is for images .*the input is of shape \\[3, 4\\]"),
    ],
)
def test_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
