"""What is told how a training goes on, and may stop it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from equiprop.errors import InputError
from equiprop.systems import System


@dataclass(frozen=True)
class Plan:
    """What is about to be trained.

    - `epochs`, `steps_per_epoch`: as planned.
    - `epoch`, `step`: where it begins: epochs finished before, and steps taken in the next one.
    - `history`: the metrics of the epochs before.
    - `settings`: what it is trained by, as nested tables of plain values.
    - `place`: where the run is kept; empty where it is not.
    - `lanes`: how many are trained side by side.
    - `lane`: which of them this is, for a callback of which each has its own copy.
    - `samples_per_epoch`: in the steps of an epoch.
    - `available`: how many samples there are; `None` where that is not known. Those that make no whole batch are left over, of
      shuffled samples others each time.
    """

    epochs: int
    steps_per_epoch: int
    epoch: int
    step: int
    history: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    place: str = ""
    lanes: int = 1
    lane: int = 0
    samples_per_epoch: int = 0
    available: int | None = None

    @property
    def left_over(self) -> int:
        """How many of the samples an epoch does not train on."""
        return 0 if self.available is None else self.available - self.samples_per_epoch

    @property
    def samples_told(self) -> str:
        """How many samples an epoch trains on, and of how many where some are left over."""
        if not self.left_over:
            return f"{self.samples_per_epoch} samples"
        return f"{self.samples_per_epoch} of {self.available} samples, those in whole batches"


class Callback:
    """Is told how a training goes on; does nothing unless overridden.

    In place of a subclass that looks at epochs alone a function of their metrics will do. Whatever a callback raises ends the
    training, but for trackers, which fail by a warning. Of several processes only the first calls them.

    - `each_lane`: whether of several trainings side by side each has its own copy, made before the first step, which is told of
      that one alone; otherwise one is told the means over them, with their standard deviations under `std`.
    """

    each_lane: ClassVar[bool] = False

    def on_start(self, plan: Plan) -> None:
        """Before the first step, also of a training that goes on where it stopped."""

    def on_steps(self, epoch: int, step: int, loss: float) -> None:
        """Every half second or so: steps taken in an epoch, counted from 1, and its mean loss so far."""

    def on_validation(self, metrics: Mapping[str, Any]) -> None:
        """After each epoch, before it is told how good its gradient is, which takes longer; only where it is to be."""

    def on_epoch(self, metrics: Mapping[str, Any], system: System) -> str | None:
        """After each epoch, with the system as it is then. A reason to stop, if there is one."""
        del metrics, system

    def on_end(self, reason: str) -> None:
        """After the last step, also of a training that was interrupted or failed; `reason` is empty if it is finished."""


class _Function(Callback):
    """A function of the metrics of an epoch; what it returns, if it is text, is a reason to stop."""

    def __init__(self, function: Callable[[Mapping[str, Any]], Any]) -> None:
        self._function = function

    def on_epoch(self, metrics: Mapping[str, Any], system: System) -> str | None:
        del system
        answer = self._function(metrics)
        return answer if isinstance(answer, str) else None


def as_callback(given: Any) -> Callback:
    """A callback, or the one that a function of metrics makes. Raises `InputError` for anything else."""
    if isinstance(given, Callback):
        return given
    if isinstance(given, type) or not callable(given):
        hint = "give an object of a subclass of equiprop.Callback, or a function of an epoch's metrics"
        raise InputError("is no callback", path="callbacks", value=repr(given), hint=hint)
    return _Function(given)
