"""`equiprop bench`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equiprop.cli._console import format_number, print_json, print_table, progress
from equiprop.cli._network import NetworkOptions, chosen_network, parse_network
from equiprop.cli._options import check_folder, write_json
from equiprop.errors import InputError, suggest

_BASE = "step, feedforward"


@dataclass(frozen=True)
class Options(NetworkOptions):
    what: tuple[str, ...] = ("steps", "parts")
    """steps: whole training steps, beside backpropagation of the same layers and beside fixed-step relaxation as published;
    epoch: all steps of one; parts: what a step is made of; estimators: each estimator alone."""
    rounds: int = 5
    """How often each case is timed, in turn with the others; the median counts."""
    steps: int = 50
    """Training steps in one call."""
    out: str | None = None
    """Folder to write bench.json into."""


def run(arguments: list[str]) -> None:
    options, config = parse_network(
        Options,
        "bench",
        arguments,
        "Time and memory of training steps and their parts, side by side.",
        changeable=("estimator", "solver", "homeostasis"),
    )
    for name in ("rounds", "steps"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} = {getattr(options, name)}: must be at least 1")
    if not options.what:
        raise InputError("--what: needs at least one of steps, epoch, parts, estimators")
    check_folder(options.out)
    trainer, system, config, *_ = chosen_network(options, config)
    import jax

    from equiprop.benchmarking import CASES, cases, measure

    for name in options.what:
        if name not in CASES:
            raise suggest("--what", name, list(CASES))
    chosen = cases(trainer, system, options.what, options.steps)
    with progress(options.quiet) as bar:
        task = bar.add_task("compiling", total=len(chosen))
        timings = measure(
            chosen,
            rounds=options.rounds,
            on_case=lambda name: bar.update(task, description=f"compiling {name}", advance=1),
            on_round=lambda done: bar.update(task, description="timing", total=options.rounds, completed=done),
        )
    base = next((t.milliseconds for t in timings if t.name == _BASE), None)
    document = {
        "run": options.run,
        "dataset": config.dataset,
        "batch_size": config.training["batch_size"],
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "rows": [
            {**dataclasses.asdict(t), "times_feedforward": None if base is None else t.milliseconds / base}
            for t in timings
        ],
    }
    if options.out is not None:
        write_json(Path(options.out) / "bench.json", document)
    if options.json:
        print_json(document)
    elif not options.quiet:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    where = document["run"] or f"a fresh system on {document['dataset']}"
    columns = [
        ("", False),
        ("ms", True),
        ("fastest to slowest", True),
        ("× feedforward", True),
        ("MiB", True),
        ("to trace, s", True),
        ("to compile, s", True),
    ]
    table = [
        [
            row["name"],
            format_number(row["milliseconds"]),
            f"{format_number(row['fastest'])} to {format_number(row['slowest'])}",
            format_number(row["times_feedforward"]),
            "" if row["bytes"] is None else format_number(row["bytes"] / 2**20),
            format_number(row["trace_seconds"], 2),
            format_number(row["compile_seconds"], 2),
        ]
        for row in document["rows"]
    ]
    print_table(f"{where}, batches of {document['batch_size']}, {document['device']}", columns, table)
