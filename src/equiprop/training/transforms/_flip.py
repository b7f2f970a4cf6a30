"""Mirror images."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from equiprop.training.transforms._transform import AbstractTransform, images_of, per_sample


class Flip(AbstractTransform):
    """Mirrors an image, left to right, half of the times."""

    def __call__(self, x: Any, y: Any, *, key: PRNGKeyArray) -> tuple[Any, Any]:
        images = images_of(x, "Flip")
        mirrored = jax.random.bernoulli(key, shape=images.shape[:1])
        return jnp.where(per_sample(mirrored, images), images[:, :, ::-1], images), y
