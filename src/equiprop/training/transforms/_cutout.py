"""Images with a hole."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from equiprop.numerics import count
from equiprop.training.transforms._transform import AbstractTransform, images_of, per_sample


class Cutout(AbstractTransform):
    """Sets a square of an image to 0, the mean colour of a normalised image; its centre lies anywhere in the image."""

    citation: ClassVar[tuple[str, ...]] = (
        "DeVries & Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017, arXiv:1708.04552",
    )

    size: int = count(doc="Side of the square, in pixels.")

    def __call__(self, x: Any, y: Any, *, key: PRNGKeyArray) -> tuple[Any, Any]:
        images = images_of(x, "Cutout")
        inside = jnp.ones(images.shape, bool)
        for axis, axis_key in zip((1, 2), jax.random.split(key), strict=True):
            length = images.shape[axis]
            first = jax.random.randint(axis_key, images.shape[:1], 0, length) - self.size // 2
            place = jnp.arange(length).reshape(*[-1 if i == axis else 1 for i in range(images.ndim)])
            begin = per_sample(first, images)
            inside &= (place >= begin) & (place < begin + self.size)
        return jnp.where(inside, 0, images), y
