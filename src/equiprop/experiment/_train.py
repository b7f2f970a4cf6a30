"""Runs from start to summary, kept in a directory, and going on exactly where they stopped."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from equiprop.data import Dataset
from equiprop.errors import EquipropError, InputError, ScheduleWarning
from equiprop.estimators import FLAGS
from equiprop.experiment._config import MAY_CHANGE, Config, schedules
from equiprop.experiment._run_directory import RunDirectory
from equiprop.experiment._trainer import Trainer
from equiprop.numerics import as_schedule
from equiprop.training import (
    Callback,
    EarlyStopping,
    Memory,
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
    trainer = Trainer(config, dataset)
    state = trainer.initial_train_state()
    before = local(state)

    def create() -> RunDirectory:
        directory = RunDirectory.create(out, trainer.config, trainer.dataset, command)
        directory.checkpoints.save(before, seconds=0.0)
        return directory

    directory = on_primary(create)
    try:
        return _run(trainer, directory, state, [], 0.0, callbacks)
    finally:
        if directory is not None:
            directory.unlock()


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
    trainer = Trainer(changed, dataset, resumed=True)
    directory.require_data(trainer.dataset)
    on_primary(directory.lock)
    on_primary(directory.checkpoints.tidy)
    try:
        about, state = directory.checkpoints.newest(trainer.initial_train_state())
        state = trainer.spec.placement.everywhere(state)
        history = on_primary(lambda: directory.metrics_until(about.epoch)) or []
        if any(changed.training[key] != config.training[key] for key in ("epochs", "patience")):
            _extend(directory, config, changed, history)
        return _run(trainer, directory if is_primary() else None, state, history, about.seconds, callbacks)
    finally:
        if is_primary():
            directory.unlock()


def _changed(config: Config, changes: Mapping[str, Any]) -> Config:
    for key in changes:
        if key not in MAY_CHANGE:
            raise InputError(
                "a run keeps its configuration", path=key.split("."), hint=f"only {', '.join(MAY_CHANGE)} may change"
            )
    return replace(config, training=config.training | {key.partition(".")[2]: value for key, value in changes.items()})


def _extend(directory: RunDirectory, before: Config, after: Config, history: list[dict[str, Any]]) -> None:
    """Lets a run go on for other epochs than it was begun with. Raises `InputError` for fewer than are behind it."""
    done, old, new = len(history), before.training["epochs"], after.training["epochs"]
    if new < done:
        raise InputError(f"{done} are behind it", path=("training", "epochs"), value=new, hint=f"give at least {done}")
    if history:
        history[-1].pop("stopped", None)
    on_primary(lambda: directory.extend(after, history))
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
    trainer: Trainer,
    directory: RunDirectory | None,
    state: TrainState,
    history: list[dict[str, Any]],
    seconds: float,
    callbacks: Sequence[Callback],
) -> dict[str, Any]:
    """**Arguments:**

    - `directory`: of the run, in process 0; `None` in the others, which compute with it and write nothing.
    """
    record, settings = directory or Memory(), trainer.config.to_mapping()
    patience = trainer.settings.patience
    own = [EarlyStopping(trainer.judged_by, patience=patience)] if patience else []
    ending = run_training(
        trainer, record, state, history, seconds=seconds, callbacks=[*own, *callbacks], settings=settings
    )
    if ending.interrupted:
        raise Interrupted(ending.interrupted, None if directory is None else directory.path)
    ended = local(ending.state)
    return on_primary(lambda: _conclude(trainer, directory, ended, ending.history)) or {}


def _conclude(
    trainer: Trainer, directory: RunDirectory | None, state: TrainState, history: list[dict[str, Any]]
) -> dict[str, Any]:
    assert directory is not None
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
