"""Training of any system on any data from Python."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from equiprop.errors import InputError
from equiprop.estimators import AbstractEstimator, Adjoint, Centered
from equiprop.homeostasis import AbstractHomeostasis, AutoHomeostasis
from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver, GaussSeidel
from equiprop.systems import System
from equiprop.training._arrays import require_targets, samples_of
from equiprop.training._components import Components
from equiprop.training._feed import AbstractFeed, BatchFeed, WholeFeed
from equiprop.training._loop import run
from equiprop.training._metrics import Metric, metrics_of
from equiprop.training._placement import Placement
from equiprop.training._record import AbstractRecord, Memory
from equiprop.training._samples import Samples
from equiprop.training._step import StepSpec, Transform
from equiprop.training._training import Training, epochs_of
from equiprop.training.callbacks import Progress, as_callback
from equiprop.training.optimizers import SGD, AbstractOptimizer, GivenOptimizer

T = TypeVar("T")


@dataclass(frozen=True)
class FitResult:
    """What a training made.

    **Fields:**

    - `system`: with the parameters after the last step; with averaged ones, where that was asked for.
    - `best`: the one after the epoch with the smallest validation error, or loss, or loss in training, whichever there is.
    - `history`: of every epoch its metrics, by name.
    - `ended`: why it ended before the last epoch; empty if it did not.
    """

    system: System
    best: System
    history: list[dict[str, Any]]
    ended: str = ""

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else {}
        named = ("train_loss", "validation_loss", "validation_error_percent")
        told = "".join(f", {name} {last[name]:.4g}" for name in named if last.get(name) is not None)
        ended = f"; {self.ended}" if self.ended else ""
        plural = "" if len(self.history) == 1 else "s"
        return f"FitResult({type(self.system).__name__} after {len(self.history)} epoch{plural}{told}{ended})"


def fit(
    system: Any,
    data: Any,
    *,
    validation: Any = None,
    estimator: Any = None,
    homeostasis: Any = None,
    solver: Any = None,
    optimizer: Any = None,
    epochs: int | str = "auto",
    batch_size: int = 50,
    steps_per_epoch: int | None = None,
    transforms: Sequence[Transform] = (),
    metrics: Iterable[str | Metric] | Mapping[str, Metric] = (),
    callbacks: Sequence[Any] = (),
    average: float | None = None,
    diagnostic_samples: int = 0,
    warm_start: bool = False,
    micro_batches: int = 1,
    devices: int = 1,
    record: AbstractRecord | None = None,
    key: PRNGKeyArray | int = 0,
    quiet: bool = False,
) -> FitResult:
    """Trains a system, and tells of every epoch in a line.

    **Arguments:**

    - `system`: any; what it starts from. Its inexact arrays are trained, in their own precision.
    - `data`: `(x, y)`, arrays or trees of arrays with the samples as their leading axis; or an iterable of such batches, which
      is gone through once an epoch. Real numbers take the precision of the system, integers stay as they are.
    - `validation`: `(x, y)`, looked at after every epoch.
    - `estimator`, `homeostasis`, `solver`: by default `Centered()`, the homeostasis that fits the system, and `GaussSeidel()`.
    - `optimizer`: one of this library, or any of Optax; by default `SGD()`.
    - `epochs`: `"auto"` for 10, or as many as make 2,000 steps, but at most 100.
    - `steps_per_epoch`: of an iterable that does not know its length.
    - `transforms`: what is done to every batch before a step, such as `Flip()`.
    - `metrics`: besides the loss, and the error where targets name classes: names of `METRICS`, or functions of predictions and
      targets to one number a sample.
    - `callbacks`: `EarlyStopping()` and the like, or functions of an epoch's metrics.
    - `average`: the share, such as 0.999, that an average of the parameters keeps in a step; the average is what is evaluated
      and returned.
    - `diagnostic_samples`: of the validation samples, those on which the gradient is compared with the exact one.
    - `warm_start`, `micro_batches`, `devices`: as the configuration's keys of the same names.
    - `key`: of the order of samples and of all probes; or a seed.
    - `quiet`: whether nothing is printed.

    Ctrl-C ends the training after the step under way, and the result is that of then. Raises `InputError` for what does not
    fit; `NonFinite` when weights or loss stop being numbers.
    """
    if not isinstance(system, System):
        raise InputError(f"must be a system such as ep.mlp(...) or ep.from_force(...), not {system!r}", path="system")
    estimator = _of_kind("estimator", estimator, AbstractEstimator, Centered)
    homeostasis = _of_kind("homeostasis", homeostasis, AbstractHomeostasis, AutoHomeostasis)
    solver = _of_kind("solver", solver, AbstractSolver, GaussSeidel)
    dtype = trees.dtype_of(eqx.filter(system, eqx.is_inexact_array))
    placement = Placement.over(devices, batch_size // max(micro_batches, 1))
    feed = _feed(data, dtype, batch_size, steps_per_epoch, placement)
    planned = epochs_of(epochs, feed.steps_per_epoch)
    components = Components(
        solver,
        estimator,
        Adjoint(clip=float("inf")),
        homeostasis.decide(system),
        _optimizer(optimizer),
        None if average is None else jnp.asarray(average, dtype),
    )
    training = Training(
        system=system,
        components=components,
        spec=StepSpec(batch_size, micro_batches, feed.steps_per_epoch, planned, placement),
        feed=feed,
        key=jax.random.key(key) if isinstance(key, int) else key,
        dtype=dtype,
        validation=None if validation is None else _validation(validation, system, dtype),
        transforms=tuple(transforms),
        metrics=metrics_of(metrics),
        diagnostic_samples=diagnostic_samples,
        warm_start=warm_start,
    )
    require_targets(system, training.samples)
    told = [as_callback(each) for each in callbacks]
    record = Memory() if record is None else record
    ending = run(training, record, training.initial_train_state(), callbacks=told if quiet else [Progress(), *told])
    (state,), (history,), (stopped,) = ending.states, ending.histories, ending.stopped or [""]
    best = record.best(state)
    return FitResult(state.evaluated, best.evaluated, history, ending.interrupted or stopped)


def _of_kind(name: str, given: Any, kind: type[T], default: type[T]) -> T:
    if given is None:
        return default()
    if not isinstance(given, kind):
        raise InputError(f"must be an object such as ep.{default.__name__}(), not {given!r}", path=name)
    return given


def _optimizer(given: Any) -> AbstractOptimizer | GivenOptimizer:
    if given is None:
        return SGD()
    if isinstance(given, AbstractOptimizer):
        return given
    if isinstance(given, optax.GradientTransformation):
        return GivenOptimizer(given)
    hint = "give one of Optax, such as optax.adam(1e-3), or of this library, such as equiprop.AdamW()"
    raise InputError("is no optimizer", path="optimizer", value=given, hint=hint)


def _feed(data: Any, dtype: Any, batch_size: int, steps_per_epoch: int | None, placement: Placement) -> AbstractFeed:
    if isinstance(data, tuple) and len(data) == 2:
        return WholeFeed(samples_of(*data, dtype), batch_size=batch_size, placement=placement)
    if not isinstance(data, Iterable):
        raise InputError("is neither (x, y) nor an iterable of such batches", path="data", value=type(data).__name__)
    steps = len(data) if steps_per_epoch is None and hasattr(data, "__len__") else steps_per_epoch  # pyright: ignore[reportArgumentType]
    if not steps:
        raise InputError("does not say how many batches it has", path="data", hint="give steps_per_epoch")
    return BatchFeed(data, steps_per_epoch=steps, batch_size=batch_size, dtype=dtype, placement=placement)


def _validation(given: Any, system: System, dtype: Any) -> Samples:
    if not (isinstance(given, tuple) and len(given) == 2):
        raise InputError("must be (x, y)", path="validation", value=type(given).__name__)
    samples = samples_of(*given, dtype, "validation")
    require_targets(system, samples, "validation")
    return samples
