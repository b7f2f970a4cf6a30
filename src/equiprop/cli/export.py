"""`equiprop export`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from equiprop._jax import set_up
from equiprop.cli._console import print_json, print_table, say
from equiprop.cli._options import Output, parse
from equiprop.cli.evaluate import RunArgument
from equiprop.errors import EquipropError, InputError
from equiprop.files import write_atomically


@dataclass(frozen=True)
class Options(Output, RunArgument):
    format: Literal["weights", "spice"] = "weights"
    """weights: the parameters, by their paths in the system. spice: the circuit of the system for one sample, for ngspice."""
    out: str = "auto"
    """File to write; ends in .npz or .safetensors, of a circuit in anything; auto: weights.npz or circuit.cir."""
    checkpoint: str = "last"
    """last, or best (by validation)."""
    split: str = "test"
    """Split of the sample of a circuit: train, validation or test."""
    sample: int = 0
    """Its place there."""
    nudge: float = 0.0
    """The nudge of a circuit."""
    until: float = 0.0
    """The end of a transient of a circuit, in the unit of the time constants; 0 for its operating point."""
    couplings: Literal["sources", "resistors"] = "sources"
    """sources: a controlled source a weight; resistors: a differential pair of resistors a weight."""
    ohms: float = 1e3
    """The leak of a unit; one unit of the state is a volt."""
    verify: bool = False
    """Simulate the circuit by ngspice, and tell how far it is from what is computed here: operating point, nudged response
    (by 0.1, unless a nudge is given), and transient, where there is one. Ends with exit code 1 where they do not agree."""


_OF_WEIGHTS = ("run", "json", "quiet", "format", "out", "checkpoint")
_USUAL_NUDGE = 0.1


def run(arguments: list[str]) -> None:
    options = parse(Options, "export", arguments, "Writes a trained system: its parameters, or the circuit that it is.")
    if options.format == "weights":
        _refuse_what_is_of_circuits(options)
    from equiprop.experiment import RunDirectory, load

    # A simulator has double precision.
    precision = RunDirectory.open(options.run).config.training["precision"]
    set_up(precision if options.format == "weights" else "float64")
    found = load(options.run, checkpoint=options.checkpoint)
    if options.format == "weights":
        _weights(options, found)
    else:
        _circuit(options, found)


def _refuse_what_is_of_circuits(options: Options) -> None:
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name not in _OF_WEIGHTS and value != field.default:
            raise InputError("is of circuits", path=field.name, value=value, hint="give --format spice, too")


def _weights(options: Options, found: Any) -> None:
    named = found.parameters()
    path = found.export("weights.npz" if options.out == "auto" else options.out)
    shapes = {name: list(a.shape) for name, a in named.items()}
    if options.json:
        print_json({"run": options.run, "epoch": found.epoch, "file": str(path), "parameters": shapes})
    elif not options.quiet:
        total = sum(a.size for a in named.values())
        say(f"{path}: {len(shapes)} arrays, {total} numbers, after epoch {found.epoch}")


def _circuit(options: Options, found: Any) -> None:
    from equiprop.hardware import netlists

    system, x, y = _in_double_precision((found.system, *found.batch(options.split, [options.sample])))
    given = {"couplings": options.couplings, "ohms": options.ohms}
    analysis = netlists.transient(options.until, options.until / 1000) if options.until > 0 else ".op"
    text = netlists.netlist(system, x, analysis, target=y, nudge=options.nudge, **given)
    path = Path("circuit.cir" if options.out == "auto" else options.out)
    write_atomically(path, text)
    document = {"run": options.run, "epoch": found.epoch, "file": str(path), "lines": text.count("\n")}
    checked = None
    if options.verify:
        nudge, until = options.nudge or _USUAL_NUDGE, options.until or None
        checked = netlists.check_circuit(system, x, y, nudge=nudge, until=until, **given)
    if options.json:
        print_json(document | ({} if checked is None else {"verified": checked.to_mapping()}))
    elif not options.quiet:
        say(f"{path}: {document['lines']} lines, after epoch {found.epoch}; ngspice -b {path} simulates it")
        if checked is not None:
            print_table(f"{checked.program} beside equiprop", [("", False), ("difference", True)], list(checked.rows()))
    if checked is not None and checked.beyond:
        names = ", ".join(name.replace("_", " ") for name in checked.beyond)
        raise EquipropError(f"{path}: {checked.program} and equiprop do not agree ({names})")


def _in_double_precision(tree: Any) -> Any:
    import equinox as eqx
    import jax

    return jax.tree.map(lambda a: a.astype("float64") if eqx.is_inexact_array(a) else a, tree)
