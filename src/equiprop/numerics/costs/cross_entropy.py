"""Cross-entropy of the output itself."""

from typing import ClassVar

from equiprop.numerics.costs._cost import AbstractCrossEntropy


class SoftmaxCrossEntropy(AbstractCrossEntropy):
    """−Σ_k y_k·log softmax(r)_k, the softmax of the output activity itself."""

    kind: ClassVar[str] = "softmax_cross_entropy"
