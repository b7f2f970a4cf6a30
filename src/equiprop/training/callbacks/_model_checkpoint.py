"""Parameters that are written as a training goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from equiprop.errors import InputError, suggest
from equiprop.systems import System
from equiprop.training._parameter_files import require_suffix, write_parameters
from equiprop.training.callbacks._callback import Callback, Plan


class ModelCheckpoint(Callback):
    """Writes the parameters of a system whenever a metric improves, or every few epochs.

    The parameters are those that are evaluated: averaged ones, where that was asked for.

    **Arguments:**

    - `path`: a `.safetensors` or `.npz` file; what is there is replaced, and never by half of a file. `{epoch}` in it stands for
      the epoch, and `{lane}`, without which several trainings side by side cannot do, for which of them it is.
    - `monitor`: a key of an epoch's metrics; a smaller value is a better one, unless `larger_is_better`.
    - `every`: so many epochs, whatever the metric.

    A training that goes on in another process writes what it would have written in one; if the file of its best epoch is gone,
    the next epoch counts as the best. Raises `InputError` for a path that cannot be, after the first epoch for a metric that is
    not there, and whenever a file cannot be written.
    """

    each_lane: ClassVar[bool] = True

    def __init__(
        self,
        path: str | Path,
        monitor: str = "validation_loss",
        larger_is_better: bool = False,
        every: int | None = None,
    ) -> None:
        if every is not None and every < 1:
            raise InputError("must be at least 1", path="every", value=every)
        self.path, self.monitor, self.every = str(path), monitor, every
        self._sign = -1 if larger_is_better else 1
        self._lane, self._best = 0, float("inf")
        require_suffix(self._path(1))

    def on_start(self, plan: Plan) -> None:
        if plan.lanes > 1 and self._path(1, lane=0) == self._path(1, lane=1):
            reason = f"{plan.lanes} trainings side by side would write the same file"
            raise InputError(reason, path="path", value=self.path, hint="put {lane} in its name")
        self._lane, self._best = plan.lane, float("inf")
        best = 0
        for metrics in plan.history:
            if self._improves(metrics):
                best = metrics["epoch"]
        if not self._path(best).is_file():
            self._best = float("inf")

    def on_epoch(self, metrics: Mapping[str, Any], system: System) -> None:
        epoch = metrics["epoch"]
        due = self._improves(metrics) if self.every is None else epoch % self.every == 0
        if due:
            about = {"epoch": str(epoch)} | ({} if self.every else {self.monitor: str(metrics[self.monitor])})
            write_parameters(system, self._path(epoch), about)

    def _improves(self, metrics: Mapping[str, Any]) -> bool:
        """Whether these are the best metrics so far."""
        if self.every is not None:
            return False
        if self.monitor not in metrics:
            raise suggest("monitor", self.monitor, sorted(metrics))
        value = metrics[self.monitor]
        # What is not a number does not improve.
        if value is None or not self._sign * value < self._best:
            return False
        self._best = self._sign * value
        return True

    def _path(self, epoch: int, lane: int | None = None) -> Path:
        try:
            return Path(self.path.format(epoch=epoch, lane=self._lane if lane is None else lane))
        except (LookupError, ValueError, AttributeError) as error:
            hint = "only {epoch} and {lane} stand for something; a brace itself is written twice"
            raise InputError("cannot be filled in", path="path", value=self.path, hint=hint) from error
