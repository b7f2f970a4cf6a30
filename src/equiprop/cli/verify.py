"""`equiprop verify`."""

from dataclasses import asdict, dataclass

import tyro

from equiprop.cli._console import print_json, print_table
from equiprop.cli._options import Output, parse
from equiprop.errors import EquipropError, InputError


@dataclass(frozen=True)
class Options(Output):
    runs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Run directories."""
    data: bool = False
    """Load the data, too, and compare them with those that the run was trained on."""


def run(arguments: list[str]) -> None:
    options = parse(Options, "verify", arguments, "Whether what a run directory holds is whole: every file is read.")
    if not options.runs:
        raise InputError("verify: name at least one run directory; 'equiprop runs' lists those there are")
    from equiprop.experiment import check_run

    found = {path: list(check_run(path, data=options.data)) for path in options.runs}
    if options.json:
        print_json({"runs": {path: [asdict(finding) for finding in findings] for path, findings in found.items()}})
    elif not options.quiet:
        for path, findings in found.items():
            rows = [[each.part, each.fault or "whole", each.holds] for each in findings]
            print_table(path, [("part", False), ("state", False), ("holds", False)], rows)
    wrong = [f"{path}/{each.part}" for path, findings in found.items() for each in findings if each.fault]
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise EquipropError(f"{wrong[0]} is damaged{more}; a run goes on from its newest whole checkpoint")
