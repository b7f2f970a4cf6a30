"""`equiprop compare`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from equiprop.cli._console import figure, print_json, print_table, progress
from equiprop.cli._jax import set_up
from equiprop.cli._options import Output, as_config, config_defaults, fields_of, parse
from equiprop.errors import InputError, suggest
from equiprop.training.config import Config, differences


@dataclass(frozen=True)
class Options(Output, Config):
    run: tyro.conf.Positional[str | None] = None
    """Run directory with the trained network; without one, a fresh network of the given options."""
    config: str | None = None
    """Configuration file (TOML) that the other options override."""
    samples: int = 200
    """Validation samples to compare on."""
    estimators: tuple[str, ...] = ()
    """Only these; by default every one there is."""
    checkpoint: str = "last"
    """last, or best (by validation error)."""
    out: str | None = None
    """Folder to write comparison.json into."""


def run(arguments: list[str]) -> None:
    default = Options(**fields_of(config_defaults(arguments)))
    options = parse(
        Options, "compare", arguments, "Every estimator against the exact gradient on the same equilibria.", default
    )
    if options.samples < 1:
        raise InputError(f"--samples = {options.samples}: must be at least 1")
    trainer, system, config = _network(options)
    import jax.numpy as jnp

    from equiprop.diagnostics import compare
    from equiprop.training.build import estimator_family

    images = trainer.validation
    x, labels = images.batch(jnp.arange(min(options.samples, len(images))))
    family = estimator_family(config.estimator)
    for name in options.estimators:
        if name not in family:
            raise suggest("--estimators", name, list(family))
    family = {name: family[name] for name in options.estimators or family}
    with progress() as bar:
        task = bar.add_task("comparing", total=len(family))

        def tell(name: str) -> None:
            bar.update(task, description=name, advance=1)

        rows = compare(system, x, labels, family, solver=trainer.parts.solver, key=trainer.key, on_estimator=tell)
    document = {
        "run": options.run,
        "dataset": config.dataset,
        "samples": int(x.shape[0]),
        "nudge": config.estimator.nudge,
        "points": config.estimator.points,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    if options.out is not None:
        _write(Path(options.out), document)
    if options.json:
        print_json(document)
    elif not options.quiet:
        _print(document, rows)


def _network(options: Options) -> tuple[Any, Any, Config]:
    if options.run is None:
        config = as_config(options)
        set_up(config.training.precision)
        from equiprop.training.loop import Trainer

        trainer = Trainer(config)
        return trainer, trainer.system, config
    changed = [k for k in differences(as_config(options), Config()) if not k.startswith("estimator.")]
    if changed or options.config is not None:
        name = changed[0] if changed else "config"
        raise InputError(
            f"--{name}: a run brings its own configuration; only --estimator options can be given with RUN"
        )
    from equiprop.training.run_directory import RunDirectory

    set_up(RunDirectory.open(options.run).config.training.precision)
    from equiprop.training.restore import restore

    restored = restore(options.run, checkpoint=options.checkpoint)
    given = {
        key.removeprefix("estimator."): getattr(options.estimator, key.removeprefix("estimator."))
        for key in differences(as_config(options), Config())
        if "." not in key.removeprefix("estimator.")
    }
    config = dataclasses.replace(
        restored.trainer.config, estimator=dataclasses.replace(restored.trainer.config.estimator, **given)
    )
    return restored.trainer, restored.system, config


def _write(folder: Path, document: dict[str, Any]) -> None:
    import json

    from equiprop.cli._console import plain

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "comparison.json").write_text(json.dumps(plain(document), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be written ({error.strerror})") from error


def _print(document: dict[str, Any], rows: list[Any]) -> None:
    populations = next((list(row.populations) for row in rows if row.populations), [])
    columns = [
        ("estimator", False),
        ("cosine", True),
        ("relative error", True),
        ("error bar", True),
        *((f"cosine {name}", True) for name in populations),
        ("sweeps", True),
        ("seconds", True),
        ("left out", True),
    ]
    table = [
        [
            row.estimator,
            figure(row.cosine, 4),
            figure(row.relative_error),
            figure(row.error_bar),
            *(figure(row.populations[name]["cosine"]) for name in populations),
            figure(row.relaxation_steps, 1),
            figure(row.seconds),
            str(row.left_out),
        ]
        for row in rows
        if row.populations
    ]
    where = document["run"] or f"a fresh network on {document['dataset']}"
    print_table(
        f"{where}: {document['samples']} validation samples, |β| = {document['nudge']}, N = {document['points']}; "
        "cosine and relative error of the summed gradient to the exact one",
        columns,
        table,
    )
    for row in rows:
        if row.refused:
            print(f"{row.estimator}: not available: {row.refused}")
