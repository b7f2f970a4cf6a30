"""What a training must not pass over in silence."""

import warnings
from collections.abc import Mapping
from typing import Any

from equiprop.errors import ExclusionWarning
from equiprop.estimators import AbstractEstimator
from equiprop.systems import System
from equiprop.training.callbacks._callback import Callback, Plan

_LARGEST_EXCLUSION = 0.05


class Warnings(Callback):
    """Warns once of a training that more than 5 % of its samples have no part in, and names why. Every training has it."""

    def __init__(self, estimator: AbstractEstimator) -> None:
        self._dropped = estimator.dropped
        self._said = False

    def on_start(self, plan: Plan) -> None:
        self._said = any(metrics.get("excluded_fraction", 0.0) > _LARGEST_EXCLUSION for metrics in plan.history)

    def on_epoch(self, metrics: Mapping[str, Any], system: System) -> None:
        del system
        excluded = metrics["excluded_fraction"]
        if self._said or excluded <= _LARGEST_EXCLUSION:
            return
        self._said = True
        shares = {name: metrics[f"{name}_fraction"] for name in self._dropped}
        why = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items() if share)
        warnings.warn(
            f"{100 * excluded:.1f} % of the samples of epoch {metrics['epoch']} are excluded from the gradient ({why}); this is "
            "said once",
            ExclusionWarning,
            stacklevel=2,
        )
