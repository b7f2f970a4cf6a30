"""`equiprop study`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from equiprop.cli._console import print_json, print_table, say
from equiprop.cli._options import Output, parse
from equiprop.errors import InputError

if TYPE_CHECKING:
    from equiprop.studies import Outcome


@dataclass(frozen=True)
class Options(Output):
    name: tyro.conf.Positional[str | None] = None
    """Which; without a name, all are listed. Or file.py:Class, for one of your own."""
    preset: str = "standard"
    """quick: minutes, to see that it runs; standard: three seeds or more; paper: as published."""
    seeds: int | None = None
    """How many trainings of each kind, in place of those of the preset."""
    out: str | None = None
    """Folder of runs, tables and figures; by default runs/study-NAME-PRESET."""
    settings: str | None = None
    """TOML file in place of the one that belongs to the study."""


def run(arguments: list[str]) -> None:
    description = "Trains, measures, and says what follows. The same command goes on where it stopped."
    options = parse(Options, "study", arguments, description)
    from equiprop.studies import STUDIES

    if options.name is None:
        _list(options)
        return
    kind = STUDIES.find(options.name)
    from equiprop._jax import set_up
    from equiprop.experiment import Config, Interrupted
    from equiprop.studies import StudySettings, run_study

    name = getattr(kind, "kind", options.name.rpartition(":")[2])
    if options.settings is None and ":" in options.name:
        raise InputError("study: one of your own needs settings", hint="give --settings FILE.toml")
    path = None if options.settings is None else Path(options.settings)
    settings = StudySettings.read(name, options.preset, seeds=options.seeds, path=path)
    out = Path(options.out or f"runs/study-{name}-{options.preset}")
    set_up(Config.from_mapping(settings.base).training["precision"])
    began = time.perf_counter()

    def tell(line: str) -> None:
        if not options.quiet:
            say(f"{time.perf_counter() - began:7.1f} s  {line}", stderr=options.json)

    try:
        outcome = run_study(kind(), settings, out, tell)
    except (Interrupted, KeyboardInterrupt):
        raise KeyboardInterrupt("what was under way is kept; the same command goes on") from None
    _conclude(outcome, out, options)


def _list(options: Options) -> None:
    from equiprop.studies import STUDIES

    found = {name: study.question for name, study in STUDIES.members().items()}  # pyright: ignore[reportAttributeAccessIssue]
    if options.json:
        print_json(found)
    elif not options.quiet:
        print_table("studies", [("name", False), ("question", False)], [[name, text] for name, text in found.items()])


def _conclude(outcome: "Outcome", out: Path, options: Options) -> None:
    if options.json:
        tables = {table.title: table.plain() for table in outcome.tables}
        print_json({"out": str(out), "verdict": list(outcome.verdict), "facts": dict(outcome.facts), "tables": tables})
        return
    if options.quiet:
        return
    from equiprop.studies import as_text

    for table in outcome.tables:
        columns = table.columns
        rows = [[as_text(row.get(name)) for name in columns] for row in table.rows]
        print_table(table.title, [(name.replace("_", " "), place > 0) for place, name in enumerate(columns)], rows)
    for said in outcome.verdict:
        say(said)
    say(f"study: {out}")
