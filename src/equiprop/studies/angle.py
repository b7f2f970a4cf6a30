"""What asymmetric weights cost."""

from collections.abc import Mapping
from typing import Any, ClassVar

from equiprop.experiment import TrainedRun
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table
from equiprop.studies._trained import COSINE, ERROR, epochs_chart, over_epochs, trained_table

_ANGLE = "system.weight_angle"
_COSINES, _ANGLES = "cosine_to_adjoint.", "weight_angle_deg."


class Angle(AbstractStudy):
    kind: ClassVar[str] = "angle"
    question: ClassVar[str] = (
        "With feedback weights at an angle from the transposed forward weights equilibrium propagation follows another vector "
        "than the exact gradient. How far is it, layer by layer, does training close the angle or open it, and what does that "
        "cost?"
    )

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        del settings
        return over_epochs(run)

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        cosines = [name for name in measured.columns if name.startswith(_COSINES)]
        angles = [name for name in measured.columns if name.startswith(_ANGLES)]
        shown = {"test error %": ERROR, **{f"cosine {_said(name)}": name for name in cosines}}
        shown |= {f"angle {_said(name)}": name for name in angles} | {"excluded": "excluded_fraction"}
        started = trained.values(_ANGLE)
        first, last = min(started), max(started)
        said = []
        for angle in started:
            ours, apart = trained.where(arm=f"ep-{angle}"), trained.difference(ERROR, f"ep-{angle}", f"exact-{angle}")
            said.append(
                f"From {angle:g}°: test error {ours.mean(ERROR)} %, {apart} against the exact gradient from there; cosine "
                f"{ours.mean(COSINE)}."
            )
        closed = {
            name: [trained.where(arm=f"ep-{angle}").mean(name).mean for angle in (first, last)] for name in angles
        }
        said += [
            f"In training the angle of {_said(name)} goes from {first:g}° to {low:.3g}° and from {last:g}° to {high:.3g}°."
            for name, (low, high) in closed.items()
        ]
        gap = trained.difference(ERROR, f"ep-{last}", f"ep-{first}")
        said.append(f"Asymmetry from the start costs {gap} points.")
        panels = {"Validation error": "validation_error_percent", "Cosine, summed gradient": COSINE}
        panels |= {f"Cosine, {_said(name)}": name for name in cosines if name != COSINE}
        panels |= {f"Angle, {_said(name)}": name for name in angles}
        reading = "Curves of the exact gradient show how the angle moves where nothing pulls on it but the loss."
        return Outcome(
            said,
            [trained_table(trained, settings, shown=shown)],
            [epochs_chart(measured, settings, panels, reading)],
            {"gap": gap.mean, "angles": closed},
        )


def _said(name: str) -> str:
    """`cosine_to_adjoint.hidden_1` as a person says it."""
    return name.removeprefix(_COSINES).removeprefix(_ANGLES).replace("->", "–")
