"""`equiprop evaluate`."""

from dataclasses import dataclass

import tyro

from equiprop.cli._console import print_json
from equiprop.cli._jax import set_up
from equiprop.cli._options import Output, parse
from equiprop.errors import InputError


@dataclass(frozen=True)
class _Run:
    run: tyro.conf.Positional[str]
    """Run directory."""


@dataclass(frozen=True)
class Options(Output, _Run):
    split: str = "test"
    """train, validation or test."""
    checkpoint: str = "last"
    """last, or best (by validation error)."""


def run(arguments: list[str]) -> None:
    options = parse(Options, "evaluate", arguments, "The error of a trained system on a split.")
    from equiprop.experiment import RunDirectory, restore

    set_up(RunDirectory.open(options.run).config.training["precision"])
    from equiprop.data import Shards
    from equiprop.training import evaluate, on_device

    restored = restore(options.run, checkpoint=options.checkpoint)
    trainer = restored.trainer
    split = trainer.dataset.split(options.split)
    if isinstance(split, Shards):
        raise InputError(
            f"--split = {options.split!r}: {trainer.config.dataset} is read from disk file by file; choose validation or test"
        )
    solver = trainer.at_epoch(trainer.components.solver, restored.epoch)
    result = evaluate(restored.system, on_device(split, trainer.dataset, trainer.dtype), solver)
    document = {
        "run": options.run,
        "dataset": trainer.config.dataset,
        "split": options.split,
        "checkpoint": options.checkpoint,
        "epoch": restored.epoch,
        "samples": len(split),
        **result,
    }
    if options.json:
        print_json(document)
    elif not options.quiet:
        print(
            f"{trainer.config.dataset} {options.split}, {len(split)} samples, after epoch {restored.epoch}: "
            f"error {result['error_percent']:.2f} %, converged {100 * result['converged_fraction']:.2f} %, "
            f"{result['sweeps']:.1f} sweeps a sample"
        )
