"""`equiprop compare`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equiprop.cli._console import format_number, print_json, print_table, progress, say
from equiprop.cli._network import NetworkOptions, chosen_network, parse_network
from equiprop.cli._options import check_folder, write_json
from equiprop.errors import InputError, suggest
from equiprop.kinds import is_reference
from equiprop.reporting import extreme


@dataclass(frozen=True)
class Options(NetworkOptions):
    samples: int = 200
    """Validation samples to compare on."""
    estimators: tuple[str, ...] = ()
    """Only these; by default every one there is."""
    out: str | None = None
    """Folder to write comparison.json into."""


def run(arguments: list[str]) -> None:
    options, config = parse_network(
        Options, "compare", arguments, "Every estimator against the exact gradient on the same equilibria."
    )
    if options.samples < 1:
        raise InputError(f"--samples = {options.samples}: must be at least 1")
    check_folder(options.out)
    trainer, system, config, epoch, components = chosen_network(options, config)
    import jax.numpy as jnp

    from equiprop.diagnostics import compare
    from equiprop.estimators import ESTIMATORS

    images = trainer.validation
    x, labels = images.batch(jnp.arange(min(options.samples, len(images))))
    kinds = list(dict.fromkeys((*ESTIMATORS.members(), config.estimator.kind)))
    for name in options.estimators:
        if name not in kinds and not is_reference(name):
            raise suggest("--estimators", name, kinds)
    family = {kind: config.estimator.switched(kind).create() for kind in options.estimators or kinds}
    family, solver = trainer.at_epoch(family, epoch), components.solver
    with progress(options.quiet) as bar:
        task = bar.add_task("comparing", total=len(family))

        def tell(name: str) -> None:
            bar.update(task, description=name, advance=1)

        rows = compare(system, x, labels, family, solver=solver, key=trainer.key, on_estimator=tell)
    document = {
        "run": options.run,
        "dataset": config.dataset,
        "samples": int(x.shape[0]),
        "nudge": config.estimator.values.get("nudge"),
        "points": config.estimator.values.get("points"),
        "clip": config.estimator.values.get("clip"),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    if options.out is not None:
        write_json(Path(options.out) / "comparison.json", document)
    if options.json:
        print_json(document)
    elif not options.quiet:
        _print(document, rows)


def _bar(row: Any) -> str:
    cause = extreme(row.gradient_bar_causes, smallest=False)
    return " ".join([format_number(row.gradient_bar), *(cause or ())[:1]])


def _print(document: dict[str, Any], rows: list[Any]) -> None:
    populations = next((list(row.populations) for row in rows if row.populations), [])
    columns = [
        ("estimator", False),
        ("cosine", True),
        ("relative error", True),
        ("gradient bar", True),
        ("error bar", True),
        *((f"cosine {name}", True) for name in populations),
        ("sweeps", True),
        ("seconds", True),
        ("clipped", True),
        ("excluded", True),
    ]
    table = [
        [
            row.estimator,
            format_number(row.cosine, 4),
            format_number(row.relative_error),
            _bar(row),
            format_number(row.error_bar),
            *(format_number(row.populations[name]["cosine"]) for name in populations),
            format_number(row.relaxation_steps, 1),
            format_number(row.seconds),
            str(row.clipped),
            str(row.excluded),
        ]
        for row in rows
        if row.populations
    ]
    where = document["run"] or f"a fresh system on {document['dataset']}"
    given = {"|β|": document["nudge"], "N": document["points"]}
    sizes = "".join(f", {symbol} = {value}" for symbol, value in given.items() if value is not None)
    print_table(
        f"{where}: {document['samples']} validation samples{sizes}; "
        "cosine and relative error of the summed gradient to the exact one; gradient bar: how large that error may be, and its "
        "largest cause",
        columns,
        table,
    )
    if any(row.clipped for row in rows):
        say(f"clipped: to {document['clip']} times the norm of the cost gradient, which the exact gradient here is not")
    for row in rows:
        if row.refused:
            say(f"{row.estimator}: not available: {row.refused}")
