"""What a cost is, and the cross-entropy that several are made of.

A cost maps an output batch `[batch, n]` and its targets to a cost per sample `[batch]`. It is an Equinox module because it
may hold parameters of its own (a trainable readout); those receive their gradient directly, not through the equilibrium.
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Integer, PRNGKeyArray

from equiprop.errors import InputError


class AbstractCost(eqx.Module):
    """C(output, y) per sample: what the nudge pulls the output towards. Holomorphic in the output: the nudge may be complex.

    To add one, subclass this with `__call__`.
    """

    kind: ClassVar[str] = ""
    label: ClassVar[str] = ""
    citation: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def create(cls, outputs: int, classes: int, *, key: PRNGKeyArray, dtype: Any = None) -> "AbstractCost":
        """The cost for `outputs` output units and so many classes.

        Raises `InputError` for a cost without a readout of its own whose output has not one unit a class.
        """
        del key, dtype
        if outputs != classes:
            raise InputError(
                f"needs one output unit a class, {classes}, not {outputs}",
                path="cost",
                value=cls.kind,
                hint="use softmax_readout",
            )
        return cls()

    @abc.abstractmethod
    def __call__(self, output: Inexact[Array, "batch ..."], target: Any) -> Inexact[Array, " batch"]:
        """The cost of each sample, holomorphic in `output`; no sample may depend on another."""

    def scores(self, output: Inexact[Array, "batch ..."]) -> Inexact[Array, "batch ..."]:
        """What is compared to decide on a class, the largest score wins; or the prediction. By default the output itself."""
        return output

    def desired_output(self, output: Inexact[Array, "batch ..."], target: Any) -> Inexact[Array, "batch ..."] | None:
        """The output at which the cost is smallest; `None` if there is none, or it is not known."""
        del output, target
        return None


def softmax_cross_entropy(
    scores: Inexact[Array, "batch classes"], labels: Integer[Array, " batch"]
) -> Inexact[Array, " batch"]:
    """−log softmax(scores)[label] per sample, for real or complex scores.

    The maximum that stabilises the sum is taken of the real part and held fixed: shifting by a constant leaves the function
    holomorphic, which a complex maximum would not. A label that is no class gives NaN.
    """
    shift = jax.lax.stop_gradient(scores.real.max(axis=-1, keepdims=True))
    shifted = scores - shift.astype(scores.dtype)
    log_partition = jnp.log(jnp.exp(shifted).sum(axis=-1))
    chosen = jnp.arange(scores.shape[-1]) == labels[:, None]
    right = jnp.where(chosen, shifted, 0).sum(axis=-1)
    return jnp.where(chosen.any(axis=-1), log_partition - right, jnp.nan)


def labels_of(target: Any, scores: Array) -> Array:
    """Integer labels `[batch]`, one for each row of `scores`. Raises `InputError` for anything else."""
    labels = jnp.asarray(target)
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.shape != scores.shape[:1]:
        raise InputError(
            f"target of type {labels.dtype} and shape {list(labels.shape)}: must be integer labels, one a sample, of shape "
            f"{list(scores.shape[:1])}"
        )
    return labels
