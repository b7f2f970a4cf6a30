"""Commands that look at one system: that of a run, or a fresh one of the given options."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import tyro

from equiprop._jax import set_up
from equiprop.cli._options import ALIASES, Output, given_files, parse_config
from equiprop.errors import InputError


@dataclass(frozen=True)
class NetworkOptions(Output):
    run: tyro.conf.Positional[str | None] = None
    """Run directory with the trained system; without one, a fresh system of the given options."""
    config: str | None = None
    """Configuration file (TOML) that the other options override."""
    checkpoint: str = "last"
    """last, or best (by validation error)."""


T = TypeVar("T", bound=NetworkOptions)


class Chosen(NamedTuple):
    """What a command looks at: of the run after so many epochs, or fresh from the options.

    - `components`: the numbers of the run as they were then, or as the options say.
    """

    trainer: Any
    system: Any
    config: Any
    epoch: int = 0
    components: Any = None


def parse_network(
    kind: type[T], command: str, arguments: list[str], description: str, changeable: tuple[str, ...] = ("estimator",)
) -> tuple[T, Any]:
    """The options in `arguments`, and the configuration that they make; beside RUN, on top of the run's own.

    **Arguments:**

    - `changeable`: the sections whose options may be given beside RUN.

    Raises `InputError` for any other option of training beside RUN.
    """
    from equiprop.experiment import Config, RunDirectory, overlaid, read_tables

    file, run = given_files(arguments), _run_of(kind, command, arguments)
    if run is not None and file is not None:
        raise _refused("config", changeable)
    own = None if run is None else RunDirectory.open(run).resolved_config()
    base = own.to_mapping() if own is not None else {} if file is None else read_tables(file)
    options, given = parse_config(kind, command, arguments, description, base)
    if options.run is None and options.checkpoint != "last":
        raise InputError(f"--checkpoint = {options.checkpoint!r}: a fresh system has none; give RUN")
    if own is None:
        return options, Config.from_mapping(overlaid(base, given))
    for key, value in given.items():
        section = key.partition(".")[0]
        if section not in changeable and _at(base, key) != value:
            raise _refused(key, changeable)
    return options, own.changed({k: v for k, v in given.items() if k.partition(".")[0] in changeable})


def _run_of(kind: Any, command: str, arguments: list[str]) -> str | None:
    """RUN, if it is given: the first argument that is neither an option nor the value of one."""
    del kind, command
    first = arguments[0] if arguments else "-"
    if not first.startswith("-"):
        return first
    # Behind an option, a word may be its value; a folder with a configuration is a run.
    from pathlib import Path

    runs = [a for before, a in pairwise(arguments) if not a.startswith("-") and before != "--out"]
    return next((a for a in runs if (Path(a) / "config.toml").is_file()), None)


def _at(tables: Any, key: str) -> Any:
    for name in key.split("."):
        tables = tables.get(name) if isinstance(tables, dict) else None
    return list(tables) if isinstance(tables, tuple) else tables


def chosen_network(options: NetworkOptions, config: Any) -> Chosen:
    """The system that the options name, and what it comes with."""
    set_up(config.training["precision"])
    from equiprop.experiment import Trainer, load

    if options.run is None:
        trainer = Trainer(config)
        return Chosen(trainer, trainer.system, trainer.config, 0, trainer.at_epoch(trainer.components, 0))
    restored = load(options.run, checkpoint=options.checkpoint)
    trainer = restored.trainer
    where = {"training.devices": 1, "training.micro_batches": 1}
    config = config.changed(where)
    adjustment = restored.adjustment
    if config != trainer.config:
        # What is given now is meant as it is given.
        trainer, adjustment = Trainer(config, trainer.dataset, resumed=True), None
    components = trainer.at_epoch(trainer.components, restored.epoch)
    components = components if adjustment is None else adjustment.of(components)
    return Chosen(trainer, restored.system, trainer.config, restored.epoch, components)


def _refused(key: str, changeable: tuple[str, ...]) -> InputError:
    allowed = " and ".join(f"--{name}" for name in changeable)
    option = " or ".join(filter(None, (ALIASES.get(key), f"--{key.replace('_', '-')}")))
    return InputError(f"{option}: a run brings its own configuration; only {allowed} options can be given with RUN")
