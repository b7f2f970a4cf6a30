"""Cross-entropy behind a trainable readout."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PRNGKeyArray

from equiprop.numerics.complex import real_linear
from equiprop.numerics.costs._cost import AbstractCrossEntropy


class SoftmaxReadout(AbstractCrossEntropy):
    """Softmax cross-entropy behind a trainable linear readout: scores = r·`weight` + `bias`.

    The published setting (Laborieux et al. 2021, doi:10.3389/fnins.2021.633674): the readout is outside of the relaxing
    network, so that the cost's own gradient trains it.
    """

    kind: ClassVar[str] = "softmax_readout"

    weight: Float[Array, "n classes"]
    bias: Float[Array, " classes"]

    @classmethod
    def create(cls, outputs: int, classes: int, *, key: PRNGKeyArray, dtype: Any = None) -> "SoftmaxReadout":
        """Weights uniform in ±1/√outputs, zero bias."""
        limit = outputs**-0.5
        weight = jax.random.uniform(key, (outputs, classes), dtype or jnp.result_type(float), -limit, limit)
        return cls(weight, jnp.zeros(classes, weight.dtype))

    def scores(self, output: Inexact[Array, "batch n"]) -> Inexact[Array, "batch classes"]:
        scores = real_linear(lambda r: r @ self.weight, output)
        return scores + self.bias.astype(scores.dtype)
