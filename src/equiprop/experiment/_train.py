"""Runs from start to summary, kept in a directory, and going on exactly where they stopped."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from equiprop.data import Dataset
from equiprop.errors import EquipropError
from equiprop.estimators import FLAGS
from equiprop.experiment._config import Config
from equiprop.experiment._run_directory import RunDirectory
from equiprop.experiment._trainer import Trainer
from equiprop.training import (
    Callback,
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
    devices: int | None = None,
    micro_batches: int | None = None,
) -> dict[str, Any]:
    """Continues the run in directory `run` from its last checkpoint, bit for bit as if it had not stopped.

    **Arguments:**

    - `devices`, `micro_batches`: in place of those of the run; on other devices sums are taken in another order.

    Raises what `train` raises, and `InputError` for a folder that is not a run, a checkpoint of another configuration or a
    data set that is not the one the run began with.
    """
    directory = RunDirectory.open(run)
    directory.checkpoints.about()  # that there is one, before the data are read
    config = directory.resolved_config()
    changed = {k: v for k, v in (("devices", devices), ("micro_batches", micro_batches)) if v is not None}
    trainer = Trainer(replace(config, training=config.training | changed), dataset)
    directory.require_data(trainer.dataset)
    on_primary(directory.lock)
    on_primary(directory.checkpoints.tidy)
    try:
        about, state = directory.checkpoints.newest(trainer.initial_train_state())
        state = trainer.spec.placement.everywhere(state)
        history = on_primary(lambda: directory.metrics_until(about.epoch)) or []
        return _run(trainer, directory if is_primary() else None, state, history, about.seconds, callbacks)
    finally:
        if is_primary():
            directory.unlock()


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
    ending = run_training(trainer, record, state, history, seconds=seconds, callbacks=callbacks, settings=settings)
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


def _summary(
    trainer: Trainer, directory: RunDirectory, state: TrainState, history: list[dict[str, Any]]
) -> dict[str, Any]:
    """The keys that others script against, of the final epoch; `best_*` of the one that validation selects."""
    test = on_device(trainer.dataset.test, trainer.dataset, trainer.dtype)
    components, config, last = trainer.at_epoch(trainer.components, len(history)), trainer.config, history[-1]
    final = evaluate(state.system, test, components.solver)
    about = directory.checkpoints.about(best=True)
    best = directory.checkpoints.restore(about, trainer.initial_train_state())
    samples = trainer.settings.diagnostic_samples or 200
    gradient = last if "cosine_to_adjoint" in last else diagnose_gradient(
        state.system, trainer.validation, components, samples, trainer.settings.seed
    )  # fmt: skip
    return {
        "test_error_percent": final["error_percent"],
        "validation_error_percent": last["validation_error_percent"],
        "train_error_percent": last["train_error_percent"],
        "train_loss": last["train_loss"],
        "best_epoch": about.epoch,
        "best_validation_error_percent": history[about.epoch - 1]["validation_error_percent"],
        "best_test_error_percent": evaluate(
            best.system, test, trainer.at_epoch(trainer.components.solver, about.epoch)
        )["error_percent"],
        "epochs": len(history),
        "seconds": round(sum(line["epoch_seconds"] for line in history), 3),
        "dataset": config.dataset,
        "estimator": config.estimator.kind,
        "homeostasis": config.homeostasis.kind,
        "converged_fraction": last["converged_fraction"],
        **{name: last[name] for name in (*(f"{flag}_fraction" for flag in FLAGS), "excluded_fraction")},
        "relaxation_steps": last["relaxation_steps"],
        **{name: gradient[name] for name in ("cosine_to_adjoint", "gradient_norm_ratio", "symmetry", "error_bar")},
        **certify(state.system, trainer.validation, components.solver, trainer.settings.seed),
        "weight_angle_deg": gradient["weight_angle_deg"],
    }
