"""Where the training images of a step come from: one set that stays on the device, or file after file from disk."""

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import jax
import numpy as np

from equiprop.data import Dataset, Shards, Split
from equiprop.errors import InputError
from equiprop.training import Placement, Samples, on_device

# Of shards so many batches at a time are brought to the device, in the order in which they are trained on.
_BATCHES_AT_A_TIME = 32


class Feed:
    """The images of each step of an epoch.

    Shards come in an order of their own in every epoch, which follows from the seed; each is shuffled by itself, and gives as
    many steps as it has whole batches. While one is trained on, the next is read: no more than two are in memory.

    Raises `InputError` where there is not one whole batch, or a limit is asked of shards.
    """

    def __init__(
        self, dataset: Dataset, *, batch_size: int, limit: int, seed: int, dtype: Any, placement: Placement
    ) -> None:
        if limit > len(dataset.train):
            raise InputError(
                f"{dataset.name} has {len(dataset.train)} training samples", path=("training", "limit"), value=limit
            )
        if isinstance(dataset.train, Shards):
            if limit:
                raise InputError(
                    f"{dataset.name} is read from disk file by file",
                    path=("training", "limit"),
                    value=limit,
                    hint="leave it out",
                )
            self._whole, self._reader = None, _Reader(dataset.train)
            counts = dataset.train.counts
        else:
            train = dataset.train
            whole = on_device(Split(train.images[:limit], train.labels[:limit]) if limit else train, dataset, dtype)
            self._whole, self._reader = placement.everywhere(whole), None
            counts = (len(whole),)
        self._dataset, self._batch_size, self._seed = dataset, batch_size, seed
        self._dtype, self._placement = dtype, placement
        self._shuffle: tuple[tuple[int, int], np.ndarray] = (-1, -1), np.arange(0)
        self._steps = tuple(count // batch_size for count in counts)
        self.steps_per_epoch = sum(self._steps)
        if not self.steps_per_epoch:
            raise InputError(
                f"there are only {max(counts)} training samples", path=("training", "batch_size"), value=batch_size
            )

    def at(self, epoch: int, step: int) -> tuple[Samples, int]:
        """The images for a step of an epoch, and for how many steps from there they serve."""
        if self._reader is None:
            assert self._whole is not None
            return self._whole, self.steps_per_epoch - step
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
        """Some images of a shard, filled up with the first of them so that every chunk serves the same program."""
        missing = _BATCHES_AT_A_TIME * self._batch_size - len(rows)
        rows = np.append(rows, np.full(missing, rows[0]))
        taken = Split(split.images[rows], split.labels[rows])
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
