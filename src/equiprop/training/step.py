"""The training step, and many of them as one compiled loop with the data on the device."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, UInt8

from equiprop.data import Dataset, Split
from equiprop.estimators import COUNTS, Estimate, estimate, merge
from equiprop.homeostasis import AbstractTreatment, Batch
from equiprop.numerics import trees
from equiprop.solvers import Status, relax
from equiprop.systems import LayeredNetwork
from equiprop.training.build import Components, build_optimizer
from equiprop.training.config import OptimizerConfig
from equiprop.training.devices import Placement


class Images(eqx.Module):
    """A split on the device, with what turns pixels into a network's input: (pixels − mean)/scale, of all or of each channel.

    - `first`: the step of the epoch at which these images begin, one batch after the other as they lie; `None` for those of the
      whole epoch, which are then shuffled.
    """

    pixels: UInt8[Array, "samples *shape"]
    labels: Int[Array, " samples"]
    mean: Float[Array, "*channels"]
    scale: Float[Array, "*channels"]
    first: Int[Array, ""] | None = None

    def batch(self, indices: Int[Array, " batch"]) -> tuple[Array, Array]:
        pixels = self.pixels[indices].astype(self.mean.dtype)
        return (pixels - self.mean) / self.scale, self.labels[indices]

    def __len__(self) -> int:
        return self.labels.shape[0]


def on_device(split: Split, dataset: Dataset, dtype: Any) -> Images:
    """A split as it lies on the device."""
    return Images(
        jnp.asarray(split.images),
        jnp.asarray(split.labels),
        jnp.asarray(dataset.mean, dtype),
        jnp.asarray(dataset.scale, dtype),
    )


class Totals(eqx.Module):
    """Sums over the samples of an epoch so far; `cost` over those with a finite cost."""

    cost: Float[Array, ""]
    finite: Int[Array, ""]
    correct: Int[Array, ""]
    sweeps: Int[Array, ""]
    homeostasis_loss: Float[Array, ""]
    homeostasis_strength: Float[Array, ""]
    homeostasis_skipped: Int[Array, ""]
    steps: Int[Array, ""]
    counts: dict[str, Int[Array, ""]]

    @classmethod
    def zero(cls, dtype: Any) -> "Totals":
        def integer() -> Array:
            return jnp.zeros((), jnp.int32)

        return cls(
            cost=jnp.zeros((), dtype),
            finite=integer(),
            correct=integer(),
            sweeps=integer(),
            homeostasis_loss=jnp.zeros((), dtype),
            homeostasis_strength=jnp.zeros((), dtype),
            homeostasis_skipped=integer(),
            steps=integer(),
            counts={name: integer() for name in COUNTS},
        )


class TrainState(eqx.Module):
    """Everything that changes while training, and so everything that a checkpoint holds.

    - `key`: the run's key; never consumed, every step folds its own number into it.
    - `epoch`, `step`: epochs finished, and steps taken in the one under way.
    - `treatment_memory`: of a controlled strength.
    - `equilibria`: with a warm start, where the free phase of every training sample last ended, in half precision; the initial
      state of a sample that has not been seen, did not converge, or is too large for that. Else `None`.
    """

    system: LayeredNetwork
    optimizer_state: PyTree
    key: PRNGKeyArray
    epoch: Int[Array, ""]
    step: Int[Array, ""]
    treatment_memory: PyTree
    totals: Totals
    equilibria: PyTree | None = None


@dataclass(frozen=True)
class StepSpec:
    """How a run goes from one step to the next. Runs of equal plans share one compiled program, whatever their seeds."""

    parts: Components
    optimizer: OptimizerConfig
    batch_size: int
    micro_batches: int
    steps_per_epoch: int
    epochs: int
    placement: Placement

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    def optimizer_for(self, system: LayeredNetwork) -> optax.GradientTransformation:
        return build_optimizer(self.optimizer, system, self.total_steps)

    def advance(self, state: TrainState, images: Images, steps: Int[Array, ""]) -> TrainState:
        """`steps` more steps of the current epoch: one loop on the device, the same code for any count.

        The order of the samples and the probes follow from the run's key, the epoch and the step alone, so that stopping
        between two calls changes nothing.
        """
        epoch_key = jax.random.fold_in(state.key, state.epoch)
        order_key, probe_key = jax.random.split(epoch_key)
        keys = (jax.random.fold_in(epoch_key, 2), probe_key, jax.random.fold_in(epoch_key, 3))
        shuffled = jax.random.permutation(order_key, len(images))
        order = shuffled if images.first is None else jnp.arange(len(images))
        return jax.lax.fori_loop(0, steps, lambda _, s: self._one_step(s, images, order, keys), state)

    def _estimated(
        self, system: LayeredNetwork, x: Array, labels: Array, start: PyTree | None, key: PRNGKeyArray
    ) -> Estimate:
        """Of a batch in one piece, or piece after piece; from the state `start`, where there is one."""
        solver, pieces = self.parts.solver, self.micro_batches

        def one(piece: tuple[Array, Array, PyTree | None, PRNGKeyArray]) -> Estimate:
            x, labels, start, key = piece
            warm = None if start is None else relax(system, x, solver, state=start)
            return estimate(system, x, labels, self.parts.estimator, solver=solver, equilibrium=warm, key=key)

        if pieces == 1:
            return one((*self.placement.spread((x, labels, start)), key))
        split = self.placement.spread(trees.split_copies((x, labels, start), pieces), axis=1)
        return merge(jax.lax.map(one, (*split, jax.random.split(key, pieces))))

    def _one_step(
        self, state: TrainState, images: Images, order: Array, keys: tuple[PRNGKeyArray, PRNGKeyArray, PRNGKeyArray]
    ) -> TrainState:
        first = 0 if images.first is None else images.first
        indices = jax.lax.dynamic_slice_in_dim(order, (state.step - first) * self.batch_size, self.batch_size)
        x, labels = images.batch(indices)
        system = state.system
        estimator_key, probe_key, image_key = (jax.random.fold_in(k, state.step) for k in keys)
        x = self.parts.augmentation(x, key=image_key)
        equilibria, cold, start = state.equilibria, None, None
        if equilibria is not None:
            cold = system.initial_state(x)
            start = jax.tree.map(lambda kept, u: kept[indices].astype(u.dtype), equilibria, cold)
        answer = self._estimated(system, x, labels, start, estimator_key)
        free = answer.equilibrium
        if equilibria is not None:
            fits = trees.max_abs(free.state) < float(jnp.finfo(jnp.float16).max)
            found = trees.select(free.converged & fits, free.state, cold)
            equilibria = jax.tree.map(lambda kept, u: kept.at[indices].set(u.astype(kept.dtype)), equilibria, found)
        progress = (state.epoch * self.steps_per_epoch + state.step) / self.total_steps
        treated = self.parts.treatment.treat(
            answer.gradient,
            system,
            Batch(x, free.state, free.status != Status.DIVERGED),
            key=probe_key,
            progress=progress,
            memory=state.treatment_memory,
        )
        params = eqx.filter(system, eqx.is_inexact_array)
        updates, optimizer_state = self.optimizer_for(system).update(treated.gradient, state.optimizer_state, params)
        finite = jnp.isfinite(answer.cost)
        t = state.totals
        totals = Totals(
            cost=t.cost + jnp.sum(jnp.where(finite, answer.cost, 0)),
            finite=t.finite + jnp.sum(finite, dtype=jnp.int32),
            correct=t.correct + jnp.sum(system.correct(free.state, labels), dtype=jnp.int32),
            sweeps=t.sweeps + jnp.sum(answer.relaxation_steps, dtype=jnp.int32),
            homeostasis_loss=t.homeostasis_loss + treated.loss.astype(t.cost.dtype),
            homeostasis_strength=t.homeostasis_strength + treated.strength.astype(t.cost.dtype),
            homeostasis_skipped=t.homeostasis_skipped + treated.skipped,
            steps=t.steps + 1,
            counts=jax.tree.map(jnp.add, t.counts, answer.counts),
        )
        return TrainState(
            eqx.apply_updates(system, updates),
            optimizer_state,
            state.key,
            state.epoch,
            state.step + 1,
            treated.memory,
            totals,
            equilibria,
        )


advance = jax.jit(StepSpec.advance, static_argnums=0, donate_argnums=1)
"""The compiled form of `StepSpec.advance`. The buffers of the state that it is given are used up."""


def initial_state(
    system: LayeredNetwork,
    optimizer: optax.GradientTransformation,
    treatment: AbstractTreatment,
    key: PRNGKeyArray,
    dtype: Any,
    images: Images | None = None,
) -> TrainState:
    """Before the first step.

    **Arguments:**

    - `images`: the training set, for a warm start of free phases; without it they start cold.
    """
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        system=system,
        optimizer_state=optimizer.init(eqx.filter(system, eqx.is_inexact_array)),
        key=key,
        epoch=zero,
        step=zero + 0,
        treatment_memory=treatment.start(dtype),
        totals=Totals.zero(dtype),
        equilibria=None if images is None else _cold(system, images),
    )


def _cold(system: LayeredNetwork, images: Images) -> PyTree:
    """The initial state of every sample, in half precision."""
    one = system.initial_state(images.batch(jnp.arange(1))[0])
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (len(images), *a.shape[1:])).astype(jnp.float16), one)


def all_finite(system: LayeredNetwork) -> bool:
    """Whether every parameter is finite."""
    return bool(jnp.all(jnp.stack([jnp.all(jnp.isfinite(p)) for p in jax.tree.leaves(system)])))
