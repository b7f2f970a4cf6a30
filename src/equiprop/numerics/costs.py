"""Costs C(r, y): what the nudge pulls the output towards. Holomorphic in the output, so that the nudge may be complex.

A cost maps an output batch `[batch, n]` and its targets to a cost per sample `[batch]`. It is an Equinox module because it
may hold parameters of its own (a trainable readout); those receive their gradient directly, not through the equilibrium.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Integer, PRNGKeyArray

from equiprop.errors import InputError, suggest
from equiprop.numerics.complex import real_linear


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


def _labels(target: Any, scores: Array) -> Array:
    """Integer labels `[batch]`, one for each row of `scores`. Raises `InputError` for anything else."""
    labels = jnp.asarray(target)
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.shape != scores.shape[:1]:
        raise InputError(
            f"target of type {labels.dtype} and shape {list(labels.shape)}: must be integer labels, one a sample, of shape "
            f"{list(scores.shape[:1])}"
        )
    return labels


class AbstractCost(eqx.Module):
    """A cost per sample and the scores by which classes are told apart."""

    @abc.abstractmethod
    def __call__(self, output: Inexact[Array, "batch n"], target: Any) -> Inexact[Array, " batch"]:
        """The cost of each sample, holomorphic in `output`."""

    @abc.abstractmethod
    def scores(self, output: Inexact[Array, "batch n"]) -> Inexact[Array, "batch classes"]:
        """What is compared to decide on a class: the largest score wins."""


class SquaredError(AbstractCost):
    """½‖r − y‖² per sample. The target is of the shape of the output, or integer labels `[batch]` that stand for one-hot targets.

    A label that is no unit of the output gives NaN. Raises `InputError` for a target of another shape.
    """

    def __call__(self, output: Inexact[Array, "batch n"], target: Any) -> Inexact[Array, " batch"]:
        target = jnp.asarray(target)
        if target.shape != output.shape:
            if target.shape != output.shape[:1] or not jnp.issubdtype(target.dtype, jnp.integer):
                raise InputError(
                    f"target of type {target.dtype} and shape {list(target.shape)}: must be of the shape of the output, "
                    f"{list(output.shape)}, or integer labels of shape {list(output.shape[:1])}"
                )
            chosen = jnp.arange(output.shape[-1]) == target[:, None]
            target = jnp.where(chosen.any(axis=-1, keepdims=True), chosen, jnp.nan)
        difference = output - target.astype(output.dtype)
        return 0.5 * (difference * difference).reshape(output.shape[0], -1).sum(axis=-1)

    def scores(self, output: Inexact[Array, "batch n"]) -> Inexact[Array, "batch n"]:
        return output


class SoftmaxCrossEntropy(AbstractCost):
    """Softmax cross-entropy of the output activity itself; targets are integer labels `[batch]`, else `InputError`."""

    def __call__(self, output: Inexact[Array, "batch n"], target: Any) -> Inexact[Array, " batch"]:
        return softmax_cross_entropy(output, _labels(target, output))

    def scores(self, output: Inexact[Array, "batch n"]) -> Inexact[Array, "batch n"]:
        return output


class SoftmaxReadout(AbstractCost):
    """Softmax cross-entropy behind a trainable linear readout: scores = r·`weight` + `bias`.

    The published setting (Laborieux et al. 2021, doi:10.3389/fnins.2021.633674): the readout is outside of the relaxing
    network, so that the cost's own gradient trains it.
    """

    weight: Float[Array, "n classes"]
    bias: Float[Array, " classes"]

    @classmethod
    def create(cls, n: int, classes: int, *, key: PRNGKeyArray, dtype: Any = None) -> "SoftmaxReadout":
        """Weights uniform in ±1/√n, zero bias."""
        limit = n**-0.5
        weight = jax.random.uniform(key, (n, classes), dtype or jnp.result_type(float), -limit, limit)
        return cls(weight, jnp.zeros(classes, weight.dtype))

    def scores(self, output: Inexact[Array, "batch n"]) -> Inexact[Array, "batch classes"]:
        scores = real_linear(lambda r: r @ self.weight, output)
        return scores + self.bias.astype(scores.dtype)

    def __call__(self, output: Inexact[Array, "batch n"], target: Any) -> Inexact[Array, " batch"]:
        scores = self.scores(output)
        return softmax_cross_entropy(scores, _labels(target, scores))


COSTS = ("softmax_readout", "softmax_cross_entropy", "squared_error")


def create_cost(name: str, n: int, classes: int, *, key: PRNGKeyArray, dtype: Any = None) -> AbstractCost:
    """The cost called `name` for an output of `n` units.

    Raises `InputError` for an unknown name, and for a cost without a readout whose output has not one unit a class.
    """
    if name in COSTS and name != "softmax_readout" and n != classes:
        raise InputError(f"cost = {name!r}: needs one output unit a class, {classes}, not {n}; use softmax_readout")
    match name:
        case "softmax_readout":
            return SoftmaxReadout.create(n, classes, key=key, dtype=dtype)
        case "softmax_cross_entropy":
            return SoftmaxCrossEntropy()
        case "squared_error":
            return SquaredError()
    raise suggest("cost", name, list(COSTS))
