"""How deep a chain may be."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax

from equiprop.diagnostics import bias_split, certificate, spectrum, symmetry
from equiprop.experiment import TrainedRun
from equiprop.reporting import Chart, Panel
from equiprop.solvers import GMRES, relax
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table, median_of
from equiprop.studies._trained import trained_table

_LAYER, _NETWORK = "layer", "network"
_COSINE = "cosine_to_adjoint."
_FIGURES = (
    "bias of the nudge",
    "bias of asymmetry",
    "symmetry",
    "certificate, degrees",
    "granted",
    "contraction",
    "sweeps of all phases",
)


class Depth(AbstractStudy):
    kind: ClassVar[str] = "depth"
    question: ClassVar[str] = (
        "Does equilibrium propagation reach the first layers of a deep chain: how do the biases of nudge and asymmetry, "
        "symmetry, certificate and contraction go with depth, with and without homeostasis?"
    )

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        depth = len(run.system.topology.relaxing)  # pyright: ignore[reportAttributeAccessIssue]
        cosines = run.history[-1]["cosine_to_adjoint"]
        # The last layer is the output.
        names = [f"hidden_{i}" for i in range(1, depth)] + ["output"]
        rows: list[Row] = [
            {"by": _LAYER, "depth": depth, "layer": i, "cosine": cosines[name]} for i, name in enumerate(names, 1)
        ]
        return [*rows, {"by": _NETWORK, "depth": depth, **_figures(run, settings["samples"])}]

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        layers = measured.where(by=_LAYER).over_seeds(("arm", "depth", "layer"), ("cosine",))
        networks = measured.where(by=_NETWORK).over_seeds(("arm", "depth"), _FIGURES)
        said, facts = [], {}
        for depth in networks.values("depth"):
            first = {
                family: layers.where(arm=f"{family}-deep_{depth}", layer=1).rows for family in ("none", "homeostasis")
            }
            if not all(first.values()):
                continue
            plain, ours = first["none"][0]["cosine"], first["homeostasis"][0]["cosine"]
            facts[str(depth)] = {"none": plain.mean, "homeostasis": ours.mean}
            arm = f"homeostasis-deep_{depth}"
            found = [row["cosine"] for row in measured.where(by=_LAYER, arm=arm).rows if row["cosine"] is not None]
            least = min(found, default=math.nan)
            said.append(
                f"{depth} layers: cosine of the first {plain} without homeostasis, {ours} with it; of no layer and no seed below "
                f"{least:.4g}."
            )
        ours = [row for row in networks.rows if row["arm"].startswith("homeostasis")]
        said.append(
            "With homeostasis, from the shallowest to the deepest: "
            + "; ".join(f"{name} {ours[0][name]} to {ours[-1][name]}" for name in _FIGURES)
            + "."
        )
        tables = [Table("Networks", networks.rows), Table("Layers", layers.rows), trained_table(trained, settings)]
        return Outcome(said, tables, [_chart(layers, networks, settings)], facts)


def _figures(run: TrainedRun, samples: int) -> dict[str, float]:
    x, y = run.batch("test", range(samples))
    system, key = run.system, jax.random.key(0)
    free = relax(system, x, run.solver)
    given: dict[str, Any] = {"solver": run.solver, "equilibrium": free, "linear_solver": GMRES(restart=100)}
    split = bias_split(system, x, y, run.config.estimator.create(), **given)
    bound = certificate(system, x, free.state, key=key)
    found = spectrum(system, x, free.state, run.solver, key=key)

    figures = (
        median_of(split.finite_nudge_norm, split.usable),
        median_of(split.asymmetry_norm, split.usable),
        float(symmetry(system, x, free.state, probes=32, key=key).symmetry),
        median_of(bound.angle, bound.granted),
        float(bound.granted.mean()),
        median_of(found.contraction, free.converged),
        run.history[-1]["relaxation_steps"],
    )
    return dict(zip(_FIGURES, figures, strict=True))


def _chart(layers: Table, networks: Table, settings: StudySettings) -> Chart:
    arms = [name for name in settings.arms if layers.where(arm=name).rows]
    labels = [settings.arms[name].label for name in arms]
    curves = [layers.where(arm=name).curve(place, "layer", "cosine") for place, name in enumerate(arms)]
    panels = [Panel("Cosine by layer", "", curves, ((1.0, "exact"),), across="layer")]
    families = list(dict.fromkeys(settings.arms[name].family for name in arms))
    for name in _FIGURES:
        drawn = []
        for place, family in enumerate(families):
            rows = [row for row in networks.rows if settings.arms[row["arm"]].family == family]
            drawn.append(Table("", rows).curve(len(arms) + place, "depth", name))
        panels.append(Panel(name.capitalize(), "", [curve for curve in drawn if curve.finite], across="layers"))
    reading = "The first layer is the one farthest from the nudge."
    shown = [panel for panel in panels if panel.curves]
    return Chart("depth", "By layer, and by depth", reading, shown, [*labels, *families])
