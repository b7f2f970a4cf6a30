"""What every study says of its trainings: one table of methods, with what others have published beside it."""

import math
from collections.abc import Iterator, Mapping, Sequence

from equiprop.experiment import TrainedRun
from equiprop.reporting import Chart, Panel, flatten
from equiprop.studies._settings import StudySettings
from equiprop.studies._table import Row, Table

ERROR = "test_error_percent"
COSINE = "cosine_to_adjoint.total"
SHOWN = {
    "test error %": ERROR,
    "of the epoch that validation selects": "best_test_error_percent",
    "cosine": COSINE,
    "symmetry": "symmetry",
    "gradient bar": "gradient_bar",
    "excluded": "excluded_fraction",
    "unconverged": "unconverged_fraction",
    "seconds": "seconds",
}
"""Titles, and the numbers of a summary under them."""


def trained_table(
    trained: Table,
    settings: StudySettings,
    published: Sequence[Row] = (),
    shown: Mapping[str, str] = SHOWN,
    title: str = "Trained",
) -> Table:
    """A row an arm: means over seeds, and of how many, what was chosen, and the published error where there is one."""
    theirs = {row["arm"]: row for row in published_here(published, settings)}
    rows: list[Row] = []
    for name, arm in settings.arms.items():
        runs = trained.where(arm=name)
        row = {"method": arm.label, "seeds": len(runs.rows)}
        if "chosen" in trained.columns:
            row["chosen"] = runs.only("chosen")
        row |= {said: runs.mean(key) for said, key in shown.items() if any(key in each for each in trained.rows)}
        rows.append({**row, "published": theirs[name]["error %"]} if name in theirs else row)
    return Table(title, rows)


def published_here(published: Sequence[Row], settings: StudySettings) -> list[Row]:
    """What others have published of the data set that is trained on."""
    return [row for row in published if row["dataset"] == settings.base.get("dataset")]


def over_epochs(run: TrainedRun) -> list[Row]:
    """Every number that a run says of itself after each of its epochs."""
    return [
        {name: number for name, number in flatten(line).items() if isinstance(number, int | float)}
        for line in run.history
    ]


def epochs_chart(epochs: Table, settings: StudySettings, panels: Mapping[str, str], reading: str) -> Chart:
    """The course of the trainings, a curve an arm.

    **Arguments:**

    - `epochs`: the rows of `over_epochs`, with `arm` and `seed`.
    - `panels`: titles, and the number under each.
    """
    arms = [arm for arm in settings.arms.values() if epochs.where(arm=arm.name).rows]
    drawn = []
    for title, key in panels.items():
        means = {arm.name: epochs.where(arm=arm.name).over_seeds(("epoch",), (key,)) for arm in arms}
        curves = [means[arm.name].curve(place, "epoch", key) for place, arm in enumerate(arms)]
        drawn.append(Panel(title, "%" if "percent" in key else "", [curve for curve in curves if curve.finite]))
    shown = [panel for panel in drawn if panel.curves]
    return Chart("training", "Over training", reading, shown, [arm.label for arm in arms])


def of_training(trained: Table, settings: StudySettings, first: str, against: str) -> Iterator[str]:
    """How the test error of each arm stands against that of the first."""
    for name, arm in settings.arms.items():
        if name != first and trained.where(arm=name).rows:
            error, apart = trained.where(arm=name).mean(ERROR), trained.difference(ERROR, name, first)
            yield f"Trained with {arm.label}: test error {error} %, {apart} against {against}."


def order(trained: Table, settings: StudySettings, published: Sequence[Row]) -> Iterator[str]:
    """Whether the methods that others have published come in the same order here: Kendall's τ of the errors."""
    from scipy.stats import kendalltau

    pairs = [
        (trained.where(arm=row["arm"]).mean(ERROR).mean, row["error %"])
        for row in published_here(published, settings)
        if trained.where(arm=row["arm"]).rows
    ]
    pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
    if len(pairs) > 1:
        ours, theirs = zip(*pairs, strict=True)
        tau = kendalltau(ours, theirs).statistic  # pyright: ignore[reportAttributeAccessIssue]
        same = "" if tau == 1 else "not quite " if tau > 0 else "not "
        measured = "" if tau == 1 else f" (Kendall's τ = {tau:.2g})"
        yield f"The order of these {len(pairs)} methods by error is {same}the published one{measured}."
