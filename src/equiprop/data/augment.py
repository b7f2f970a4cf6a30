"""Random flips and crops of a batch on the device. It alone of this package needs JAX, and is not imported with it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from equiprop.errors import InputError


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training image each time it is seen.

    - `flip`: mirror it, left to right, half of the times.
    - `crop`: shift it by up to so many pixels in either direction; what comes in at the border is 0, the mean colour of a
      normalised image.
    """

    flip: bool = False
    crop: int = 0

    def __post_init__(self) -> None:
        if self.crop < 0:
            raise InputError("must be at least 0", path="crop", value=self.crop)

    def __call__(
        self, images: Float[Array, "batch height width *channels"], *, key: PRNGKeyArray
    ) -> Float[Array, "batch height width *channels"]:
        """Each image by itself; the draw depends on `key` and the size of the batch alone."""
        flip_key, crop_key = jax.random.split(key)
        batch = images.shape[0]
        if self.flip:
            mirrored = jax.random.bernoulli(flip_key, shape=(batch,))
            flags = mirrored.reshape(batch, *(1,) * (images.ndim - 1))
            images = jnp.where(flags, images[:, :, ::-1], images)
        if self.crop:
            border = [(0, 0), (self.crop, self.crop), (self.crop, self.crop), *[(0, 0)] * (images.ndim - 3)]
            corners = jax.random.randint(crop_key, (batch, 2), 0, 2 * self.crop + 1)
            still = jnp.zeros(images.ndim - 3, corners.dtype)

            def cut(padded: Array, corner: Array) -> Array:
                return jax.lax.dynamic_slice(padded, jnp.concatenate([corner, still]), images.shape[1:])

            images = jax.vmap(cut)(jnp.pad(images, border), corners)
        return images
