"""Where a training is kept while it goes on."""

import abc
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from equiprop.training._step import TrainState


class AbstractRecord(abc.ABC):
    """Keeps states and epochs. Of several processes only the first calls it."""

    @property
    def place(self) -> str:
        """What it is called in a sentence; empty where nothing outlives the process."""
        return ""

    @abc.abstractmethod
    def save(self, state: TrainState, *, seconds: float, best: bool = False) -> None:
        """Keeps a state, with the seconds that have been spent on its epoch; as the best one so far, too."""

    @abc.abstractmethod
    def append(self, metrics: Mapping[str, Any]) -> None:
        """Keeps what is to be said of an epoch."""

    @abc.abstractmethod
    def best(self, like: TrainState) -> TrainState:
        """The best state that was kept."""


class Memory(AbstractRecord):
    """Keeps the best state, and nothing else, as long as the process lives."""

    def __init__(self) -> None:
        self._best: TrainState | None = None

    def save(self, state: TrainState, *, seconds: float, best: bool = False) -> None:
        del seconds
        if best:
            # The buffers of a state are used up by the next step.
            self._best = jax.tree.map(jnp.copy, state)

    def append(self, metrics: Mapping[str, Any]) -> None: ...

    def best(self, like: TrainState) -> TrainState:
        return like if self._best is None else self._best
