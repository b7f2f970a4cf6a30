"""How many nudges, and how large."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from equiprop.diagnostics import agreement, nudge_plane
from equiprop.estimators import ExactResponse, Holomorphic, estimate
from equiprop.experiment import TrainedRun
from equiprop.hardware import Device, Readout
from equiprop.numerics import trees
from equiprop.reporting import Chart, Map, Panel, Walk
from equiprop.solvers import relax
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table, median_of, power_law
from equiprop.studies._trained import trained_table
from equiprop.studies._walk import walk

_GRID, _PLANE, _WALK = "circle", "plane", "walk"
_ERROR, _NOISE, _TOTAL = "error of a sample, median", "noise", "error with noise"
# Of as many readings as the most points take.
_EQUAL = "error with noise, as many readings"
# Below this an error is rounding, above it everything.
_FITTED = (1e-4, 0.5)


class Stability(AbstractStudy):
    kind: ClassVar[str] = "stability"
    question: ClassVar[str] = (
        "More nudges on the circle allow larger ones. How large may they be, on which architectures and activations, and are "
        "many large nudges better than one or two small ones when what is read is noisy?"
    )

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        return [*_on_circles(run, settings), *_in_the_plane(run, settings), *_walks(run, settings)]

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        names = (_ERROR, "bar, median", _NOISE, _TOTAL, _EQUAL, "excluded")
        grid = measured.where(by=_GRID).over_seeds(("arm", "points", "nudge"), names)
        best, said, facts = [], [], {}
        for name, arm in settings.arms.items():
            ours: list[dict[str, Any]] = []
            for points in grid.values("points"):
                rows = grid.where(arm=name, points=points).rows
                least = min(rows, key=lambda row: _or_infinite(row[_EQUAL].mean))
                order = _order([(row["nudge"], row[_ERROR].mean) for row in rows])
                ours.append({"network": arm.label, "points": points, "best nudge": least["nudge"], "order": order})
                ours[-1] |= {name: least[name] for name in (_TOTAL, _EQUAL)}
            one, most = ours[0], min(ours, key=lambda row: _or_infinite(row[_EQUAL].mean))
            facts[name] = {"one": one[_EQUAL].mean, "best": most[_EQUAL].mean, "points": most["points"]}
            best_of = f"{most['points']} by {most[_EQUAL]} (|β| = {most['best nudge']:g})"
            said.append(
                f"{arm.label}: with noise and as many readings one nudge is off by {one[_EQUAL]} at best (|β| = "
                f"{one['best nudge']:g}), {best_of if most is not one else 'and no number of them by less'}."
            )
            best += ours
        plane = measured.where(by=_PLANE)
        safe = Table("", [row for row in plane.rows if "radius" in row]).over_seeds(("arm",), ("radius",))
        said += [
            f"{settings.arms[row['arm']].label}: every nudge up to |β| = {row['radius']} comes to rest."
            for row in safe.rows
        ]
        tables = [
            Table("Best nudges with noise", best),
            Table("Plane of nudges", safe.rows),
            Table("Circles", grid.rows),
            trained_table(trained, settings),
        ]
        walked = measured.where(by=_WALK).rows
        walks = [
            Walk.from_json(row["walk"] | {"title": arm.label})
            for name, arm in settings.arms.items()
            for row in walked
            if row["arm"] == name
        ]
        return Outcome(said, tables, list(_charts(grid, plane, settings)), facts, walks)


def _on_circles(run: TrainedRun, settings: Mapping[str, Any]) -> Iterator[Row]:
    """Error of a sample without noise, and of the gradient with noise in what is read, for each circle."""
    x, y = run.batch("test", range(settings["samples"]))
    free = relax(run.system, x, run.solver)
    given: dict[str, Any] = {"solver": run.solver, "equilibrium": free}
    response = estimate(run.system, x, y, ExactResponse(), **given)
    noisy = Device(readout=Readout(noise=settings["noise"])).instance(run.system, seed=0)
    for points in settings["points"]:
        for nudge in settings["nudges"]:
            circle = Holomorphic(nudge=nudge, points=points, clip=math.inf, allow_non_holomorphic=True)
            found = estimate(run.system, x, y, circle, **given)
            kept = found.weight > 0
            off = trees.norm(trees.subtract(found.error_vector, response.error_vector))
            draws = [
                estimate(noisy, x, y, circle, key=jax.random.key(draw), **given) for draw in range(settings["draws"])
            ]
            errors = jnp.stack([agreement(each.gradient, response.gradient).relative_error for each in draws])
            scatter = [optax.tree.sub(a.gradient.system, draws[0].gradient.system) for a in draws[1:]]
            apart = jnp.stack([jnp.asarray(optax.tree.norm(each)) for each in scatter])
            # Two draws differ by √2 of what one has.
            noise = jnp.sqrt(jnp.mean(apart**2) / 2) / optax.tree.norm(response.gradient)
            total = jnp.sqrt(jnp.mean(errors**2))
            figures = {
                _ERROR: median_of(off / trees.norm(response.error_vector), kept),
                "bar, median": median_of(found.error_bar, kept),
                _NOISE: noise,
                _TOTAL: total,
                _EQUAL: jnp.sqrt(jnp.maximum(total**2 - noise**2, 0) + noise**2 * points / max(settings["points"])),
                "excluded": jnp.mean(~kept),
            }
            yield {
                "by": _GRID,
                "points": points,
                "nudge": nudge,
                **{name: float(value) for name, value in figures.items()},
            }


def _in_the_plane(run: TrainedRun, settings: Mapping[str, Any]) -> Iterator[Row]:
    """Of a grid of complex nudges the share of samples that come to rest, and the radius up to which 95 % do everywhere."""
    x, y = run.batch("test", range(settings["samples_of_plane"]))
    line = jnp.linspace(-settings["reach"], settings["reach"], settings["steps"])
    # The field is real on the real line: what is below it is the mirror image.
    real, imaginary = jnp.meshgrid(line, line[line >= 0])
    nudges = (real + 1j * imaginary).ravel()
    found = nudge_plane(run.system, x, y, nudges, solver=run.solver)
    share, sizes = found.converged.mean(axis=1), jnp.abs(nudges)
    failed = jnp.where(share < 0.95, sizes, jnp.inf).min()
    yield {"by": _PLANE, "radius": float(jnp.max(sizes, where=sizes < failed, initial=0))}
    for nudge, rests in zip(nudges, share, strict=True):
        yield {"by": _PLANE, "real": float(nudge.real), "imaginary": float(nudge.imag), "rests": float(rests)}


def _walks(run: TrainedRun, settings: Mapping[str, Any]) -> Iterator[Row]:
    """Of the first seed what its nudges do to some units, for the reader to move."""
    if run.config.training["seed"] > 0:
        return
    x, y = run.batch("test", range(1))
    sizes = [float(f"{size:.3g}") for size in np.geomspace(*settings["walk_sizes"])]
    found = walk("", run.system, x, y, solver=run.solver, sizes=sizes, angles=24, points=settings["walk_points"])
    yield {"by": _WALK, "walk": found.to_json()}


def _order(pairs: list[tuple[float, float]]) -> float:
    """p of error ∝ |β|^p, where it is neither rounding nor everything."""
    fitted = [pair for pair in pairs if _FITTED[0] < pair[1] < _FITTED[1]]
    return power_law(*zip(*fitted, strict=True))[1] if len(fitted) > 1 else math.nan


def _or_infinite(number: float) -> float:
    return number if math.isfinite(number) else math.inf


def _charts(grid: Table, plane: Table, settings: StudySettings) -> Iterator[Chart]:
    points = grid.values("points")

    def panel(name: str, arm: str) -> Panel:
        curves = [grid.where(arm=arm, points=n).curve(place, "nudge", name) for place, n in enumerate(points)]
        return Panel(settings.arms[arm].label, "", curves, across="|β|", logarithmic=True, logarithmic_across=True)

    arms, labels = grid.values("arm"), [f"N = {n}" for n in points]
    yield Chart(
        "circles", "Error of a sample, without noise", "Against the exact response; the median over samples that are kept.",
        [panel(_ERROR, arm) for arm in arms], labels,
    )  # fmt: skip
    yield Chart(
        "noisy", "Error of the gradient, with noise in what is read",
        "With as many readings for each. Small nudges drown in noise, large ones bend the response.",
        [panel(_EQUAL, arm) for arm in arms], labels,
    )  # fmt: skip
    maps = []
    for arm in plane.values("arm"):
        means = Table("", [row for row in plane.where(arm=arm).rows if "rests" in row]).over_seeds(
            ("real", "imaginary"), ("rests",)
        )
        real, imaginary = means.values("real"), means.values("imaginary")
        values = {(row["real"], row["imaginary"]): row["rests"].mean for row in means.rows}
        grid_of = [[values[x, y] for x in real] for y in imaginary]
        maps.append(Map(settings.arms[arm].label, real, imaginary, grid_of, across="Re β", up="Im β"))
    reading = "Share of samples that come to rest under a nudge, begun at the free equilibrium; below the axis it is the same."
    yield Chart("plane", "The plane of nudges", reading, maps, [])
