"""A line an epoch."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from equiprop.reporting import STD
from equiprop.systems import System
from equiprop.training.callbacks._callback import Callback, Plan


class Progress(Callback):
    """Prints a line an epoch, or for every fifth of more than twenty: the loss, what validation says, and how many samples are
    not as they should be. And that it compiles: the training step, and the comparison with the exact gradient. And before all,
    if samples are left over in every epoch, how many.
    """

    def __init__(self) -> None:
        self._epochs = self._first = 0
        self._began: float | None = None

    def say(self, text: str, end: str = "\n") -> None:
        # A letter that standard output has not must not end a training.
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding), end=end, flush=True)  # noqa: T201

    def on_start(self, plan: Plan) -> None:
        self._epochs, self._first = plan.epochs, plan.epoch + 1
        heading = self.heading(plan)
        if heading:
            self.say(heading)
        self._begin("compiling ...")

    def heading(self, plan: Plan) -> str:
        """What is said before all; empty for nothing."""
        return f"an epoch trains on {plan.samples_told}" if plan.left_over else ""

    def on_steps(self, epoch: int, step: int, loss: float) -> None:
        del epoch, step, loss
        # The first call compiles.
        self._ended()

    def on_validation(self, metrics: Mapping[str, Any]) -> None:
        # The first time it is compiled.
        if metrics["epoch"] == self._first:
            self.say("  ".join(_progress(metrics, self._epochs)))
            self._begin("compiling what tells how good the gradient is ...")

    def on_end(self, reason: str) -> None:
        del reason
        if self._began is not None:
            self.say("")

    def on_epoch(self, metrics: Mapping[str, Any], system: System) -> None:
        del system
        self._ended()
        epoch = metrics["epoch"]
        if self._epochs <= 20 or epoch in (1, self._epochs) or epoch % 5 == 0:
            self.say(epoch_line(metrics, self._epochs))

    def _begin(self, waiting: str) -> None:
        self._began = time.perf_counter()
        self.say(waiting, end=" ")

    def _ended(self) -> None:
        if self._began is not None:
            self.say(f"{time.perf_counter() - self._began:.1f} s")
            self._began = None


def epoch_line(metrics: Mapping[str, Any], epochs: int) -> str:
    """What an epoch's metrics say, in a line; shares below 0.05 % are left out."""
    parts = _progress(metrics, epochs)
    cosine = (metrics.get("cosine_to_adjoint") or {}).get("total")
    if "cosine_to_adjoint" in metrics:
        parts.append(f"cosine {_number(cosine)}")
    if metrics.get("gradient_bar") is not None:
        parts.append(gradient_line(metrics))
    if "adjusted" in metrics:
        parts.append(metrics["adjusted"])
    parts.append(f"converged {100 * metrics['converged_fraction']:.1f} %")
    shares = ((name, metrics.get(f"{name}_fraction", 0.0)) for name in ("clipped", "excluded"))
    parts += [f"{name} {100 * share:.1f} %" for name, share in shares if share >= 0.0005]
    return "  ".join(parts)


def gradient_line(metrics: Mapping[str, Any]) -> str:
    """How far the gradient may be from the exact one, and by what: `gradient ±3.2 % (nudge 2.9, rounding 1.2)`."""
    bar = metrics["gradient_bar"]
    causes = {
        name: size for name, size in metrics["gradient_bar_causes"].items() if size is not None and size > bar / 10
    }
    large = [f"{name} {_percent(causes[name])}" for name in sorted(causes, key=causes.__getitem__, reverse=True)]
    return f"gradient ±{_percent(bar)} %{' (' + ', '.join(large) + ')' if large else ''}"


def _progress(metrics: Mapping[str, Any], epochs: int) -> list[str]:
    """How long it took, the loss, and what validation says."""
    parts = [
        f"epoch {metrics['epoch']:>{len(str(epochs))}}/{epochs}",
        f"{metrics['epoch_seconds']:6.1f} s",
        f"loss {_number(metrics['train_loss'])}",
    ]
    if "validation_error_percent" in metrics:
        spread = metrics.get(STD, {}).get("validation_error_percent")
        over_seeds = "" if spread is None else f" ± {spread:.2f}"
        parts.append(f"validation error {metrics['validation_error_percent']:5.2f}{over_seeds} %")
    elif "validation_loss" in metrics:
        parts.append(f"validation loss {_number(metrics['validation_loss'])}")
    return parts


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.1 else f"{100 * share:.2g}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1e}" if value != 0 and not 1e-3 <= abs(value) < 1e5 else f"{value:.3f}"
