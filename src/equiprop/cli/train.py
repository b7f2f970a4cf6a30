"""`equiprop train`."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from equiprop.cli._console import figure, print_json, progress, stdout_console
from equiprop.cli._jax import set_up
from equiprop.cli._options import Output, as_config, config_defaults, fields_of, parse
from equiprop.errors import EquipropError, InputError
from equiprop.training.config import WHERE, Config, ProcessConfig, differences


@dataclass(frozen=True)
class Options(Output, Config):
    config: str | None = None
    """Configuration file (TOML) that the other options override."""
    resume: str | None = None
    """Run directory to continue exactly where it stopped."""
    out: str | None = None
    """New run directory; by default runs/DATASET-ESTIMATOR-TIME. One that all processes see, if there are several."""
    processes: ProcessConfig = field(default_factory=ProcessConfig)


def run(arguments: list[str]) -> None:
    base = config_defaults(arguments)
    options = _parse(arguments, base)
    try:
        _train(options, base, arguments)
    except InputError:
        raise
    except EquipropError:
        _leave(options)
        raise
    _leave(options)


def _leave(options: Options) -> None:
    """What all processes agreed on ends here; whatever else ends one of them stops the others."""
    if options.processes.count > 1:
        from equiprop.training.processes import leave

        leave()


def _train(options: Options, base: Config, arguments: list[str]) -> None:
    if options.resume is not None:
        summary = _resume(options, arguments)
    else:
        config = as_config(options)
        _set_up(config, options)
        out = Path(options.out or _default_out(config))
        from equiprop.training.build import fit_to_kinds
        from equiprop.training.loop import train

        config = fit_to_kinds(config, base)
        summary = _watched(
            options, out, lambda o: train(config, out, observer=o, command=shlex.join(["equiprop", *sys.argv[1:]]))
        )
    if options.json and summary:
        print_json(summary)


def _parse(arguments: list[str], base: Config) -> Options:
    description = "Trains a network and writes a run directory."
    return parse(Options, "train", arguments, description, Options(**fields_of(base)))


def _resume(options: Options, arguments: list[str]) -> dict[str, Any]:
    if options.out is not None or options.config is not None:
        raise InputError("--resume: goes on in its own folder with its own configuration; leave --out and --config out")
    _refuse_changes(options, Config())
    from equiprop.training.run_directory import RunDirectory

    path = Path(str(options.resume))
    own = RunDirectory.open(path).resolved_config()
    # An option may also ask for a default that the run does not have.
    asked = _parse(arguments, own)
    _refuse_changes(asked, own)
    _set_up(own, options)
    from equiprop.training.loop import resume

    training = asked.training
    return _watched(
        options,
        path,
        lambda o: resume(path, observer=o, devices=training.devices, micro_batches=training.micro_batches),
    )


def _set_up(config: Config, options: Options) -> None:
    set_up(config.training.precision)
    from equiprop.training.processes import join

    join(options.processes, _stop)


def _stop(message: str) -> None:
    print(f"equiprop: {message}", file=sys.stderr, flush=True)
    # At once: cleaning up would wait for the process that is gone.
    os._exit(1)


def _refuse_changes(options: Options, own: Config) -> None:
    changed = [key for key in differences(as_config(options), own) if key not in WHERE]
    if changed:
        raise InputError(f"--resume: a run keeps its configuration; leave out --{changed[0].replace('_', '-')}")


def _default_out(config: Config) -> Path:
    # To the microsecond: runs that are started together want folders of their own.
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return Path("runs") / f"{Path(config.dataset).name}-{config.estimator.kind}-{stamp}"


def _watched(options: Options, out: Path, job: Any) -> dict[str, Any]:
    """Runs `job(observer)` with what the user wants to see of it."""
    from equiprop.training.loop import Observer
    from equiprop.training.processes import is_primary

    if options.quiet or not is_primary():
        return job(Observer())
    console = stdout_console(stderr=options.json)
    with progress() as bar:
        summary = job(_observer(console, bar, out))
    cosine = summary["cosine_to_adjoint"]["total"]
    console.print(
        f"test error {summary['test_error_percent']:.2f} %, cosine to the exact gradient {figure(cosine)}, "
        f"symmetry {figure(summary['symmetry'])}, converged {100 * summary['converged_fraction']:.1f} %"
    )
    if summary["excluded_fraction"] > 0.5:
        console.print(
            f"{100 * summary['excluded_fraction']:.1f} % of samples were excluded from the gradient in the last epoch: "
            f"equiprop diagnose {out} says why"
        )
    console.print(f"run directory: {out}")
    return summary


def _observer(console: Console, bar: Any, out: Path) -> Any:
    from equiprop.training.loop import Observer

    class Printer(Observer):
        """A bar over all steps, and a line an epoch."""

        def on_start(self, config: Config, steps_per_epoch: int, epoch: int) -> None:
            assert config.training.epochs != "auto"
            self.per_epoch, self.epochs = steps_per_epoch, config.training.epochs
            treatment = (
                "no homeostasis" if config.homeostasis.kind == "none" else f"{config.homeostasis.kind} homeostasis"
            )
            plural = "" if self.epochs == 1 else "s"
            console.print(
                f"{config.dataset}: {config.estimator.kind} with {treatment}, {self.epochs} epoch{plural} -> {out}"
            )
            # The first call compiles; until it returns there is nothing to count.
            self.task = bar.add_task(
                "compiling", total=steps_per_epoch * self.epochs, completed=epoch * steps_per_epoch
            )

        def on_steps(self, epoch: int, step: int, loss: float) -> None:
            bar.update(
                self.task, completed=(epoch - 1) * self.per_epoch + step, description=f"epoch {epoch} loss {loss:.3f}"
            )

        def on_epoch(self, metrics: Mapping[str, Any]) -> None:
            if self.epochs > 20 and metrics["epoch"] % 5 and metrics["epoch"] != self.epochs:
                return
            console.print(epoch_line(metrics, self.epochs))

    return Printer()


def epoch_line(metrics: Mapping[str, Any], epochs: int) -> str:
    cosine = (metrics.get("cosine_to_adjoint") or {}).get("total")
    excluded = metrics["excluded_fraction"]
    return (
        f"epoch {metrics['epoch']:>{len(str(epochs))}}/{epochs}  {metrics['epoch_seconds']:6.1f} s"
        f"  loss {figure(metrics['train_loss'])}"
        f"  validation error {metrics['validation_error_percent']:5.2f} %"
        f"  cosine {figure(cosine)}  converged {100 * metrics['converged_fraction']:.1f} %"
        + (f"  excluded {100 * excluded:.1f} %" if excluded >= 0.0005 else "")
    )
