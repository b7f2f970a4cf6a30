"""`equiprop train`."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from equiprop._interrupts import doing
from equiprop._jax import set_up
from equiprop.cli._console import format_number, print_json, progress, say, stdout_console
from equiprop.cli._options import Output, given_files, parse_config, values_of
from equiprop.errors import InputError, printable, suggest
from equiprop.experiment import ProcessSettings
from equiprop.reporting import CHECKPOINTS


@dataclass(frozen=True)
class Options(Output):
    config: str | None = None
    """Configuration file (TOML) that the other options override."""
    resume: str | None = None
    """Run directory to continue exactly where it stopped; with more --epochs than before also one that has ended."""
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Run directory whose system (DIR#best: its best one) is trained further in a new run, alike but for what is given."""
    out: str | None = None
    """New run directory; by default runs/DATASET-ESTIMATOR-TIME. One that all processes see, if there are several."""
    track: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME", help_behavior_hint="(repeatable)")
    ] = ()
    """tensorboard, wandb, mlflow or trackio, which each read their own environment variables; --track again for another."""
    processes: ProcessSettings = field(default_factory=ProcessSettings)


DESCRIPTION = """Trains a system and writes a run directory.

  equiprop train --dataset fashion_mnist --epochs 5 --estimator holomorphic --nudge 0.1
  equiprop train --config experiments/digits_homeostasis.toml --seed 1 --homeostasis none

The options below are those of the chosen kinds; --estimator KIND --help shows those of another."""


def run(arguments: list[str]) -> None:
    options, given, tables = _parse(arguments)
    from equiprop.experiment._processes import ending_together

    with ending_together():
        _train(options, given, tables)


def _parse(arguments: list[str]) -> tuple[Options, dict[str, Any], dict[str, Any]]:
    """The options, the configuration's keys that were given, and the tables that they override."""
    from equiprop.experiment import RunDirectory, read_tables

    file = given_files(arguments)
    resumed, start = (next(values_of(name, arguments), None) for name in ("--resume", "--from"))
    if start is not None and (resumed is not None or file is not None):
        raise InputError("--from: brings its own configuration; leave --resume and --config out")
    if resumed is not None:
        tables = RunDirectory.open(resumed).resolved_config().to_mapping()
    elif start is not None:
        tables = RunDirectory.open(start.partition("#")[0]).resolved_config().to_mapping()
        tables["training"] = {**tables["training"], "start": start}
    else:
        tables = {} if file is None else read_tables(file)
    options, given = parse_config(Options, "train", arguments, DESCRIPTION, tables)
    return options, given, tables


def _train(options: Options, given: dict[str, Any], tables: dict[str, Any]) -> None:
    trackers = _trackers(options)
    if options.resume is not None:
        summary = _resume(options, given, tables, trackers)
    else:
        from equiprop.experiment import Config, overlaid

        config = Config.from_mapping(overlaid(tables, given))
        _set_up(config, options)
        out = Path(options.out or _default_out(config))
        from equiprop.experiment import train

        command = shlex.join(["equiprop", *sys.argv[1:]])
        summary = _watched(options, out, trackers, lambda told: train(config, out, callbacks=told, command=command))
    if options.json and summary:
        print_json(summary)


def _trackers(options: Options) -> list[Any]:
    """Those that were asked for. Raises `InputError` for one that there is not, or whose library is not installed."""
    if not options.track:
        return []
    from equiprop.training import MLflow, TensorBoard, Trackio, WandB

    known = {
        "tensorboard": TensorBoard,
        "wandb": lambda: WandB(os.environ.get("WANDB_PROJECT", "equiprop")),
        "mlflow": lambda: MLflow(os.environ.get("MLFLOW_EXPERIMENT_NAME", "equiprop")),
        "trackio": Trackio,
    }
    wrong = [name for name in options.track if name not in known]
    if wrong:
        raise suggest("--track", wrong[0], known)
    trackers = [known[name]() for name in dict.fromkeys(options.track)]
    for tracker in trackers:
        tracker.quiet = options.quiet
    return trackers


def _resume(options: Options, given: dict[str, Any], tables: dict[str, Any], trackers: Sequence[Any]) -> dict[str, Any]:
    if options.out is not None or options.config is not None:
        raise InputError("--resume: goes on in its own folder with its own configuration; leave --out and --config out")
    from equiprop.experiment import MAY_CHANGE, Config, differences, resume

    own = Config.from_mapping(tables, complete=True)
    asked = own.changed(given)
    changed = differences(asked, own)
    kept = [key for key in changed if key not in MAY_CHANGE]
    if kept:
        raise InputError(f"--resume: a run keeps its configuration; leave out --{kept[0].replace('_', '-')}")
    _set_up(own, options)
    path = Path(str(options.resume))
    changes = {key: asked.training[key.partition(".")[2]] for key in changed}
    return _watched(options, path, trackers, lambda told: resume(path, callbacks=told, changes=changes))


