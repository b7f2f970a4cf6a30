"""Cross-entropy of the output itself."""

from typing import Any, ClassVar

from jaxtyping import Array, Inexact

from equiprop.numerics.costs._cost import AbstractCost, labels_of, softmax_cross_entropy


class SoftmaxCrossEntropy(AbstractCost):
    """−log softmax(r)[y], the softmax of the output activity itself; targets are integer labels `[batch]`, else `InputError`."""

    kind: ClassVar[str] = "softmax_cross_entropy"

    def __call__(self, output: Inexact[Array, "batch n"], target: Any) -> Inexact[Array, " batch"]:
        return softmax_cross_entropy(output, labels_of(target, output))
