"""Records of trainings as TensorBoard reads them."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from equiprop.training.callbacks._callback import Plan
from equiprop.training.callbacks._tracker import Tracker, has_failed, hyperparameters, simple_name

_JUDGED_BY = ("train_loss", "validation_loss", "validation_error_percent")
"""What TensorBoard shows beside hyperparameters."""


class TensorBoard(Tracker):
    """Writes event files, which `tensorboard --logdir FOLDER` shows: metrics over epochs, and hyperparameters.

    TensorBoard itself is not needed to write them. A training that goes on adds to its folder; what a killed process may have
    written of a later epoch is no longer shown.

    **Arguments:**

    - `folder`: by default `tensorboard` in the run directory, or one of its own in `runs/tensorboard` where there is none.

    Raises `InputError` if tensorboardX is not installed (`pip install equiprop[tensorboard]`).
    """

    package = "tensorboardX"
    extra = "tensorboard"

    def __init__(self, folder: str | Path | None = None) -> None:
        super().__init__()
        self.folder = folder
        self._file: Any = None
        self._ended: Any = None

    @property
    def title(self) -> str:
        return "TensorBoard" if self.folder is None else f"TensorBoard({str(self.folder)!r})"

    def start(self, plan: Plan) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboardX.summary import hparams

        folder = self._folder(plan)
        # By its name in the run directory, which may be moved.
        record = str(folder.relative_to(plan.place)) if plan.place and self.folder is None else str(folder)
        goes_on, self.record = self.record == record, record
        folder.mkdir(parents=True, exist_ok=True)
        # tensorboardX's SummaryWriter writes from a thread of its own, and waits for it for ever once that has failed. The suffix
        # tells files apart that are begun in the same second, of which the later one would replace the earlier one.
        self._file = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        begun, settings, self._ended = hparams(hyperparameters(plan.settings), dict.fromkeys(_JUDGED_BY, 0.0))
        if goes_on:
            self._add(step=plan.epoch + 1, session_log=SessionLog(status=SessionLog.START))
        else:
            self._add(summary=begun)
            self._add(summary=settings)
        self._file.flush()

    def log(self, metrics: dict[str, float], epoch: int) -> None:
        from tensorboardX.summary import scalar

        for name, value in metrics.items():
            self._add(step=epoch, summary=scalar(simple_name(name), value))
        self._file.flush()

    def finish(self, reason: str) -> None:
        if not has_failed(reason):
            self._add(summary=self._ended)
        self._file.close()

    def _add(self, **fields: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

        self._file.write_event(Event(wall_time=time.time(), **fields))

    def _folder(self, plan: Plan) -> Path:
        if self.folder is not None:
            return Path(self.folder)
        if plan.place:
            return Path(plan.place) / "tensorboard"
        return Path("runs") / "tensorboard" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
