"""The one training loop: epochs, calls of the compiled steps, interrupts, and what is told and kept of them."""

import copy
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp

from equiprop._interrupts import SAME_SECONDS, doing
from equiprop.errors import EquipropError, EquipropWarning
from equiprop.reporting import mean_of, means_of
from equiprop.training._evaluate import finite_or_none
from equiprop.training._lanes import Lanes
from equiprop.training._processes import agree, is_primary, local, of_primary, on_primary
from equiprop.training._record import AbstractRecord
from equiprop.training._samples import Samples
from equiprop.training._step import Totals, TrainState, all_finite
from equiprop.training._training import Training
from equiprop.training.callbacks import Callback, Plan, Warnings

# A call of the compiled loop takes about this long, in seconds: short enough for progress and Ctrl-C, long enough to be free.
_CALL_SECONDS = 0.5


class NonFinite(EquipropError):
    """The weights or the loss stopped being numbers."""


@dataclass(frozen=True)
class Ending:
    """How a training ended, or several side by side, lane by lane.

    - `states`: the last ones; in an epoch, if it was interrupted.
    - `histories`: what was to be said of every epoch.
    - `interrupted`: where, if it was; else empty.
    - `stopped`: why each ended before the last epoch that was planned, if a callback wanted that; else empty.
    - `failed`: why each was given up because it stopped being numbers, while others went on; else empty.
    """

    states: list[TrainState]
    histories: list[list[dict[str, Any]]]
    interrupted: str = ""
    stopped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def run(
    trainings: Training | Sequence[Training],
    record: AbstractRecord,
    states: TrainState | Sequence[TrainState],
    histories: Sequence[Sequence[Mapping[str, Any]]] = (),
    *,
    seconds: float = 0.0,
    callbacks: Sequence[Callback] = (),
    settings: Mapping[str, Any] | None = None,
) -> Ending:
    """Trains from a state to the last epoch, or until a callback, Ctrl-C or SIGTERM ends it; one system, or several side by side.

    **Arguments:**

    - `trainings`, `states`: one, or one for each lane.
    - `histories`: of each lane the epochs before, one line each.
    - `seconds`: spent on the epoch under way before.
    - `callbacks`: of several lanes each has its own copy of those that are for single ones (`Callback.each_lane`); the others are
      told the means, and a reason of theirs to stop ends all.
    - `settings`: what is trained by what, for the callbacks.

    Raises `NonFinite` when weights or loss stop being numbers, of several lanes when those of all have.
    """
    trainings = [trainings] if isinstance(trainings, Training) else list(trainings)
    states = [states] if isinstance(states, TrainState) else list(states)
    told = [[dict(line) for line in lines] for lines in histories] or [[] for _ in trainings]
    loop = _Loop(trainings, record, states, told, callbacks)
    reason = "failed"
    try:
        loop.start(dict(settings or {}))
        with _interrupts() as asked:
            ending = loop.train(seconds, asked)
        reason = ending.interrupted or next(filter(None, ending.stopped), "")
    finally:
        loop.end(reason)
    return ending