def _set_up(config: Any, options: Options) -> None:
    set_up(config.training["precision"])
    from equiprop.experiment._processes import join

    join(options.processes, _stop, f"{options.resume} {config.to_mapping()}")


def _stop(message: str) -> None:
    hint = "start all of them again, with --resume and the run directory to go on from its last checkpoint"
    say(f"equiprop: {message}; {hint}", stderr=True)
    # At once: cleaning up would wait for the process that is gone.
    os._exit(1)


def _default_out(config: Any) -> Path:
    # To the microsecond: runs that are started together want folders of their own.
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    # Of a user's own file only the name in it.
    dataset, estimator = (name.rpartition(":")[2] for name in (Path(config.dataset).name, config.estimator.kind))
    return Path("runs") / f"{dataset}-{estimator}-{stamp}"


def _watched(options: Options, out: Path, trackers: Sequence[Any], job: Any) -> dict[str, Any]:
    """Runs `job(callbacks)` with what the user wants to see of it, and the trackers."""

    def how_to_go_on() -> str:
        kept = any((out / CHECKPOINTS).glob("*epoch-*"))
        return f"the last checkpoint is whole, continue with: equiprop train --resume {out}" if kept else ""

    with doing(f"the run {out}", then=how_to_go_on):
        try:
            return _shown(options, out, trackers, job)
        except KeyboardInterrupt:
            # Before the first step, after the last, or a second time.
            raise KeyboardInterrupt(*filter(None, [how_to_go_on()])) from None


def _shown(options: Options, out: Path, trackers: Sequence[Any], job: Any) -> dict[str, Any]:
    from equiprop.training import is_primary

    if options.quiet or not is_primary():
        return job(trackers)
    console = stdout_console(stderr=options.json)
    with progress() as bar:
        summary = job([_printer(console, bar, out), *trackers])
    cosine = summary["cosine_to_adjoint"]["total"]
    say(
        f"{_judged(summary)}, cosine to the exact gradient {format_number(cosine)}, "
        f"symmetry {format_number(summary['symmetry'])}, converged {100 * summary['converged_fraction']:.1f} %",
        stderr=options.json,
    )
    if summary["excluded_fraction"] > 0.5:
        say(
            f"{100 * summary['excluded_fraction']:.1f} % of samples were excluded from the gradient in the last epoch: "
            f"equiprop diagnose {out} says why",
            stderr=options.json,
        )
    say(f"run directory: {out}", stderr=options.json)
    return summary


def _judged(summary: Mapping[str, Any]) -> str:
    """The error on the test samples, or the loss where targets name no classes; of several seeds the mean and its deviation."""
    key, name, unit = "test_error_percent", "test error", " %"
    if summary[key] is None:
        key, name, unit = "test_loss", "test loss", ""
    digits, spread = (2 if unit else 4), summary.get("std", {}).get(key)
    return f"{name} {summary[key]:.{digits}f}{'' if spread is None else f' ± {spread:.{digits}f}'}{unit}"


def _printer(console: Console, bar: Any, out: Path) -> Any:
    from equiprop.experiment import Config
    from equiprop.training import Plan, Progress

    class Printer(Progress):
        """A bar over all steps, too."""

        begun = ""

        def say(self, text: str, end: str = "\n") -> None:
            # Above a bar there can be whole lines only.
            if console.is_terminal and end != "\n":
                self.begun = text + end
                return
            console.print(printable(self.begun + text), end=end, soft_wrap=True)
            self.begun = ""

        def heading(self, plan: Plan) -> str:
            config = Config.from_mapping(plan.settings, complete=True)
            kind = config.homeostasis.kind
            homeostasis = "no homeostasis" if kind == "none" else f"{config.homeostasis.label} homeostasis"
            plural = "" if plan.epochs == 1 else "s"
            seeds = f", {plan.lanes} seeds side by side" if plan.lanes > 1 else ""
            epochs = f"{plan.epochs} epoch{plural} of {plan.samples_told}"
            most = config.training["evaluation_limit"]
            judged = f", judged by the first {most} validation and test samples" if most else ""
            return f"{config.dataset}: {config.estimator.label} with {homeostasis}, {epochs}{seeds}{judged} -> {out}"

        def on_start(self, plan: Plan) -> None:
            super().on_start(plan)
            # The first call compiles; until it returns there is nothing to count.
            self.per_epoch, done = plan.steps_per_epoch, plan.epoch * plan.steps_per_epoch
            self.task = bar.add_task("compiling", total=self.per_epoch * plan.epochs, completed=done)

        def on_steps(self, epoch: int, step: int, loss: float) -> None:
            super().on_steps(epoch, step, loss)
            done = (epoch - 1) * self.per_epoch + step
            bar.update(self.task, completed=done, description=f"epoch {epoch} loss {loss:.3f}")

        def on_validation(self, metrics: Mapping[str, Any]) -> None:
            super().on_validation(metrics)
            bar.update(self.task, description=f"epoch {metrics['epoch']} judging the gradient")

    return Printer()
