"""What each part of homeostasis is for, and what else there is."""

from typing import ClassVar

from equiprop.studies._settings import StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Table, capital
from equiprop.studies._trained import ERROR, trained_table


class Ablation(AbstractStudy):
    kind: ClassVar[str] = "ablation"
    question: ClassVar[str] = "Of all ways to make a system symmetric, which parts matter, and what do they cost?"

    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        del measured
        table = trained_table(trained, settings)
        errors = {
            name: trained.where(arm=name).mean(ERROR).mean for name in settings.arms if trained.where(arm=name).rows
        }
        ranked = sorted((name for name in errors if name not in ("none", "exact")), key=errors.__getitem__)
        said = [
            f"None: {trained.where(arm='none').mean(ERROR)} %; exact gradient: {trained.where(arm='exact').mean(ERROR)} %."
        ]
        said += [
            f"{capital(settings.arms[name].label)}: {trained.where(arm=name).mean(ERROR)} %, "
            f"{trained.difference(ERROR, name, 'none')} against none."
            for name in ranked
        ]
        return Outcome(said, [table], (), {"ranked": ranked, "errors": errors})
