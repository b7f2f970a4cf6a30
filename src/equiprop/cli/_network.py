"""Commands that look at one network: that of a run, or a fresh one of the given options."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import tyro

from equiprop.cli._jax import set_up
from equiprop.cli._options import Output, as_config
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


def chosen_network(options: NetworkOptions, changeable: tuple[str, ...] = ("estimator",)) -> tuple[Any, Any, Config]:
    """The trainer, the network and the configuration: of the run, or fresh from the options.

    **Arguments:**

    - `changeable`: the sections whose options may be given beside a run.

    Raises `InputError` for any other option of training beside a run.
    """
    if options.run is None:
        config = as_config(options)
        set_up(config.training.precision)
        from equiprop.training.loop import Trainer

        trainer = Trainer(config)
        return trainer, trainer.system, config
    given: dict[str, dict[str, Any]] = {}
    for key in differences(as_config(options), Config()):
        section, _, name = key.partition(".")
        if section not in changeable:
            raise _refused(key, changeable)
        if "." not in name:
            given.setdefault(section, {})[name] = getattr(getattr(options, section), name)
    if options.config is not None:
        raise _refused("config", changeable)
    from equiprop.training.run_directory import RunDirectory

    set_up(RunDirectory.open(options.run).config.training.precision)
    from equiprop.training.loop import Trainer
    from equiprop.training.restore import restore

    restored = restore(options.run, checkpoint=options.checkpoint)
    trainer, config = restored.trainer, restored.trainer.config
    sections = {name: dataclasses.replace(getattr(config, name), **values) for name, values in given.items()}
    if sections:
        config = dataclasses.replace(config, **sections)
        trainer = Trainer(config, trainer.dataset)
    return trainer, restored.system, config


def _refused(key: str, changeable: tuple[str, ...]) -> InputError:
    allowed = " and ".join(f"--{name}" for name in changeable)
    return InputError(f"--{key}: a run brings its own configuration; only {allowed} options can be given with RUN")
