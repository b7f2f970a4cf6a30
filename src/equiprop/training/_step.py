"""The training step, and many of them as one compiled loop with the data on the device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from equiprop.estimators import COUNTS, Estimate, estimate, merge
from equiprop.homeostasis import Batch, Regularised
from equiprop.numerics import resolve, trees
from equiprop.solvers import Status, relax
from equiprop.systems import System, correct
from equiprop.training._accuracy import Adjustment
from equiprop.training._components import Components
from equiprop.training._placement import Placement
from equiprop.training._samples import Samples
from equiprop.training.transforms import AbstractTransform

Transform = AbstractTransform | Callable[..., tuple[Any, Any]]
"""Makes of a batch (x, y) another, given `key=`."""


# Inputs, targets, and the states to start from, if any.
_Batch = tuple[PyTree, PyTree, PyTree | None]


class Totals(eqx.Module):
    """Sums over the samples of an epoch so far; `cost` over those with a finite cost.

    - `correct`: samples whose class was decided rightly; `None` where targets name no classes.
    """

    cost: Float[Array, ""]
    finite: Int[Array, ""]
    correct: Int[Array, ""] | None
    sweeps: Int[Array, ""]
    homeostasis_loss: Float[Array, ""]
    homeostasis_strength: Float[Array, ""]
    homeostasis_skipped: Int[Array, ""]
    steps: Int[Array, ""]
    counts: dict[str, Int[Array, ""]]

    @classmethod
    def zero(cls, dtype: Any, *, classes: bool) -> "Totals":
        """**Arguments:**

        - `classes`: whether targets name classes.
        """

        def integer() -> Array:
            return jnp.zeros((), jnp.int32)

        return cls(
            cost=jnp.zeros((), dtype),
            finite=integer(),
            correct=integer() if classes else None,
            sweeps=integer(),
            homeostasis_loss=jnp.zeros((), dtype),
            homeostasis_strength=jnp.zeros((), dtype),
            homeostasis_skipped=integer(),
            steps=integer(),
            counts={name: integer() for name in COUNTS},
        )

    def plus(self, system: System, answer: Estimate, regularised: Regularised, target: PyTree) -> "Totals":
        """With those of one more step."""
        finite = jnp.isfinite(answer.cost)
        right = correct(system, answer.equilibrium.state, target)
        return Totals(
            cost=self.cost + jnp.sum(jnp.where(finite, answer.cost, 0)),
            finite=self.finite + jnp.sum(finite, dtype=jnp.int32),
            correct=None if self.correct is None or right is None else self.correct + jnp.sum(right, dtype=jnp.int32),
            sweeps=self.sweeps + jnp.sum(answer.relaxation_steps, dtype=jnp.int32),
            homeostasis_loss=self.homeostasis_loss + regularised.loss.astype(self.cost.dtype),
            homeostasis_strength=self.homeostasis_strength + regularised.strength.astype(self.cost.dtype),
            homeostasis_skipped=self.homeostasis_skipped + regularised.skipped,
            steps=self.steps + 1,
            counts=jax.tree.map(jnp.add, self.counts, answer.counts),
        )


class TrainState(eqx.Module):
    """Everything that changes while training, and so everything that a checkpoint holds.

    - `key`: the run's key; never consumed, every step folds its own number into it.
    - `epoch`, `step`: epochs finished, and steps taken in the one under way.
    - `homeostasis_memory`: of a controlled strength.
    - `equilibria`: with a warm start, where the free phase of every training sample last ended, in half precision; the initial
      state of a sample that has not been seen, did not converge, or is too large for that. Else `None`.
    - `average`: the parameters averaged over the steps so far, where that was asked for. Else `None`.
    - `adjustment`: what has been changed for the gradient to be as accurate as asked for. `None` where nothing was asked for.
    """

    system: System
    optimizer_state: PyTree
    key: PRNGKeyArray
    epoch: Int[Array, ""]
    step: Int[Array, ""]
    homeostasis_memory: PyTree
    totals: Totals
    equilibria: PyTree | None = None
    average: PyTree | None = None
    adjustment: Adjustment | None = None

    @property
    def evaluated(self) -> System:
        """The system that is evaluated, and is the result: with averaged parameters, where there are such."""
        return self.system if self.average is None else eqx.combine(self.average, self.system)

    def adjusted(self, components: Components) -> Components:
        """The components, their schedules resolved, as they are by now."""
        return components if self.adjustment is None else self.adjustment.of(components)

    def copied(self) -> "TrainState":
        """In buffers of its own: a step overwrites those of the state that it is given."""
        # A system may hold what is no array, such as a function.
        return jax.tree.map(lambda a: jnp.copy(a) if eqx.is_array(a) else a, self)


@dataclass(frozen=True)
class StepSpec:
    """What of a run is part of the program. Runs of equal specs and components share one, whatever their seeds and numbers."""

    batch_size: int
    micro_batches: int
    steps_per_epoch: int
    epochs: int
    placement: Placement

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.epochs


class Job(eqx.Module):
    """What a compiled step is given besides the state that it changes.

    - `transforms`: what is done to every batch, in turn.
    - `order`: that of the samples in this epoch, see `shuffled`; `None` where they come in the order in which they lie.
    """

    spec: StepSpec = eqx.field(static=True)
    components: Components
    samples: Samples
    transforms: tuple[Transform, ...] = ()
    order: Int[Array, " samples"] | None = None

    def steps(self, state: TrainState, count: Int[Array, ""]) -> TrainState:
        """`count` more steps of the current epoch: one loop on the device, the same code for any count.

        The order of the samples and the probes follow from the run's key, the epoch and the step alone, so that stopping
        between two calls changes nothing.
        """
        epoch_key, _, probe_key = _keys_of(state.key, state.epoch)
        keys = (jax.random.fold_in(epoch_key, 2), probe_key, *(jax.random.fold_in(epoch_key, i) for i in (3, 4)))
        arrays, static = eqx.partition(state, eqx.is_array)

        def one(_: Array, arrays: PyTree) -> PyTree:
            after = self._one_step(eqx.combine(arrays, static), keys)
            return eqx.filter(after, eqx.is_array)

        return eqx.combine(jax.lax.fori_loop(0, count, one, arrays), static)

    def _one_step(self, state: TrainState, keys: tuple[PRNGKeyArray, ...]) -> TrainState:
        spec, samples, system = self.spec, self.samples, state.system
        first = 0 if samples.first is None else samples.first
        indices = (state.step - first) * spec.batch_size + jnp.arange(spec.batch_size)
        indices = indices if self.order is None else self.order[indices]
        estimator_key, probe_key, transform_key, update_key = (jax.random.fold_in(k, state.step) for k in keys)
        x, y = samples.batch(indices)
        for place, transform in enumerate(self.transforms):
            x, y = transform(x, y, key=jax.random.fold_in(transform_key, place))
        progress = (state.epoch * spec.steps_per_epoch + state.step) / spec.total_steps
        components = state.adjusted(resolve(self.components, progress))
        answer, equilibria = self._estimated(components, state, x, y, indices, estimator_key)
        free = answer.equilibrium
        regularised = components.homeostasis.regularise(
            answer.gradient,
            system,
            Batch(x, free.state, free.status != Status.DIVERGED),
            key=probe_key,
            progress=progress,
            memory=state.homeostasis_memory,
        )
        totals = state.totals.plus(system, answer, regularised, y)
        params = eqx.filter(system, eqx.is_inexact_array)
        optimizer = components.optimizer.transformation(system, spec.total_steps)
        updates, optimizer_state = optimizer.update(regularised.gradient, state.optimizer_state, params)
        system = system.updated(updates, key=update_key)
        return TrainState(
            system,
            optimizer_state,
            state.key,
            state.epoch,
            state.step + 1,
            regularised.memory,
            totals,
            equilibria,
            self._averaged(state, system),
            state.adjustment,
        )

    def _averaged(self, state: TrainState, system: System) -> PyTree | None:
        """The average with the parameters after one more step. The first steps count for more than they would later."""
        decay = self.components.average
        if state.average is None or decay is None:
            return None
        taken = state.epoch * self.spec.steps_per_epoch + state.step
        share = 1 - jnp.minimum(decay, (1 + taken) / (10 + taken))
        now = eqx.filter(system, eqx.is_inexact_array)
        return jax.tree.map(lambda a, p: a + share.astype(a.dtype) * (p - a), state.average, now)

    def _estimated(
        self,
        components: Components,
        state: TrainState,
        x: PyTree,
        y: PyTree,
        indices: Int[Array, " batch"],
        key: PRNGKeyArray,
    ) -> tuple[Estimate, PyTree | None]:
        """Of a batch, from the states that are kept of its samples, if any; and what is kept of all samples after it."""
        if state.equilibria is None:
            return self._in_pieces(components, state.system, x, y, None, key), None
        cold = state.system.initial_state(x)
        start = jax.tree.map(lambda kept, u: kept[indices].astype(u.dtype), state.equilibria, cold)
        answer = self._in_pieces(components, state.system, x, y, start, key)
        free = answer.equilibrium
        fits = trees.max_abs(free.state) < float(jnp.finfo(jnp.float16).max)
        found = trees.select(free.converged & fits, free.state, cold)
        kept = jax.tree.map(lambda kept, u: kept.at[indices].set(u.astype(kept.dtype)), state.equilibria, found)
        return answer, kept

    def _in_pieces(
        self, components: Components, system: System, x: PyTree, y: PyTree, start: PyTree | None, key: PRNGKeyArray
    ) -> Estimate:
        """Of a batch, of which every device takes its part, in one piece or piece after piece; from the state `start`, if any."""
        pieces, placement = self.spec.micro_batches, self.spec.placement

        def on_device(whole: tuple[Components, System], batch: _Batch, key: PRNGKeyArray) -> Estimate:
            components, system = whole

            def one(piece: tuple[_Batch, PRNGKeyArray]) -> Estimate:
                (x, y, start), key = piece
                solver = components.solver
                warm = None if start is None else relax(system, x, solver, state=start)
                return estimate(system, x, y, components.estimator, solver=solver, equilibrium=warm, key=key).bare

            if pieces == 1:
                return one((batch, key))
            parts = jax.lax.map(one, (trees.split_copies(batch, pieces), jax.random.split(key, pieces)))
            return merge(parts, components.estimator.divide_by)

        if placement.count == 1:
            return on_device((components, system), (x, y, start), key)
        parts = placement.each(on_device, (components, system), (x, y, start), key)
        return merge(parts, components.estimator.divide_by)


def _keys_of(key: PRNGKeyArray, epoch: Int[Array, ""]) -> tuple[PRNGKeyArray, PRNGKeyArray, PRNGKeyArray]:
    """The key of an epoch, that of its order, and that of its probes."""
    epoch_key = jax.random.fold_in(key, epoch)
    order_key, probe_key = jax.random.split(epoch_key)
    return epoch_key, order_key, probe_key


@eqx.filter_jit
def shuffled(state: TrainState, samples: int) -> Int[Array, " samples"]:
    """The order in which the current epoch takes its samples. To sort as many random numbers takes as long as some steps do."""
    return jax.random.permutation(_keys_of(state.key, state.epoch)[1], samples)


@eqx.filter_jit(donate="all-except-first")
def _advance(fixed: tuple[Job, Int[Array, ""]], state: TrainState) -> TrainState:
    job, count = fixed
    return job.steps(state, count)


def advance(job: Job, state: TrainState, count: int | Int[Array, ""]) -> TrainState:
    """`count` more steps of the current epoch, compiled. The buffers of the state that it is given are used up."""
    return _advance((job, jnp.asarray(count, jnp.int32)), state)


def init_train_state(
    system: System,
    spec: StepSpec,
    components: Components,
    key: PRNGKeyArray,
    dtype: Any,
    *,
    classes: bool,
    warm: Samples | None = None,
    adjusts: bool = False,
) -> TrainState:
    """Before the first step.

    **Arguments:**

    - `classes`: whether targets name classes.
    - `warm`: the training set, for a warm start of free phases; without it they start cold.
    - `adjusts`: whether numbers are to be changed on the way.
    """
    zero = jnp.zeros((), jnp.int32)
    optimizer = components.optimizer.transformation(system, spec.total_steps)
    return TrainState(
        system=system,
        optimizer_state=optimizer.init(eqx.filter(system, eqx.is_inexact_array)),
        key=key,
        epoch=zero,
        step=zero + 0,
        homeostasis_memory=components.homeostasis.init(dtype),
        totals=Totals.zero(dtype, classes=classes),
        equilibria=None if warm is None else _cold(system, warm),
        average=None if components.average is None else eqx.filter(system, eqx.is_inexact_array),
        adjustment=Adjustment.none(dtype) if adjusts else None,
    )


def _cold(system: System, samples: Samples) -> PyTree:
    """The initial state of every sample, in half precision."""
    one = system.initial_state(samples.batch(jnp.arange(1))[0])
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (len(samples), *a.shape[1:])).astype(jnp.float16), one)


def all_finite(system: System) -> bool:
    """Whether every parameter is finite."""
    return bool(_all_finite(eqx.filter(system, eqx.is_inexact_array)))


@eqx.filter_jit
def _all_finite(parameters: PyTree) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(p)) for p in jax.tree.leaves(parameters)]))
