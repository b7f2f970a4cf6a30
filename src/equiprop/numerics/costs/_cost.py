"""What a cost is, and the cross-entropy that several are made of.

A cost maps an output batch `[batch, n]` and its targets to a cost per sample `[batch]`. It is an Equinox module because it
may hold parameters of its own (a trainable readout); those receive their gradient directly, not through the equilibrium.
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Integer, PRNGKeyArray

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

    def correct(self, output: Inexact[Array, "batch ..."], target: Any) -> Bool[Array, " batch"] | None:
        """Whether the class that is decided on is that of the target; `None` where the target names no class.

        By default integers `[batch]` are the indices of the right classes among the scores.
        """
        scores = self.scores(output)
        if not (is_integer(target) and scores.ndim == 2 and jnp.shape(target) == scores.shape[:1]):
            return None
        return jnp.argmax(scores, axis=-1) == jnp.asarray(target)

    def desired_output(self, output: Inexact[Array, "batch ..."], target: Any) -> Inexact[Array, "batch ..."] | None:
        """The output at which the cost is smallest; `None` if there is none, or it is not known."""
        del output, target
        return None


class AbstractCrossEntropy(AbstractCost):
    """−Σ_k y_k·log softmax(scores)_k, the scores being made of the output.

    The target is the index of the right class, integers `[batch]`, or a weight for each class, `[batch, classes]`; `InputError`
    for any other.
    """

    def __call__(self, output: Inexact[Array, "batch n"], target: Any) -> Inexact[Array, " batch"]:
        scores = self.scores(output)
        return softmax_cross_entropy(scores, _classes(target, scores))

    def correct(self, output: Inexact[Array, "batch n"], target: Any) -> Bool[Array, " batch"]:
        """By labels, or by the class of the largest weight."""
        scores = self.scores(output)
        classes = _classes(target, scores)
        return jnp.argmax(scores, axis=-1) == (classes if is_integer(classes) else jnp.argmax(classes, axis=-1))


def softmax_cross_entropy(
    scores: Inexact[Array, "batch classes"], target: Integer[Array, " batch"] | Float[Array, "batch classes"]
) -> Inexact[Array, " batch"]:
    """−Σ_k p_k·log softmax(scores)_k per sample, for real or complex scores; p is 1 at a label and 0 elsewhere.

    The maximum that stabilises the sum is taken of the real part and held fixed: shifting by a constant leaves the function
    holomorphic, which a complex maximum would not. A label that is no class gives NaN.
    """
    shift = jax.lax.stop_gradient(scores.real.max(axis=-1, keepdims=True))
    shifted = scores - shift.astype(scores.dtype)
    log_partition = jnp.log(jnp.exp(shifted).sum(axis=-1))
    if jnp.issubdtype(target.dtype, jnp.floating):
        return target.sum(axis=-1) * log_partition - jnp.where(target != 0, target * shifted, 0).sum(axis=-1)
    chosen = jnp.arange(scores.shape[-1]) == target[:, None]
    right = jnp.where(chosen, shifted, 0).sum(axis=-1)
    return jnp.where(chosen.any(axis=-1), log_partition - right, jnp.nan)


def _classes(target: Any, scores: Array) -> Array:
    """Integer labels `[batch]`, or real weights of the classes `[batch, classes]`, for the rows of `scores`.

    Integers of the shape of the scores are weights, too: one-hot targets. Raises `InputError` for anything else.
    """
    target = jnp.asarray(target)
    if scores.ndim != 2:
        reason = (
            f"the output gives scores of shape {list(scores.shape)}: must be a row of scores a sample, [batch, classes]"
        )
        raise InputError(reason, hint="let the output be such an array, or choose the cost squared_error")
    whole, real = (jnp.issubdtype(target.dtype, kind) for kind in (jnp.integer, jnp.floating))
    if whole and target.shape == scores.shape[:1]:
        return target
    if (whole or real) and target.shape == scores.shape:
        return target.astype(jnp.finfo(scores.dtype).dtype)
    raise InputError(
        f"target of type {target.dtype} and shape {list(target.shape)}: must be integer labels, one a sample, of shape "
        f"{list(scores.shape[:1])}, or weights of the classes, of shape {list(scores.shape)}",
        hint="for real numbers as targets choose the cost squared_error",
    )


def is_integer(target: Any) -> bool:
    """Whether a target is an array of whole numbers."""
    return hasattr(target, "dtype") and jnp.issubdtype(target.dtype, jnp.integer)
