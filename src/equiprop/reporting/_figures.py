"""The figures of a report: what each shows, and how to read it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from equiprop.reporting._canvas import Curve, Panel, draw
from equiprop.reporting._run import Run
from equiprop.reporting._values import TOTAL, labels, members, series

_TRAINING = (
    "What is learned, on the training set and on the validation split held out of it. Judge by the last epoch: "
    "a best epoch picked on the test set would hide a run that collapsed afterwards."
)
_COSINE = (
    "Direction of the estimated gradient against the exact one; 1 is exact. Look at the total first: it is the cosine "
    "of the parameter gradient summed over samples, the one the optimizer follows. The cosine of a population is "
    "a mean over samples, and means mislead: easy samples with tiny errors dominate them, while about one sample in "
    "a hundred can hold much of the gradient."
)
_NORM = (
    "Length of the estimated gradient against the exact one, both summed over samples; 1 is exact. A connection "
    "below 1 learns more slowly than it should however good its direction; one above 1 takes longer steps."
)
_SYMMETRY = (
    "Symmetry is ‖S‖/(‖S‖+‖A‖) of the Jacobian at equilibrium, S its symmetric and A its antisymmetric part: about "
    "0.5 for random untied weights, 1 where the estimate at vanishing nudge is the exact gradient. The weight angle "
    "lies between forward weights and transposed feedback weights: 0° is aligned, 90° unrelated."
)
_CONVERGED = (
    "Converged samples met the tolerance of the solver. Beside it stand what became of the others and which samples were "
    "flagged: oscillating between two states, diverging, stopped by the largest number of steps, unconverged (without "
    "nudge or with), clipped (their error vector was shortened), switched to another branch (the nudge carried them to another "
    "equilibrium), inaccurate (an error bar above the tolerance asked for), or excluded from the gradient; one sample can be "
    "several of these. Small fractions matter: the samples that do not converge are the hard ones."
)
_UNCONVERGED = ("oscillating", "diverged", "max_steps", "unconverged")
_COST = (
    "The bar of the gradient bounds how far the gradient of a training batch is from the exact one, relative to that, as some of "
    "its samples tell: by the finite nudge, relaxation, rounding, asymmetry and exclusion. The error bar is the median over "
    "samples of a bound on the relative error of the error vector, against the exact response: of one or two nudges what the "
    "estimate leaves of its linear equation, of more nudges what their Fourier coefficients tell. It covers the finite nudge and "
    "unfinished relaxation, not the asymmetry. Where it does not fall with more points, the response is not holomorphic, or the "
    "nudge reaches a singularity. Relaxation steps are a mean over samples. The time of the first epoch includes compilation."
)


@dataclass(frozen=True)
class Picture:
    """One figure: its `key` (unique on a page), `title`, how to read it, and the SVG."""

    key: str
    title: str
    reading: str
    svg: str


def training_figure(runs: Sequence[Run]) -> str | None:
    """Training loss, training error and validation error over epochs, as SVG; None where no run recorded any."""
    return _picture(
        runs,
        "training",
        "Training loss and errors over epochs",
        [
            _panel(runs, "validation error", "%", "validation_error_percent", spread=8),
            _panel(runs, "training error", "%", "train_error_percent", spread=8),
            _panel(runs, "validation loss", "mean cost per sample", "validation_loss", spread=30),
            _panel(runs, "training loss", "mean cost per sample", "train_loss", spread=30),
        ],
    )


def cosine_figure(runs: Sequence[Run]) -> str | None:
    """Cosine of the estimated to the exact gradient over epochs, total and per population, as SVG, or None."""
    key = "cosine_to_adjoint"
    panels = [
        _panel(
            runs,
            "total (summed gradient)" if member == TOTAL else f"population {member}",
            "cosine",
            key,
            member,
            references=((1.0, ""), (0.0, "unrelated")),
        )
        for member in members(runs, key)
    ]
    return _picture(runs, "cosine", "Cosine to the exact gradient over epochs", _same_axis(panels, (1.0,)))


def norm_ratio_figure(runs: Sequence[Run]) -> str | None:
    """Norm of the estimated over that of the exact gradient over epochs, per connection, as SVG, or None."""
    key = "gradient_norm_ratio"
    panels = [
        _panel(runs, member, "norm ratio", key, member, references=((1.0, ""),), spread=6)
        for member in members(runs, key)
    ]
    return _picture(
        runs, "norm-ratio", "Gradient norm relative to the exact gradient over epochs", _same_axis(panels, (1.0,))
    )


def symmetry_figure(runs: Sequence[Run]) -> str | None:
    """Symmetry of the Jacobian, and the angle of each reciprocal pair of weights, over epochs, as SVG, or None."""
    symmetry = _panel(
        runs,
        "symmetry of the Jacobian",
        "‖S‖ / (‖S‖ + ‖A‖)",
        "symmetry",
        references=((1.0, "symmetric"), (0.5, "random, untied")),
        include=(0.5, 1.05),
    )
    key = "weight_angle_deg"
    angles = [
        _panel(runs, f"weight angle {member}", "degrees", key, member, references=((90.0, "unrelated"),))
        for member in members(runs, key)
    ]
    return _picture(
        runs, "symmetry", "Symmetry and weight angles over epochs", [symmetry, *_same_axis(angles, (0.0, 90.0))]
    )


def converged_figure(runs: Sequence[Run]) -> str | None:
    """Fractions of samples by how they ended and which were flagged, over epochs, as SVG, or None."""
    converged = _panel(runs, "converged", "% of samples", "converged_fraction", factor=100, include=(95.0, 100.0))
    rest = [
        _panel(runs, name.replace("_", " "), "% of samples", f"{name}_fraction", factor=100)
        for name in (*_UNCONVERGED, "clipped", "branch_switch", "inaccurate", "excluded")
    ]
    return _picture(
        runs, "converged", "Converged and flagged samples over epochs", [converged, *_same_axis(rest, (0.0, 1.0))]
    )


def cost_figure(runs: Sequence[Run]) -> str | None:
    """Median relative error bar, mean relaxation steps and seconds per epoch, over epochs, as SVG, or None."""
    return _picture(
        runs,
        "cost",
        "Error bar and cost over epochs",
        [
            _panel(runs, "bar of the gradient", "relative error", "gradient_bar", spread=6),
            _panel(runs, "error bar, median", "relative error", "error_bar", spread=6),
            _panel(runs, "relaxation, mean", "steps per sample", "relaxation_steps", include=(0.0,)),
            _panel(runs, "time", "seconds per epoch", "epoch_seconds", spread=6),
        ],
    )


def pictures(runs: Sequence[Run]) -> list[Picture]:
    """Every figure for which any of the runs has data, in reading order."""
    catalogue: list[tuple[str, str, str, Callable[[Sequence[Run]], str | None]]] = [
        ("training", "Training", _TRAINING, training_figure),
        ("cosine", "Direction of the gradient", _COSINE, cosine_figure),
        ("norm-ratio", "Length of the gradient", _NORM, norm_ratio_figure),
        ("symmetry", "Symmetry", _SYMMETRY, symmetry_figure),
        ("converged", "Equilibrium", _CONVERGED, converged_figure),
        ("cost", "Error bar and cost", _COST, cost_figure),
    ]
    drawn = [(key, title, reading, figure(runs)) for key, title, reading, figure in catalogue]
    return [Picture(key, title, reading, svg) for key, title, reading, svg in drawn if svg is not None]


def _picture(runs: Sequence[Run], key: str, title: str, panels: Sequence[Panel]) -> str | None:
    filled = [panel for panel in panels if _finite(panel)]
    return draw(filled, labels(runs), key=f"figure-{key}", title=title) if filled else None


def _panel(
    runs: Sequence[Run],
    title: str,
    unit: str,
    key: str,
    member: str | None = None,
    *,
    factor: float = 1.0,
    references: tuple[tuple[float, str], ...] = (),
    include: tuple[float, ...] = (),
    spread: float = math.inf,
) -> Panel:
    """The curves of `key` times `factor`, on a logarithmic axis where they span more than a ratio of `spread`."""
    curves: list[Curve] = []
    for place, run in enumerate(runs):
        epochs, values, spreads = series(run, key, member)
        if any(map(math.isfinite, values)):
            scaled, bands = ([factor * value for value in numbers] for numbers in (values, spreads))
            curves.append(Curve(place, epochs, scaled, bands))
    panel = Panel(title, unit, curves, references, include)
    values = _finite(panel)
    wide = bool(values) and min(values) > 0 and max(values) > spread * min(values)
    return Panel(title, unit, curves, references, include, wide)


def _same_axis(panels: Sequence[Panel], include: tuple[float, ...]) -> list[Panel]:
    """The panels with one vertical axis for all, so that they compare by eye."""
    values = [*include, *(value for panel in panels for value in _finite(panel))]
    logarithmic = any(panel.logarithmic for panel in panels) and min(values) > 0
    if not logarithmic:
        values += [value for panel in panels for curve in panel.curves for value in curve.finite]
    reach = (min(values), max(values))
    return [Panel(each.title, each.unit, each.curves, each.references, reach, logarithmic) for each in panels]


def _finite(panel: Panel) -> list[float]:
    return [value for curve in panel.curves for value in curve.values if math.isfinite(value)]
