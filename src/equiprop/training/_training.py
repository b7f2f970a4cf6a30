"""The objects of one training: what is trained, on what, by what, and what is looked at meanwhile."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from equiprop.errors import InputError
from equiprop.numerics import resolve
from equiprop.systems import System, correct
from equiprop.training._components import Components
from equiprop.training._evaluate import audit_gradient, diagnose_gradient, evaluate
from equiprop.training._feed import AbstractFeed
from equiprop.training._metrics import Metric
from equiprop.training._processes import as_held
from equiprop.training._samples import Samples
from equiprop.training._step import Job, StepSpec, TrainState, Transform, advance, init_train_state, shuffled

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training is made of. Nothing in it changes; what changes is the `TrainState`.

    - `system`: before the first step.
    - `key`: of everything that is drawn.
    - `validation`: what is looked at after every epoch, if anything.
    - `metrics`: of the validation samples, by name.
    - `diagnostic_samples`: of the validation samples, those on which the gradient is compared with the exact one after every
      epoch; 0 for never.
    - `audit_samples`: of a training batch, those from which it is told after every epoch how far the gradient is from the exact
      one; 0 for never.
    - `gradient_tolerance`: the largest bar of the gradient, against what the estimator tends to, that is good enough; above it
      the nudge or the tolerance of the solver is made smaller after the epoch. Infinite for any.
    - `seed`: of the probes of that comparison.
    - `warm_start`: whether a free phase starts where the last one of the same sample ended.

    Raises `InputError` where the parts do not fit each other.
    """

    system: System
    components: Components
    spec: StepSpec
    feed: AbstractFeed
    key: PRNGKeyArray
    dtype: Any
    validation: Samples | None = None
    transforms: tuple[Transform, ...] = ()
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    diagnostic_samples: int = 0
    audit_samples: int = 0
    gradient_tolerance: float = math.inf
    seed: int = 0
    warm_start: bool = False
    _orders: dict[tuple[int, int, bytes], Array] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        x, _ = self._example.compiled_batch(jnp.arange(1))
        for section in ("estimator", "homeostasis", "optimizer"):
            try:
                self._check(section, x)
            except InputError as error:
                raise error.within(section) from None
        self._check_warm_start()
        self._check_audit()

    def _check_audit(self) -> None:
        path, value = "gradient_tolerance", self.gradient_tolerance
        if not value > 0:
            raise InputError("must be above 0", path=path, value=value)
        if math.isfinite(value) and not self.audit_samples:
            raise InputError("needs samples to audit", path=path, value=value, hint="set audit_samples")

    @cached_property
    def samples(self) -> Samples:
        """The training samples of the first step. Nothing is read from disk before they are asked for."""
        return self.feed.at(0, 0)[0]

    @property
    def _example(self) -> Samples:
        """Samples as they are trained on; not the training samples themselves, which may have to be read, if others will do."""
        return self.samples if self.validation is None else self.validation

    def _decides_on_classes(self) -> bool:
        """Whether the targets of a step name classes; those that a transform has mixed may not."""

        def decided() -> Any:
            x, y = self._example.batch(jnp.arange(2))
            for transform in self.transforms:
                x, y = transform(x, y, key=self.key)
            return correct(self.system, self.system.initial_state(x), y)

        return jax.eval_shape(decided) is not None

    def _check_warm_start(self) -> None:
        if self.warm_start and not self.components.estimator.needs_free_phase:
            raise InputError(
                "the estimator has no free phase to start", path="warm_start", value=True, hint="leave it out"
            )
        if self.warm_start and self.samples.first is not None:
            reason = "the training samples do not stay on the device"
            raise InputError(reason, path="warm_start", value=True, hint="leave it out")

    def _check(self, section: str, x: Any) -> None:
        if section == "estimator":
            self.components.estimator.check(self.system, x)
        elif section == "homeostasis":
            self.components.homeostasis.check(self.system)
        else:
            self.components.optimizer.transformation(self.system, self.spec.total_steps)

    @property
    def epochs(self) -> int:
        return self.spec.epochs

    @property
    def steps_per_epoch(self) -> int:
        return self.spec.steps_per_epoch

    @property
    def samples_per_epoch(self) -> int:
        """How many samples the steps of an epoch train on."""
        return self.steps_per_epoch * self.spec.batch_size

    def job(self, samples: Samples, state: TrainState) -> Job:
        """What the steps of the epoch that `state` is in are given."""
        return Job(self.spec, self.components, samples, self.transforms, self.order(samples, state))

    def order(self, samples: Samples, state: TrainState) -> Int[Array, " samples"] | None:
        """That of the samples in the epoch that `state` is in; `None` for that in which they lie."""
        if samples.first is not None:
            return None
        # The calls of an epoch share it.
        of = int(state.epoch), len(samples), np.asarray(jax.random.key_data(state.key)).tobytes()
        if of not in self._orders:
            self._orders.clear()
            self._orders[of] = shuffled(state, len(samples))
        return self._orders[of]

    def at_epoch(self, tree: T, epoch: int) -> T:
        """`tree`, such as the components, with the numbers that its schedules give after so many epochs."""
        return resolve(tree, epoch / self.epochs)

    def components_at(self, state: TrainState, epoch: int) -> Components:
        """The components after so many epochs, as they are by now in this state."""
        return state.adjusted(self.at_epoch(self.components, epoch))

    def advance(self, state: TrainState, samples: Samples, steps: int) -> TrainState:
        """`steps` more steps of the current epoch. The buffers of `state` are used up."""
        return advance(self.job(samples, state), state, steps)

    def initial_train_state(self) -> TrainState:
        """The state before the first step, in buffers of its own."""
        state = init_train_state(
            self.system,
            self.spec,
            self.components,
            self.key,
            self.dtype,
            classes=self._decides_on_classes(),
            warm=self.samples if self.warm_start else None,
            adjusts=math.isfinite(self.gradient_tolerance),
        )
        return self.spec.placement.everywhere(state.copied())

    def validated(self, state: TrainState, epoch: int) -> dict[str, Any]:
        """What validation says of the system after so many epochs."""
        if self.validation is None:
            return {}
        found = evaluate(state.evaluated, self.validation, self.components_at(state, epoch).solver, self.metrics)
        named = ("error_percent", "loss", *self.metrics)
        return {f"validation_{name}": found[name] for name in named if name in found}

    @property
    def compares(self) -> bool:
        """Whether the gradient is compared with the exact one after every epoch."""
        return self.validation is not None and self.diagnostic_samples > 0

    def compared(self, state: TrainState, epoch: int) -> dict[str, Any]:
        """What that comparison says after so many epochs."""
        if self.validation is None or not self.compares:
            return {}
        components = self.components_at(state, epoch)
        return diagnose_gradient(state.evaluated, self.validation, components, self.diagnostic_samples, self.seed)

    def audited(self, state: TrainState, samples: Samples, epoch: int) -> dict[str, Any]:
        """How far the gradient of a batch of `samples` is from the exact one after so many epochs, before any transform."""
        if not self.audit_samples:
            return {}
        n, size = len(samples), self.spec.batch_size // self.spec.micro_batches
        chosen = np.random.default_rng((self.seed, epoch)).choice(n, min(n, size), replace=False)
        x, y = as_held(samples).compiled_batch(jnp.asarray(chosen))
        key = jax.random.fold_in(jax.random.key(self.seed), epoch)
        components = self.components_at(state, epoch)
        return audit_gradient(state.system, x, y, components, self.audit_samples, key)

    def adjusted(self, state: TrainState, metrics: Mapping[str, Any]) -> tuple[TrainState, dict[str, Any]]:
        """The state with which the training goes on after an epoch of these metrics, and what they say of that besides."""
        if state.adjustment is None:
            return state, {}
        components = self.components_at(state, metrics["epoch"])
        after, told = state.adjustment.after(metrics, self.gradient_tolerance, components)
        return replace(state, adjustment=after), after.told | ({"adjusted": told} if told else {})


def epochs_of(asked: int | str, steps_per_epoch: int) -> int:
    """`asked`, or for `"auto"` enough to train a small network on few samples, and not too many on the fewest.

    Raises `InputError` for more steps than can be counted.
    """
    if asked == "auto":
        return min(100, max(10, math.ceil(2000 / steps_per_epoch)))
    if int(asked) * steps_per_epoch >= 2**31:
        most = (2**31 - 1) // steps_per_epoch
        raise InputError("makes too many steps to be counted", path="epochs", value=asked, hint=f"give at most {most}")
    return int(asked)
