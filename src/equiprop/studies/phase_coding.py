"""Whether a complex state can be had in real numbers: by two units, two channels of a carrier, or its amplitude and phase."""

from collections.abc import Mapping
from typing import Any, ClassVar

from equiprop.diagnostics import agreement
from equiprop.estimators import Holomorphic, estimate
from equiprop.experiment import TrainedRun
from equiprop.hardware import PhaseCoding
from equiprop.reporting import Chart, Panel
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table, power_law
from equiprop.studies._trained import of_training, trained_table

_CARRIERS, _ERRORS = "carrier", "error of the channels"


class PhaseCodingStudy(AbstractStudy):
    kind: ClassVar[str] = "phase_coding"
    question: ClassVar[str] = (
        "Holomorphic equilibrium propagation needs complex states. Can a real device have them, how fast must a carrier be, "
        "and how well must its channels match?"
    )

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        """The gradient of the coded network against that of the same network with complex states."""
        x, y = run.batch("test", range(settings["samples"]))
        estimator, solver = Holomorphic(nudge=settings["nudge"], points=settings["points"]), run.solver
        ideal = estimate(run.system, x, y, estimator, solver=solver)
        rows: list[Row] = []

        def add(scheme: str, by: str, size: float, **given: Any) -> None:
            system = PhaseCoding(scheme=scheme, **given).of(run.system)
            found = estimate(system, x, y, estimator, solver=solver)
            to_ideal = agreement(found.gradient, ideal.gradient)
            figures = {
                "error": to_ideal.relative_error,
                "cosine": to_ideal.cosine,
                "excluded": (found.weight == 0).mean(),
            }
            rows.append({"by": by, "scheme": scheme, "size": size, **{k: float(v) for k, v in figures.items()}})

        add("two_units", "nothing", 0.0)
        for scheme in ("quadrature", "amplitude_phase"):
            for carrier in settings["carriers"]:
                add(scheme, _CARRIERS, carrier, carrier=carrier)
        for size in settings["errors"]:
            add("two_units", _ERRORS, size, gain_error=size)
        return rows

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        means = measured.over_seeds(("by", "scheme", "size"), ("error", "cosine", "excluded"))
        exact = means.where(by="nothing").rows[0]["error"]
        tolerance = settings.measure["tolerance"]
        said = [
            f"{'Yes' if exact.mean < tolerance else 'No'}: two real units for a complex one are off by {exact} of the gradient."
        ]
        facts: dict[str, Any] = {"two_units": exact.mean}
        for scheme in ("quadrature", "amplitude_phase"):
            power = _power(means.where(by=_CARRIERS, scheme=scheme))
            needed = _first_below(means.where(by=_CARRIERS, scheme=scheme), tolerance)
            facts[scheme] = {"power": power, "needed": needed}
            enough = "no carrier that was tried is enough"
            if needed is not None:
                enough = f"{needed:g} periods of the carrier a time constant are enough"
            said.append(
                f"{scheme.replace('_', ' ').capitalize()}: the error falls with the carrier to the power {power:.2g}; for "
                f"{100 * tolerance:g} % {enough}."
            )
        power = _power(means.where(by=_ERRORS))
        facts["gain_error"] = power
        largest = means.where(by=_ERRORS).rows[-1]
        said.append(
            f"Channels whose gains differ by {100 * largest['size']:g} % bend the gradient by {largest['error']}, to the power "
            f"{power:.2g} of the difference: what is not analytic in the state, no circle of nudges takes off."
        )
        said += list(of_training(trained, settings, "complex", "complex states"))
        tables = [Table("Coding", means.rows), trained_table(trained, settings)]
        return Outcome(said, tables, [_chart(means)], facts)


def _power(table: Table) -> float:
    """p of error ∝ size^p."""
    return power_law([row["size"] for row in table.rows], [row["error"].mean for row in table.rows])[1]


def _first_below(table: Table, tolerance: float) -> float | None:
    """The smallest carrier from which on no error is larger."""
    found = None
    for row in sorted(table.rows, key=lambda row: -row["size"]):
        if row["error"].mean > tolerance:
            break
        found = row["size"]
    return found


def _chart(means: Table) -> Chart:
    schemes = ["quadrature", "amplitude_phase", "two_units"]

    def panel(title: str, by: str, across: str, *names: str) -> Panel:
        drawn = [means.where(by=by, scheme=scheme).curve(schemes.index(scheme), "size", "error") for scheme in names]
        return Panel(title, "", drawn, logarithmic=True, across=across, logarithmic_across=True)

    panels = [
        panel("Error by the carrier", _CARRIERS, "periods of the carrier a time constant", *schemes[:2]),
        panel("Error by what channels differ", _ERRORS, "relative difference of gains", "two_units"),
    ]
    reading = "Of the gradient, against that of the same network with complex states; both axes are logarithmic."
    return Chart(
        "coding", "What coding complex states costs", reading, panels, [name.replace("_", " ") for name in schemes]
    )
