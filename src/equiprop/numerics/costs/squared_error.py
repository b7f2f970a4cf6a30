"""Half the squared distance to the target."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from equiprop.errors import InputError
from equiprop.numerics.costs._cost import AbstractCost, is_integer


class SquaredError(AbstractCost):
    """½‖r − y‖² per sample. The target is of the shape of the output, or integer labels `[batch]` that stand for one-hot targets
    where that is `[batch, n]`.

    Numbers `[batch]` do for an output of one unit. A label that is no unit of the output gives NaN. Raises `InputError` for a
    target of another shape.
    """

    kind: ClassVar[str] = "squared_error"

    def __call__(self, output: Inexact[Array, "batch ..."], target: Any) -> Inexact[Array, " batch"]:
        difference = output - self.desired_output(output, target)
        return 0.5 * (difference * difference).reshape(output.shape[0], -1).sum(axis=-1)

    def desired_output(self, output: Inexact[Array, "batch ..."], target: Any) -> Inexact[Array, "batch ..."]:
        target = jnp.asarray(target)
        labels = is_integer(target) and target.shape == output.shape[:1] and output.ndim == 2
        if target.shape == output.shape:
            return target.astype(output.dtype)
        if labels:
            chosen = jnp.arange(output.shape[-1]) == target[:, None]
            return jnp.where(chosen.any(axis=-1, keepdims=True), chosen, jnp.nan).astype(output.dtype)
        if target.shape == output.shape[:1] and output.shape[1:] == (1,):
            return target[:, None].astype(output.dtype)
        raise InputError(
            f"target of type {target.dtype} and shape {list(target.shape)}: must be of the shape of the output, "
            f"{list(output.shape)}{f', or integer labels of shape {list(output.shape[:1])}' if output.ndim == 2 else ''}"
        )
