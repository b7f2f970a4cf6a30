"""Targets that are less than certain."""

from typing import Any, ClassVar

import jax
from jaxtyping import PRNGKeyArray

from equiprop.numerics import Number, count, number
from equiprop.training.transforms._transform import AbstractTransform, weights_of


class LabelSmoothing(AbstractTransform):
    """(1 − ε)·y + ε/n of a target over n classes."""

    citation: ClassVar[tuple[str, ...]] = (
        "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, arXiv:1512.00567",
    )

    amount: Number = number(doc="ε, the share that is spread over all classes.", at_least=0, below=1)
    classes: int = count(0, "How many classes there are, if targets are labels.", at_least=0)

    def __call__(self, x: Any, y: Any, *, key: PRNGKeyArray) -> tuple[Any, Any]:
        del key
        weights = jax.tree.map(lambda a: weights_of(a, self.classes, "LabelSmoothing"), y)
        return x, jax.tree.map(lambda a: (1 - self.amount) * a + self.amount / a.shape[-1], weights)
