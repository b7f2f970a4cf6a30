"""What functional symmetry buys where weights cannot be tied: self-attention."""

from collections.abc import Mapping
from typing import Any, ClassVar

from equiprop.experiment import TrainedRun
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table, capital
from equiprop.studies._trained import COSINE, SHOWN, epochs_chart, over_epochs, trained_table
from equiprop.studies.fields import entropy

_LOSS = "test_loss"


class AttentionStudy(AbstractStudy):
    kind: ClassVar[str] = "attention"
    question: ClassVar[str] = (
        "A block of self-attention has a Jacobian that no choice of weights makes symmetric. Does homeostasis let equilibrium "
        "propagation train it nearly as well as the exact gradient does?"
    )

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        del settings
        return over_epochs(run)

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        said, facts = [], {"entropy": entropy()}
        for name, arm in settings.arms.items():
            ours = trained.where(arm=name)
            if not ours.rows:
                continue
            loss = ours.mean(_LOSS)
            facts[name] = loss.mean
            against = (
                "" if name == "exact" else f", {trained.difference(_LOSS, name, 'exact')} against the exact gradient"
            )
            said.append(
                f"{capital(arm.label)}: {loss} nats a character{against}; cosine {ours.mean(COSINE)}, symmetry "
                f"{ours.mean('symmetry')}."
            )
        said.append(
            f"The source has {entropy():.3f} nats a character. Others report 1.68 nats by asymmetric equilibrium propagation for "
            f"1.64 by backpropagation of the same block, on another text: a gap of 0.04."
        )
        shown = {"nats a character": _LOSS, **SHOWN}
        panels = {"Validation loss": "validation_loss", "Cosine, summed gradient": COSINE, "Symmetry": "symmetry"}
        chart = epochs_chart(measured, settings, panels, "Loss in nats a character.")
        return Outcome(said, [trained_table(trained, settings, shown=shown)], [chart], facts)
