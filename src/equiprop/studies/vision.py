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
            share = (none.mean - ours.mean) / (none.mean - best.mean)
            facts["recovered"] = share
            said.append(
                f"Of what asymmetry costs, {none} % for {best} % of recurrent backpropagation, homeostasis recovers "
                f"{100 * share:.3g} %: {ours} %, {trained.difference(ERROR, 'homeostasis', 'none')} against none."
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
