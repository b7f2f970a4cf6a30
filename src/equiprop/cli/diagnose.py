"""`equiprop diagnose`."""

from dataclasses import dataclass
from typing import Any

from equiprop.cli._console import format_number, print_json, print_table, say
from equiprop.cli._network import NetworkOptions, chosen_network, parse_network
from equiprop.errors import InputError


@dataclass(frozen=True)
class Options(NetworkOptions):
    samples: int = 500
    """Validation samples to look at."""


def run(arguments: list[str]) -> None:
    options, config = parse_network(
        Options,
        "diagnose",
        arguments,
        "How far the gradient of a run, or of a fresh system, is from the exact one, why, and what to change.",
        ("estimator", "solver"),
    )
    if options.samples < 1:
        raise InputError(f"--samples = {options.samples}: must be at least 1")
    trainer, system, config, epoch, components = chosen_network(options, config)
    from equiprop.training import diagnose

    found = diagnose(system, trainer.validation, components, options.samples, trainer.settings.seed)
    if options.json:
        print_json({"run": options.run, "epoch": epoch, **found})
    elif not options.quiet:
        named = f"a fresh system on {config.dataset}" if options.run is None else f"{options.run} after epoch {epoch}"
        _print(named, found)


_MEANING = {
    "converged": "free phase at equilibrium",
    "oscillating": "free phase in a limit cycle",
    "max_steps": "free phase still falling",
    "diverged": "free phase diverged",
    "unconverged": "free or nudged phase, or linear solve, not converged",
    "clipped": "error vector cut to clip",
    "branch_switch": "even part of the response over the threshold",
    "inaccurate": "error bar above the tolerance",
    "non_analytic": "Fourier coefficients of the response do not fall",
    "retried": "estimated again at a smaller nudge",
    "excluded": "not in the gradient",
}


def _print(named: str, found: dict[str, Any]) -> None:
    say(f"{named}, on {found['samples']} validation samples")
    if (verdict := _verdict(found)) is not None:
        say(verdict)
    print()
    _print_tables(found)
    _print_sentences(found)
    print()
    say("advice")
    for line in found["advice"] or ["nothing stands out."]:
        say(f"  - {line}")


def _verdict(found: dict[str, Any]) -> str | None:
    """Whether the gradient points downhill; nothing where it cannot be told."""
    cosine, off = found["cosine_to_adjoint"]["total"], found["relative_error"].get("total")
    if cosine is None or off is None:
        return None
    points = "points" if cosine > 0 else "does not point"
    return (
        f"their summed gradient {points} downhill: its cosine to the exact one is {format_number(cosine)}, and it is off by "
        f"{100 * off:.2g} % of that"
    )


def _print_tables(found: dict[str, Any]) -> None:
    from equiprop.training import REPORTED

    print_table(
        "samples",
        [("kind", False), ("%", True), ("meaning", False)],
        [[name, f"{100 * found[name + '_fraction']:.1f}", _MEANING[name]] for name in REPORTED],
    )
    print_table(
        "relaxation",
        [("", False), ("median", True), ("worst", True)],
        [
            ["residual force", format_number(found["residual_median"]), format_number(found["residual_largest"])],
            [
                "sweeps of the free phase",
                format_number(found["free_sweeps_median"], 0),
                str(found["free_sweeps_largest"]),
            ],
            [
                "contraction a sweep",
                format_number(found["contraction_median"]),
                format_number(found["contraction_largest"]),
            ],
            [
                "spectral abscissa of the Jacobian",
                format_number(found["spectral_abscissa_median"]),
                format_number(found["spectral_abscissa_largest"]),
            ],
            ["distance to the nearest singularity", "", format_number(found["singularity_distance"])],
        ],
    )
    cosines = found["cosine_to_adjoint"]
    print_table(
        "against the exact gradient (populations: over samples; total: the summed parameter gradient)",
        [("where", False), ("cosine", True), ("spread", True), ("weighted by length", True), ("relative error", True)],
        [
            [
                name,
                format_number(cosines[name]),
                format_number(found["cosine_spread"].get(name)),
                format_number(found["weighted_cosine"].get(name)),
                format_number(found["relative_error"].get(name)),
            ]
            for name in cosines
        ],
    )
    print_table(
        "norm of the summed gradient against the exact one",
        [("parameter", False), ("ratio", True)],
        [[name, format_number(value)] for name, value in found["gradient_norm_ratio"].items()],
    )


def _print_sentences(found: dict[str, Any]) -> None:
    bias = found["bias"]
    if found["gradient_bar"] is not None:
        from equiprop.training import gradient_line

        say(f"summed {gradient_line(found)} of the exact one")
    split = {name: format_number(bias[name]) for name in ("total", "finite_nudge", "asymmetry")}
    say(
        f"error of the median sample, in lengths of the exact vector: {split['total']} = finite nudge, relaxation and noise "
        f"{split['finite_nudge']} + asymmetry {split['asymmetry']} (as vectors); "
        f"median error bar: {format_number(found['error_bar'])}"
    )
    say(f"symmetry of the Jacobian: {format_number(found['symmetry'])}")
    say(_certificate(found))
    if found["analyticity"] is not None:
        words = ", ".join(f"{100 * v:.0f} % {k.replace('_', ' ')}" for k, v in found["analyticity"].items() if v)
        say(f"response on the disc of the nudge: {words}")
    for name, angle in found["weight_angle_deg"].items():
        say(f"angle between the weights of {name}: {format_number(angle, 1)}°")


def _certificate(found: dict[str, Any]) -> str:
    median = found["certificate_angle_median_deg"]
    typical = "" if median is None else f"; median {format_number(median, 1)}°"
    if found["certificate_angle_deg"] is not None:
        return (
            f"certificate: asymmetry turns no error vector by more than {format_number(found['certificate_angle_deg'], 1)}° "
            f"in the inner product of −S{typical}"
        )
    certified = f"{100 * found['certified_fraction']:.0f} % of samples have one{typical}"
    return f"certificate: none for all samples, because {found['certificate_reason']}; {certified}"
