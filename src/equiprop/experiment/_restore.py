"""A finished or interrupted run, back in memory."""

from dataclasses import dataclass, replace
from pathlib import Path

from equiprop.data import Dataset
from equiprop.errors import suggest
from equiprop.experiment._run_directory import RunDirectory
from equiprop.experiment._trainer import Trainer
from equiprop.systems import System

CHECKPOINTS = ("last", "best")


@dataclass(frozen=True)
class Restored:
    """A run's system with everything it was trained by. `epoch` counts the epochs behind it."""

    trainer: Trainer
    system: System
    epoch: int


def restore(run: str | Path, *, checkpoint: str = "last", dataset: Dataset | None = None) -> Restored:
    """The system of a run at its `last` checkpoint, or at the `best` one by validation error.

    On one device, whatever the run was trained on. Raises `InputError` for a folder that is not a run, a checkpoint that is
    missing, damaged or of another configuration, or data that are not those of the run.
    """
    directory = RunDirectory.open(run)
    if checkpoint not in CHECKPOINTS:
        raise suggest("checkpoint", checkpoint, CHECKPOINTS)
    best = checkpoint == "best"
    directory.checkpoints.about(best=best)  # that there is one, before the data are read
    config = directory.resolved_config()
    # How many devices it was trained on does not matter here.
    trainer = Trainer(replace(config, training=config.training | {"devices": 1, "micro_batches": 1}), dataset)
    directory.require_data(trainer.dataset)
    about, state = directory.checkpoints.newest(trainer.initial_train_state(), best=best)
    return Restored(trainer, state.system, about.epoch)
