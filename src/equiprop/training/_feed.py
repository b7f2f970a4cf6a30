"""Where the samples of a training step come from: a set that stays on the device, files from disk, or batches as they come."""

import abc
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equiprop.data import Dataset, Shards, Split
from equiprop.errors import InputError
from equiprop.training._arrays import samples_of
from equiprop.training._placement import Placement
from equiprop.training._samples import Samples, on_device


class AbstractFeed(abc.ABC):
    """The samples of each step of an epoch.

    - `available`: how many samples there are; `None` where that is not known. An epoch trains on those in its whole batches.
    """

    steps_per_epoch: int
    available: int | None = None

    @abc.abstractmethod
    def at(self, epoch: int, step: int) -> tuple[Samples, int]:
        """The samples for a step of an epoch, and for how many steps from there they serve."""


class WholeFeed(AbstractFeed):
    """A training set that stays on the device, shuffled anew in every epoch by the step itself.

    Raises `InputError` where there is not one whole batch.
    """

    def __init__(self, samples: Samples, *, batch_size: int, placement: Placement) -> None:
        self.steps_per_epoch = _whole_batches((len(samples),), batch_size)[0]
        self.available = len(samples)
        self._samples = placement.everywhere(samples)

    def at(self, epoch: int, step: int) -> tuple[Samples, int]:
        del epoch
        return self._samples, self.steps_per_epoch - step


class BatchFeed(AbstractFeed):
    """Batches as they come from an iterable, which is gone through once an epoch, in its own order.

    A run that goes on in the middle of an epoch passes over the batches that it has seen. Raises `InputError` for a batch of
    another size, for arrays that `samples_of` refuses, and where there are fewer batches than `steps_per_epoch`.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        *,
        steps_per_epoch: int,
        batch_size: int,
        dtype: Any,
        placement: Placement,
    ) -> None:
        self._batches, self._size, self._dtype, self._placement = batches, batch_size, dtype, placement
        self.steps_per_epoch = steps_per_epoch
        self.available = len(batches) * batch_size if isinstance(batches, Sized) else None
        self._iterator: Iterator[Any] = iter(())
        self._given: tuple[tuple[int, int], Samples] | None = None

    def at(self, epoch: int, step: int) -> tuple[Samples, int]:
        at = epoch, step
        if self._given is None or self._given[0] != at:
            if self._given is None or self._given[0] != (epoch, step - 1):
                self._iterator = islice(iter(self._batches), step, None)
            self._given = at, self._read(epoch, step)
        return self._given[1], 1

    def _read(self, epoch: int, step: int) -> Samples:
        try:
            given = next(self._iterator)
        except StopIteration:
            raise InputError(
                f"ended after {step} batches of epoch {epoch + 1}, there were to be {self.steps_per_epoch}",
                path="data",
                hint="give steps_per_epoch, and an iterable that can be gone through again, not a generator",
            ) from None
        if not (isinstance(given, tuple | list) and len(given) == 2):
            reason = f"batch {step + 1} of epoch {epoch + 1} is {type(given).__name__}: must be (x, y)"
            raise InputError(reason, path="data")
        samples = samples_of(given[0], given[1], self._dtype)
        if len(samples) != self._size:
            raise InputError(
                f"batch {step + 1} of epoch {epoch + 1} has {len(samples)} samples",
                path="data",
                hint=f"all batches must have batch_size = {self._size}; leave a smaller last one out",
            )
        return self._placement.everywhere(Samples(samples.x, samples.y, first=jnp.asarray(step, jnp.int32)))


# Of shards so many batches at a time are brought to the device, in the order in which they are trained on.
_BATCHES_AT_A_TIME = 32


class ShardFeed(AbstractFeed):
    """Files from disk. They come in an order of their own in every epoch, which follows from the seed; each is shuffled by
    itself, and gives as many steps as it has whole batches. While one is trained on, the next is read: no more than two are in
    memory.

    Raises `InputError` where there is not one whole batch in any.
    """

    def __init__(self, dataset: Dataset, *, batch_size: int, seed: int, dtype: Any, placement: Placement) -> None:
        assert isinstance(dataset.train, Shards)
        self._reader = _Reader(dataset.train)
        self._dataset, self._batch_size, self._seed = dataset, batch_size, seed
        self._dtype, self._placement = dtype, placement
        self._shuffle: tuple[tuple[int, int], np.ndarray] = (-1, -1), np.arange(0)
        self._steps = _whole_batches(dataset.train.counts, batch_size)
        self.steps_per_epoch = sum(self._steps)
        self.available = len(dataset.train)

    def at(self, epoch: int, step: int) -> tuple[Samples, int]:
        order = self._order(epoch)
        ends = list(accumulate(self._steps[shard] for shard in order))
        place = next(i for i, end in enumerate(ends) if step < end)
        shard, first = order[place], ends[place] - self._steps[order[place]]
        following = order[place + 1] if place + 1 < len(order) else self._order(epoch + 1)[0]
        split = self._reader.read(shard, following)
        steps = min(_BATCHES_AT_A_TIME, ends[place] - step)
        begin = (step - first) * self._batch_size
        rows = self._shuffled(epoch, shard, len(split))[begin : begin + steps * self._batch_size]
        return self._chunk(split, rows, step), steps

    def _chunk(self, split: Split, rows: np.ndarray, step: int) -> Samples:
        """Some samples of a shard, filled up with the first of them so that every chunk serves the same program."""
        missing = _BATCHES_AT_A_TIME * self._batch_size - len(rows)
        rows = np.append(rows, np.full(missing, rows[0]))
        taken = split[rows]
        return self._placement.everywhere(on_device(taken, self._dataset, self._dtype, first=step))

    def _shuffled(self, epoch: int, shard: int, count: int) -> np.ndarray:
        if self._shuffle[0] != (epoch, shard):
            key = self._key(epoch, 1 + shard)
            self._shuffle = (epoch, shard), np.asarray(jax.random.permutation(key, count))
        return self._shuffle[1]

    def _order(self, epoch: int) -> list[int]:
        """The shards that have whole batches, as they come in an epoch."""
        order = np.asarray(jax.random.permutation(self._key(epoch, 0), len(self._steps))).tolist()
        return [shard for shard in order if self._steps[shard]]

    def _key(self, epoch: int, purpose: int) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self._seed), epoch), purpose)


def _whole_batches(counts: tuple[int, ...], batch_size: int) -> tuple[int, ...]:
    """Of each part of a training set. Raises `InputError` where none has one."""
    if not any(count >= batch_size for count in counts):
        most = max(counts)
        hint = f"give at most {most}"
        raise InputError(f"there are only {most} training samples", path="batch_size", value=batch_size, hint=hint)
    return tuple(count // batch_size for count in counts)


class _Reader:
    """Holds one shard, and reads the one after it meanwhile."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._thread = ThreadPoolExecutor(1)
        self._held: tuple[int, Split] | None = None
        self._coming: tuple[int, Future[Split]] | None = None

    def read(self, shard: int, following: int) -> Split:
        """**Arguments:**

        - `following`: the shard that will be asked for next.
        """
        if self._held is None or self._held[0] != shard:
            # Let go of the old one before another is begun.
            self._held = None
            coming = self._coming
            arrived = coming is not None and coming[0] == shard
            split = coming[1].result() if arrived and coming is not None else self._shards.load(shard)
            self._held, self._coming = (shard, split), None
        if following != shard and (self._coming is None or self._coming[0] != following):
            self._coming = following, self._thread.submit(self._shards.load, following)
        return self._held[1]
