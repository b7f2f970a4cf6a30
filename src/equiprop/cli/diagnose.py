"""`equiprop diagnose`."""

from dataclasses import dataclass
from typing import Any

import tyro

from equiprop.cli._console import figure, print_json, print_table
from equiprop.cli._jax import set_up
from equiprop.cli._options import Output, parse
from equiprop.errors import InputError


@dataclass(frozen=True)
class _Run:
    run: tyro.conf.Positional[str]
    """Run directory."""


@dataclass(frozen=True)
class Options(Output, _Run):
    samples: int = 500
    """Validation samples to look at."""
    checkpoint: str = "last"
    """last, or best (by validation error)."""


def run(arguments: list[str]) -> None:
    options = parse(
        Options, "diagnose", arguments, "How far the gradient of a run is from the exact one, why, and what to change."
    )
    if options.samples < 1:
        raise InputError(f"--samples = {options.samples}: must be at least 1")
    from equiprop.training.run_directory import RunDirectory

    set_up(RunDirectory.open(options.run).config.training.precision)
    from equiprop.training.diagnosis import diagnose
    from equiprop.training.restore import restore

    restored = restore(options.run, checkpoint=options.checkpoint)
    trainer = restored.trainer
    found = diagnose(restored.system, trainer.validation, trainer.parts, trainer.config, options.samples)
    if options.json:
        print_json({"run": options.run, "epoch": restored.epoch, **found})
    elif not options.quiet:
        _print(options.run, restored.epoch, found)


def _print(run: str, epoch: int, found: dict[str, Any]) -> None:
    print(f"{run} after epoch {epoch}, on {found['samples']} validation samples\n")
    fractions = ("settled", "oscillating", "out_of_steps", "diverged", "unsettled", "jumped", "bounded", "left_out")
    meaning = {
        "settled": "free phase at equilibrium",
        "oscillating": "free phase in a limit cycle",
        "out_of_steps": "free phase still falling",
        "diverged": "free phase diverged",
        "unsettled": "free or nudged phase, or linear solve, not converged",
        "jumped": "even part of the response over the threshold",
        "bounded": "error vector cut to max_gain",
        "left_out": "not in the gradient",
    }
    print_table(
        "samples",
        [("kind", False), ("%", True), ("meaning", False)],
        [[name, f"{100 * found[name + '_fraction']:.1f}", meaning[name]] for name in fractions],
    )
    print(
        f"residual: median {figure(found['residual_median'])}, largest {figure(found['residual_largest'])}; "
        f"free sweeps: median {figure(found['free_sweeps_median'], 0)}, largest {found['free_sweeps_largest']}; "
        f"nearest singularity: {figure(found['singularity_distance'])}\n"
    )
    print_table(
        "cosine to the exact gradient (populations: mean over samples; total: summed parameter gradient)",
        [("where", False), ("cosine", True)],
        [[name, figure(value)] for name, value in found["cosine_to_adjoint"].items()],
    )
    print_table(
        "norm of the summed gradient against the exact one",
        [("parameter", False), ("ratio", True)],
        [[name, figure(value)] for name, value in found["gradient_norm_ratio"].items()],
    )
    print(f"symmetry of the Jacobian: {figure(found['symmetry'])}   median error bar: {figure(found['error_bar'])}")
    for name, angle in found["weight_angle_deg"].items():
        print(f"angle between the weights of {name}: {figure(angle, 1)}°")
    print("\nadvice")
    for line in found["advice"] or ["nothing stands out."]:
        print(f"  - {line}")
