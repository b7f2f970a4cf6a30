"""Convolution of images, in the form that each kind of device computes fastest."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from equiprop.errors import suggest

PADDINGS = ("same", "valid")


def convolve(
    images: Float[Array, "batch height width inputs"],
    weight: Float[Array, "kernel kernel inputs outputs"],
    stride: int = 1,
    padding: str = "same",
) -> Float[Array, "batch rows columns outputs"]:
    """The cross-correlation that deep learning calls a convolution.

    **Arguments:**

    - `padding`: `same` (zeros at the border, more of them at the end where their number is odd) or `valid`.

    On a CPU, one matrix product for every place of the kernel: its derivatives are products again, whereas XLA turns the
    derivative of a convolution inside of a loop, which is what a training step is, into scalar code
    (`benchmarks/convolution.py`).

    Raises `InputError` for another padding.
    """
    check_padding(padding)
    dtype = jnp.result_type(images, weight)
    images, weight = images.astype(dtype), weight.astype(dtype)
    convolution = by_products if jax.default_backend() == "cpu" else by_library
    return convolution(images, weight, stride, padding)


def convolve_locally(
    images: Float[Array, "batch height width inputs"],
    weight: Float[Array, "rows columns inputs kernel kernel outputs"],
    stride: int = 1,
    padding: str = "same",
) -> Float[Array, "batch rows columns outputs"]:
    """The same with weights of its own at every place of the result."""
    check_padding(padding)
    kernel = weight.shape[3]
    found = (
        jnp.einsum("brci,rcio->brco", part, weight[:, :, :, i, j])
        for i, j, part in _shifted(images, kernel, stride, padding)
    )
    return sum(found)  # pyright: ignore[reportReturnType]


def check_padding(padding: str) -> None:
    """Raises `InputError` for what is no padding."""
    if padding not in PADDINGS:
        raise suggest("padding", padding, list(PADDINGS))


def by_products(images: Array, weight: Array, stride: int, padding: str) -> Array:
    found = (part @ weight[i, j] for i, j, part in _shifted(images, weight.shape[0], stride, padding))
    return sum(found)  # pyright: ignore[reportReturnType]


def by_library(images: Array, weight: Array, stride: int, padding: str) -> Array:
    return jax.lax.conv_general_dilated(
        images, weight, (stride, stride), padding.upper(), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _shifted(images: Array, kernel: int, stride: int, padding: str) -> Iterator[tuple[int, int, Array]]:
    """For every place of the kernel what the windows find there: `[batch, rows, columns, inputs]`."""
    if padding == "same":
        # So many zeros that each of ⌈side/stride⌉ windows is whole.
        missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in images.shape[1:3]]
        images = jnp.pad(images, ((0, 0), *((n // 2, n - n // 2) for n in missing), (0, 0)))
    height, width = ((side - kernel) // stride * stride + 1 for side in images.shape[1:3])
    for i in range(kernel):
        for j in range(kernel):
            yield i, j, images[:, i : i + height : stride, j : j + width : stride]
