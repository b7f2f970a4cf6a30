"""Mixed samples."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from equiprop.numerics import Number, count, number
from equiprop.training.transforms._transform import AbstractTransform, mixed, weights_of


class Mixup(AbstractTransform):
    """λ·(x, y) + (1 − λ)·(x′, y′) of a sample and another one of its batch, λ ~ Beta(α, α) for each."""

    citation: ClassVar[tuple[str, ...]] = (
        "Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, arXiv:1710.09412",
    )

    alpha: Number = number(doc="Of the Beta distribution; small: nearly unmixed, 1: any mixture alike.", above=0)
    classes: int = count(0, "How many classes there are, if targets are labels.", at_least=0)

    def __call__(self, x: Any, y: Any, *, key: PRNGKeyArray) -> tuple[Any, Any]:
        order_key, weight_key = jax.random.split(key)
        y = jax.tree.map(lambda a: weights_of(a, self.classes, "Mixup"), y)
        size = jax.tree.leaves(x)[0].shape[0]
        order = jax.random.permutation(order_key, size)
        weight = jax.random.beta(weight_key, self.alpha, self.alpha, (size,))
        # The larger share is the sample's own, so that no two of the batch become the same.
        weight = jnp.maximum(weight, 1 - weight)
        return mixed(weight, (x, y), jax.tree.map(lambda a: a[order], (x, y)))
