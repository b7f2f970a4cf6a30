"""Convolutional networks on images: the main table."""

from collections.abc import Mapping
from typing import Any, ClassVar

from equiprop.experiment import TrainedRun
from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table
from equiprop.studies._trained import COSINE, ERROR, epochs_chart, of_training, order, over_epochs, trained_table

_AUTHORS = {"dataset": "cifar10", "source": "validation error, poster of arXiv 2309.02214, three seeds"}


class Vision(AbstractStudy):
    kind: ClassVar[str] = "vision"
    question: ClassVar[str] = (
        "Does homeostasis bring equilibrium propagation with untied convolutions near to recurrent backpropagation and to tied "
        "weights?"
    )
    published: ClassVar = (
        {"arm": "none", "error %": 39.6, **_AUTHORS},
        {"arm": "homeostasis", "error %": 18.6, **_AUTHORS},
        {"arm": "response", "error %": 15.7, **_AUTHORS},
        {"arm": "exact", "error %": 12.2, **_AUTHORS},
        {"arm": "exact_none", "error %": 12.3, **_AUTHORS},
        {"arm": "tied", "error %": 11.4, **_AUTHORS},
    )

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        del settings
        return over_epochs(run)

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        said, facts = [], {}
        none, ours, best = (trained.where(arm=arm).mean(ERROR) for arm in ("none", "homeostasis", "exact_none"))
        if trained.where(arm="none").rows and trained.where(arm="exact_none").rows:
            cost, gain = none.mean - best.mean, none.mean - ours.mean
            facts["recovered"] = gain / cost if cost > 0 else None
            said.append(
                f"Of what asymmetry costs, {none} % for {best} % of recurrent backpropagation, homeostasis recovers "
                f"{_recovered(gain, cost)}: {ours} %, {trained.difference(ERROR, 'homeostasis', 'none')} against none."
                if cost > 0
                else f"Asymmetry costs nothing here: {none} % for {best} % of recurrent backpropagation."
            )
        said += of_training(trained, settings, "homeostasis", "two nudges with homeostasis")
        said += order(trained, settings, self.published)
        panels = {
            "Validation error": "validation_error_percent",
            "Cosine, summed gradient": COSINE,
            "Symmetry": "symmetry",
        }
        chart = epochs_chart(measured, settings, panels, "Curves of the exact gradient show what the network can do.")
        return Outcome(said, [trained_table(trained, settings, self.published)], [chart], facts)


def _recovered(gain: float, cost: float) -> str:
    """How much of a cost a gain makes good, in words where a share would mislead."""
    return "nothing" if gain <= 0 else f"{100 * gain / cost:.3g} %" if gain < cost else "all, and more"
