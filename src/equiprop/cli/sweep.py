"""`equiprop sweep`."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tyro

from equiprop.cli._console import format_number, print_json, print_table, say
from equiprop.cli._options import Output, parse
from equiprop.errors import InputError

if TYPE_CHECKING:
    from equiprop.experiment.sweeps import Sweep, Trial

_SHOWN = 10


@dataclass(frozen=True)
class Options(Output):
    file: tyro.conf.Positional[str | None] = None
    """TOML file of the sweep; the page Sweeps of the documentation has its keys."""
    out: str | None = None
    """Folder of the storage and of a run directory for each trial; by default runs/NAME of the file."""
    trials: int | None = None
    """How many trials in all, those of before too."""
    workers: int | None = None
    """Processes that train at once."""
    lanes: int | None = None
    """Trials that each process trains at once, as one program, if they differ in numbers alone."""
    executor: str | None = None
    """Where they run: local, submitit (a Slurm cluster) or ray."""


def run(arguments: list[str]) -> None:
    description = "Trains over the values of some settings. The same command goes on where it stopped."
    options = parse(Options, "sweep", arguments, description)
    if options.file is None:
        raise InputError("sweep: name a TOML file", hint="the page Sweeps of the documentation has one to begin with")
    from equiprop.experiment import Interrupted
    from equiprop.experiment.sweeps import Sweep, execute

    changes: dict[str, Any] = {key: getattr(options, key) for key in ("out", "trials", "workers", "lanes")}
    if options.executor is not None:
        changes["executor"] = {"kind": options.executor}
    sweep = Sweep.from_file(options.file, {key: value for key, value in changes.items() if value is not None})
    try:
        execute(sweep, _teller(sweep, options))
    except (Interrupted, KeyboardInterrupt):
        raise KeyboardInterrupt("what was under way is kept; the same command goes on") from None
    _conclude(sweep, options)


def _teller(sweep: "Sweep", options: Options) -> Any:
    began = time.perf_counter()
    if not options.quiet:
        over = ", ".join(sweep.space)
        say(f"{sweep.trials} trials ({sweep.sampler}) over {over} -> {sweep.out}", stderr=options.json)

    def tell(trial: "Trial") -> None:
        if not options.quiet:
            pruned = " (pruned)" if trial.state == "pruned" else ""
            came = trial.reason or f"{_name(trial)} {_number(trial.metric)}{pruned}"
            spent = time.perf_counter() - began
            say(f"trial {trial.number:>3}  {spent:6.1f} s  {came}  {_told(trial)}", stderr=options.json)

    return tell


def _conclude(sweep: "Sweep", options: Options) -> None:
    trials, best = sweep.results(), sweep.best()
    if options.json:
        print_json(
            {"out": str(sweep.out), "best": None if best is None else _plain(best), "trials": [*map(_plain, trials)]}
        )
    elif not options.quiet:
        ranked = sweep.ranked(trials)
        keys = list(sweep.space)
        print_table(
            f"the best {min(_SHOWN, len(ranked))} of {len(trials)} trials",
            [
                ("trial", True),
                (_name(ranked[0]) if ranked else sweep.metric, True),
                *((key, True) for key in keys),
                ("run", False),
            ],
            [
                [str(t.number), _number(t.metric), *(_value(t.values.get(key)) for key in keys), str(t.folder.name)]
                for t in ranked[:_SHOWN]
            ],
        )
        say(f"sweep: {sweep.out}")


def _plain(trial: "Trial") -> dict[str, Any]:
    return {
        "number": trial.number, "state": trial.state, "metric": trial.metric, "values": trial.values,
        "run": str(trial.folder), "reason": trial.reason or None,
    }  # fmt: skip


def _name(trial: "Trial") -> str:
    return trial.metric_name.replace("_percent", " %").replace("_", " ")


def _told(trial: "Trial") -> str:
    return "  ".join(f"{key} {_value(value)}" for key, value in trial.values.items())


def _number(value: float | None) -> str:
    return format_number(value)


def _value(value: Any) -> str:
    return format_number(value) if isinstance(value, float) else "–" if value is None else str(value)
