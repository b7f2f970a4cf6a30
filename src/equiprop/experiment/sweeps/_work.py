"""The training of trials, one after the other or several as lanes of one program."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from equiprop.errors import InputError
from equiprop.experiment._config import Config
from equiprop.experiment._recorded import Recorded, begin, conclude, lock, restored, unlock
from equiprop.experiment._recorded import run as run_recorded
from equiprop.experiment._run_directory import RunDirectory
from equiprop.experiment._train import Interrupted, is_begun, train_or_resume
from equiprop.experiment._trainer import Trainer
from equiprop.experiment.sweeps._trials import Claim, StorageError
from equiprop.systems import System
from equiprop.training import AbstractRecord, Callback, Ending, Lanes, NonFinite, Plan, TrainState


def train_trials(claims: Sequence[Claim], config_of: Callable[[Claim], Config], metric: "Metric") -> None:
    """Trains the trials that this process has claimed and says what came out; as lanes, if they differ in numbers alone.

    Raises `Interrupted` after Ctrl-C; those under way go on when the sweep does.
    """
    trainers = _side_by_side(claims, config_of) if len(claims) > 1 else []
    if trainers:
        _train_lanes(claims, trainers, metric)
        return
    for claim in claims:
        try:
            summary = _train_one(claim, config_of(claim), metric)
        except StorageError:
            raise
        except (InputError, NonFinite) as error:
            claim.fail(str(error))
        else:
            _conclude(claim, summary, metric)


class Metric:
    """The number that trials are compared by, in a summary or in what is said of an epoch.

    - `name`: dotted where it is nested; `auto` for the error on the validation samples, or the loss.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def of(self, found: Mapping[str, Any]) -> tuple[str, float | None]:
        """What it is called, and the number; `None` where there is none, or what is there is none."""
        names = ("validation_error_percent", "validation_loss") if self.name == "auto" else (self.name,)
        # An epoch is not yet the best one.
        for name in (*names, *(each.removeprefix("best_") for each in names)):
            value: Any = found
            for part in name.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if value is not None:
                return name, (float(value) if isinstance(value, int | float) else None)
        return names[-1], None


class _Pruning(Callback):
    """Tells the storage of each epoch of a trial, or of several as lanes, and stops one that falls behind."""

    def __init__(self, claims: Sequence[Claim], metric: Metric) -> None:
        self._claims, self._metric, self._lane = claims, metric, 0
        # Seeds of one trial are told of as one.
        self.each_lane = len(claims) > 1  # pyright: ignore[reportAttributeAccessIssue]

    def on_start(self, plan: Plan) -> None:
        self._lane = plan.lane if self.each_lane else 0

    def on_epoch(self, metrics: Mapping[str, Any], system: System) -> str | None:
        del system
        pruned = self._claims[self._lane].report(self._metric.of(metrics)[1], int(metrics["epoch"]))
        return "pruned: others were better by then" if pruned else None


def _conclude(claim: Claim, summary: Mapping[str, Any], metric: Metric) -> None:
    name, value = metric.of(summary)
    if claim.is_pruned:
        claim.prune(name)
    elif value is None:
        claim.fail(f"its summary has no number {name!r}")
    else:
        claim.complete(name, value)


def _train_one(claim: Claim, config: Config, metric: Metric) -> dict[str, Any]:
    watching, command = [_Pruning([claim], metric)], f"equiprop sweep, trial {claim.number}"
    return train_or_resume(config, claim.folder, callbacks=watching, command=command)


def _side_by_side(claims: Sequence[Claim], config_of: Callable[[Claim], Config]) -> list[Trainer]:
    """For lanes of one program; empty where they cannot be."""
    try:
        configs = list(map(config_of, claims))
        first = Trainer(configs[0])
        trainers = [first, *(Trainer(config, first.dataset, beside=first) for config in configs[1:])]
        Lanes(trainers)
    except InputError:
        # What is wrong with one of them is said where it is trained alone.
        return []
    several = any(config.training["seeds"] > 1 or config.dataset != configs[0].dataset for config in configs)
    return [] if several else trainers


class _EachItsOwn(AbstractRecord):
    """Lanes that are kept in a run directory each, with checkpoints of their own."""

    def __init__(self, runs: Sequence[RunDirectory]) -> None:
        self.runs = runs

    @property
    def place(self) -> str:
        return str(self.runs[0].path.parent)

    def save(self, states: Sequence[TrainState], *, seconds: float) -> None:
        for run, state in zip(self.runs, states, strict=True):
            run.save([state], seconds=seconds)

    def save_best(self, state: TrainState, lane: int = 0) -> None:
        self.runs[lane].save_best(state)

    def best(self, like: TrainState, lane: int = 0) -> TrainState:
        return self.runs[lane].best(like)

    def append(self, metrics: Mapping[str, Any], lane: int = 0) -> None:
        self.runs[lane].append(metrics)


def _train_lanes(claims: Sequence[Claim], trainers: Sequence[Trainer], metric: Metric) -> None:
    jobs = [Recorded.of(trainer) for trainer in trainers]
    runs, states, histories = [], [], []
    with ExitStack() as held:
        for claim, job in zip(claims, jobs, strict=True):
            run, state, history = _opened(claim, job)
            held.callback(unlock, run)
            runs.append(run)
            states.append(state)
            histories.append(history)
        try:
            ending = run_recorded(jobs, _EachItsOwn(runs), states, histories, callbacks=[_Pruning(claims, metric)])
        except NonFinite as error:
            for claim in claims:
                claim.fail(str(error))
            return
        if ending.interrupted:
            raise Interrupted(ending.interrupted, None)
        for lane, claim in enumerate(claims):
            if ending.failed and ending.failed[lane]:
                claim.fail(ending.failed[lane])
                continue
            alone = Ending([ending.states[lane]], [ending.histories[lane]])
            _conclude(claim, conclude([jobs[lane]], runs[lane], alone), metric)


def _opened(claim: Claim, job: Recorded) -> tuple[RunDirectory, TrainState, list[dict[str, Any]]]:
    """The run directory of a trial, locked, and how far it is."""
    if not is_begun(claim.folder):
        record, (state,) = begin(claim.folder, [job], f"equiprop sweep, trial {claim.number}")
        assert isinstance(record, RunDirectory)
        return record, state, []
    record = RunDirectory.open(claim.folder)
    lock(record)
    (state,), (history,), _ = restored(record, [job])
    return record, state, history
