"""A sweep: what its file says, its folder, and the training of its trials."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from equiprop._jax import forget_programs
from equiprop.errors import InputError, suggest, unknown_key
from equiprop.experiment._config import Config, anchored, read_tables
from equiprop.experiment._train import Interrupted
from equiprop.experiment.sweeps._space import Range, Values, config_of, grid, space_of, values_of
from equiprop.experiment.sweeps._trials import LOCKS, Claim, Trial, Trials, optuna_library
from equiprop.experiment.sweeps._work import Metric, train_trials
from equiprop.files import read_text, read_toml, write_atomically

FILE = "sweep.toml"

_KEYS = {
    "config": (str, dict),
    "out": (str,),
    "sampler": (str,),
    "trials": (int,),
    "metric": (str,),
    "maximize": (bool,),
    "pruner": (str,),
    "seed": (int,),
    "storage": (str,),
    "workers": (int,),
    "lanes": (int,),
    "executor": (dict,),
    "parameters": (dict,),
}
_TYPES = {str: "text", dict: "a table", int: "a whole number", bool: "true or false"}


def on_this_machine() -> dict[str, Any]:
    """The executor that needs nothing."""
    return {"kind": "local"}


@dataclass(frozen=True)
class Sweep:
    """Trainings over the values of some keys of a configuration.

    **Fields:**

    - `base`: the tables of the configuration that the trials begin from.
    - `space`: the keys that are varied.
    - `out`: the folder: the storage, and a run directory for each trial.
    - `sampler`: `tpe` (tree-structured Parzen estimators), `random`, or `grid`: all combinations.
    - `trials`: how many; of a grid by default all.
    - `metric`: a key of summaries and epochs, dotted where it is nested; `auto` for the error on the validation samples, or
      the loss. Never that of the test samples: nothing is selected on them.
    - `maximize`: whether a larger one is better.
    - `pruner`: what ends a trial early that falls behind: `median`, `hyperband` or `none`.
    - `seed`: of the sampler.
    - `storage`: `sqlite`, or `journal` for processes on several machines.
    - `workers`: processes that train at once.
    - `lanes`: trials that each of them trains at once, as one program, if they differ in numbers alone.
    - `executor`: where they run: a table with `kind`, see `EXECUTORS`, and its options.
    """

    base: Mapping[str, Any]
    space: Mapping[str, Values | Range]
    out: Path
    sampler: str = "tpe"
    trials: int = 20
    metric: str = "auto"
    maximize: bool = False
    pruner: str = "none"
    seed: int = 0
    storage: str = "sqlite"
    workers: int = 1
    lanes: int = 1
    executor: Mapping[str, Any] = field(default_factory=on_this_machine)

    @classmethod
    def from_file(cls, path: str | Path, changes: Mapping[str, Any] | None = None) -> "Sweep":
        """From a TOML file; see the page Sweeps of the documentation.

        **Arguments:**

        - `changes`: other values of its keys.

        Raises `InputError` for a key that does not exist, and values that are not allowed.
        """
        path = Path(path)
        tables = read_toml(path) | dict(changes or {})
        try:
            return cls._of_tables(tables, path)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def _of_tables(cls, tables: dict[str, Any], path: Path) -> "Sweep":
        for key, value in tables.items():
            if key not in _KEYS:
                raise unknown_key((), key, _KEYS)
            if not isinstance(value, _KEYS[key]) or (isinstance(value, bool) and bool not in _KEYS[key]):
                allowed = " or ".join(_TYPES[kind] for kind in _KEYS[key])
                raise InputError(f"must be {allowed}", path=key, value=value)
        base = tables.pop("config", {})
        base = read_tables(path.parent / base) if isinstance(base, str) else anchored(base, path.parent)
        start = Config.from_mapping(base)
        space = space_of(anchored(tables.pop("parameters", {}), path.parent), start)
        out = Path(tables.pop("out", Path("runs") / path.stem))
        if tables.get("sampler") == "grid":
            points = len(grid(space))
            tables["trials"] = min(tables.get("trials", points), points)
        for key in ("trials", "workers", "lanes"):
            if tables.get(key, 1) < 1:
                raise InputError("must be at least 1", path=key, value=tables[key])
        if "training.precision" in space:
            raise InputError("is the same for all trials", path=("parameters", "training.precision"))
        _require_metric(tables.get("metric", "auto"))
        return cls(base, space, out.absolute(), **tables)

    @classmethod
    def grid(cls, base: Mapping[str, Any], parameters: Mapping[str, Any], out: Path) -> "Sweep":
        """Every combination of the values of some keys. Raises as `from_file`."""
        space = space_of(parameters, Config.from_mapping(base))
        return cls(base, space, out.absolute(), sampler="grid", trials=len(grid(space)))

    @property
    def precision(self) -> str:
        """Of all trials."""
        return Config.from_mapping(self.base).training["precision"]

    def to_toml(self) -> str:
        """Complete; reading it gives the same sweep."""
        own = {key: getattr(self, key) for key in _KEYS if key not in ("config", "out", "parameters")}
        tables = {"out": str(self.out), **own, "executor": dict(self.executor), "config": dict(self.base)}
        return tomli_w.dumps(tables | {"parameters": {key: values.table() for key, values in self.space.items()}})

    def _fingerprint(self) -> str:
        """Of what a trial depends on: more trials, or other workers, make no other sweep."""
        facts = {
            "base": self.base, "space": {key: values.table() for key, values in self.space.items()},
            **{key: getattr(self, key) for key in ("sampler", "metric", "maximize", "pruner", "seed")},
        }  # fmt: skip
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def _trials(self) -> Trials:
        return Trials(
            self.out,
            {key: values.distribution(optuna_library()) for key, values in self.space.items()},
            sampler=self.sampler,
            pruner=self.pruner,
            storage=self.storage,
            seed=self.seed,
            maximize=self.maximize,
        )

    def open(self) -> Trials:
        """Its trials so far; makes the folder, or goes on in the one that is there.

        Raises `InputError` where that holds something else, or another sweep.
        """
        trials = self._trials
        file = self.out / FILE
        if self.out.exists() and not file.is_file() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise InputError(f"{self.out}: exists already, and is no sweep", hint="give another folder by out")
        if file.is_file() and Sweep.from_file(file)._fingerprint() != self._fingerprint():
            raise InputError(f"{self.out}: holds another sweep", hint="give another folder by out")
        try:
            (self.out / LOCKS).mkdir(parents=True, exist_ok=True)
            text = self.to_toml()
            # Workers read it at any time.
            if not file.is_file() or read_text(file) != text:
                write_atomically(file, text)
        except OSError as error:
            raise InputError(f"{self.out}: cannot be written ({error.strerror})") from error
        trials.begin(self._fingerprint(), grid(self.space) if self.sampler == "grid" else [])
        return trials

    def results(self, trials: Trials | None = None) -> list[Trial]:
        """Every trial so far, by number."""
        trials = self.open() if trials is None else trials
        return trials.all(lambda stored: values_of(self.space, stored))

    def ranked(self, results: Sequence[Trial]) -> list[Trial]:
        """Those that are complete, the best one first."""
        sign = -1 if self.maximize else 1
        complete = [
            (sign * each.metric, each) for each in results if each.state == "complete" and each.metric is not None
        ]
        return [each for _, each in sorted(complete, key=lambda pair: pair[0])]

    def best(self) -> Trial | None:
        """The complete trial with the best metric, the first of equals; `None` before there is one."""
        return next(iter(self.ranked(self.results())), None)

    def work(self, on_trial: Callable[[Trial], None] | None = None) -> None:
        """Trains trials in this process until none is left. Any number of processes may do so at once.

        **Arguments:**

        - `on_trial`: told of each that has ended.

        Raises `Interrupted` after Ctrl-C; the trial under way goes on when the sweep does.
        """
        trials, metric = self.open(), Metric(self.metric)
        while claims := self._claimed(trials):
            forget_programs()
            try:
                train_trials(claims, lambda claim: config_of(self.base, self.space, claim.stored), metric)
            except Interrupted:
                for claim in claims:
                    claim.interrupt()
                raise
            finally:
                for claim in claims:
                    claim.release()
            if on_trial is not None:
                results = self.results(trials)
                for claim in claims:
                    on_trial(results[claim.number])

    def _claimed(self, trials: Trials) -> list[Claim]:
        claims = (trials.claim(self.trials) for _ in range(self.lanes))
        return [claim for claim in claims if claim is not None]


_OF_RUNS = (
    "auto", "validation_error_percent", "validation_loss", "train_error_percent", "train_loss", "best_validation_error_percent",
    "best_validation_loss", "symmetry", "error_bar", "certificate_angle_deg", "certificate_angle_median_deg",
    "certified_fraction", "converged_fraction", "excluded_fraction", "relaxation_steps", "seconds", "cosine_to_adjoint.total",
)  # fmt: skip
_OF_PARTS = ("cosine_to_adjoint.", "gradient_norm_ratio.", "weight_angle_deg.")
"""The numbers of a summary, and those that there is one of for each part of the system."""


def _require_metric(name: str) -> None:
    if name.startswith(("test_", "best_test_")):
        hint = "give a metric of the validation samples"
        raise InputError("nothing is selected on the test samples", path="metric", value=name, hint=hint)
    if name not in _OF_RUNS and not name.startswith(_OF_PARTS):
        raise suggest("metric", name, _OF_RUNS)
