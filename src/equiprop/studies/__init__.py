"""Every experiment of the field as one command: what is trained, measured and concluded."""

from equiprop.kinds import Family
from equiprop.reporting import Chart as Chart
from equiprop.studies._settings import PRESETS as PRESETS
from equiprop.studies._settings import Arm as Arm
from equiprop.studies._settings import StudySettings as StudySettings
from equiprop.studies._study import AbstractStudy as AbstractStudy
from equiprop.studies._study import Outcome as Outcome
from equiprop.studies._table import Difference as Difference
from equiprop.studies._table import Mean as Mean
from equiprop.studies._table import Row as Row
from equiprop.studies._table import Table as Table
from equiprop.studies._table import as_text as as_text
from equiprop.studies._work import run_study as run_study

STUDIES = Family("study", __name__, f"{__name__}:AbstractStudy")