class _Loop:
    def __init__(
        self,
        trainings: list[Training],
        record: AbstractRecord,
        states: list[TrainState],
        histories: list[list[dict[str, Any]]],
        callbacks: Sequence[Callback],
    ) -> None:
        self.trainings, self.record, self.states, self.histories = trainings, record, states, histories
        self.lanes = Lanes(trainings)
        # Those of the last step.
        self.samples: Samples | None = None
        several = len(trainings) > 1
        self.own = [[*(c if not several else copy.deepcopy(c) for c in callbacks if c.each_lane)] for _ in trainings]
        said: set[type[EquipropWarning]] = set()
        for own, training in zip(self.own, trainings, strict=True):
            own.insert(0, Warnings(training.components.estimator, said))
        self.shared = [callback for callback in callbacks if not callback.each_lane]
        # Why nothing is left to do in a lane, also where it was ended before it was interrupted.
        self.stopped = [str(lines[-1].get("stopped", "")) if lines else "" for lines in histories]
        # A lane that was given up before the others were interrupted stays so.
        self.failed = [
            "" if not several or _is_finite(state) else "its weights or its loss were not finite" for state in states
        ]

    @property
    def training(self) -> Training:
        """For what all have in common."""
        return self.trainings[0]

    @property
    def running(self) -> list[int]:
        """The lanes that are not at their end; those that are behind others, which had ended before, catch up first."""
        at = {
            lane: (int(state.epoch), int(state.step))
            for lane, state in enumerate(self.states)
            if int(state.epoch) < self.training.epochs and not self.stopped[lane] and not self.failed[lane]
        }
        return [lane for lane in at if at[lane] == min(at.values())]

    def start(self, settings: dict[str, Any]) -> None:
        if not is_primary():
            return
        furthest = max(self.states, key=lambda state: int(state.epoch))
        for lane, (own, lines) in enumerate(zip(self.own, self.histories, strict=True)):
            for callback in own:
                callback.on_start(self._plan(self.states[lane], lines, settings, lane))
        lines = self.histories[0] if len(self.trainings) == 1 else means_of(self.histories)
        for callback in self.shared:
            callback.on_start(self._plan(furthest, lines, settings))

    def _plan(
        self, state: TrainState, lines: Sequence[dict[str, Any]], settings: dict[str, Any], lane: int = 0
    ) -> Plan:
        return Plan(
            epochs=self.training.epochs,
            steps_per_epoch=self.training.steps_per_epoch,
            epoch=int(state.epoch),
            step=int(state.step),
            history=tuple(lines),
            settings=settings,
            place=self.record.place,
            lanes=len(self.trainings),
            lane=lane,
            samples_per_epoch=self.training.samples_per_epoch,
            available=self.training.feed.available,
        )

    def end(self, reason: str) -> None:
        if is_primary():
            for callback in [*(c for own in self.own for c in own), *self.shared]:
                callback.on_end(reason)

    def train(self, seconds: float, asked: threading.Event) -> Ending:
        self._agree_on_end()
        while running := self.running:
            with doing(f"epoch {int(self.states[running[0]].epoch) + 1} of {self.training.epochs}"):
                interrupted = self._whole_epoch(seconds, asked)
            if interrupted:
                return self._ending(interrupted)
            self._agree_on_end()
            seconds = 0.0
        return self._ending()

    def _whole_epoch(self, seconds: float, asked: threading.Event) -> str:
        """The rest of the current epoch and what is said of it; where it was interrupted, if so, which leaves a checkpoint."""
        began = time.perf_counter()
        interrupted = self._epoch(asked)
        spent = seconds + time.perf_counter() - began
        if interrupted:
            kept = local(self.states)
            with _saving():
                on_primary(lambda: self.record.save(kept, seconds=spent))
            return interrupted
        finished = {lane: local(self.states[lane]) for lane in self.running}
        for lane in finished:
            self.states[lane] = self.training.spec.placement.everywhere(_next_epoch(self.states[lane]))
        on_primary(lambda: self._finish(finished, spent))
        self._agree_on_adjustments(list(finished))
        return ""

    def _ending(self, interrupted: str = "") -> Ending:
        if all(self.failed):
            raise NonFinite(self.failed[0])
        return Ending(self.states, self.histories, interrupted, self.stopped, self.failed)

    def _agree_on_end(self) -> None:
        """What the first process was told to do, all do."""
        if jax.process_count() > 1:
            anyone, _ = agree(bool(self.stopped[0]), 0)
            self.stopped[0] = self.stopped[0] or ("the first process stopped" if anyone else "")

    def _agree_on_adjustments(self, lanes: Sequence[int]) -> None:
        """What the first process made of the audits of an epoch, all go on with."""
        for lane in lanes:
            agreed = self.training.spec.placement.everywhere(of_primary(self.states[lane].adjustment))
            self.states[lane] = replace(self.states[lane], adjustment=agreed)

    def _epoch(self, asked: threading.Event) -> str:
        """The rest of the current epoch, in calls of about half a second; and where it was interrupted, if it was."""
        training, running = self.training, self.running
        at = self.states[running[0]]
        epoch, done, steps = int(at.epoch), int(at.step), 1
        while done < training.steps_per_epoch and running:
            samples, left = training.feed.at(epoch, done)
            self.samples = samples
            steps = min(steps, left)
            began = time.perf_counter()
            with doing(f"step {done + 1} of {training.steps_per_epoch}"):
                advanced = self.lanes.advance(running, [self.states[lane] for lane in running], samples, steps)
            for lane, state in zip(running, advanced, strict=True):
                self.states[lane] = state
            elapsed = time.perf_counter() - began
            proposed = max(1, min(4 * steps, round(steps * _CALL_SECONDS / max(elapsed, 1e-6))))
            stop, proposed = agree(asked.is_set(), proposed)
            done += steps
            running = self._finite(running, done)
            self._tell_steps(running, epoch + 1, done)
            # What a callback asks for is heard at the next step, by all processes.
            if running and (stop or (asked.is_set() and jax.process_count() == 1)):
                return f"interrupted in epoch {epoch + 1} after step {done} of {training.steps_per_epoch}"
            steps = proposed
        return ""

    def _tell_steps(self, running: Sequence[int], epoch: int, done: int) -> None:
        losses = {lane: _loss(self.states[lane].totals) for lane in running}
        if not (losses and is_primary()):
            return
        for lane, loss in losses.items():
            for callback in self.own[lane]:
                callback.on_steps(epoch, done, loss)
        for callback in self.shared:
            callback.on_steps(epoch, done, sum(losses.values()) / len(losses))

    def _finite(self, running: Sequence[int], done: int) -> list[int]:
        """Those lanes whose weights and loss are numbers. Raises `NonFinite` where there are none left."""
        for lane in running:
            state = self.states[lane]
            if _is_finite(state):
                continue
            kept = f"; the last good checkpoint is in {self.record.place}" if self.record.place else ""
            self.failed[lane] = (
                f"epoch {int(state.epoch) + 1}, step {done}: the weights or the loss are no longer finite{kept}; try a smaller "
                "learning rate, clip = 2 of the estimator, or more homeostasis, in a new run"
            )
        if all(self.failed):
            raise NonFinite(self.failed[0])
        return [lane for lane in running if not self.failed[lane]]

    def _finish(self, finished: dict[int, TrainState], seconds: float) -> None:
        """Everything that is said and kept at the end of an epoch."""
        lanes = list(finished)
        found = [self._metrics(lane, finished[lane], seconds) for lane in lanes]
        if self.training.compares or self.training.audit_samples:
            self._tell_validation(lanes, found)
            for lane, metrics in zip(lanes, found, strict=True):
                metrics |= self.trainings[lane].compared(finished[lane], metrics["epoch"])
        samples = self.training.samples if self.samples is None else self.samples
        for lane, metrics in zip(lanes, found, strict=True):
            metrics |= self.trainings[lane].audited(finished[lane], samples, metrics["epoch"])
            finished[lane], told = self.trainings[lane].adjusted(finished[lane], metrics)
            metrics |= told
            self.states[lane] = replace(self.states[lane], adjustment=finished[lane].adjustment)
        reasons = [self._finish_lane(lane, finished[lane], metrics) for lane, metrics in zip(lanes, found, strict=True)]
        told = self._over_lanes(found)
        system = finished[lanes[0]].evaluated
        shared = next(filter(None, [callback.on_epoch(told, system) for callback in self.shared]), "")
        for lane, metrics, reason in zip(lanes, found, reasons, strict=True):
            self.stopped[lane] = reason or shared
            if self.stopped[lane]:
                metrics["stopped"] = self.stopped[lane]
            self.record.append(metrics, lane)
            self.histories[lane].append(metrics)
        if len(self.trainings) > 1:
            self.record.write_means(means_of(self.histories))
        states = [_next_epoch(finished[lane]) if lane in finished else s for lane, s in enumerate(self.states)]
        with _saving():
            self.record.save(states, seconds=0.0)

    def _over_lanes(self, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return found[0] if len(self.trainings) == 1 else mean_of(found)

    def _tell_validation(self, lanes: Sequence[int], found: Sequence[dict[str, Any]]) -> None:
        for lane, metrics in zip(lanes, found, strict=True):
            for callback in self.own[lane]:
                callback.on_validation(metrics)
        told = self._over_lanes(found)
        for callback in self.shared:
            callback.on_validation(told)

    def _finish_lane(self, lane: int, finished: TrainState, metrics: dict[str, Any]) -> str:
        """Keeps the best state, tells the lane's own callbacks; a reason to stop, if one of them has one."""
        error = _judged_by(metrics)
        if all(error < _judged_by(earlier) for earlier in self.histories[lane]):
            with _saving():
                self.record.save_best(_next_epoch(finished), lane)
        reasons = [callback.on_epoch(metrics, finished.evaluated) for callback in self.own[lane]]
        return next(filter(None, reasons), "")

    def _metrics(self, lane: int, state: TrainState, seconds: float) -> dict[str, Any]:
        """What is to be said of the epoch that `state` has just finished, before the comparison with the exact gradient."""
        totals, epoch = state.totals, int(state.epoch) + 1
        counts = {name: int(value) for name, value in totals.counts.items()}
        n = counts.pop("samples")
        error = {} if totals.correct is None else {"train_error_percent": 100 * (1 - int(totals.correct) / n)}
        return {
            "epoch": epoch,
            "epoch_seconds": round(seconds, 3),
            "train_loss": finite_or_none(_loss(totals)),
            **error,
            **self.trainings[lane].validated(state, epoch),
            **{f"{name}_fraction": count / n for name, count in counts.items()},
            "relaxation_steps": int(totals.sweeps) / n,
            "homeostasis_loss": finite_or_none(float(totals.homeostasis_loss) / int(totals.steps)),
            "homeostasis_strength": finite_or_none(float(totals.homeostasis_strength) / int(totals.steps)),
            "homeostasis_skipped": int(totals.homeostasis_skipped),
        }


def _saving() -> AbstractContextManager[None]:
    return doing("the saving of a checkpoint", waited_for=True)


def _is_finite(state: TrainState) -> bool:
    """Whether the weights are numbers, and the loss of the epoch under way, if that has begun."""
    cost, finite = state.totals.cost, state.totals.finite
    return all_finite(state.system) and (int(state.step) == 0 or (bool(jnp.isfinite(cost)) and int(finite) > 0))


def _judged_by(metrics: Mapping[str, Any]) -> float:
    """What decides which epoch is the best: the error or the loss on the validation samples, or else on the training ones."""
    for name in ("validation_error_percent", "validation_loss", "train_loss"):
        if metrics.get(name) is not None:
            return float(metrics[name])
    return float("inf")


def _loss(totals: Totals) -> float:
    return float(totals.cost) / max(int(totals.finite), 1)


def _next_epoch(state: TrainState) -> TrainState:
    step, totals = jax.tree.map(jnp.zeros_like, (state.step, state.totals))
    return replace(state, epoch=state.epoch + 1, step=step, totals=totals)


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Ctrl-C, or the SIGTERM of a scheduler, sets the event instead of tearing a step apart; a second one stops at once.

    Outside of the main thread Python delivers no signals, and none are caught.
    """
    asked, heard = threading.Event(), 0.0
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handler(number: int, frame: FrameType | None) -> None:
        del number, frame
        nonlocal heard
        if asked.is_set() and time.monotonic() > heard + SAME_SECONDS:
            raise KeyboardInterrupt
        heard = heard if asked.is_set() else time.monotonic()
        asked.set()

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, old in previous.items():
            # One that is not Python's cannot be put back.
            signal.signal(number, signal.SIG_DFL if old is None else old)
