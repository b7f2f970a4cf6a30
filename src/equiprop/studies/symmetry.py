"""How much symmetry is enough."""

from typing import Any, ClassVar

from equiprop.reporting import Chart, Curve, Panel
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table, capital
from equiprop.studies._trained import COSINE, ERROR, trained_table

_STRENGTH, _ANGLE = "homeostasis.strength", "system.weight_angle"


class SymmetryStudy(AbstractStudy):
    kind: ClassVar[str] = "symmetry"
    question: ClassVar[str] = (
        "How symmetric must a system be for equilibrium propagation to learn as the exact gradient does, is more homeostasis "
        "always better, and what if symmetric weights do not make a symmetric Jacobian?"
    )

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        from scipy.stats import spearmanr

        del measured
        rows: list[dict[str, Any]] = []
        for name, arm in settings.arms.items():
            ours, exact = trained.where(arm=name), f"exact_{arm.family}"
            if not arm.values or not ours.rows:
                continue
            found = {"symmetry": ours.mean("symmetry"), "cosine": ours.mean(COSINE), "test error %": ours.mean(ERROR)}
            about = {"field": arm.family, "angle": arm.values.get(_ANGLE), "strength": arm.values[_STRENGTH]}
            rows.append({**about, **found, "to the exact gradient": trained.difference(ERROR, name, exact)})
        table = Table("Symmetry and strength", rows)
        said, facts = [], {}
        for field in table.values("field"):
            ours = table.where(field=field).rows
            best = min(ours, key=lambda row: row["test error %"].mean)
            plain = [row for row in ours if row["strength"] == 0]
            strongest = max(row["strength"] for row in ours)
            inside = 0 < best["strength"] < strongest
            facts[field] = {"best": best["strength"], "symmetry": best["symmetry"].mean}
            start = "" if best["angle"] is None else f" from {best['angle']:g}°"
            said.append(
                f"{capital(field)}: least error {best['test error %']} % at strength {best['strength']:g}{start}, "
                f"{'an optimum between none and the strongest' if inside else 'at the end of what was tried'}, with symmetry "
                f"{best['symmetry']}, {best['to the exact gradient']} against the exact gradient; without homeostasis "
                + ", ".join(
                    f"symmetry {row['symmetry']} and error {row['test error %']} %{_from(row)}" for row in plain
                )
                + "."
            )
        runs = [row for row in trained.rows if _STRENGTH in row and COSINE in row]
        rank: Any = spearmanr([row["symmetry"] for row in runs], [row[COSINE] for row in runs])
        facts["rank correlation"] = float(rank.statistic)
        said.append(
            f"Over all {len(runs)} trainings symmetry and cosine have a rank correlation of {rank.statistic:.2f} (Spearman, p = "
            f"{rank.pvalue:.2g})."
        )
        return Outcome(said, [table, trained_table(trained, settings)], [_chart(table)], facts)


def _from(row: Row) -> str:
    return "" if row["angle"] is None else f" from {row['angle']:g}°"


def _chart(table: Table) -> Chart:
    fields = table.values("field")

    def panel(title: str, name: str, **given: Any) -> Panel:
        curves = []
        for place, field in enumerate(fields):
            ours = sorted(table.where(field=field).rows, key=lambda row: row["symmetry"].mean)
            curves.append(Curve(place, [row["symmetry"].mean for row in ours], [row[name].mean for row in ours]))
        return Panel(title, "", curves, across="symmetry of the Jacobian", **given)

    panels = [
        panel("Cosine of the gradient", "cosine", references=((1.0, "exact"),)),
        panel("Points above the exact gradient", "to the exact gradient", references=((0.0, "as good"),)),
    ]
    reading = "A point is a strength and an angle, a curve a field; symmetry is ‖S‖/(‖S‖ + ‖A‖) at the end of training."
    return Chart("symmetry", "How much symmetry is enough", reading, panels, fields)
