"""The figures of a report: what each shows, and how to read it."""

import math
from collections.abc import Sequence
from dataclasses import replace

from equiprop.reporting._canvas import Curve, Panel
from equiprop.reporting._chart import Chart
from equiprop.reporting._numbers import plain
from equiprop.reporting._run import Run
from equiprop.reporting._values import TOTAL, labels, members, series

_TRAINING = (
    "What is learned, on the training set and on the validation split held out of it. Judge by the last epoch: "
    "a best epoch picked on the test set would hide a run that collapsed afterwards."
)
_GRADIENT = (
    "The cosine is that of the parameter gradient summed over samples, which the optimizer follows, to the exact one; 1 is "
    "exact. Symmetry is ‖S‖/(‖S‖+‖A‖) of the Jacobian at equilibrium, S its symmetric and A its antisymmetric part: about 0.5 "
    "for random untied weights, 1 where the estimate at vanishing nudge is the exact gradient. The bar bounds how far the "
    "gradient of a training batch is from the exact one, relative to that: below 1 it still points downhill."
)
_CAUSES = (
    "What the bar of the gradient is made of: the finite nudge, unfinished relaxation, rounding, noise, asymmetry, excluded "
    "samples, and of devices mismatch, drift and lag. What is below a hundredth of a percent is not drawn."
)
_COSINE = (
    "The cosine of a population is a mean over samples, and means mislead: easy samples with tiny errors dominate them, while "
    "about one sample in a hundred can hold much of the gradient."
)
_ANGLE = "Between forward weights and transposed feedback weights: 0° is aligned, 90° unrelated."
_NORM = (
    "Length of the estimated gradient against the exact one, both summed over samples; 1 is exact. A connection "
    "below 1 learns more slowly than it should however good its direction; one above 1 takes longer steps."
)
_CONVERGED = (
    "Converged samples met the tolerance of the solver. Of the others, and of those that were flagged: oscillating between two "
    "states, diverging, stopped by the largest number of steps, unconverged (without nudge or with), clipped (their error vector "
    "was shortened), switched to another branch (the nudge carried them to another equilibrium), inaccurate (an error bar above "
    "the tolerance asked for), or excluded from the gradient; one sample can be several of these. Small fractions matter: the "
    "samples that do not converge are the hard ones."
)
_FLAGS = (
    "oscillating", "diverged", "max_steps", "unconverged", "clipped", "branch_switch", "inaccurate", "excluded",
)  # fmt: skip
_COST = (
    "The error bar is the median over samples of a bound on the relative error of the error vector, against the exact "
    "response: of one or two nudges what the estimate leaves of its linear equation, of more nudges what their Fourier "
    "coefficients tell. It covers the finite nudge and unfinished relaxation, not the asymmetry. Where it does not fall with "
    "more points, the response is not holomorphic, or the nudge reaches a singularity. Relaxation steps are a mean over "
    "samples. The time of the first epoch includes compilation."
)
_RELATIVE, _COSINES, _SHARE = _RATIOS = "relative error", "cosine", "‖S‖ / (‖S‖ + ‖A‖)"
MOST_IN_PARTS = 8
"""Of more runs than these their parts are not drawn: a panel a run is a page of panels."""

# A curve is flat that varies by no more of its size.
_FLAT = 2e-3
# A relative error that is as good as none.
_NOTHING = 1e-4


def charts(runs: Sequence[Run]) -> list[Chart]:
    """Every figure for which any of the runs has data, in reading order.

    A quantity that never changes is said in the place of a panel (`Chart.flat`). What a run has of each of its parts is a panel a
    run, a curve a part, and is left out of more than `MOST_IN_PARTS` runs.
    """
    percent = "%"
    training = [
        _panel(runs, "validation error", percent, "validation_error_percent", spread=8),
        _panel(runs, "training error", percent, "train_error_percent", spread=8),
        _panel(runs, "validation loss", "mean cost per sample", "validation_loss", spread=30),
        _panel(runs, "training loss", "mean cost per sample", "train_loss", spread=30),
    ]
    exact = ((1.0, ""), (0.0, "unrelated"))
    symmetric = ((1.0, "symmetric"), (0.5, "random, untied"))
    gradient = [
        _panel(
            runs, "cosine to the exact gradient", _COSINES, "cosine_to_adjoint", TOTAL, references=exact, include=(1.0,)
        ),
        _panel(runs, "symmetry", _SHARE, "symmetry", references=symmetric, include=(0.42, 1.05)),
        _panel(
            runs,
            "bar of the gradient",
            _RELATIVE,
            "gradient_bar",
            spread=6,
            references=((1.0, "need not point downhill"),),
        ),
    ]
    equilibrium = [
        _panel(runs, "converged", "% of samples", "converged_fraction", factor=100),
        *(_panel(runs, name.replace("_", " "), "% of samples", f"{name}_fraction", factor=100) for name in _FLAGS),
    ]
    cost = [
        _panel(runs, "relaxation, mean", "steps per sample", "relaxation_steps", include=(0.0,)),
        _panel(runs, "error bar, median", _RELATIVE, "error_bar", spread=6),
        _panel(runs, "time", "seconds per epoch", "epoch_seconds", spread=6),
    ]
    names = labels(runs)
    drawn = [
        _chart("training", "Training", _TRAINING, training, names),
        _chart("gradient", "The gradient", _GRADIENT, gradient, names),
        _by_part(
            runs, "causes", "Why the gradient may be off", _CAUSES, _RELATIVE, "gradient_bar_causes", spread=6, least=_NOTHING
        ),
        _by_part(
            runs, "cosine", "Direction by population", _COSINE, _COSINES, "cosine_to_adjoint", references=exact, include=(1.0,)
        ),
        _by_part(
            runs, "angle", "Weight angles", _ANGLE, "degrees", "weight_angle_deg",
            references=((90.0, "unrelated"),), include=(0.0, 90.0),
        ),
        _chart("equilibrium", "Equilibrium", _CONVERGED, equilibrium, names),
        _chart("cost", "Cost", _COST, cost, names),
        _by_part(
            runs, "length", "Length of the gradient", _NORM, "norm ratio", "gradient_norm_ratio",
            references=((1.0, ""),), include=(1.0,), spread=6, folded=True,
        ),
    ]  # fmt: skip
    return [chart for chart in drawn if chart.panels or chart.flat]


