"""Which ways of keeping symmetry stand an imperfect device."""

from typing import Any, ClassVar

from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Table, capital

_IDEAL = "-ideal"
_CAUSES = ("noise", "mismatch", "asymmetry", "nudge")
_ERROR, _COSINE = "test_error_percent", "cosine_to_adjoint.total"


class Imperfect(AbstractStudy):
    kind: ClassVar[str] = "imperfect"
    question: ClassVar[str] = (
        "On chips whose cells differ by 10 %, hold 8 bits and are read with noise, does the gradient still point downhill, and "
        "what keeps it there?"
    )

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        del measured
        rows: list[dict[str, Any]] = []
        for name, arm in settings.arms.items():
            chips = trained.where(arm=name)
            if name.endswith(_IDEAL) or not chips.rows:
                continue
            ideal = trained.where(arm=name + _IDEAL)
            rows.append(
                {
                    "method": arm.label,
                    "test error %": chips.mean(_ERROR),
                    "on the ideal device": ideal.mean(_ERROR),
                    "gap": trained.difference(_ERROR, name, name + _IDEAL),
                    "against none": None if name == "none" else trained.difference(_ERROR, name, "none"),
                    "chosen": chips.only("chosen"),
                    "chosen, ideal": ideal.only("chosen"),
                    "cosine": chips.mean(_COSINE),
                    "cosine, ideal": ideal.mean(_COSINE),
                    "gradient bar": chips.mean("gradient_bar"),
                    **{f"of it {cause}": chips.mean(f"gradient_bar_causes.{cause}") for cause in _CAUSES},
                    "excluded": chips.mean("excluded_fraction"),
                }
            )
        ranked = sorted(rows, key=lambda row: row["test error %"].mean)
        best, downhill = ranked[0], [row for row in rows if row["cosine"].mean > 0]
        said = [
            f"On {best['test error %'].seeds} chips the gradient of {len(downhill)} of {len(rows)} methods points downhill.",
            f"The least error has {best['method']}: {best['test error %']} %, {best['gap']} points against the ideal device.",
        ]
        said += [
            f"{capital(row['method'])}: {row['test error %']} %, {row['against none']} against none."
            for row in ranked
            if row["method"] != settings.arms["none"].label
        ]
        causes = {cause: sum(row[f"of it {cause}"].mean for row in rows) for cause in _CAUSES}
        said.append(f"What the gradient may be off by is most of all {max(causes, key=causes.__getitem__)}.")
        facts = {"best": best["method"], "downhill": len(downhill)}
        return Outcome(said, [Table("Methods", rows)], (), facts)
