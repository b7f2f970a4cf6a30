"""What a finite nudge costs, and that a circle of them costs nothing."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp

from equiprop.diagnostics import agreement, bias_split
from equiprop.estimators import Adjoint, ExactResponse, Holomorphic, estimate
from equiprop.experiment import TrainedRun
from equiprop.reporting import Chart, Panel
from equiprop.solvers import relax
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table, median_of
from equiprop.studies._trained import ERROR, order, trained_table

_SOURCE = {"dataset": "fashion_mnist", "source": "validation error, arXiv 2309.02214 (secondary sources)"}


class Nudge(AbstractStudy):
    kind: ClassVar[str] = "nudge"
    question: ClassVar[str] = (
        "Equilibrium propagation needs infinitesimal nudges. What does a finite one cost, and do N of them on a circle in the "
        "complex plane give the exact response?"
    )
    published: ClassVar = (
        {"arm": "one_sided-0.5", "error %": 38.4, **_SOURCE},
        {"arm": "circle-6-0.5", "error %": 14.3, **_SOURCE},
        {"arm": "response", "error %": 14.7, **_SOURCE},
        {"arm": "continuous", "error %": 17.3, **_SOURCE},
    )

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        """The estimate of each circle of nudges against the exact response and the exact gradient, on a trained network."""
        x, y = run.batch("test", range(settings["samples"]))
        given: dict[str, Any] = {"solver": run.solver, "equilibrium": relax(run.system, x, run.solver)}
        response, exact = (estimate(run.system, x, y, kind(), **given).gradient for kind in (ExactResponse, Adjoint))
        rows: list[Row] = []
        for points in settings["points"]:
            for nudge in settings["nudges"]:
                circle = Holomorphic(nudge=nudge, points=points, clip=float("inf"))
                found = estimate(run.system, x, y, circle, **given)
                split = bias_split(run.system, x, y, circle, **given)
                figures = {
                    "error to the exact response": agreement(found.gradient, response).relative_error,
                    "of a sample, median": median_of(split.finite_nudge_norm, split.usable),
                    "cosine to the exact gradient": agreement(found.gradient, exact).cosine,
                    "excluded": jnp.mean(found.weight == 0),
                }
                rows.append(
                    {"points": points, "nudge": nudge, **{name: float(value) for name, value in figures.items()}}
                )
        return rows

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        names = ("error to the exact response", "of a sample, median", "cosine to the exact gradient", "excluded")
        means = measured.over_seeds(("points", "nudge"), names)
        methods = trained_table(trained, settings, self.published)
        largest = max(means.values("points"))
        one, many = (means.where(points=points, nudge=0.5).rows[0] for points in (1, largest))
        said = [
            f"At |β| = 0.5 the gradient of one nudge is off the exact response by {one[names[0]]} of it, that of {largest} "
            f"nudges by {many[names[0]]} (a sample, in the median: {one[names[1]]} and {many[names[1]]}).",
        ]
        for arm in ("one_sided-0.5", "circle-6-0.5", "continuous", "exact", "feedforward"):
            if trained.where(arm=arm).rows:
                error, apart = trained.where(arm=arm).mean(ERROR), trained.difference(ERROR, arm, "response")
                said.append(f"{settings.arms[arm].label}: test error {error} %, {apart} against the exact response.")
        said += order(trained, settings, self.published)
        facts = {"one": one[names[0]].mean, "circle": many[names[0]].mean}
        tables = [methods, Table("Estimates on a trained network", means.rows)]
        return Outcome(said, tables, [_chart(means)], facts)


def _chart(means: Table) -> Chart:
    points = means.values("points")

    def panel(title: str, name: str, **given: Any) -> Panel:
        curves = [means.where(points=n).curve(place, "nudge", name) for place, n in enumerate(points)]
        return Panel(title, "", curves, across="|β|", logarithmic_across=True, **given)

    panels = [
        panel("Error to the exact response", "error to the exact response", logarithmic=True),
        panel("Error of a sample, median", "of a sample, median", logarithmic=True),
        panel("Cosine to the exact gradient", "cosine to the exact gradient", references=((1.0, "exact"),)),
        panel("Excluded samples", "excluded"),
    ]
    reading = (
        "More nudges on the circle, or smaller ones, come to the exact response until rounding is left; no number of them takes "
        "off what asymmetry bends, so the cosine to the exact gradient ends below 1. Samples that a large nudge carries to "
        "another equilibrium are excluded, which the error of the sum holds too."
    )
    return Chart("nudge", "Estimates by the size of the nudge", reading, panels, [f"N = {n}" for n in points])
