"""What a study is, and what it ends with."""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from equiprop.experiment import TrainedRun
from equiprop.reporting import Chart, Walk
from equiprop.studies._settings import StudySettings
from equiprop.studies._table import Row, Table


@dataclass(frozen=True)
class Outcome:
    """What a study ends with.

    - `verdict`: in words that the numbers support, a sentence or two an item, with where we fall short.
    - `facts`: the numbers behind it, by name.
    - `walks`: circles of nudges that a page lets its reader move.
    """

    verdict: Sequence[str]
    tables: Sequence[Table]
    charts: Sequence[Chart] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    walks: Sequence[Walk] = ()


class AbstractStudy(abc.ABC):
    """An experiment: what is measured and concluded. What is trained is in its settings, `experiments/studies/KIND.toml`.

    To add one, subclass this with `question` and `conclude`, and name it by `file.py:Class` with settings of your own.
    """

    kind: ClassVar[str]
    question: ClassVar[str]
    published: ClassVar[Sequence[Row]] = ()
    """What others have measured: rows that stand beside ours, with their `source`."""
    needs: ClassVar[Sequence[Callable[[], Any]]] = ()
    """Called before anything is trained: each raises `InputError` where something is not installed."""

    def measure(self, run: TrainedRun, settings: Mapping[str, Any]) -> list[Row]:
        """What is measured of a run of an arm that `measure.arms` names, beside what every training says of itself.

        **Arguments:**

        - `settings`: the table `measure`.

        By default nothing.
        """
        del run, settings
        return []

    @abc.abstractmethod
    def conclude(self, trained: Table, measured: Table, settings: StudySettings) -> Outcome:
        """**Arguments:**

        - `trained`: a row for each arm and seed: `arm`, `seed` and the numbers of its summary.
        - `measured`: the rows of `measure`, with `arm` and `seed`.
        """
