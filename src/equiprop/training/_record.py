"""Where a training is kept while it goes on."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from equiprop.training._step import TrainState


class AbstractRecord(abc.ABC):
    """Keeps states and epochs of one training, or of several side by side. Of several processes only the first calls it."""

    @property
    def place(self) -> str:
        """What it is called in a sentence; empty where nothing outlives the process."""
        return ""

    @abc.abstractmethod
    def save(self, states: Sequence[TrainState], *, seconds: float) -> None:
        """Keeps the state of each lane, with the seconds that have been spent on its epoch."""

    @abc.abstractmethod
    def save_best(self, state: TrainState, lane: int = 0) -> None:
        """Keeps the best state of a lane so far."""

    @abc.abstractmethod
    def append(self, metrics: Mapping[str, Any], lane: int = 0) -> None:
        """Keeps what is to be said of an epoch of a lane."""

    def write_means(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Keeps the means over lanes of every epoch, where there are several."""
        del lines

    @abc.abstractmethod
    def best(self, like: TrainState, lane: int = 0) -> TrainState:
        """The best state of a lane that was kept."""


class Memory(AbstractRecord):
    """Keeps the best states, and nothing else, as long as the process lives."""

    def __init__(self) -> None:
        self._best: dict[int, TrainState] = {}

    def save(self, states: Sequence[TrainState], *, seconds: float) -> None: ...

    def save_best(self, state: TrainState, lane: int = 0) -> None:
        # The buffers of a state are used up by the next step.
        self._best[lane] = state.copied()

    def append(self, metrics: Mapping[str, Any], lane: int = 0) -> None: ...

    def best(self, like: TrainState, lane: int = 0) -> TrainState:
        return self._best.get(lane, like)
