"""Training of any system on any data from Python, in memory or in a run directory."""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from equiprop.data import DatasetInfo
from equiprop.errors import InputError
from equiprop.experiment._checkpoint import digest_of
from equiprop.experiment._config import MAY_CHANGE, Config, differences
from equiprop.experiment._fit_parts import job_of, source_of
from equiprop.experiment._recorded import Record, Recorded, begin, conclude, extend, lock, restored, unlock
from equiprop.experiment._recorded import run as run_recorded
from equiprop.experiment._run_directory import RunDirectory, manifest_of
from equiprop.experiment._seeds import SeedsDirectory
from equiprop.experiment._settings import PRECISIONS
from equiprop.reporting import CONFIG, REPORT, Run, read_run, write_report
from equiprop.systems import System
from equiprop.training import (
    Ending,
    Memory,
    Metric,
    Progress,
    Training,
    TrainState,
    Transform,
    as_callback,
    is_primary,
    require_targets,
)


@dataclass(frozen=True, repr=False)
class FitResult:
    """What a training made.

    **Fields:**

    - `system`: with the parameters after the last step; with averaged ones, where that was asked for.
    - `best`: the one after the epoch with the smallest validation error, or loss, or loss in training, whichever there is.
    - `history`: of every epoch its metrics, by name.
    - `ended`: why it ended before the last epoch; empty if it did not.
    - `config`: by what it was trained, as far as a configuration can say it.
    - `run`: the directory that keeps it, if any; see `load`.
    """

    system: System
    best: System
    history: list[dict[str, Any]]
    ended: str
    config: Config
    data: DatasetInfo
    run: Path | None = None

    def report(self, path: str | Path | None = None) -> Path:
        """Writes one self-contained HTML page and returns where: figures over epochs, settings, versions, papers.

        **Arguments:**

        - `path`: a file or folder; by default `report.html` in the run directory, or in the working directory.

        Raises `InputError` where it cannot be written.
        """
        if self.run is not None:
            return write_report([read_run(self.run)], self.run / REPORT if path is None else path)
        last = self.history[-1] if self.history else {}
        summary = {**last, "epochs": len(self.history), "seconds": sum(line["epoch_seconds"] for line in self.history)}
        run = Run(Path(), "fit", self.config.to_mapping(), manifest_of(self.config, self.data), self.history, summary)
        return write_report([run], REPORT if path is None else path)

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else {}
        named = ("train_loss", "validation_loss", "validation_error_percent")
        told = "".join(f", {name} {last[name]:.4g}" for name in named if last.get(name) is not None)
        ended = f"; {self.ended}" if self.ended else ""
        kept = f"; kept in {self.run}" if self.run else ""
        plural = "" if len(self.history) == 1 else "s"
        return f"FitResult({type(self.system).__name__} after {len(self.history)} epoch{plural}{told}{ended}{kept})"


def fit(
    system: Any,
    data: Any,
    *,
    validation: Any = None,
    estimator: Any = None,
    homeostasis: Any = None,
    solver: Any = None,
    optimizer: Any = None,
    epochs: int | str = "auto",
    batch_size: int = 50,
    steps_per_epoch: int | None = None,
    transforms: Sequence[Transform] = (),
    metrics: Iterable[str | Metric] | Mapping[str, Metric] = (),
    callbacks: Sequence[Any] = (),
    average: float | None = None,
    diagnostic_samples: int = 0,
    audit_samples: int = 16,
    gradient_tolerance: float = math.inf,
    warm_start: bool = False,
    micro_batches: int = 1,
    devices: int = 1,
    run: str | Path | None = None,
    key: PRNGKeyArray | int = 0,
    quiet: bool = False,
) -> FitResult:
    """Trains a system, and tells of every epoch in a line.

    **Arguments:**

    - `system`: any; what it starts from. Its inexact arrays are trained, in their own precision.
    - `data`: `(x, y)`, arrays or trees of arrays with the samples as their leading axis; an iterable of such batches, which
      is gone through once an epoch; or a `Dataset`. Real numbers take the precision of the system, integers stay as they are.
    - `validation`: `(x, y)`, looked at after every epoch; by default that of the `Dataset`.
    - `estimator`, `homeostasis`, `solver`: by default `Centered()`, the homeostasis that fits the system, and `GaussSeidel()`.
    - `optimizer`: one of this library, or any of Optax; by default `SGD()`.
    - `epochs`: `"auto"` for 10, or as many as make 2,000 steps, but at most 100.
    - `steps_per_epoch`: of an iterable that does not know its length; the batches that it has beyond that are left over.
    - `transforms`: what is done to every batch before a step, such as `Flip()`.
    - `metrics`: besides the loss, and the error where targets name classes: names of `METRICS`, or functions of predictions and
      targets to one number a sample.
    - `callbacks`: `EarlyStopping()` and the like, or functions of an epoch's metrics.
    - `average`: the share, such as 0.999, that an average of the parameters keeps in a step; the average is what is evaluated
      and returned.
    - `diagnostic_samples`: of the validation samples, those on which the gradient is compared with the exact one.
    - `audit_samples`: of a training batch, those from which it is told how far its gradient is from the exact one.
    - `gradient_tolerance`: as the configuration's key of that name.
    - `warm_start`, `micro_batches`, `devices`: as the configuration's keys of the same names.
    - `run`: a directory that keeps it, as `equiprop train` does: the same call goes on where it stopped, bit for bit, also after
      the process was killed; with more `epochs`, where it ended. What is the same is checked. A function that is passed as
      metric, transform or schedule is known by its name alone.
    - `key`: of the order of samples and of all probes; or a seed.
    - `quiet`: whether nothing is printed.

    Ctrl-C ends the training after the step under way, and the result is that of then. Raises `InputError` for what does not
    fit, and for a `run` that was begun otherwise; `NonFinite` when weights or loss stop being numbers.
    """
    given = {name: value for name, value in locals().items() if name not in ("system", "data")}
    lane = {name: given.pop(name) for name in _OF_LANES if name in given}
    return _fit([{"system": system, **lane}], data, **given)[0]


