"""What a prediction is judged by, besides the cost: one number a sample."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from equiprop.errors import suggest

Metric = Callable[[Any, Any], Float[Array, " batch"]]
"""Of predictions (the scores of classes, or the output) and targets, one number a sample; its mean is reported."""


def _of_values(function: Callable[[Array], Array]) -> Metric:
    """The mean of a function of the errors of all outputs."""

    def metric(prediction: Array, target: Array) -> Array:
        error = prediction - jnp.reshape(target, prediction.shape)
        return function(error).reshape(len(error), -1).mean(axis=1)

    return metric


def _not_among_five(prediction: Array, target: Array) -> Array:
    """100 where the right class has none of the five largest scores."""
    label = target if target.ndim == 1 else jnp.argmax(target, axis=-1)
    own = jnp.take_along_axis(prediction, label[:, None], axis=-1)
    return 100.0 * (jnp.sum(prediction > own, axis=-1) >= 5)


METRICS: dict[str, Metric] = {
    "mse": _of_values(jnp.square),
    "mae": _of_values(jnp.abs),
    "top5_error_percent": _not_among_five,
}


def metrics_of(given: Iterable[str | Metric] | Mapping[str, Metric]) -> dict[str, Metric]:
    """By name. A function goes by its own name, unless it is given one. Raises `InputError` for a name that is none."""
    if isinstance(given, Mapping):
        return {str(name): metric for name, metric in given.items()}
    found: dict[str, Metric] = {}
    for each in given:
        if isinstance(each, str) and each not in METRICS:
            raise suggest("metrics", each, list(METRICS))
        found[each if isinstance(each, str) else each.__name__] = METRICS[each] if isinstance(each, str) else each
    return found
