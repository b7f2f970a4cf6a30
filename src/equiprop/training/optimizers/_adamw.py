"""Adam with decoupled weight decay."""

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


class AdamW(AbstractOptimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101), by Optax."""

    kind: ClassVar[str] = "adamw"
    label: ClassVar[str] = "AdamW"

    learning_rate: Number = learning_rate_setting()
    momentum: Number = number(0.9, "Decay of the first moment.", at_least=0, below=1)
    weight_decay: Number | None = weight_decay_setting(
        "Decay of weights (not of biases), decoupled: times the learning rate."
    )
    schedule: str = schedule_setting()
    learning_rates: dict[str, Any] = learning_rates_setting()

    def scaled(self, learning_rate: optax.Schedule) -> optax.GradientTransformation:
        decay = (
            [] if self.weight_decay is None else [optax.add_decayed_weights(jnp.asarray(self.weight_decay), is_weight)]
        )
        adam = optax.scale_by_adam(b1=self.momentum)  # pyright: ignore[reportArgumentType]
        return optax.chain(adam, *decay, optax.scale_by_learning_rate(learning_rate))
