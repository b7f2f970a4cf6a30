"""Several seeds side by side: one run directory, in it one for each seed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from equiprop.data import DatasetInfo
from equiprop.errors import InputError
from equiprop.experiment._config import Config
from equiprop.experiment._run_directory import RunDirectory
from equiprop.reporting import mean_of_summaries, means_of
from equiprop.training import AbstractRecord, TrainState


def of_each_seed(config: Config) -> list[Config]:
    """The configuration of each seed of one that has several."""
    training = config.training
    return [
        replace(config, training=training | {"seed": training["seed"] + i, "seeds": 1})
        for i in range(training["seeds"])
    ]


def seed_folders(path: str | Path, config: Config) -> list[Path]:
    """Where the runs of each seed lie in the directory of all."""
    return [Path(path) / f"seed-{each.training['seed']}" for each in of_each_seed(config)]


class SeedsDirectory(AbstractRecord):
    """The run directory of several seeds: its metrics and its summary hold the means, and in it lies a run of each seed.

    While they are trained one checkpoint holds the states of all seeds, last and best, so that they go on together; at the end
    each run has its own.
    """

    def __init__(self, whole: RunDirectory, runs: Sequence[RunDirectory]) -> None:
        self.whole, self.runs = whole, list(runs)
        self._best: dict[int, TrainState] = {}

    @classmethod
    def create(
        cls,
        path: str | Path,
        configs: Sequence[Config],
        whole: Config,
        data: DatasetInfo,
        command: str,
        more: Mapping[str, Any] | None = None,
    ) -> "SeedsDirectory":
        """A new one, locked. Raises as `RunDirectory.create`."""
        directory = RunDirectory.create(path, whole, data, command, more)
        folders = seed_folders(path, whole)
        runs = [
            RunDirectory.create(folder, config, data, command, more)
            for folder, config in zip(folders, configs, strict=True)
        ]
        return cls(directory, runs)

    @classmethod
    def open(cls, path: str | Path) -> "SeedsDirectory":
        """An existing one. Raises as `RunDirectory.open`."""
        whole = RunDirectory.open(path)
        return cls(whole, [RunDirectory.open(folder) for folder in seed_folders(path, whole.config)])

    def lock(self) -> None:
        self.whole.lock()

    def unlock(self) -> None:
        for run in self.runs:
            run.unlock()
        self.whole.unlock()

    @property
    def place(self) -> str:
        return self.whole.place

    @property
    def config(self) -> Config:
        return self.whole.config

    @property
    def is_finished(self) -> bool:
        return self.whole.is_finished

    def save(self, states: Sequence[TrainState], *, seconds: float) -> None:
        furthest = max(states, key=lambda state: (int(state.epoch), int(state.step)))
        best = [self._best.get(lane, state) for lane, state in enumerate(states)]
        with self.whole.owned():
            self.whole.checkpoints.save((list(states), best), seconds=seconds, at=furthest)

    def save_best(self, state: TrainState, lane: int = 0) -> None:
        # The buffers of a state are used up by the next step.
        self._best[lane] = state.copied()

    def best(self, like: TrainState, lane: int = 0) -> TrainState:
        return self._best.get(lane, like)

    def append(self, metrics: Mapping[str, Any], lane: int = 0) -> None:
        self.runs[lane].append(metrics)

    def write_means(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self.whole.write_metrics(lines)

    def restore(self, like: Sequence[TrainState]) -> tuple[list[TrainState], list[list[dict[str, Any]]], float]:
        """The states of all seeds, what was said of each epoch of each of them, and the seconds spent on the one under way."""
        about, (states, best) = self.whole.checkpoints.newest((list(like), list(like)))
        histories = [run.metrics_until(int(state.epoch)) for run, state in zip(self.runs, states, strict=True)]
        self.whole.checkpoints.rewind(about)
        self._best = {lane: state for lane, state in enumerate(best) if histories[lane]}
        self.write_means(means_of(histories))
        return states, histories, about.seconds

    def extend(self, config: Config, histories: Sequence[list[dict[str, Any]]]) -> None:
        """As `RunDirectory.extend`, of all seeds."""
        for run, history in zip(self.runs, histories, strict=True):
            run.extend(config, [history])
        self.whole.extend(config, [means_of(histories)])

    def conclude(self, states: Sequence[TrainState]) -> None:
        """Gives each run its own checkpoints, the last and the best."""
        for lane, (run, state) in enumerate(zip(self.runs, states, strict=True)):
            run.save([state], seconds=0.0)
            if lane in self._best:
                run.save_best(self._best[lane])

    def write_summary(self, summaries: Mapping[int, Mapping[str, Any]], failed: Mapping[int, str]) -> dict[str, Any]:
        """The means over the seeds that have a summary, and which failed."""
        seeds = [run.config.training["seed"] for run in self.runs]
        summary = {
            **mean_of_summaries(list(summaries.values()), [seeds[lane] for lane in summaries]),
            "failed_seeds": {str(seeds[lane]): reason for lane, reason in failed.items()},
        }
        self.whole.write_summary(summary)
        return summary


def require_one(path: str | Path, config: Config) -> None:
    """Raises `InputError` for the directory of several seeds, where one run is wanted."""
    if config.training.get("seeds", 1) > 1:
        folders = seed_folders(path, config)
        raise InputError(
            f"run {path}: holds {len(folders)} runs, one for each seed", hint=f"give one of them, such as {folders[0]}"
        )
