"""Commands that look at one network: that of a run, or a fresh one of the given options."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import tyro

from equiprop.cli._jax import set_up
from equiprop.cli._options import Output, as_config, config_defaults, fields_of, parse
from equiprop.errors import InputError
from equiprop.training.config import Config, differences


@dataclass(frozen=True)
class NetworkOptions(Output, Config):
    run: tyro.conf.Positional[str | None] = None
    """Run directory with the trained network; without one, a fresh network of the given options."""
    config: str | None = None
    """Configuration file (TOML) that the other options override."""
    checkpoint: str = "last"
    """last, or best (by validation error)."""


T = TypeVar("T", bound=NetworkOptions)


def parse_network(
    kind: type[T], command: str, arguments: list[str], description: str, changeable: tuple[str, ...] = ("estimator",)
) -> T:
    """The options in `arguments`. Beside RUN they stand on the run's own configuration.

    **Arguments:**

    - `changeable`: the sections whose options may be given beside RUN.

    Raises `InputError` for any other option of training beside RUN.
    """
    options = parse(kind, command, arguments, description, kind(**fields_of(config_defaults(arguments))))
    if options.run is None:
        if options.checkpoint != "last":
            raise InputError(f"--checkpoint = {options.checkpoint!r}: a fresh network has none; give RUN")
        return options
    if options.config is not None:
        raise _refused("config", changeable)
    _refuse_others(options, Config(), changeable)
    from equiprop.training.run_directory import RunDirectory

    # Read again on top of what the run has: only so is an option told apart that asks for the default where the run differs.
    own = RunDirectory.open(options.run).resolved_config()
    options = parse(kind, command, arguments, description, kind(**fields_of(own)))
    _refuse_others(options, own, changeable)
    return options


class Chosen(NamedTuple):
    """What a command looks at: of the run after so many epochs, or fresh from the options."""

    trainer: Any
    system: Any
    config: Config
    epoch: int = 0


def chosen_network(options: NetworkOptions) -> Chosen:
    """The network that the options name, and what it comes with."""
    config = as_config(options)
    set_up(config.training.precision)
    from equiprop.training.build import fit_to_kinds
    from equiprop.training.loop import Trainer
    from equiprop.training.restore import restore

    if options.run is None:
        config = fit_to_kinds(config, Config() if options.config is None else Config.from_file(options.config))
        trainer = Trainer(config)
        return Chosen(trainer, trainer.system, config)
    restored = restore(options.run, checkpoint=options.checkpoint)
    trainer = restored.trainer
    where = replace(config.training, devices=trainer.config.training.devices, micro_batches=1)
    config = fit_to_kinds(replace(config, training=where), trainer.config)
    if config != trainer.config:
        trainer = Trainer(config, trainer.dataset)
    return Chosen(trainer, restored.system, config, restored.epoch)


def _refuse_others(options: Config, own: Config, changeable: tuple[str, ...]) -> None:
    for key in differences(as_config(options), own):
        if key.partition(".")[0] not in changeable:
            raise _refused(key, changeable)


def _refused(key: str, changeable: tuple[str, ...]) -> InputError:
    allowed = " and ".join(f"--{name}" for name in changeable)
    option = key.replace("_", "-")
    return InputError(f"--{option}: a run brings its own configuration; only {allowed} options can be given with RUN")
