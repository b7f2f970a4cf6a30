"""The trials of a sweep in Optuna's storage: who trains which, what came out, and what is tried next."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from equiprop.errors import InputError, suggest

STORAGES = {"sqlite": "study.db", "journal": "study.journal"}
"""The file of each kind of storage: SQLite, or a journal, which processes on several machines may share."""

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("none", "median", "hyperband")

LOCKS = ".locks"

# A trial whose process was killed so often is given up: it may be what kills it.
_ATTEMPTS = 3

_MEND = "put it back as it was, or give another folder by out"


def optuna_library() -> Any:
    """Raises `InputError` where Optuna is not installed."""
    try:
        import optuna
    except ImportError as error:
        hint = "pip install 'equiprop[sweep]'"
        raise InputError(f"a sweep needs Optuna, which cannot be imported ({error})", hint=hint) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    - `state`: `waiting`, `running`, `complete`, `pruned` or `fail`.
    - `values`: of the keys that the sweep varies.
    - `metric`, `metric_name`: what came out; of a pruned one, when it was.
    - `reason`: why it failed.
    """

    number: int
    state: str
    values: dict[str, Any]
    metric: float | None
    metric_name: str
    folder: Path
    reason: str = ""


class StorageError(InputError):
    """The storage of a sweep cannot be read or written, which is no fault of a trial."""


class Claim:
    """A trial that this process trains, and nobody else as long as it lives."""

    def __init__(self, trials: "Trials", number: int, id: int, stored: Mapping[str, Any], lock: FileLock) -> None:
        self.number, self.stored, self._lock, self._trials = number, dict(stored), lock, trials
        self.folder = trials.folder(number)
        self._trial = trials.optuna.trial.Trial(trials.study, id)

    def __deepcopy__(self, memo: Any) -> "Claim":
        # Callbacks are copied for each lane; the storage behind them is one.
        return self

    def report(self, value: float | None, epoch: int) -> bool:
        """Keeps what came out of an epoch; whether the trial is not worth going on with. Raises `StorageError`."""
        with self._trials.storage():
            known = self._trials.study.get_trials(deepcopy=False)[self.number].intermediate_values
            if value is not None and epoch not in known:
                self._trial.report(value, epoch)
            pruned = bool(self._trial.should_prune())
            if pruned:
                self._trial.set_user_attr("pruned", epoch)
        return pruned

    def begun_again(self, epochs: int) -> bool:
        """Counts how often without an epoch in between; where that is too often the trial has failed."""
        with self._trials.storage():
            attempts, before = self._trial.user_attrs.get("attempts", (1, 0))
            attempts = attempts + 1 if epochs == before else 2
            self._trial.set_user_attr("attempts", (attempts, epochs))
        if attempts > _ATTEMPTS:
            self.fail(f"its process was killed {_ATTEMPTS} times")
        return attempts <= _ATTEMPTS

    @property
    def is_pruned(self) -> bool:
        with self._trials.storage():
            return "pruned" in self._trial.user_attrs

    def complete(self, name: str, value: float) -> None:
        """With a metric of that name."""
        self._end(value, metric=name)

    def prune(self, name: str) -> None:
        """Before its end, by a metric of that name."""
        self._end(None, self._trials.optuna.trial.TrialState.PRUNED, metric=name)

    def fail(self, reason: str) -> None:
        self._end(None, self._trials.optuna.trial.TrialState.FAIL, reason=reason)

    def interrupt(self) -> None:
        """Leaves it to others, in good order: that is no attempt that failed."""
        with self._trials.storage():
            self._trial.set_user_attr("attempts", (0, -1))
        self.release()

    def release(self) -> None:
        """Leaves it to others."""
        self._lock.release()

    def _end(self, value: float | None, state: Any = None, **said: str) -> None:
        with self._trials.storage():
            for name, text in said.items():
                self._trial.set_user_attr(name, text)
            self._trials.study.tell(self.number, value, state=state)
        self.release()


