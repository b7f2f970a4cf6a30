"""What a training must not pass over in silence."""

from collections.abc import Mapping
from typing import Any

from equiprop.errors import EquipropWarning, ExclusionWarning, GradientWarning, warn
from equiprop.estimators import REMEDIES, AbstractEstimator
from equiprop.systems import System
from equiprop.training._advice import MENDS
from equiprop.training.callbacks._callback import Callback, Plan

_LARGEST_EXCLUSION = 0.05
# An error as long as the gradient itself: it may point anywhere.
_LARGEST_BAR = 1.0


class Warnings(Callback):
    """Warns once of a training that more than 5 % of its samples have no part in, and of one whose gradient cannot be trusted,
    and names why. Every training has it.
    """

    def __init__(self, estimator: AbstractEstimator, said: set[type[EquipropWarning]] | None = None) -> None:
        """**Arguments:**

        - `said`: what has been said already, which several trainings side by side have in common.
        """
        self._dropped = estimator.dropped
        self._said: set[type[EquipropWarning]] = set() if said is None else said
        self._of = ""

    def on_start(self, plan: Plan) -> None:
        self._of = f"lane {plan.lane + 1} of {plan.lanes}: " if plan.lanes > 1 else ""
        found = (_of_exclusion(metrics, ()) for metrics in plan.history), (_of_bar(metrics) for metrics in plan.history)
        kinds = (ExclusionWarning, GradientWarning)
        self._said |= {kind for kind, each in zip(kinds, found, strict=True) if any(each)}

    def on_epoch(self, metrics: Mapping[str, Any], system: System) -> None:
        del system
        self._warn(ExclusionWarning, _of_exclusion(metrics, self._dropped))
        self._warn(GradientWarning, _of_bar(metrics))

    def _warn(self, kind: type[EquipropWarning], reason: str) -> None:
        if reason and kind not in self._said:
            self._said.add(kind)
            warn(f"{self._of}{reason}; this is said once", kind)


def _of_exclusion(metrics: Mapping[str, Any], dropped: tuple[str, ...]) -> str:
    """What is to be said of the samples excluded in an epoch; nothing of few."""
    excluded = metrics.get("excluded_fraction", 0.0)
    if excluded <= _LARGEST_EXCLUSION:
        return ""
    shares = {name: share for name in dropped if (share := metrics[f"{name}_fraction"])}
    why = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    mend = f": {REMEDIES[max(shares, key=shares.__getitem__)]}" if shares else ""
    of = f"the samples of epoch {metrics['epoch']}"
    if excluded == 1:
        return f"none of {of} is in the gradient ({why}), so that nothing is learnt from the data{mend}"
    return f"{100 * excluded:.1f} % of {of} are excluded from the gradient ({why}){mend}"


def _of_bar(metrics: Mapping[str, Any]) -> str:
    """What is to be said of the gradient of an epoch; nothing of one that is near enough."""
    if "gradient_bar" not in metrics:
        return ""
    bar, causes = metrics["gradient_bar"], metrics["gradient_bar_causes"]
    if bar is not None and bar <= _LARGEST_BAR:
        return ""
    known = {name: size for name, size in causes.items() if size is not None}
    worst = max(known, key=known.__getitem__, default="")
    size = "by any amount" if bar is None else f"by {100 * bar:.0f} % of that"
    why = f", most of it by {worst}: {MENDS[worst]}" if worst else ""
    return f"the gradient may be off the exact one {size} after epoch {metrics['epoch']}{why}"
