"""What Jacobian homeostasis restores, and what it is on dense layers."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from equiprop.experiment import TrainedRun
from equiprop.homeostasis import AntisymmetricHomeostasis, Batch
from equiprop.solvers import relax
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table
from equiprop.studies._trained import COSINE, ERROR, SHOWN, epochs_chart, over_epochs, trained_table

_LOSS, _EPOCH = "loss", "epoch"


class Homeostasis(AbstractStudy):
    kind: ClassVar[str] = "homeostasis"
    question: ClassVar[str] = (
        "Does a loss on the antisymmetric part of the Jacobian bring back what asymmetric weights cost, also in a loop where no "
        "weight has a partner, and is it on dense layers more than pulling weights together?"
    )

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        return [
            *({"by": _EPOCH, **row} for row in over_epochs(run)),
            {"by": _LOSS, "cosine to the weights": _cosine_to_weights(run, settings)},
        ]

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        said, facts = [], {}
        for network in ("mlp", "loop"):
            none, exact = f"{network}_none", f"{network}_exact"
            for name, arm in settings.arms.items():
                if not name.startswith(network) or name in (none, exact) or not trained.where(arm=name).rows:
                    continue
                ours, before = trained.where(arm=name), trained.where(arm=none)
                gained = trained.difference(ERROR, name, none)
                facts[name] = gained.mean
                sentence = (
                    f"{arm.label}: test error {ours.mean(ERROR)} %, {gained} against none; cosine {ours.mean(COSINE)} for "
                    f"{before.mean(COSINE)}, symmetry {ours.mean('symmetry')} for {before.mean('symmetry')}"
                )
                if trained.where(arm=exact).rows:
                    sentence += f"; {trained.difference(ERROR, name, exact)} against the exact gradient"
                said.append(f"{sentence}.")
        alike = measured.where(by=_LOSS).mean("cosine to the weights")
        facts["cosine to the weights"] = alike.mean
        said.append(
            f"Its gradient is, at a cosine of {alike}, that of ‖W − Wᵀ‖², of a weight without a partner that of ‖W‖²: on dense "
            f"layers it pulls weights together, or lets them decay, and no more."
        )
        if trained.where(arm="loop_decay").rows:
            apart = trained.difference(ERROR, "loop_jacobian", "loop_decay")
            said.append(f"In the loop it differs from weight decay by {apart} points.")
        panels = {"Validation error": "validation_error_percent", "Symmetry of the Jacobian": "symmetry"}
        panels |= {"Cosine, summed gradient": COSINE, "Cosine, first layer": "cosine_to_adjoint.hidden_1"}
        reading = (
            "Symmetry is ‖S‖/(‖S‖ + ‖A‖): ½ for weights that have nothing to do with each other, 1 for equal ones."
        )
        shown = {**SHOWN, "cosine, first layer": "cosine_to_adjoint.hidden_1"}
        epochs = measured.where(by=_EPOCH)
        chart = epochs_chart(epochs, settings, panels, reading)
        return Outcome(said, [trained_table(trained, settings, shown=shown)], [chart], facts)


def _cosine_to_weights(run: TrainedRun, settings: Mapping[str, Any]) -> float:
    """Of the gradient of the homeostatic loss to that of ‖W − Wᵀ‖²: W − Wᵀ, or W where it has no partner."""
    x, _ = run.batch("test", range(settings["samples"]))
    free = relax(run.system, x, run.solver)
    homeostasis = AntisymmetricHomeostasis(
        probes=settings["probes"], samples=0, feedback_only=False, balanced=False, shared_updates=False
    )
    batch = Batch(x, free.state, free.converged)
    gradient: Any = homeostasis.gradient(run.system, batch, key=jax.random.key(0))[0]
    found = dict(gradient.weights)
    weights: dict[str, Array] = dict(run.system.weights)  # pyright: ignore[reportAttributeAccessIssue]
    partners = dict(run.system.pairs.values())
    partners |= {back: name for name, back in partners.items()}
    # Inputs are clamped and in no Jacobian. Feedback is kept as the transpose of what it multiplies by.
    wanted = {
        name: w - weights[partners[name]] if name in partners else w
        for name, w in weights.items()
        if "input" not in name
    }
    found = {name: found[name] for name in wanted}
    cosine = optax.tree.vdot(found, wanted) / (optax.tree.norm(found) * optax.tree.norm(wanted))
    return float(jnp.asarray(cosine))
