"""Whether a substrate in time follows its equilibrium well enough to learn without phases."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from equiprop.diagnostics import agreement
from equiprop.estimators import Adjoint, ContinuousTime, Estimate, HarmonicBalance, estimate
from equiprop.experiment import TrainedRun
from equiprop.hardware import Chip, Device, Timing, safe_frequency
from equiprop.reporting import Chart, Panel
from equiprop.solvers import ODE, diffrax, relax
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table, power_law
from equiprop.studies._trained import of_training, trained_table

# Errors within so many times of the tolerance say how it grows there.
_NEAR = 5
# The cosine above which a gradient is followed.
_FOLLOWS = 0.99
_PERIODIC, _IN_TIME = "periodic state", "in time, with noise"


class Substrate(AbstractStudy):
    kind: ClassVar[str] = "substrate"
    question: ClassVar[str] = (
        "Does a circuit of resistors and capacitors, with parasitic poles, delays and noise, follow its equilibrium under a "
        "nudge that oscillates, so that it learns without phases, and how fast may that be?"
    )
    needs: ClassVar = (diffrax,)

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        rows: list[Row] = []
        for level, timing in settings["levels"].items():
            chip = Device(timing=Timing(**timing)).instance(run.system, seed=run.config.training["seed"])
            assert isinstance(chip, Chip)
            x, y = run.batch("test", range(settings["samples"]))
            found = safe_frequency(chip, x, y, tolerance=settings["tolerance"], nudge=settings["nudge"])
            tau = float(found.slowest)
            safe = {
                "frequency": float(found.frequency) * tau,
                "tracking": float(found.tracking),
                "error": float(found.error),
            }
            rows.append({"level": level, "by": "safe", **safe})
            for by, rows_of in ((_PERIODIC, _periodic), (_IN_TIME, _in_time)):
                rows += [{"level": level, "by": by, **row} for row in rows_of(chip, run, settings)]
        return rows

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        tolerance = settings.measure["tolerance"]
        periodic, in_time = measured.where(by=_PERIODIC), measured.where(by=_IN_TIME)
        safe = measured.where(by="safe").over_seeds(("level",), ("frequency", "tracking"))
        curves = periodic.over_seeds(("level", "frequency"), ("cosine", "norm_ratio", "tracking", "error", "excluded"))
        noisy = in_time.over_seeds(("level", "frequency"), ("cosine", "norm_ratio", "tracking", "noise", "excluded"))
        limits = measured.where(by="safe")
        slowest = {
            level: min(row["frequency"] for row in limits.where(level=level).rows) for level in limits.values("level")
        }
        late = [row["tracking"] for row in limits.rows]
        near = [row for row in periodic.rows if tolerance / _NEAR < row["error"] < tolerance * _NEAR]
        factor, power = power_law([row["tracking"] for row in near], [row["error"] for row in near])
        least = _least_cosine(periodic, limits)
        follows = least > _FOLLOWS
        said = [
            f"{'Yes' if follows else 'No'}: on every seed the gradient under an oscillating nudge is within "
            f"{100 * tolerance:g} % of that at rest up to f·τ = "
            + ", ".join(f"{frequency:.2g} with {level} parasitics" for level, frequency in slowest.items())
            + f"; up to there its cosine to the exact one is {least:.4f} at least.",
            f"A device reads the part t of the response that comes late, which is {min(late):.2g} to {max(late):.2g} where the "
            f"gradient is off by {100 * tolerance:g} %: keep t below {min(late):.2g}. Near there the error is "
            f"about {factor:.2g}·t^{power:.2g}.",
        ]
        said += list(_of_noise(noisy, settings))
        said += list(of_training(trained, settings, "phases", "phases"))
        facts = {
            "late": [min(late), max(late)],
            "factor": factor,
            "power": power,
            "follows": follows,
            "least_cosine": least,
            "safe": slowest,
        }
        tables = [
            Table("Safe frequency", safe.rows),
            Table("Periodic state", curves.rows),
            Table("In time, with noise", noisy.rows),
            trained_table(trained, settings),
        ]
        return Outcome(said, tables, [_chart(curves, noisy)], facts)


def _periodic(chip: Chip, run: TrainedRun, settings: Mapping[str, Any]) -> Iterator[Row]:
    """From the periodic state itself, without noise."""
    tau = 1.0 if chip.dynamics is None else float(chip.dynamics.slowest)
    x, y = run.batch("test", range(settings["samples"]))
    free = relax(chip, x)
    exact = estimate(chip, x, y, Adjoint(), equilibrium=free)
    at_rest = None
    for frequency in (1e-6, *settings["frequencies"]):
        nudged = HarmonicBalance(nudge=settings["nudge"], frequency=frequency / tau)
        answer = estimate(chip, x, y, nudged, equilibrium=free)
        if at_rest is None:
            at_rest = answer
            continue
        error = agreement(answer.gradient, at_rest.gradient).relative_error
        yield {"frequency": frequency, **_against(answer, exact), "error": float(error)}


def _in_time(chip: Chip, run: TrainedRun, settings: Mapping[str, Any]) -> Iterator[Row]:
    """By the differential equation, with noise, read over some periods."""
    x, y = run.batch("test", range(settings["samples_in_time"]))
    exact = estimate(chip, x, y, Adjoint())
    steps = 2
    for frequency in settings["frequencies_in_time"]:
        nudged = ContinuousTime(
            nudge=settings["nudge"],
            drive="oscillating",
            points=settings["readings"],
            periods=settings["periods"],
            warmup=2,
            steps_per_point=steps,
            dead_time=0.0,
            largest_lag=1e6,
        )
        interval = 1 / (frequency * settings["readings"] * steps)
        answer, again = (
            estimate(chip, x, y, nudged, solver=ODE(interval=interval), key=jax.random.key(seed)) for seed in (0, 1)
        )
        # Of two readings of the same.
        apart = optax.tree.norm(optax.tree.sub(answer.gradient, again.gradient)) / optax.tree.norm(exact.gradient)
        yield {"frequency": frequency, **_against(answer, exact), "noise": float(jnp.asarray(apart)) / 2**0.5}


def _against(answer: Estimate, exact: Estimate) -> dict[str, float]:
    found, kept = agreement(answer.gradient, exact.gradient), answer.weight > 0
    assert answer.tracking is not None
    late = jnp.sqrt(jnp.mean(answer.tracking**2, where=kept))
    figures = {"cosine": found.cosine, "norm_ratio": found.norm_ratio, "tracking": late, "excluded": jnp.mean(~kept)}
    return {name: float(figure) for name, figure in figures.items()}


def _least_cosine(periodic: Table, safe: Table) -> float:
    """The smallest at any frequency that was safe for the same seed and level; not a number where none was."""
    limits = {(row["seed"], row["level"]): row["frequency"] for row in safe.rows}
    found = [row["cosine"] for row in periodic.rows if row["frequency"] <= limits[row["seed"], row["level"]]]
    return min(found, default=float("nan"))


def _of_noise(noisy: Table, settings: StudySettings) -> Iterator[str]:
    for level in noisy.values("level"):
        best = max(noisy.where(level=level).rows, key=lambda row: row["cosine"].mean)
        noise, periods = best["noise"].mean, settings.measure["periods"]
        if noise > 0:
            needed = max(1, math.ceil(periods * (noise / settings.measure["tolerance"]) ** 2))
            yield (
                f"Noise of the level {level} leaves {100 * noise:.2g} % after {periods} periods at f·τ = "
                f"{best['frequency']:g} (cosine {best['cosine']}); {needed} would leave "
                f"{100 * settings.measure['tolerance']:g} %."
            )


def _chart(periodic: Table, noisy: Table) -> Chart:
    levels = periodic.values("level")

    def panel(title: str, table: Table, name: str, **given: Any) -> Panel:
        drawn = [table.where(level=level).curve(place, "frequency", name) for place, level in enumerate(levels)]
        return Panel(title, "", drawn, across="f·τ of the slowest unit", logarithmic_across=True, **given)

    panels = [
        panel("Cosine to the exact gradient", periodic, "cosine", references=((1.0, "exact"),)),
        panel("The same in time, with noise", noisy, "cosine", references=((1.0, "exact"),)),
        panel("Response that comes late", periodic, "tracking", logarithmic=True),
        panel("Length, exact = 1", periodic, "norm_ratio", references=((1.0, "exact"),)),
    ]
    reading = (
        "Left of where the response begins to come late, the nudge is followed: cosine and length stay. With noise, slow nudges "
        "are better for being read longer, so many periods taking more time."
    )
    return Chart("frequency", "What a nudge that oscillates gives, by its frequency", reading, panels, levels)
