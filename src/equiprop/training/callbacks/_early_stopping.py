"""Stopping where nothing improves any more."""

from collections.abc import Mapping
from typing import Any, ClassVar

from equiprop.errors import InputError, suggest
from equiprop.systems import System
from equiprop.training.callbacks._callback import Callback, Plan


class EarlyStopping(Callback):
    """Stops a training whose metric has not improved for a number of epochs.

    **Arguments:**

    - `monitor`: a key of an epoch's metrics; a smaller value is a better one, unless `larger_is_better`.
    - `patience`: so many epochs in a row without improvement.
    - `least`: by how much a value must be better to count.

    A training that goes on in another process decides as it would have in one. Raises `InputError` after the first epoch for
    a metric that is not there.
    """

    each_lane: ClassVar[bool] = True

    def __init__(
        self, monitor: str = "validation_loss", *, patience: int = 5, least: float = 0.0, larger_is_better: bool = False
    ) -> None:
        if patience < 1:
            raise InputError("must be at least 1", path="patience", value=patience)
        self.monitor, self.patience, self.least, self._sign = monitor, patience, least, -1 if larger_is_better else 1
        self._best, self._since = float("inf"), 0

    def on_start(self, plan: Plan) -> None:
        self._best, self._since = float("inf"), 0
        for metrics in plan.history:
            self._see(metrics)

    def on_epoch(self, metrics: Mapping[str, Any], system: System) -> str | None:
        del system
        self._see(metrics)
        if self._since < self.patience:
            return None
        plural = "" if self.patience == 1 else "s"
        return f"{self.monitor} has not improved for {self.patience} epoch{plural}"

    def _see(self, metrics: Mapping[str, Any]) -> None:
        if self.monitor not in metrics:
            raise suggest("monitor", self.monitor, sorted(metrics))
        value = metrics[self.monitor]
        # What is not a number does not improve.
        if value is not None and self._sign * value < self._best - self.least:
            self._best, self._since = self._sign * value, 0
        else:
            self._since += 1