def _chart(name: str, title: str, reading: str, panels: Sequence[Panel], names: Sequence[str]) -> Chart:
    filled = [panel for panel in panels if _values(panel)]
    flat = [panel for panel in filled if _is_flat(panel)]
    said = [
        f"{panel.title} {plain(round(_values(panel)[0], 3))} {'' if panel.unit in _RATIOS else panel.unit}".rstrip()
        for panel in flat
        if any(_values(panel))
    ]
    nothing = [panel.title for panel in flat if not any(_values(panel))]
    if nothing:
        said.append(f"nothing {', '.join(nothing[:-1])}{' or ' if nothing[:-1] else ''}{nothing[-1]}")
    return Chart(name, title, reading, [panel for panel in filled if panel not in flat], names, said)


def _by_part(
    runs: Sequence[Run],
    name: str,
    title: str,
    reading: str,
    unit: str,
    key: str,
    *,
    references: tuple[tuple[float, str], ...] = (),
    include: tuple[float, ...] = (),
    spread: float = math.inf,
    least: float | None = None,
    folded: bool = False,
) -> Chart:
    """A panel a run with a curve for each entry of `key`, on one vertical axis; of values no smaller than `least`."""
    parts = [part for part in members(runs, key) if part != TOTAL] if len(runs) <= MOST_IN_PARTS else []
    if least is not None:
        parts = [
            part for part in parts if any(max(_known(series(run, key, part)[1]), default=0) >= least for run in runs)
        ]
    panels = []
    for run, label in zip(runs, labels(runs), strict=True):
        curves = [_curve(run, place, key, part, least=least) for place, part in enumerate(parts)]
        panels.append(Panel(label, unit, [curve for curve in curves if curve], references, include))
    return Chart(
        name, title, reading, _same_axis([panel for panel in panels if panel.curves], spread), parts, folded=folded
    )


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
    curves = [_curve(run, place, key, member, factor) for place, run in enumerate(runs)]
    panel = Panel(title, unit, [curve for curve in curves if curve], references, include)
    return replace(panel, logarithmic=_is_wide(_values(panel), spread))


def _curve(
    run: Run, place: int, key: str, member: str | None, factor: float = 1.0, least: float | None = None
) -> Curve | None:
    """The values of a run over its epochs, or None where there are none; broken where they are smaller than `least`."""
    epochs, values, spreads = series(run, key, member)
    if least is not None:
        values = [value if value >= least else math.nan for value in values]
    if not _known(values):
        return None
    return Curve(place, epochs, [factor * value for value in values], [factor * value for value in spreads])


def _same_axis(panels: Sequence[Panel], spread: float) -> list[Panel]:
    """The panels with one vertical axis for all, so that they compare by eye."""
    values = [value for panel in panels for value in (*panel.include, *_values(panel))]
    logarithmic = _is_wide(values, spread)
    if not logarithmic:
        values += [value for panel in panels for curve in panel.curves for value in curve.finite]
    reach = (min(values), max(values)) if values else ()
    return [replace(panel, include=reach, logarithmic=logarithmic) for panel in panels]


def _is_wide(values: Sequence[float], spread: float) -> bool:
    return bool(values) and min(values) > 0 and max(values) > spread * min(values)


def _is_flat(panel: Panel) -> bool:
    """Whether there is nothing to see: zero everywhere, or over several epochs one value in all runs."""
    values = _values(panel)
    size = max(map(abs, values))
    several = max(len(curve.values) for curve in panel.curves) > 1
    return size == 0 or (several and max(values) - min(values) <= _FLAT * size)


def _values(panel: Panel) -> list[float]:
    return [value for curve in panel.curves for value in _known(curve.values)]


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
