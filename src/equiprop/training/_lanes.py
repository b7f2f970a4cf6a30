"""Trainings side by side: seeds, or other values of numbers, that share their data and their program."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from equiprop.errors import InputError
from equiprop.training._components import Components
from equiprop.training._samples import Samples
from equiprop.training._step import Job, TrainState
from equiprop.training._training import Training

T = TypeVar("T")


class Lanes:
    """What several trainings do together.

    On a CPU each lane is a call of the program of a single training, and so, bit for bit, that training by itself; as many run at
    once as there are cores. On an accelerator all lanes are one program, by `jax.vmap`. Over several devices they take turns.

    Raises `InputError` for trainings that differ in more than their numbers.
    """

    def __init__(self, trainings: Sequence[Training], *, stacked: bool | None = None) -> None:
        self._trainings = tuple(trainings)
        first = trainings[0]
        for other in trainings[1:]:
            if (other.spec, other.transforms) != (first.spec, first.transforms) or _program(other) != _program(first):
                raise InputError(
                    "differ in more than their numbers", path="lanes", hint="train them one after the other"
                )
        alone = first.spec.placement.count == 1
        self._stacked = alone and jax.default_backend() != "cpu" if stacked is None else stacked
        self._threads = ThreadPoolExecutor(os.cpu_count()) if alone and len(trainings) > 1 else None
        self._compiled = False

    def advance(
        self, lanes: Sequence[int], states: Sequence[TrainState], samples: Samples, steps: int
    ) -> list[TrainState]:
        """`steps` more steps of the current epoch in some of the lanes. The buffers of the states are used up."""
        if self._stacked and len(lanes) > 1:
            jobs = [self._trainings[i].job(samples, state) for i, state in zip(lanes, states, strict=True)]
            own = _stack([(job.components, job.order) for job in jobs])
            state = _advance((jobs[0], own, jnp.asarray(steps, jnp.int32)), _stack(states))
            return jax.block_until_ready([jax.tree.map(lambda a, n=n: a[n], state) for n in range(len(lanes))])

        def alone(lane: int, state: TrainState) -> TrainState:
            return jax.block_until_ready(self._trainings[lane].advance(state, samples, steps))

        if self._compiled and self._threads is not None:
            return list(self._threads.map(alone, lanes, states))
        # The first call compiles, once for all.
        self._compiled = True
        return [alone(lane, state) for lane, state in zip(lanes, states, strict=True)]


def _program(training: Training) -> Any:
    """What of a training is not a number."""
    numbers, rest = eqx.partition((training.system, training.components), eqx.is_array)
    return jax.tree.structure(rest), [(a.shape, a.dtype) for a in jax.tree.leaves(numbers)]


def _stack(trees: Sequence[T]) -> T:
    arrays, rest = zip(*(eqx.partition(tree, eqx.is_array) for tree in trees), strict=True)
    return eqx.combine(jax.tree.map(lambda *a: jnp.stack(a), *arrays), rest[0])


@eqx.filter_jit(donate="all-except-first")
def _advance(fixed: tuple[Job, Any, Int[Array, ""]], states: TrainState) -> TrainState:
    job, own, count = fixed

    def one(own: tuple[Components, Array | None], state: TrainState) -> TrainState:
        components, order = own
        return Job(job.spec, components, job.samples, job.transforms, order).steps(state, count)

    return eqx.filter_vmap(one)(own, states)
