"""What a library that keeps records of trainings is told: the part that all such libraries share."""

import abc
import contextlib
import importlib.util
import io
import json
import math
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

from equiprop.errors import InputError, TrackerWarning, warn
from equiprop.files import read_json, write_atomically
from equiprop.reporting import STD, flatten
from equiprop.systems import System
from equiprop.training.callbacks._callback import Callback, Plan

FILE = "trackers.json"
"""In a run directory: of each tracker the record that it has begun."""

# What an epoch is counted by is the step of a record, not one of its metrics.
_COUNTER = "epoch"


class Tracker(Callback, abc.ABC):
    """Tells a library that keeps records of trainings the settings of a training and the metrics of its epochs.

    A subclass implements `start`, `log` and `finish`. Whatever they raise ends the tracking and not the training: it is said
    once, in a `TrackerWarning`. What they print goes to standard error, or nowhere if `quiet`.

    A subclass whose library can go on with a record sets `record` in `start` to what the library knows it by. Where the run has
    a directory, `record` is there again when the training goes on; a record that is begun late is told the epochs before.
    The last epoch before a kill may be told twice.

    Of several trainings side by side a tracker is told the means, and the standard deviations as `std.NAME`.

    - `package`, `extra`: what is imported, and the extra of equiprop that installs it; `InputError` if it is not installed.
    - `redirected`: whether what is printed on standard output is to go to standard error.
    - `quiet`: whether nothing is to be printed.
    """

    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    redirected: ClassVar[bool] = True

    quiet: bool = False
    record: str = ""
    _listening: bool = False

    def __init__(self) -> None:
        if self.package and not _is_installed(self.package):
            reason = f"{type(self).__name__} needs the package {self.package}, which is not installed"
            raise InputError(reason, hint=f"pip install equiprop[{self.extra}]")

    @property
    def title(self) -> str:
        """What it is called in a warning, and by what a run directory knows its record."""
        return type(self).__name__

    @abc.abstractmethod
    def start(self, plan: Plan) -> None:
        """Before the first step: begins a record, or goes on with `self.record` if that is not empty."""

    @abc.abstractmethod
    def log(self, metrics: dict[str, float], epoch: int) -> None:
        """After each epoch, counted from 1: its numbers, by dotted names."""

    @abc.abstractmethod
    def finish(self, reason: str) -> None:
        """At the end; `reason` as in `Callback.on_end`."""

    def on_start(self, plan: Plan) -> None:
        self._listening = True
        self._attempt(lambda: self._begin(plan))

    def on_epoch(self, metrics: Mapping[str, Any], system: System) -> None:
        del system
        self._attempt(lambda: self.log(numbers_in(metrics), int(metrics[_COUNTER])))

    def on_end(self, reason: str) -> None:
        self._attempt(lambda: self.finish(reason))
        self._listening = False

    def _begin(self, plan: Plan) -> None:
        known = _read(plan.place)
        self.record = before = known.get(self.title, "")
        self.start(plan)
        if self.record == before:
            return
        if plan.place:
            write_atomically(Path(plan.place) / FILE, json.dumps(known | {self.title: self.record}, indent=2) + "\n")
        for metrics in plan.history:
            self.log(numbers_in(metrics), int(metrics[_COUNTER]))

    def _attempt(self, job: Callable[[], None]) -> None:
        """Does a job unless an earlier one failed."""
        if not self._listening:
            return
        try:
            with self._printing():
                job()
        except Exception as error:  # noqa: BLE001  # whatever it is, the training is worth more than its record
            self._listening = False
            reason = textwrap.shorten(str(error), 300) or "no reason given"
            message = f"{self.title}: {type(error).__name__}: {reason}; the training goes on without it"
            warn(message, TrackerWarning)

    @contextlib.contextmanager
    def _printing(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if self.redirected:
                nowhere = io.StringIO()
                stack.enter_context(contextlib.redirect_stdout(nowhere if self.quiet else sys.stderr))
                if self.quiet:
                    stack.enter_context(contextlib.redirect_stderr(nowhere))
            yield


def was_interrupted(reason: str) -> bool:
    """Whether a training that ended for this reason was interrupted."""
    return reason.startswith("interrupted")


def has_failed(reason: str) -> bool:
    """Whether a training that ended for this reason did so by an error."""
    return reason == "failed"


def numbers_in(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the metrics of an epoch, by dotted names such as `cosine_to_adjoint.total`."""
    told = {name: value for name, value in metrics.items() if name != _COUNTER}
    if isinstance(told.get(STD), dict):
        told[STD] = {name: value for name, value in told[STD].items() if name != _COUNTER}
    return {
        name: float(value)
        for name, value in flatten(told).items()
        if isinstance(value, Real) and not isinstance(value, bool)
    }


def hyperparameters(settings: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """The settings of a training, by dotted names such as `estimator.nudge`; lists and infinite numbers as text."""
    return {name: _plain(value) for name, value in flatten(dict(settings)).items() if value is not None}


def simple_name(name: str) -> str:
    """The name of a metric in the characters that every library takes."""
    return re.sub(r"[^A-Za-z0-9_.\-/]+", "_", name.replace("->", "_to_"))


def run_name(plan: Plan) -> str | None:
    """What a record is called by default: as the run directory; `None` where there is none."""
    return Path(plan.place).absolute().name if plan.place else None


def _plain(value: Any) -> bool | int | float | str:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, bool | int | str) else str(value)


def _is_installed(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    # A folder of that name, such as the `wandb/` that W&B leaves behind, has no origin.
    return spec is not None and spec.origin is not None


def _read(place: str) -> dict[str, str]:
    path = Path(place) / FILE
    if not (place and path.is_file()):
        return {}
    return {title: record for title, record in read_json(path).items() if isinstance(record, str)}
