"""The one training loop: epochs, calls of the compiled steps, interrupts, and what is told and kept of them."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp

from equiprop.errors import EquipropError
from equiprop.training._evaluate import finite_or_none
from equiprop.training._processes import agree, is_primary, local, on_primary
from equiprop.training._record import AbstractRecord
from equiprop.training._step import Totals, TrainState, all_finite
from equiprop.training._training import Training
from equiprop.training.callbacks import Callback, Plan, Warnings

# A call of the compiled loop takes about this long, in seconds: short enough for progress and Ctrl-C, long enough to be free.
_CALL_SECONDS = 0.5


class NonFinite(EquipropError):
    """The weights or the loss stopped being numbers."""


@dataclass(frozen=True)
class Ending:
    """How a training ended.

    - `state`: the last one; in an epoch, if it was interrupted.
    - `history`: what was to be said of every epoch.
    - `interrupted`: where, if it was; else empty.
    - `stopped`: why it ended before the last epoch that was planned, if a callback wanted that; else empty.
    """

    state: TrainState
    history: list[dict[str, Any]]
    interrupted: str = ""
    stopped: str = ""


def run(
    training: Training,
    record: AbstractRecord,
    state: TrainState,
    history: Sequence[Mapping[str, Any]] = (),
    *,
    seconds: float = 0.0,
    callbacks: Sequence[Callback] = (),
    settings: Mapping[str, Any] | None = None,
) -> Ending:
    """Trains from a state to the last epoch, or until a callback, Ctrl-C or SIGTERM ends it.

    **Arguments:**

    - `history`: of the epochs before, one line each.
    - `seconds`: spent on the epoch under way before.
    - `settings`: what is trained by what, for the callbacks.

    Raises `NonFinite` when weights or loss stop being numbers.
    """
    loop = _Loop(
        training, record, [dict(line) for line in history], [Warnings(training.components.estimator), *callbacks]
    )
    plan = Plan(
        epochs=training.epochs,
        steps_per_epoch=training.steps_per_epoch,
        epoch=int(state.epoch),
        step=int(state.step),
        history=tuple(loop.history),
        settings=dict(settings or {}),
        place=record.place,
    )
    reason = "failed"
    try:
        loop.tell(lambda callback: callback.on_start(plan))
        with _interrupts() as asked:
            ending = loop.train(state, seconds, asked)
        reason = ending.interrupted or ending.stopped
    finally:
        loop.tell(lambda callback: callback.on_end(reason))
    return ending


class _Loop:
    def __init__(
        self, training: Training, record: AbstractRecord, history: list[dict[str, Any]], callbacks: Sequence[Callback]
    ) -> None:
        self.training, self.record, self.history, self.callbacks = training, record, history, callbacks

    def tell(self, what: Any) -> None:
        if is_primary():
            for callback in self.callbacks:
                what(callback)

    def train(self, state: TrainState, seconds: float, asked: threading.Event) -> Ending:
        training, stopped = self.training, self._agreed(self._over())
        while not stopped and int(state.epoch) < training.epochs:
            began = time.perf_counter()
            state, interrupted = self._epoch(state, asked)
            spent = seconds + time.perf_counter() - began
            if interrupted:
                kept = local(state)
                on_primary(lambda kept=kept, spent=spent: self.record.save(kept, seconds=spent))
                return Ending(state, self.history, interrupted=interrupted)
            finished = local(state)
            state = training.spec.placement.everywhere(_next_epoch(state))
            stopped = self._agreed(on_primary(lambda f=finished, s=spent: self._finish(f, s)) or "")
            seconds = 0.0
        return Ending(state, self.history, stopped=stopped)

    def _agreed(self, stopped: str) -> str:
        """What the first process was told to do, all do."""
        anyone, _ = agree(bool(stopped), 0)
        return stopped or ("the first process stopped" if anyone else "")

    def _over(self) -> str:
        """Why nothing is left to do, where a callback has ended the training before it was interrupted."""
        if not self.history:
            return ""
        return str(self.history[-1].get("stopped", ""))

    def _epoch(self, state: TrainState, asked: threading.Event) -> tuple[TrainState, str]:
        """The rest of the current epoch, in calls of about half a second; and where it was interrupted, if it was."""
        training = self.training
        done, steps = int(state.step), 1
        while done < training.steps_per_epoch:
            samples, left = training.feed.at(int(state.epoch), done)
            steps = min(steps, left)
            began = time.perf_counter()
            state = jax.block_until_ready(training.advance(state, samples, steps))
            elapsed = time.perf_counter() - began
            proposed = max(1, min(4 * steps, round(steps * _CALL_SECONDS / max(elapsed, 1e-6))))
            stop, proposed = agree(asked.is_set(), proposed)
            done += steps
            self._require_finite(state, done)
            epoch, loss = int(state.epoch) + 1, _loss(state.totals)
            self.tell(lambda callback, e=epoch, d=done, c=loss: callback.on_steps(e, d, c))
            # What a callback asks for is heard at the next step, by all processes.
            if stop or (asked.is_set() and jax.process_count() == 1):
                return state, f"interrupted in epoch {epoch} after step {done} of {training.steps_per_epoch}"
            steps = proposed
        return state, ""

    def _require_finite(self, state: TrainState, done: int) -> None:
        totals = state.totals
        if all_finite(state.system) and bool(jnp.isfinite(totals.cost)) and int(totals.finite) > 0:
            return
        kept = f"; the last good checkpoint is in {self.record.place}" if self.record.place else ""
        raise NonFinite(
            f"epoch {int(state.epoch) + 1}, step {done}: the weights or the loss are no longer finite{kept}; try a smaller "
            "learning rate, clip = 2 of the estimator, or more homeostasis, in a new run"
        )

    def _finish(self, finished: TrainState, seconds: float) -> str:
        """Everything that is said and kept at the end of an epoch; a reason to stop, if a callback has one."""
        metrics = self._metrics(finished, seconds)
        state = _next_epoch(finished)
        error = _judged_by(metrics)
        if all(error < _judged_by(earlier) for earlier in self.history):
            self.record.save(state, seconds=0.0, best=True)
        reasons = [callback.on_epoch(metrics, finished.evaluated) for callback in self.callbacks]
        stopped = next(filter(None, reasons), "")
        if stopped:
            metrics["stopped"] = stopped
        self.record.append(metrics)
        self.history.append(metrics)
        self.record.save(state, seconds=0.0)
        return stopped

    def _metrics(self, state: TrainState, seconds: float) -> dict[str, Any]:
        """What is to be said of the epoch that `state` has just finished."""
        totals, epoch = state.totals, int(state.epoch) + 1
        counts = {name: int(value) for name, value in totals.counts.items()}
        n = counts.pop("samples")
        error = {} if totals.correct is None else {"train_error_percent": 100 * (1 - int(totals.correct) / n)}
        return {
            "epoch": epoch,
            "epoch_seconds": round(seconds, 3),
            "train_loss": finite_or_none(_loss(totals)),
            **error,
            **self.training.looked_at(state, epoch),
            **{f"{name}_fraction": count / n for name, count in counts.items()},
            "relaxation_steps": int(totals.sweeps) / n,
            "homeostasis_loss": finite_or_none(float(totals.homeostasis_loss) / int(totals.steps)),
            "homeostasis_strength": finite_or_none(float(totals.homeostasis_strength) / int(totals.steps)),
            "homeostasis_skipped": int(totals.homeostasis_skipped),
        }


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
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handler(number: int, frame: FrameType | None) -> None:
        del number, frame
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, old in previous.items():
            # That of JAX's own service, which is not Python's and cannot be put back, lets no SIGTERM end a process.
            signal.signal(number, signal.SIG_DFL if old is None else old)
