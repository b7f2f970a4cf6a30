"""Shifted images."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from equiprop.numerics import count
from equiprop.training.transforms._transform import AbstractTransform, images_of


class Crop(AbstractTransform):
    """Shifts an image by up to so many pixels in either direction.

    What comes in at the border is 0, the mean colour of a normalised image.
    """

    pixels: int = count(doc="The largest shift, in pixels.")

    def __call__(self, x: Any, y: Any, *, key: PRNGKeyArray) -> tuple[Any, Any]:
        images, most = images_of(x, "Crop"), self.pixels
        border = [(0, 0), (most, most), (most, most), *[(0, 0)] * (images.ndim - 3)]
        corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * most + 1)
        still = jnp.zeros(images.ndim - 3, corners.dtype)

        def cut(padded: Array, corner: Array) -> Array:
            return jax.lax.dynamic_slice(padded, jnp.concatenate([corner, still]), images.shape[1:])

        return jax.vmap(cut)(jnp.pad(images, border), corners), y
