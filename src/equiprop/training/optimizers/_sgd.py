"""Stochastic gradient descent."""

from typing import Any, ClassVar

import jax.numpy as jnp
import optax

from equiprop.numerics import Number, number
from equiprop.training.optimizers._optimizer import (
    AbstractOptimizer,
    is_weight,
    learning_rate_setting,
    learning_rates_setting,
    schedule_setting,
    weight_decay_setting,
)


class SGD(AbstractOptimizer):
    """Stochastic gradient descent with momentum, by Optax."""

    kind: ClassVar[str] = "sgd"
    label: ClassVar[str] = "SGD"

    learning_rate: Number = learning_rate_setting()
    momentum: Number | None = number(0.9, "Fraction of the last update that goes on.", at_least=0, below=1, word=0.0)
    weight_decay: Number | None = weight_decay_setting(
        "Decay of weights (not of biases), added to the gradient before the momentum."
    )
    schedule: str = schedule_setting()
    learning_rates: dict[str, Any] = learning_rates_setting()

    def scaled(self, learning_rate: optax.Schedule) -> optax.GradientTransformation:
        decay = (
            [] if self.weight_decay is None else [optax.add_decayed_weights(jnp.asarray(self.weight_decay), is_weight)]
        )
        momentum = [] if self.momentum is None else [optax.trace(self.momentum)]  # pyright: ignore[reportArgumentType]
        return optax.chain(*decay, *momentum, optax.scale_by_learning_rate(learning_rate))
