"""Trainings that a run directory keeps: begun, gone on with, and summed up at the end."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from equiprop._interrupts import doing
from equiprop.data import DatasetInfo, Split
from equiprop.errors import InputError, ScheduleWarning, warn
from equiprop.estimators import FLAGS
from equiprop.experiment._checkpoint import CheckpointMetadata
from equiprop.experiment._config import Config, schedules
from equiprop.experiment._run_directory import RunDirectory
from equiprop.experiment._seeds import SeedsDirectory
from equiprop.experiment._trainer import Trainer
from equiprop.numerics import as_schedule
from equiprop.training import (
    AbstractRecord,
    Callback,
    Ending,
    Memory,
    NonFinite,
    Training,
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

Record = RunDirectory | SeedsDirectory


@dataclass(frozen=True)
class Recorded:
    """A training with what its run directory says of it.

    - `config`: complete, the number of epochs too.
    - `data`: what is known of the data without them.
    - `test`: what the trained system is evaluated on at the end, if anything.
    """

    training: Training
    config: Config
    data: DatasetInfo
    test: Split | None = None

    @classmethod
    def of(cls, trainer: Trainer) -> "Recorded":
        return cls(trainer, trainer.config, trainer.dataset.info, trainer.test)

    @property
    def seed(self) -> int:
        return self.config.training["seed"]

    @property
    def judged_on(self) -> Any:
        """The samples on which the gradient is compared with the exact one at the end."""
        return local(self.training.samples) if self.training.validation is None else self.training.validation


def create(
    out: str | Path, jobs: Sequence[Recorded], command: str, *, seeds: int | None = None, more: Mapping[str, Any]
) -> Record:
    """The run directory of a training, or of several seeds side by side, locked. Raises as `RunDirectory.create`.

    **Arguments:**

    - `seeds`: how many, where they are several.
    - `more`: further entries of the manifest.
    """
    first = jobs[0]
    if len(jobs) == 1:
        return RunDirectory.create(out, first.config, first.data, command, more)
    whole = dataclasses.replace(first.config, training=first.config.training | {"seeds": seeds})
    return SeedsDirectory.create(out, [job.config for job in jobs], whole, first.data, command, more)


def begin(
    out: str | Path, jobs: Sequence[Recorded], command: str = "", more: Mapping[str, Any] | None = None
) -> tuple[Record | None, list[TrainState]]:
    """A new run directory with a checkpoint of how it begins, in process 0, and the states before the first step."""
    states = [job.training.initial_train_state() for job in jobs]
    before, size = local(states), {"samples_per_epoch": jobs[0].training.samples_per_epoch}

    def created() -> Record:
        record = create(out, jobs, command, seeds=len(jobs), more=size | dict(more or {}))
        record.save(before, seconds=0.0)
        return record

    return on_primary(created), states


def restored(record: Record, jobs: Sequence[Recorded]) -> tuple[list[TrainState], list[list[dict[str, Any]]], float]:
    """The states, what was said of each epoch before, and the seconds spent on the one under way."""
    like = [job.training.initial_train_state() for job in jobs]
    if isinstance(record, SeedsDirectory):
        states, histories, seconds = record.restore(like)
    else:
        about, state = record.checkpoints.newest(like[0])
        states, seconds = [state], about.seconds
        histories = [on_primary(lambda: record.rewind(about)) or []]
    return jobs[0].training.spec.placement.everywhere(states), histories, seconds


def extend(record: Record, before: Config, after: Config, histories: list[list[dict[str, Any]]]) -> None:
    """Lets a run go on for other epochs than it was begun with. Raises `InputError` for fewer than are behind it."""
    done, old, new = max(map(len, histories)), before.training["epochs"], after.training["epochs"]
    if new < done:
        raise InputError(f"{done} are behind it", path=("training", "epochs"), value=new, hint=f"give at least {done}")
    for history in histories:
        if history:
            history[-1].pop("stopped", None)
    on_primary(lambda: record.extend(after, histories))
    for sentence in rescheduled(before, done, old, new):
        warn(sentence, ScheduleWarning)


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


def run(
    jobs: Sequence[Recorded],
    record: AbstractRecord | None,
    states: list[TrainState],
    histories: list[list[dict[str, Any]]],
    seconds: float = 0.0,
    callbacks: Sequence[Callback] = (),
) -> Ending:
    """Trains to the end, or until it is interrupted, which leaves a checkpoint.

    **Arguments:**

    - `record`: in process 0; `None` in the others, which compute with it and write nothing.
    """
    first = jobs[0]
    ending = run_training(
        [job.training for job in jobs],
        record or Memory(),
        states,
        histories,
        seconds=seconds,
        callbacks=callbacks,
        settings=first.config.to_mapping(),
    )
    if isinstance(record, SeedsDirectory):
        with doing("the saving of each seed", waited_for=True):
            record.conclude(ending.states)
    return ending


def conclude(jobs: Sequence[Recorded], record: Record | None, ending: Ending) -> dict[str, Any]:
    """Writes the summary, and returns it; empty in other processes than the first.

    Raises `NonFinite` where some of several seeds were given up.
    """
    states = local(ending.states)
    return on_primary(lambda: _conclude(jobs, record, states, ending)) or {}


def _conclude(
    jobs: Sequence[Recorded], record: Record | None, states: list[TrainState], ending: Ending
) -> dict[str, Any]:
    assert record is not None
    if isinstance(record, RunDirectory):
        return _summarised(jobs[0], record, states[0], ending.histories[0])
    failed = {lane: reason for lane, reason in enumerate(ending.failed) if reason}
    summaries = {
        lane: _summarised(job, record.runs[lane], states[lane], ending.histories[lane])
        for lane, job in enumerate(jobs)
        if lane not in failed
    }
    summary = record.write_summary(summaries, failed)
    if failed:
        seeds = ", ".join(f"seed {jobs[lane].seed}: {reason}" for lane, reason in failed.items())
        raise NonFinite(f"{len(failed)} of {len(jobs)} seeds were given up, the others are trained; {seeds}")
    return summary


def _summarised(
    job: Recorded, directory: RunDirectory, state: TrainState, history: list[dict[str, Any]]
) -> dict[str, Any]:
    summary = _summary(job, directory, state, history)
    directory.write_summary(summary)
    return summary


_OF_LAST = ("validation_error_percent", "validation_loss", "train_error_percent", "train_loss")


def _summary(
    job: Recorded, directory: RunDirectory, state: TrainState, history: list[dict[str, Any]]
) -> dict[str, Any]:
    """The keys that others script against, of the final epoch; `best_*` of the one that validation selects."""
    training, config, last = job.training, job.config, history[-1]
    components = training.components_at(state, len(history))
    # There is none where it was damaged, and no later epoch was better.
    kept = directory.checkpoints.paths(best=True)
    best = directory.checkpoints.newest(training.initial_train_state(), best=True) if kept else None
    best_epoch = None if best is None else best[0].epoch
    of_best = {} if best_epoch is None else history[best_epoch - 1]
    gradient = last if "cosine_to_adjoint" in last else diagnose_gradient(
        state.evaluated, job.judged_on, components, training.diagnostic_samples or 200, training.seed
    )  # fmt: skip
    last_on_test, best_on_test = _on_test(job, directory, state, len(history), best)
    return {
        "test_error_percent": last_on_test.get("error_percent"),
        "test_loss": last_on_test.get("loss"),
        **{name: last.get(name) for name in _OF_LAST},
        "best_epoch": best_epoch,
        **{f"best_{name}": of_best.get(name) for name in _OF_LAST[:2]},
        "best_test_error_percent": best_on_test.get("error_percent"),
        "best_test_loss": best_on_test.get("loss"),
        "epochs": len(history),
        "seconds": round(sum(line["epoch_seconds"] for line in history), 3),
        "dataset": config.dataset,
        "estimator": config.estimator.kind,
        "homeostasis": config.homeostasis.kind,
        "converged_fraction": last["converged_fraction"],
        **{name: last[name] for name in (*(f"{flag}_fraction" for flag in FLAGS), "excluded_fraction")},
        "relaxation_steps": last["relaxation_steps"],
        **{name: gradient[name] for name in ("cosine_to_adjoint", "gradient_norm_ratio", "symmetry", "error_bar")},
        **certify(state.evaluated, job.judged_on, components.solver, training.seed),
        "weight_angle_deg": gradient["weight_angle_deg"],
        "gradient_bar": last.get("gradient_bar"),
        "gradient_bar_causes": last.get("gradient_bar_causes"),
    }


def _on_test(
    job: Recorded,
    directory: RunDirectory,
    state: TrainState,
    epochs: int,
    best: tuple[CheckpointMetadata, TrainState] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the test samples say of the last system and of the best one; nothing where there are none."""
    if job.test is None or not len(job.test):
        return {}, {}
    training = job.training
    test = on_device(job.test, job.data, training.dtype)
    final = evaluate(state.evaluated, test, training.components_at(state, epochs).solver, confusion=True)
    directory.write_confusion("test", epochs, job.data.classes, final, test.x)
    if best is None:
        return final, {}
    about, selected = best
    return final, evaluate(selected.evaluated, test, training.components_at(selected, about.epoch).solver)


def lock(record: Record) -> None:
    """Keeps others from training there, and removes what a killed one left half written."""
    on_primary(record.lock)
    whole = record.whole if isinstance(record, SeedsDirectory) else record
    on_primary(whole.checkpoints.tidy)


def unlock(record: Record | None) -> None:
    if record is not None and is_primary():
        record.unlock()
