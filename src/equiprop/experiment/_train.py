"""Runs from a configuration, from start to summary, going on exactly where they stopped."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from equiprop.data import Dataset, Shards
from equiprop.errors import EquipropError, InputError
from equiprop.experiment._config import MAY_CHANGE, Config
from equiprop.experiment._recorded import (
    Record,
    Recorded,
    begin,
    conclude,
    extend,
    lock,
    restored,
    unlock,
)
from equiprop.experiment._recorded import run as run_recorded
from equiprop.experiment._run_directory import RunDirectory
from equiprop.experiment._seeds import SeedsDirectory, of_each_seed
from equiprop.experiment._trainer import Trainer
from equiprop.files import read_json
from equiprop.reporting import CONFIG, SUMMARY
from equiprop.training import Callback, EarlyStopping, TrainState, is_primary, on_primary


class Interrupted(EquipropError):
    """The user asked to stop; a checkpoint was written to `run`, by this process or by the first one (`None`)."""

    def __init__(self, message: str, run: Path | None) -> None:
        super().__init__(message)
        self.run = run


def train(
    config: Config,
    out: str | Path,
    *,
    dataset: Dataset | None = None,
    callbacks: Sequence[Callback] = (),
    command: str = "",
) -> dict[str, Any]:
    """Trains from the start into the new run directory `out` and returns its summary.

    **Arguments:**

    - `dataset`: in place of the one the configuration names.
    - `callbacks`: told of steps and epochs.
    - `command`: recorded in the manifest.

    Nobody else can train in the same directory meanwhile.

    Raises `InputError` for wrong input, before anything is written; `Interrupted` after Ctrl-C, with a checkpoint written;
    `NonFinite` when weights or loss stop being numbers.
    """
    on_primary(lambda: RunDirectory.require_new(out))
    trainers = _trainers(config, dataset)
    record, states = begin(out, [Recorded.of(trainer) for trainer in trainers], command)
    try:
        return _run(trainers, record, states, [[] for _ in trainers], 0.0, callbacks)
    finally:
        unlock(record)


def _trainers(config: Config, dataset: Dataset | None, *, resumed: bool = False) -> list[Trainer]:
    """One, or one for each seed, which share what is on the device."""
    configs = of_each_seed(config)
    first = Trainer(configs[0], dataset, resumed=resumed)
    if len(configs) > 1:
        reason = ""
        if isinstance(first.dataset.train, Shards):
            reason = f"{config.dataset} is read from disk file by file"
        elif jax.process_count() > 1:
            reason = "there are several processes"
        if reason:
            hint = "train one seed after the other"
            raise InputError(reason, path=("training", "seeds"), value=len(configs), hint=hint)
    return [first, *(Trainer(each, first.dataset, resumed=resumed, beside=first) for each in configs[1:])]


def resume(
    run: str | Path,
    *,
    dataset: Dataset | None = None,
    callbacks: Sequence[Callback] = (),
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Continues the run in directory `run` from its last checkpoint, bit for bit as if it had not stopped.

    **Arguments:**

    - `changes`: other values of the keys in `MAY_CHANGE`: `training.devices` and `training.micro_batches` (on other devices
      sums are taken in another order); `training.epochs` and `training.patience`, with which also a run that has ended goes
      on. A schedule over other epochs than it was begun with is said in a `ScheduleWarning`.

    Raises what `train` raises, and `InputError` for a folder that is not a run, a checkpoint of another configuration or a
    data set that is not the one the run began with.
    """
    directory = RunDirectory.open(run)
    directory.checkpoints.about()  # that there is one, before the data are read
    config = directory.resolved_config()
    if config.system.is_given:
        raise InputError(f"run {run}: was begun by fit", hint="call fit again with the same arguments, and it goes on")
    changed = _changed(config, changes or {})
    trainers = _trainers(changed, dataset, resumed=True)
    directory.require_data(trainers[0].dataset.info)
    record = directory if len(trainers) == 1 else SeedsDirectory.open(run)
    lock(record)
    try:
        states, histories, seconds = restored(record, [Recorded.of(trainer) for trainer in trainers])
        if any(changed.training[key] != config.training[key] for key in ("epochs", "patience")):
            extend(record, config, changed, histories)
        return _run(trainers, record if is_primary() else None, states, histories, seconds, callbacks)
    finally:
        unlock(record)


def train_or_resume(
    config: Config, out: str | Path, *, callbacks: Sequence[Callback] = (), command: str = ""
) -> dict[str, Any]:
    """Trains into `out`, or goes on there, and returns the summary: that which is there of a run that has ended.

    Raises what `train` and `resume` raise.
    """
    if not is_begun(out):
        return train(config, out, callbacks=callbacks, command=command)
    if RunDirectory.open(out).is_finished:
        return read_json(Path(out) / SUMMARY)
    return resume(out, callbacks=callbacks)


def is_begun(folder: str | Path) -> bool:
    """Whether there is a checkpoint to go on from; what a process left that was killed before that is removed."""
    if (Path(folder) / CONFIG).is_file():
        try:
            RunDirectory.open(folder).checkpoints.about()
            return True
        except InputError as error:
            if "holds no checkpoint" not in error.reason:
                raise
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _changed(config: Config, changes: Mapping[str, Any]) -> Config:
    for key in changes:
        if key not in MAY_CHANGE:
            raise InputError(
                "a run keeps its configuration", path=key.split("."), hint=f"only {', '.join(MAY_CHANGE)} may change"
            )
    return replace(config, training=config.training | {key.partition(".")[2]: value for key, value in changes.items()})


def _run(
    trainers: list[Trainer],
    record: Record | None,
    states: list[TrainState],
    histories: list[list[dict[str, Any]]],
    seconds: float,
    callbacks: Sequence[Callback],
) -> dict[str, Any]:
    first, jobs = trainers[0], [Recorded.of(trainer) for trainer in trainers]
    patience = first.settings.patience
    own = [EarlyStopping(first.judged_by, patience=patience)] if patience else []
    ending = run_recorded(jobs, record, states, histories, seconds, [*own, *callbacks])
    if ending.interrupted:
        raise Interrupted(ending.interrupted, None if record is None else Path(record.place))
    return conclude(jobs, record, ending)
