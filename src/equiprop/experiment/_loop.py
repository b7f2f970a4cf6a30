"""Training from start to summary: epochs, checkpoints, interrupts, and going on exactly where a run stopped."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from equiprop.data import Dataset
from equiprop.errors import EquipropError
from equiprop.estimators import FLAGS
from equiprop.experiment._config import Config
from equiprop.experiment._processes import agree, is_primary, local, on_primary
from equiprop.experiment._run_directory import RunDirectory
from equiprop.experiment._trainer import Trainer
from equiprop.training import (
    Totals,
    TrainState,
    all_finite,
    certify,
    diagnose_gradient,
    evaluate,
    finite_or_none,
    on_device,
)

# A call of the compiled loop takes about this long, in seconds: short enough for progress and Ctrl-C, long enough to be free.
_CALL_SECONDS = 0.5


class Interrupted(EquipropError):
    """The user asked to stop; a checkpoint was written."""


class NonFinite(EquipropError):
    """The weights or the loss stopped being numbers."""


class Observer:
    """Is told how a run goes on; does nothing unless overridden."""

    def on_start(self, config: Config, steps_per_epoch: int, epoch: int) -> None: ...

    def on_steps(self, epoch: int, step: int, loss: float) -> None: ...

    def on_epoch(self, metrics: Mapping[str, Any]) -> None: ...


def train(
    config: Config,
    out: str | Path,
    *,
    dataset: Dataset | None = None,
    observer: Observer | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Trains from the start into the new run directory `out` and returns its summary.

    **Arguments:**

    - `dataset`: in place of the one the configuration names.
    - `observer`: told of steps and epochs.
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
        return _run(trainer, directory, state, [], 0.0, observer or Observer())
    finally:
        if directory is not None:
            directory.unlock()


def resume(
    run: str | Path,
    *,
    dataset: Dataset | None = None,
    observer: Observer | None = None,
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
        state = trainer.placement.everywhere(state)
        history = on_primary(lambda: directory.metrics_until(about.epoch)) or []
        return _run(trainer, directory if is_primary() else None, state, history, about.seconds, observer or Observer())
    finally:
        if is_primary():
            directory.unlock()


def _run(
    trainer: Trainer,
    directory: RunDirectory | None,
    state: TrainState,
    history: list[dict[str, Any]],
    seconds: float,
    observer: Observer,
) -> dict[str, Any]:
    """**Arguments:**

    - `directory`: of the run, in process 0; `None` in the others, which compute with it and write nothing.
    """
    observer.on_start(trainer.config, trainer.steps_per_epoch, int(state.epoch))
    with _interrupts() as interrupted:
        while int(state.epoch) < trainer.epochs:
            began = time.perf_counter()
            state = _epoch(trainer, directory, state, seconds, observer, interrupted)
            finished = local(state)
            state = trainer.placement.everywhere(_next_epoch(state))
            spent = seconds + time.perf_counter() - began
            on_primary(
                lambda finished=finished, spent=spent: _record(trainer, directory, finished, history, spent, observer)
            )
            seconds = 0.0
    ended = local(state)
    return on_primary(lambda: _conclude(trainer, directory, ended, history)) or {}


def _record(
    trainer: Trainer,
    directory: RunDirectory | None,
    finished: TrainState,
    history: list[dict[str, Any]],
    seconds: float,
    observer: Observer,
) -> None:
    """Everything that is written at the end of an epoch."""
    assert directory is not None
    metrics = _metrics(trainer, finished, seconds)
    state = _next_epoch(finished)
    _keep_best(directory, state, history, metrics)
    directory.append_metrics(metrics)
    history.append(metrics)
    directory.checkpoints.save(state, seconds=0.0)
    observer.on_epoch(metrics)


def _conclude(
    trainer: Trainer, directory: RunDirectory | None, state: TrainState, history: list[dict[str, Any]]
) -> dict[str, Any]:
    assert directory is not None
    summary = _summary(trainer, directory, state, history)
    directory.write_summary(summary)
    return summary


def _epoch(
    trainer: Trainer,
    directory: RunDirectory | None,
    state: TrainState,
    seconds_before: float,
    observer: Observer,
    interrupted: threading.Event,
) -> TrainState:
    """The rest of the current epoch, in calls of about half a second."""
    began = time.perf_counter()
    done, steps = int(state.step), 1
    while done < trainer.steps_per_epoch:
        images, left = trainer.feed.at(int(state.epoch), done)
        steps = min(steps, left)
        call_began = time.perf_counter()
        state = jax.block_until_ready(trainer.advance(state, images, steps))
        elapsed = time.perf_counter() - call_began
        stop, proposed = agree(
            interrupted.is_set(), max(1, min(4 * steps, round(steps * _CALL_SECONDS / max(elapsed, 1e-6))))
        )
        done += steps
        _check_finite(directory, state, done)
        observer.on_steps(int(state.epoch) + 1, done, _loss(state.totals))
        # What a listener asks for is heard at the next step, by all processes.
        if stop or (interrupted.is_set() and jax.process_count() == 1):
            _interrupt(trainer, directory, local(state), done, seconds_before + time.perf_counter() - began)
        steps = proposed
    return state


def _interrupt(
    trainer: Trainer, directory: RunDirectory | None, state: TrainState, done: int, seconds: float
) -> NoReturn:
    where = f"interrupted in epoch {int(state.epoch) + 1} after step {done} of {trainer.steps_per_epoch}"
    path = on_primary(lambda: directory and directory.checkpoints.save(state, seconds=seconds))
    if directory is None:
        raise Interrupted(f"{where}; process 0 has written a checkpoint")
    raise Interrupted(f"{where}; checkpoint {path} is written; continue with: equiprop train --resume {directory.path}")


def _check_finite(directory: RunDirectory | None, state: TrainState, done: int) -> None:
    totals = state.totals
    if all_finite(state.system) and bool(jnp.isfinite(totals.cost)) and int(totals.finite) > 0:
        return
    last = "process 0 has written the last good checkpoint"
    if directory is not None:
        last = f"the last good checkpoint is {directory.checkpoints.about().path}"
    raise NonFinite(
        f"epoch {int(state.epoch) + 1}, step {done}: the weights or the loss are no longer finite; {last}; try a smaller "
        "learning rate, clip = 2 of the estimator, or more homeostasis, in a new run"
    )


def _loss(totals: Totals) -> float:
    return float(totals.cost) / max(int(totals.finite), 1)


def _metrics(trainer: Trainer, state: TrainState, seconds: float) -> dict[str, Any]:
    """One line of `metrics.jsonl` for the epoch that `state` has just finished."""
    counts = {name: int(value) for name, value in state.totals.counts.items()}
    n, right = counts.pop("samples"), state.totals.correct
    components = trainer.at_epoch(trainer.components, int(state.epoch) + 1)
    validation = evaluate(state.system, trainer.validation, components.solver)
    metrics: dict[str, Any] = {
        "epoch": int(state.epoch) + 1,
        "epoch_seconds": round(seconds, 3),
        "train_loss": finite_or_none(_loss(state.totals)),
        **({} if right is None else {"train_error_percent": 100 * (1 - int(right) / n)}),
        **{f"validation_{name}": validation[name] for name in ("loss", "error_percent") if name in validation},
        **{f"{name}_fraction": count / n for name, count in counts.items()},
        "relaxation_steps": int(state.totals.sweeps) / n,
        "homeostasis_loss": finite_or_none(float(state.totals.homeostasis_loss) / int(state.totals.steps)),
        "homeostasis_strength": finite_or_none(float(state.totals.homeostasis_strength) / int(state.totals.steps)),
        "homeostasis_skipped": int(state.totals.homeostasis_skipped),
    }
    samples = trainer.settings.diagnostic_samples
    if samples:
        metrics |= diagnose_gradient(state.system, trainer.validation, components, samples, trainer.settings.seed)
    return metrics


def _next_epoch(state: TrainState) -> TrainState:
    return replace(
        state, epoch=state.epoch + 1, step=jnp.zeros_like(state.step), totals=jax.tree.map(jnp.zeros_like, state.totals)
    )


def _keep_best(
    directory: RunDirectory, state: TrainState, history: list[dict[str, Any]], metrics: Mapping[str, Any]
) -> None:
    error = metrics["validation_error_percent"]
    if all(error < earlier["validation_error_percent"] for earlier in history):
        directory.checkpoints.save(state, seconds=0.0, best=True)


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


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Ctrl-C, or the SIGTERM of a scheduler, sets the event instead of tearing a step apart; a second one stops at once.

    Outside of the main thread Python delivers no signals, and none are caught.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handler(number: int, frame: FrameType | None) -> None:
        del number, frame
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, old in previous.items():
            # That of JAX's own service, which is not Python's and cannot be put back, lets no SIGTERM end a process.
            signal.signal(number, signal.SIG_DFL if old is None else old)