_OF_LANES = ("system", "estimator", "homeostasis", "solver", "optimizer", "key")


def fit_lanes(system: Any, data: Any, **options: Any) -> list[FitResult]:
    """`fit`, several at once that share their data and their program: seeds, or other values of numbers.

    On a CPU as many run at once as there are cores, each bit for bit as by itself; on an accelerator all are one program.

    **Arguments:**

    - `system`, `data`, `options`: those of `fit`. A list in the place of `system`, `estimator`, `homeostasis`, `solver`,
      `optimizer` or `key` has one for each lane: `key=[0, 1, 2]`, `estimator=[Centered(0.1), Centered(0.2)]`.
    - `callbacks`: those for single trainings, such as `EarlyStopping`, are copied for each lane; others are told the means.
    - `run`: for seeds alone, `key=[0, 1, 2]`: one directory with a run for each.

    Raises `InputError` for lists of different lengths, and lanes that differ in more than their numbers. A lane whose weights
    stop being numbers is given up alone, and says so in `ended`.
    """
    bound = inspect.signature(fit).bind(system, data, **options)
    bound.apply_defaults()
    given = dict(bound.arguments)
    data = given.pop("data")
    lanes = {name: given.pop(name) for name in _OF_LANES}
    lengths = {name: len(value) for name, value in lanes.items() if isinstance(value, list | range)}
    if len(set(lengths.values())) != 1 or not all(lengths.values()):
        told = ", ".join(f"{name} has {n}" for name, n in lengths.items()) or "there is none"
        hint = f"give a list of one for each lane in the place of {', '.join(_OF_LANES)}"
        raise InputError(f"lists of one length are needed: {told}", path="lanes", hint=hint)
    count = next(iter(lengths.values()))
    of_each = [{n: value[i] if n in lengths else value for n, value in lanes.items()} for i in range(count)]
    return _fit(of_each, data, **given)


def _fit(lanes: Sequence[Mapping[str, Any]], data: Any, **given: Any) -> list[FitResult]:
    callbacks = [as_callback(each) for each in given["callbacks"]]
    callbacks = callbacks if given["quiet"] else [Progress(), *callbacks]
    first = lanes[0]["system"]
    if not isinstance(first, System):
        raise InputError(f"must be a system such as ep.mlp(...) or ep.from_force(...), not {first!r}", path="system")
    source = source_of(data, first, lanes[0]["key"], given)
    jobs = [job_of(lane, source, given) for lane in lanes]
    require_targets(first, jobs[0].training.samples)
    if given["run"] is None:
        record, states = Memory(), [job.training.initial_train_state() for job in jobs]
        ending = run_recorded(jobs, record, states, [[] for _ in jobs], callbacks=callbacks)
        return _results(jobs, ending, [record.best(state, lane) for lane, state in enumerate(ending.states)], None)
    return _fit_in(Path(given["run"]), jobs, lanes, callbacks)


