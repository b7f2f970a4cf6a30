"""Flips and crops: only those, each image by itself, as often as they should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.data.augment import Augmentation
from equiprop.errors import InputError

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(400, 5, 6, 3)))


def test_nothing_asked_for_changes_nothing():
    assert np.array_equal(Augmentation()(IMAGES, key=jax.random.key(0)), IMAGES)


def test_half_of_the_images_are_mirrored():
    found = np.asarray(Augmentation(flip=True)(IMAGES, key=jax.random.key(0)))
    same = (found == np.asarray(IMAGES)).all(axis=(1, 2, 3))
    mirrored = (found == np.asarray(IMAGES)[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all() and 160 < mirrored.sum() < 240


@pytest.mark.parametrize("shape", [(5, 6, 3), (5, 6)])
def test_crops_are_shifts_of_every_size(shape):
    images = np.asarray(IMAGES)[..., 0] if len(shape) == 2 else np.asarray(IMAGES)
    found = np.asarray(Augmentation(crop=1)(jnp.asarray(images), key=jax.random.key(1)))
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), *[(0, 0)] * (len(shape) - 2)])
    shifts = [padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3)]
    which = np.array([(found == shifted).reshape(400, -1).all(axis=1) for shifted in shifts])
    assert (which.sum(axis=0) == 1).all() and (which.sum(axis=1) > 20).all()


def test_the_key_decides():
    augmentation = Augmentation(flip=True, crop=2)
    a, b, c = (augmentation(IMAGES, key=jax.random.key(k)) for k in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_refused():
    with pytest.raises(InputError, match="crop = -1: must be at least 0"):
        Augmentation(crop=-1)
