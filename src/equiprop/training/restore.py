"""A finished or interrupted run, back in memory."""

from dataclasses import dataclass
from pathlib import Path

from equiprop.data import Dataset
from equiprop.errors import InputError
from equiprop.systems import LayeredNetwork
from equiprop.training.loop import Trainer
from equiprop.training.run_directory import RunDirectory

CHECKPOINTS = ("last", "best")


@dataclass(frozen=True)
class Restored:
    """A run's network with everything it was trained by. `epoch` counts the epochs behind it."""

    trainer: Trainer
    system: LayeredNetwork
    epoch: int


def restore(run: str | Path, *, checkpoint: str = "last", dataset: Dataset | None = None) -> Restored:
    """The network of a run at its `last` checkpoint, or at the `best` one by validation error.

    Raises `InputError` for a folder that is not a run or a checkpoint that is missing, damaged or of another configuration.
    """
    directory = RunDirectory.open(run)
    if checkpoint not in CHECKPOINTS:
        raise InputError(f"checkpoint = {checkpoint!r}: must be one of {', '.join(CHECKPOINTS)}")
    about = directory.checkpoints.best() if checkpoint == "best" else directory.checkpoints.latest()
    trainer = Trainer(directory.resolved_config(), dataset)
    state = directory.checkpoints.restore(about, trainer.start())
    return Restored(trainer, state.system, about.epoch)
