"""Runs from start to summary, kept in a directory, and going on exactly where they stopped."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from equiprop.data import Dataset, Shards
from equiprop.errors import EquipropError, InputError, ScheduleWarning
from equiprop.estimators import FLAGS
from equiprop.experiment._config import MAY_CHANGE, Config, schedules
from equiprop.experiment._run_directory import RunDirectory
from equiprop.experiment._seeds import SeedsDirectory, of_each_seed
from equiprop.experiment._trainer import Trainer
from equiprop.numerics import as_schedule
from equiprop.training import (
    Callback,
    EarlyStopping,
    Ending,
    Memory,
    NonFinite,
    TrainState,
    certify,
    diagnose_gradient,
    evaluate,
    is_primary,
    local,
    on_device,
    on_primary,
)
from equiprop.training import run as run_training


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
    states = [trainer.initial_train_state() for trainer in trainers]
    before = local(states)

    def create() -> RunDirectory | SeedsDirectory:
        directory = _create(out, config, trainers, command)
        directory.save(before, seconds=0.0)
        return directory

    directory = on_primary(create)
    try:
        return _run(trainers, directory, states, [[] for _ in trainers], 0.0, callbacks)
    finally:
        if directory is not None:
            directory.unlock()


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


def _create(out: str | Path, config: Config, trainers: list[Trainer], command: str) -> RunDirectory | SeedsDirectory:
    first = trainers[0]
    if len(trainers) == 1:
        return RunDirectory.create(out, first.config, first.dataset, command)
    seeds = {key: config.training[key] for key in ("seed", "seeds")}
    whole = replace(first.config, training=first.config.training | seeds)
    return SeedsDirectory.create(out, [trainer.config for trainer in trainers], whole, first.dataset, command)


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
    changed = _changed(config, changes or {})
    trainers = _trainers(changed, dataset, resumed=True)
    directory.require_data(trainers[0].dataset)
    record = directory if len(trainers) == 1 else SeedsDirectory.open(run)
    on_primary(record.lock)
    on_primary(directory.checkpoints.tidy)
    try:
        states, histories, seconds = _restored(record, trainers)
        if any(changed.training[key] != config.training[key] for key in ("epochs", "patience")):
            _extend(record, config, changed, histories)
        return _run(trainers, record if is_primary() else None, states, histories, seconds, callbacks)
    finally:
        if is_primary():
            record.unlock()


def _restored(
    record: RunDirectory | SeedsDirectory, trainers: list[Trainer]
) -> tuple[list[TrainState], list[list[dict[str, Any]]], float]:
    """The states, what was said of each epoch before, and the seconds spent on the one under way."""
    like = [trainer.initial_train_state() for trainer in trainers]
    if isinstance(record, SeedsDirectory):
        states, histories, seconds = record.restore(like)
    else:
        about, state = record.checkpoints.newest(like[0])
        states, seconds = [state], about.seconds
        histories = [on_primary(lambda: record.metrics_until(about.epoch)) or []]
    return trainers[0].spec.placement.everywhere(states), histories, seconds


def _changed(config: Config, changes: Mapping[str, Any]) -> Config:
    for key in changes:
        if key not in MAY_CHANGE:
            raise InputError(
                "a run keeps its configuration", path=key.split("."), hint=f"only {', '.join(MAY_CHANGE)} may change"
            )
    return replace(config, training=config.training | {key.partition(".")[2]: value for key, value in changes.items()})


def _extend(
    record: RunDirectory | SeedsDirectory, before: Config, after: Config, histories: list[list[dict[str, Any]]]
) -> None:
    """Lets a run go on for other epochs than it was begun with. Raises `InputError` for fewer than are behind it."""
    done, old, new = max(map(len, histories)), before.training["epochs"], after.training["epochs"]
    if new < done:
        raise InputError(f"{done} are behind it", path=("training", "epochs"), value=new, hint=f"give at least {done}")
    for history in histories:
        if history:
            history[-1].pop("stopped", None)
    on_primary(lambda: record.extend(after, histories))
    for sentence in rescheduled(before, done, old, new):
        warnings.warn(sentence, ScheduleWarning, stacklevel=4)


def rescheduled(config: Config, done: int, before: int, after: int) -> Iterator[str]:
    """What changes for every schedule of a run of so many epochs that goes on, after `done` of them, as one of `after` epochs."""
    if before == after:
        return
    promised = f"was to end with epoch {before}, and goes on as one over {after} epochs"
    if config.optimizer.values.get("schedule") == "cosine":
        now, then = (50 * (1 + math.cos(math.pi * min(done / n, 1))) for n in (before, after))
        here = f"after epoch {done} from {now:.3g} % to {then:.3g} % of its peak"
        yield f"the cosine schedule of the learning rate {promised}: {here}"
    for key, table in schedules(config):
        now, then = (float(as_schedule(table)(jnp.asarray(min(done / n, 1.0)))) for n in (before, after))
        yield f"the {table['schedule']} schedule of {key} {promised}: after epoch {done} from {now:.3g} to {then:.3g}"


def _run(
    trainers: list[Trainer],
    record: RunDirectory | SeedsDirectory | None,
    states: list[TrainState],
    histories: list[list[dict[str, Any]]],
    seconds: float,
    callbacks: Sequence[Callback],
) -> dict[str, Any]:
    """**Arguments:**

    - `record`: of the run, in process 0; `None` in the others, which compute with it and write nothing.
    """
    first = trainers[0]
    patience = first.settings.patience
    own = [EarlyStopping(first.judged_by, patience=patience)] if patience else []
    ending = run_training(
        trainers,
        record or Memory(),
        states,
        histories,
        seconds=seconds,
        callbacks=[*own, *callbacks],
        settings=first.config.to_mapping(),
    )
    if isinstance(record, SeedsDirectory):
        record.conclude(ending.states)
    if ending.interrupted:
        raise Interrupted(ending.interrupted, None if record is None else Path(record.place))
    ended = local(ending.states)
    return on_primary(lambda: _conclude(trainers, record, ended, ending)) or {}


def _conclude(
    trainers: list[Trainer], record: RunDirectory | SeedsDirectory | None, states: list[TrainState], ending: Ending
) -> dict[str, Any]:
    assert record is not None
    if isinstance(record, RunDirectory):
        return _summarised(trainers[0], record, states[0], ending.histories[0])
    failed = {lane: reason for lane, reason in enumerate(ending.failed) if reason}
    summaries = {
        lane: _summarised(trainer, record.runs[lane], states[lane], ending.histories[lane])
        for lane, trainer in enumerate(trainers)
        if lane not in failed
    }
    summary = record.write_summary(summaries, failed)
    if failed:
        seeds = ", ".join(f"seed {trainers[lane].settings.seed}: {reason}" for lane, reason in failed.items())
        raise NonFinite(f"{len(failed)} of {len(trainers)} seeds were given up, the others are trained; {seeds}")
    return summary


def _summarised(
    trainer: Trainer, directory: RunDirectory, state: TrainState, history: list[dict[str, Any]]
) -> dict[str, Any]:
    summary = _summary(trainer, directory, state, history)
    directory.write_summary(summary)
    return summary


_OF_LAST = ("validation_error_percent", "validation_loss", "train_error_percent", "train_loss")


def _summary(
    trainer: Trainer, directory: RunDirectory, state: TrainState, history: list[dict[str, Any]]
) -> dict[str, Any]:
    """The keys that others script against, of the final epoch; `best_*` of the one that validation selects."""
    test = on_device(trainer.dataset.test, trainer.dataset, trainer.dtype)
    components, config, last = trainer.at_epoch(trainer.components, len(history)), trainer.config, history[-1]
    final = evaluate(state.evaluated, test, components.solver, confusion=True)
    about = directory.checkpoints.about(best=True)
    best = directory.checkpoints.restore(about, trainer.initial_train_state())
    samples = trainer.settings.diagnostic_samples or 200
    gradient = last if "cosine_to_adjoint" in last else diagnose_gradient(
        state.evaluated, trainer.validation, components, samples, trainer.settings.seed
    )  # fmt: skip
    best_test = evaluate(best.evaluated, test, trainer.at_epoch(trainer.components.solver, about.epoch))
    directory.write_confusion("test", len(history), trainer.dataset.classes, final)
    return {
        "test_error_percent": final.get("error_percent"),
        "test_loss": final["loss"],
        **{name: last.get(name) for name in _OF_LAST},
        "best_epoch": about.epoch,
        **{f"best_{name}": history[about.epoch - 1].get(name) for name in _OF_LAST[:2]},
        "best_test_error_percent": best_test.get("error_percent"),
        "best_test_loss": best_test["loss"],
        "epochs": len(history),
        "seconds": round(sum(line["epoch_seconds"] for line in history), 3),
        "dataset": config.dataset,
        "estimator": config.estimator.kind,
        "homeostasis": config.homeostasis.kind,
        "converged_fraction": last["converged_fraction"],
        **{name: last[name] for name in (*(f"{flag}_fraction" for flag in FLAGS), "excluded_fraction")},
        "relaxation_steps": last["relaxation_steps"],
        **{name: gradient[name] for name in ("cosine_to_adjoint", "gradient_norm_ratio", "symmetry", "error_bar")},
        **certify(state.evaluated, trainer.validation, components.solver, trainer.settings.seed),
        "weight_angle_deg": gradient["weight_angle_deg"],
    }