def _fit_in(
    run: Path, jobs: list[Recorded], lanes: Sequence[Mapping[str, Any]], callbacks: Sequence[Any]
) -> list[FitResult]:
    """In a run directory: a new one, or on in the one that is there."""
    _require_kept(jobs, lanes)
    facts = {"fit": [_facts(job.training) for job in jobs]}
    if (run / CONFIG).is_file():
        record: Record | None = _reopened(run, jobs, facts)
        lock(record)
    else:
        RunDirectory.require_new(run)
        record = begin(run, jobs, more=facts)[0]
    try:
        return _go_on(jobs, record or _reopened(run, jobs, facts), callbacks)
    finally:
        unlock(record)


def _go_on(jobs: list[Recorded], record: Record, callbacks: Sequence[Any]) -> list[FitResult]:
    states, histories, seconds = restored(record, jobs)
    before, after = record.config, jobs[0].config
    if before.training["epochs"] != after.training["epochs"]:
        extend(record, before, after, histories)
    finished = record.is_finished
    ending = run_recorded(jobs, record if is_primary() else None, states, histories, seconds, callbacks)
    if not ending.interrupted and not finished:
        conclude(jobs, record if is_primary() else None, ending)
    return _results(jobs, ending, [record.best(state, lane) for lane, state in enumerate(ending.states)], record)


def _require_kept(jobs: Sequence[Recorded], lanes: Sequence[Mapping[str, Any]]) -> None:
    precision = jobs[0].config.training["precision"]
    if precision not in PRECISIONS:
        raise InputError(f"a run keeps systems of {' or '.join(PRECISIONS)}", path="run", value=precision)
    keys = [lane["key"] for lane in lanes]
    same = all(
        job.config.to_mapping() | {"training": 0} == jobs[0].config.to_mapping() | {"training": 0} for job in jobs
    )
    if len(jobs) > 1 and not (
        same and all(isinstance(k, int) for k in keys) and keys == [*range(keys[0], keys[0] + len(keys))]
    ):
        hint = "give key=[0, 1, 2] and one of everything else, or a run for each"
        raise InputError("several lanes in one run are seeds that follow each other", path="run", hint=hint)


def _facts(training: Training) -> dict[str, Any]:
    """What a run must begin with, besides configuration and data, to go on as it began."""
    return {
        "system": digest_of(eqx.filter(training.system, eqx.is_array)),
        "key": digest_of(training.key),
        "transforms": [_named(transform) for transform in training.transforms],
        "metrics": sorted(training.metrics),
        "steps_per_epoch": training.steps_per_epoch,
    }


def _named(transform: Any) -> str:
    return getattr(transform, "__qualname__", None) or repr(transform)


def _reopened(run: Path, jobs: Sequence[Recorded], facts: Mapping[str, Any]) -> Record:
    """Raises `InputError` where the run was begun otherwise."""
    directory = RunDirectory.open(run)
    directory.resolved_config()
    seeds = {"seeds": len(jobs)}
    wanted = replace(jobs[0].config, training=jobs[0].config.training | seeds)
    changed = [key for key in differences(directory.config, wanted) if key not in MAY_CHANGE]
    recorded = directory.manifest().get("fit")
    if recorded is None:
        changed = ["how"]
    elif not changed:
        changed = [
            name
            for ours, theirs in zip(facts["fit"], recorded, strict=True)
            for name in ours
            if ours[name] != theirs[name]
        ]
    if changed:
        told = ", ".join(dict.fromkeys(changed))
        hint = "give the arguments of then, or another folder"
        raise InputError(f"was begun with another {told}", path="run", value=str(run), hint=hint)
    directory.require_data(jobs[0].data)
    return directory if len(jobs) == 1 else SeedsDirectory.open(run)


def _results(
    jobs: Sequence[Recorded], ending: Ending, best: Sequence[TrainState], record: Record | None
) -> list[FitResult]:
    def of(values: Sequence[str], lane: int) -> str:
        return values[lane] if values else ""

    folders: list[Path | None] = [None] * len(jobs)
    if record is not None:
        folders = [run.path for run in record.runs] if isinstance(record, SeedsDirectory) else [record.path]
    return [
        FitResult(
            state.evaluated,
            best[lane].evaluated,
            ending.histories[lane],
            of(ending.failed, lane) or of(ending.stopped, lane) or ending.interrupted,
            job.config,
            job.data,
            folders[lane],
        )
        for lane, (job, state) in enumerate(zip(jobs, ending.states, strict=True))
    ]
