"""What `fit` is given, as the parts of a training."""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from equiprop.data import Dataset, DatasetInfo, Split
from equiprop.errors import InputError
from equiprop.estimators import AbstractEstimator, Adjoint, Centered
from equiprop.experiment._config import Choice, Config
from equiprop.experiment._recorded import Recorded
from equiprop.experiment._trainer import feed_of
from equiprop.homeostasis import AbstractHomeostasis, AutoHomeostasis
from equiprop.numerics import as_key, trees
from equiprop.solvers import AbstractSolver, GaussSeidel
from equiprop.systems import System
from equiprop.training import (
    SGD,
    AbstractFeed,
    AbstractOptimizer,
    BatchFeed,
    Components,
    GivenOptimizer,
    Placement,
    Samples,
    StepSpec,
    Training,
    WholeFeed,
    epochs_of,
    metrics_of,
    on_device,
    require_targets,
    samples_of,
)

T = TypeVar("T")

FOREIGN = ("arrays", "batches")
"""What data are called that no name leads back to."""


@dataclass(frozen=True)
class Source:
    """Where the samples come from, and what a run keeps of that."""

    feed: AbstractFeed
    validation: Samples | None
    info: DatasetInfo
    test: Split | None = None


def source_of(data: Any, system: System, key: Any, given: Mapping[str, Any]) -> Source:
    """**Arguments:**

    - `key`: of the order of files that are read one after the other, which all lanes have in common.
    """
    dtype, size = _dtype(system), given["batch_size"]
    placement = Placement.over(given["devices"], size // max(given["micro_batches"], 1))
    validation = None if given["validation"] is None else _validation(given["validation"], system, dtype)
    if isinstance(data, Dataset):
        if validation is None and len(data.validation):
            validation = on_device(data.validation, data, dtype)
        seed = key if isinstance(key, int) else int(jax.random.bits(as_key(key)))
        feed = feed_of(data, batch_size=size, seed=seed, dtype=dtype, placement=placement)
        return Source(feed, validation, data.info, data.test)
    if isinstance(data, tuple) and len(data) == 2:
        samples = samples_of(*data, dtype)
        feed = WholeFeed(samples, batch_size=size, placement=placement)
        return Source(feed, validation, _info("arrays", samples, validation, kept=given["run"] is not None))
    if not isinstance(data, Iterable):
        reason = "is neither (x, y), nor an iterable of such batches, nor a Dataset"
        raise InputError(reason, path="data", value=type(data).__name__)
    steps, known = given["steps_per_epoch"], len(data) if isinstance(data, Sized) else None
    if steps is not None and known is not None and steps > known:
        raise InputError(f"there are only {known} batches", path="steps_per_epoch", value=steps)
    steps = known if steps is None else steps
    if not steps:
        raise InputError("does not say how many batches it has", path="data", hint="give steps_per_epoch")
    feed = BatchFeed(data, steps_per_epoch=steps, batch_size=size, dtype=dtype, placement=placement)
    return Source(feed, validation, _info("batches", feed.at(0, 0)[0], validation, kept=False))


def _info(name: str, samples: Samples, validation: Samples | None, *, kept: bool) -> DatasetInfo:
    """**Arguments:**

    - `kept`: whether a run will have to know these samples again.
    """
    splits = [samples, *([] if validation is None else [validation])]
    if not kept:
        shape = jax.tree.map(lambda a: tuple(a.shape[1:]), samples.x)
        counts: dict[str, Any] = {name: len(each) for name, each in zip(("train", "validation"), splits, strict=False)}
        return DatasetInfo(name, shape, mean=None, scale=None, counts=counts)
    train, *others = (Split(*jax.tree.map(np.asarray, (each.x, each.y))) for each in splits)
    return Dataset.sealed(name, train, others[0] if others else train[:0], train[:0], (), None, None).info


def _dtype(system: System) -> Any:
    return trees.dtype_of(eqx.filter(system, eqx.is_inexact_array))


def job_of(lane: Mapping[str, Any], source: Source, given: Mapping[str, Any]) -> Recorded:
    system, key, dtype = lane["system"], lane["key"], _dtype(lane["system"])
    planned = epochs_of(given["epochs"], source.feed.steps_per_epoch)
    size, pieces, average = given["batch_size"], given["micro_batches"], given["average"]
    placement = Placement.over(given["devices"], size // max(pieces, 1))
    components = Components(
        _of_kind("solver", lane["solver"], AbstractSolver, GaussSeidel),
        _of_kind("estimator", lane["estimator"], AbstractEstimator, Centered),
        Adjoint(clip=float("inf")),
        _of_kind("homeostasis", lane["homeostasis"], AbstractHomeostasis, AutoHomeostasis).decide(system),
        _optimizer(lane["optimizer"]),
        None if average is None else jnp.asarray(average, dtype),
    )
    training = Training(
        system=system,
        components=components,
        spec=StepSpec(size, pieces, source.feed.steps_per_epoch, planned, placement),
        feed=source.feed,
        key=as_key(key),
        dtype=dtype,
        validation=source.validation,
        transforms=tuple(given["transforms"]),
        metrics=metrics_of(given["metrics"]),
        diagnostic_samples=given["diagnostic_samples"],
        audit_samples=given["audit_samples"],
        gradient_tolerance=given["gradient_tolerance"],
        warm_start=given["warm_start"],
    )
    choices: dict[str, Any] = {
        name: Choice.of_object(name, getattr(components, name))
        for name in ("solver", "estimator", "homeostasis", "optimizer")
    }
    config = Config(source.info.name, system=Choice.of_object("system", system), **choices)
    settings = {
        name: given[name]
        for name in (
            "batch_size",
            "micro_batches",
            "devices",
            "warm_start",
            "diagnostic_samples",
            "audit_samples",
            "gradient_tolerance",
        )
    }
    settings |= {"epochs": planned, "precision": str(dtype), "average": float(average or 0)}
    settings |= {"seed": key} if isinstance(key, int) else {}
    return Recorded(training, replace(config, training=config.training | settings), source.info, source.test)


def _of_kind(name: str, given: Any, kind: type[T], default: type[T]) -> T:
    if given is None:
        return default()
    if not isinstance(given, kind):
        raise InputError(f"must be an object such as ep.{default.__name__}(), not {given!r}", path=name)
    return given


def _optimizer(given: Any) -> AbstractOptimizer | GivenOptimizer:
    if given is None:
        return SGD()
    if isinstance(given, AbstractOptimizer | GivenOptimizer):
        return given
    if isinstance(given, optax.GradientTransformation):
        return GivenOptimizer(given)
    hint = "give one of Optax, such as optax.adam(1e-3), or of this library, such as equiprop.AdamW()"
    raise InputError("is no optimizer", path="optimizer", value=given, hint=hint)


def _validation(given: Any, system: System, dtype: Any) -> Samples:
    if not (isinstance(given, tuple) and len(given) == 2):
        raise InputError("must be (x, y)", path="validation", value=type(given).__name__)
    samples = samples_of(*given, dtype, "validation")
    require_targets(system, samples, "validation")
    return samples
