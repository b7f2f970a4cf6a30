"""Whether a phase-free estimate agrees with the exact response, within the error that it states."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from equiprop.diagnostics import agreement
from equiprop.estimators import ContinuousTime, Estimate, ExactResponse, Holomorphic, estimate
from equiprop.experiment import TrainedRun
from equiprop.numerics import trees
from equiprop.reporting import Chart, Panel
from equiprop.solvers import relax
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table, median_of, power_law
from equiprop.studies._trained import of_training, trained_table

_SPEED, _NOISE, _AT_REST = "sweeps at each position", "periods", "at rest"
_FOUND = ("error of the gradient", "cosine", "of a sample, median", "stated, median", "within", "excluded")


class Continuous(AbstractStudy):
    kind: ClassVar[str] = "continuous"
    question: ClassVar[str] = (
        "A nudge that goes round all the time needs no phases. Does what a lock-in hears agree with the exact response, how "
        "slowly must the nudge turn, and is the error that it states from the scatter of its periods the true one?"
    )

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        x, y = run.batch("test", range(settings["samples"]))
        given: dict[str, Any] = {"solver": run.solver, "equilibrium": relax(run.system, x, run.solver)}
        exact = estimate(run.system, x, y, ExactResponse(), **given)

        def read(steps: int, periods: int, noise: float, draw: int) -> dict[str, float]:
            lock_in = ContinuousTime(
                nudge=settings["nudge"],
                points=settings["points"],
                steps_per_point=steps,
                periods=periods,
                noise=noise,
                error_bar="periods",
            )
            return _against(estimate(run.system, x, y, lock_in, key=jax.random.key(draw), **given), exact)

        speeds = settings["steps_per_point"]
        rows: list[Row] = [{"by": _SPEED, "sweeps": steps, **read(steps, 2, 0.0, 0)} for steps in speeds]
        at_rest = Holomorphic(nudge=settings["nudge"], points=settings["points"], clip=math.inf, branch_switch="keep")
        rows.append({"by": _AT_REST, **_against(estimate(run.system, x, y, at_rest, **given), exact)})
        for noise in settings["noise"]:
            for periods in settings["periods"]:
                for draw in range(settings["draws"]):
                    found = read(max(speeds), periods, noise, draw)
                    rows.append({"by": _NOISE, "noise": noise, "periods": periods, **found})
        return rows

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        speed = measured.where(by=_SPEED).over_seeds(("sweeps",), _FOUND)
        noisy = measured.where(by=_NOISE).over_seeds(("noise", "periods"), _FOUND)
        slowest, at_rest = speed.rows[-1], measured.where(by=_AT_REST).mean(_FOUND[0])
        said = [
            f"Without noise and with {slowest['sweeps']} sweeps at each position the gradient is off the exact response by "
            f"{slowest[_FOUND[0]]} of it, with {speed.rows[0]['sweeps']} by {speed.rows[0][_FOUND[0]]}. The same nudges, each "
            f"held until all is at rest, are off by {at_rest}: that is what their size costs, and no listening takes away."
        ]
        slopes = {}
        for noise in noisy.values("noise"):
            rows = noisy.where(noise=noise).rows
            slope = power_law([row["periods"] for row in rows], [row["stated, median"].mean for row in rows])[1]
            slopes[noise] = slope
            said.append(
                f"With noise of {noise:g} the stated error falls with the periods to the power {slope:.2f}; after "
                f"{rows[-1]['periods']} the true one is below it for {_percent(rows[-1]['within'])} of samples, after "
                f"{rows[0]['periods']} for {_percent(rows[0]['within'])} (twice the standard error, 95 % of one number where "
                f"there are many periods)."
            )
        said += list(of_training(trained, settings, "response", "the exact response"))
        facts = {
            "slopes": {str(noise): slope for noise, slope in slopes.items()},
            "slowest": slowest[_FOUND[0]].mean,
            "at_rest": at_rest.mean,
        }
        tables = [
            Table("How slowly the nudge turns", speed.rows),
            Table("How long it is listened to, with noise", noisy.rows),
            trained_table(trained, settings),
        ]
        return Outcome(said, tables, list(_charts(speed, noisy)), facts)


def _against(answer: Estimate, exact: Estimate) -> dict[str, float]:
    kept = (answer.weight > 0) & (exact.weight > 0)
    true = trees.norm(trees.subtract(answer.error_vector, exact.error_vector)) / trees.norm(exact.error_vector)
    # What is stated is relative to what was found.
    stated = answer.error_bar * trees.norm(answer.error_vector) / trees.norm(exact.error_vector)
    found = agreement(answer.gradient, exact.gradient)
    figures = (
        found.relative_error,
        found.cosine,
        median_of(true, kept),
        median_of(stated, kept),
        jnp.mean(true <= stated, where=kept),
        jnp.mean(~kept),
    )
    return {name: float(figure) for name, figure in zip(_FOUND, figures, strict=True)}


def _percent(share: Any) -> str:
    return f"{100 * share.mean:.3g} %"


def _charts(speed: Table, noisy: Table) -> Iterator[Chart]:
    levels = noisy.values("noise")

    def panel(title: str, name: str, **given: Any) -> Panel:
        drawn = [noisy.where(noise=level).curve(place, "periods", name) for place, level in enumerate(levels)]
        return Panel(title, "", drawn, across="periods", logarithmic_across=True, **given)

    yield Chart(
        "periods",
        "What listening longer gives",
        "With noise the true error of a sample and the stated one fall together, as the square root of the periods.",
        [
            panel("True error of a sample, median", _FOUND[2], logarithmic=True),
            panel("Stated error, median", _FOUND[3], logarithmic=True),
            panel("Samples within the stated error", "within", references=((0.95, "95 %"),)),
        ],
        [f"noise {level:g}" for level in levels],
    )
    drawn = Panel(
        "Error of the gradient",
        "",
        [speed.curve(0, "sweeps", _FOUND[0])],
        across=_SPEED,
        logarithmic=True,
        logarithmic_across=True,
    )
    yield Chart("speed", "How slowly the nudge must turn", "Without noise.", [drawn], ["continuous in time"])
