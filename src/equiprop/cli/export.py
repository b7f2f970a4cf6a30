"""`equiprop export`."""

from dataclasses import dataclass

from equiprop._jax import set_up
from equiprop.cli._console import print_json, say
from equiprop.cli._options import Output, parse
from equiprop.cli.evaluate import RunArgument


@dataclass(frozen=True)
class Options(Output, RunArgument):
    out: str = "weights.npz"
    """File to write; ends in .npz or .safetensors."""
    checkpoint: str = "last"
    """last, or best (by validation)."""


def run(arguments: list[str]) -> None:
    options = parse(Options, "export", arguments, "Writes the parameters of a trained system, by their paths in it.")
    from equiprop.experiment import RunDirectory, load

    set_up(RunDirectory.open(options.run).config.training["precision"])
    found = load(options.run, checkpoint=options.checkpoint)
    named = found.parameters()
    path = found.export(options.out)
    shapes = {name: list(a.shape) for name, a in named.items()}
    if options.json:
        print_json({"run": options.run, "epoch": found.epoch, "file": str(path), "parameters": shapes})
    elif not options.quiet:
        total = sum(a.size for a in named.values())
        say(f"{path}: {len(shapes)} arrays, {total} numbers, after epoch {found.epoch}")
