"""`equiprop doctor`."""

from dataclasses import asdict, dataclass

from equiprop._jax import set_up
from equiprop.cli._console import print_json, print_table
from equiprop.cli._options import Output, parse
from equiprop.errors import EquipropError


@dataclass(frozen=True)
class Options(Output):
    """What is here, and whether it works."""


def run(arguments: list[str]) -> None:
    about = "Versions, devices, caches and data, and whether a gradient is right and two devices do what one does."
    options = parse(Options, "doctor", arguments, about)
    set_up("float32")
    from equiprop.experiment import examine

    found = list(examine())
    wrong = [each for each in found if each.fault]
    if options.json:
        print_json({"findings": [asdict(each) for each in found]})
    elif not options.quiet:
        rows = [[each.part, each.fault or each.holds] for each in found]
        print_table("", [("part", False), ("state", False)], rows)
    if wrong:
        raise EquipropError("; ".join(f"{each.part}: {each.fault}" for each in wrong))