class Trials:
    """The storage of a sweep's trials in its folder.

    **Arguments:**

    - `path`: the folder.
    - `distributions`: of the values of each key.
    - `sampler`, `pruner`, `storage`: by name.
    - `seed`: of the sampler, which is made anew for each trial, so that what it proposes follows from the trials before.
    """

    def __init__(
        self,
        path: Path,
        distributions: Mapping[str, Any],
        *,
        sampler: str,
        pruner: str,
        storage: str,
        seed: int,
        maximize: bool,
    ) -> None:
        for name, given, allowed in (
            ("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS), ("storage", storage, tuple(STORAGES))
        ):  # fmt: skip
            if given not in allowed:
                raise suggest(name, given, allowed)
        self.path, self.optuna = path, optuna_library()
        self._distributions, self._sampler, self._seed = dict(distributions), sampler, seed
        self._pruner, self._storage, self._maximize = pruner, storage, maximize
        self._claiming = FileLock(path / LOCKS / "claiming")
        self._study: Any = None

    @property
    def study(self) -> Any:
        """Optuna's."""
        if self._study is None:
            with self._claiming:
                self._study = self._opened()
        return self._study

    @contextmanager
    def storage(self, wrong: str = "is damaged, or cannot be written") -> Iterator[None]:
        """A block that reads or writes the storage: what is wrong with that is a `StorageError`, not a fault of ours."""
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            # Optuna, SQLAlchemy, Alembic and SQLite each raise their own, and stumble over records that they did not write.
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise StorageError(f"{self._file}: {wrong} ({first})", hint=_MEND) from error

    @property
    def _file(self) -> Path:
        return self.path / STORAGES[self._storage]

    def _opened(self) -> Any:
        storages = self.optuna.storages
        with self.storage("is no storage of a sweep"):
            if self._storage == "sqlite":
                from sqlalchemy.pool import NullPool

                # A connection is closed when it has been used: who holds a sweep need not close it.
                options = {"connect_args": {"timeout": 60}, "poolclass": NullPool}
                storage = storages.RDBStorage(f"sqlite:///{self._file}", engine_kwargs=options)
            else:
                storage = storages.JournalStorage(storages.journal.JournalFileBackend(str(self._file)))
            return self.optuna.create_study(
                study_name="sweep",
                storage=storage,
                load_if_exists=True,
                direction="maximize" if self._maximize else "minimize",
                sampler=self.optuna.samplers.RandomSampler(),
                pruner=self._made_pruner(),
            )

    def _made_pruner(self) -> Any:
        pruners = self.optuna.pruners
        if self._pruner == "none":
            return pruners.NopPruner()
        return pruners.MedianPruner(n_warmup_steps=2) if self._pruner == "median" else pruners.HyperbandPruner()

    def _made_sampler(self, number: int) -> Any:
        samplers, seed = self.optuna.samplers, (self._seed * 1_000_003 + number) % 2**32
        if self._sampler == "tpe":
            # So that workers that run at once do not try the same.
            return samplers.TPESampler(seed=seed, constant_liar=True, multivariate=True, n_startup_trials=10)
        return samplers.RandomSampler(seed=seed)

    def begin(self, fingerprint: str, points: list[dict[str, Any]]) -> None:
        """Marks the storage as that of a sweep, and enqueues the points of a grid. Raises `InputError` for that of another."""
        study = self.study
        with self._claiming, self.storage():
            known = study.user_attrs.get("sweep")
            if known is None:
                for point in points:
                    study.enqueue_trial(point)
                study.set_user_attr("sweep", known := fingerprint)
        if known != fingerprint:
            raise InputError(f"{self._file}: is the storage of another sweep", hint=_MEND)

    def folder(self, number: int) -> Path:
        """Where the run of a trial lies."""
        return self.path / f"trial-{number:04d}"

    def claim(self, most: int) -> Claim | None:
        """A trial to train: one that a killed process left, or the next of at most so many; `None` if there is none."""
        states = self.optuna.trial.TrialState
        with self._claiming, self.storage():
            trials = self.study.get_trials(deepcopy=False)
            for trial in trials:
                if trial.state != states.RUNNING:
                    continue
                left = self._claimed(trial.number, trial._trial_id, trial.params)
                if left is not None and left.begun_again(max(trial.intermediate_values, default=0)):
                    return left
            begun = sum(trial.state != states.WAITING for trial in trials)
            if begun >= most:
                return None
            self.study.sampler = self._made_sampler(begun)
            asked = self.study.ask(self._distributions)
            return self._claimed(asked.number, asked._trial_id, asked.params)

    def _claimed(self, number: int, id: int, stored: Mapping[str, Any]) -> Claim | None:
        lock = FileLock(self.path / LOCKS / f"trial-{number:04d}")
        with suppress(Timeout):
            lock.acquire(timeout=0)
            return Claim(self, number, id, stored, lock)
        return None

    def all(self, values_of: Callable[[Mapping[str, Any]], dict[str, Any]]) -> list[Trial]:
        """Every trial that there is, by number.

        **Arguments:**

        - `values_of`: what makes values of those that are stored of a trial, by key.
        """

        def of(trial: Any) -> Trial:
            metric = trial.value
            if metric is None and trial.intermediate_values:
                metric = trial.intermediate_values[max(trial.intermediate_values)]
            name, reason = (str(trial.user_attrs.get(key, "")) for key in ("metric", "reason"))
            state, folder = trial.state.name.lower(), self.folder(trial.number)
            return Trial(trial.number, state, values_of(trial.params), metric, name, folder, reason)

        with self.storage():
            return [of(trial) for trial in self.study.get_trials(deepcopy=False)]
