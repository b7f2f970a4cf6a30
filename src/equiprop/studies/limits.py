"""How much homeostasis can gain."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import jax

from equiprop.diagnostics import agreement, certificate, metric_cosine, symmetry
from equiprop.estimators import Adjoint, ExactResponse, estimate
from equiprop.experiment import TrainedRun
from equiprop.reporting import Chart, Panel
from equiprop.solvers import relax
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table, median_of
from equiprop.studies._trained import ERROR, trained_table

_STRENGTH, _HIDDEN = "homeostasis.strength", "system.hidden"
_FIGURES = ("measured", "guaranteed", "σ", "granted", "below the bound", "cosine of the gradient", "symmetry")


class Limits(AbstractStudy):
    kind: ClassVar[str] = "limits"
    question: ClassVar[str] = (
        "The rotation certificate bounds how far asymmetry turns an error vector. How near is what is measured to the bound, and "
        "where does more homeostasis no longer pay, by width, depth and asymmetry?"
    )

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        x, y = run.batch("test", range(settings["samples"]))
        system, key = run.system, jax.random.key(0)
        free = relax(system, x, run.solver)
        given: dict[str, Any] = {"solver": run.solver, "equilibrium": free}
        ours, exact = (estimate(system, x, y, which(clip=math.inf), **given) for which in (ExactResponse, Adjoint))
        bound = certificate(system, x, free.state, key=key)
        measured = metric_cosine(system, x, free.state, ours.error_vector, exact.error_vector)
        usable = bound.granted & (ours.weight > 0) & (exact.weight > 0)

        # Rounding of single precision: a cosine is known to a few millionths.
        below = usable & (measured < bound.cosine - 1e-4)
        figures = (
            median_of(measured, usable),
            median_of(bound.cosine, usable),
            median_of(bound.sigma, usable),
            float(bound.granted.mean()),
            float(below.sum()),
            float(agreement(ours.gradient, exact.gradient).cosine),
            float(symmetry(system, x, free.state, probes=32, key=key).symmetry),
        )
        return [dict(zip(_FIGURES, figures, strict=True))]

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        means = measured.over_seeds(("arm",), _FIGURES)
        rows: list[dict[str, Any]] = []
        for row in means.rows:
            arm = settings.arms[row["arm"]]
            error = trained.where(arm=arm.name).mean(ERROR)
            about = {"hidden": "–".join(map(str, arm.values[_HIDDEN])), "strength": arm.values[_STRENGTH]}
            rows.append({**about, **{name: row[name] for name in _FIGURES}, "test error %": error})
        table = Table("Bound and measured, on test samples", rows)
        below = sum(row["below the bound"] for row in measured.rows)
        said = [
            f"Of all samples with a certificate, {below:g} lie below what it guarantees."
            if below
            else "No sample with a certificate lies below what it guarantees."
        ]
        facts: dict[str, Any] = {"below": below}
        for hidden in table.values("hidden"):
            ours = table.where(hidden=hidden).rows
            gains = [
                (after["strength"], after["cosine of the gradient"].mean - before["cosine of the gradient"].mean)
                for before, after in pairwise(ours)
            ]
            facts[hidden] = {str(strength): gain for strength, gain in gains}
            steps = ", ".join(f"{gain:+.3f} at {strength:g}" for strength, gain in gains)
            said.append(
                f"{hidden} hidden: σ {ours[0]['σ']} without homeostasis, {ours[-1]['σ']} at the strongest; measured cosine in "
                f"the inner product of −S {ours[0]['measured']} for {ours[0]['guaranteed']} guaranteed; the cosine of the "
                f"gradient gains {steps}."
            )
        return Outcome(said, [table, trained_table(trained, settings)], [_chart(table)], facts)


def _chart(table: Table) -> Chart:
    names = table.values("hidden")
    # No homeostasis is left of the least, on an axis of logarithms.
    least = min(row["strength"] for row in table.rows if row["strength"] > 0)
    moved = Table("", [{**row, "at": row["strength"] or least / 10} for row in table.rows])

    def panel(title: str, name: str, **given: Any) -> Panel:
        curves = [moved.where(hidden=hidden).curve(place, "at", name) for place, hidden in enumerate(names)]
        shown = [curve for curve in curves if curve.finite]
        return Panel(title, "", shown, across="strength", logarithmic_across=True, **given)

    panels = [
        panel("Cosine of the gradient", "cosine of the gradient", references=((1.0, "exact"),)),
        panel("Measured cosine of a sample", "measured"),
        panel("Guaranteed", "guaranteed"),
        panel("Test error", "test error %"),
    ]
    reading = f"The points at {least / 10:g} are without homeostasis."
    return Chart("limits", "What more homeostasis gains", reading, [panel for panel in panels if panel.curves], names)
