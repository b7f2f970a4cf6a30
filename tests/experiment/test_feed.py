"""Training images from disk: every one once an epoch, in an order of its own, two files in memory at most, resumed exactly."""

import dataclasses
import gc
import weakref
from collections import Counter

import jax
import numpy as np
import pytest
from test_loop import StopAt

from equiprop.data import Dataset, Shards, Split
from equiprop.errors import InputError
from equiprop.experiment import Interrupted, Trainer, load, resume, train
from equiprop.training import Placement, ShardFeed, _feed, _loop
from toy import config, dataset

COUNTS = (41, 30, 49)


class Disk:
    """Three files of a training set, and how many of them are held at once."""

    def __init__(self):
        self.whole = dataset().train
        self.held, self.most, self.reads = [], 0, Counter()

    def read(self, index):
        start = sum(COUNTS[:index])
        part = slice(start, start + COUNTS[index])
        split = Split(self.whole.x[part].copy(), self.whole.y[part].copy())
        gc.collect()
        self.held = [*(h for h in self.held if h() is not None), weakref.ref(split.x)]
        self.most = max(self.most, len(self.held))
        self.reads[index] += 1
        return split


@pytest.fixture
def disk():
    return Disk()


def streamed(disk) -> Dataset:
    whole = dataset()
    return dataclasses.replace(whole, train=Shards(COUNTS, whole.input_shape, "checksum-0", disk.read))


def make(disk, **options):
    settings = {"batch_size": 8, "seed": 0, "dtype": np.float64, "placement": Placement()}
    return ShardFeed(streamed(disk), **(settings | options))


def epoch_of(feed, epoch, start=0):
    """The images of each step of an epoch, as the steps take them."""
    steps, found = start, []
    while steps < feed.steps_per_epoch:
        images, count = feed.at(epoch, steps)
        assert int(images.first) == steps
        pixels = np.asarray(images.x)
        found += [pixels[8 * i : 8 * (i + 1)] for i in range(count)]
        steps += count
    return found


def test_every_image_once_but_for_what_is_left_of_each_file(disk):
    feed = make(disk)
    assert feed.steps_per_epoch == 5 + 3 + 6
    seen = np.concatenate(epoch_of(feed, 0)).reshape(-1, 16)
    known = {image.tobytes(): i for i, image in enumerate(disk.whole.x.reshape(-1, 16))}
    rows = [known[image.tobytes()] for image in seen]
    assert len(rows) == 14 * 8 and len(set(rows)) == len(rows)
    assert disk.most <= 2


def test_epochs_differ_and_seeds_decide(disk):
    first, again, second = (epoch_of(make(disk), e) for e in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], epoch_of(make(disk, seed=1), 0)[0])


@pytest.mark.parametrize("chunk", [1, 2, 32])
def test_an_epoch_may_be_entered_anywhere(disk, monkeypatch, chunk):
    whole = epoch_of(make(disk), 1)
    monkeypatch.setattr(_feed, "_BATCHES_AT_A_TIME", chunk)
    for start in (1, 6, 13):
        part = epoch_of(make(disk), 1, start)
        assert all(np.array_equal(a, b) for a, b in zip(part, whole[start:], strict=True))


def test_every_file_is_read_once_an_epoch_and_two_are_held(disk):
    feed = make(disk)
    for epoch in range(4):
        epoch_of(feed, epoch)
    assert disk.most <= 2
    # One that ends an epoch and begins the next is read once for both; the one after the last epoch is read ahead.
    assert all(3 <= n <= 5 for n in disk.reads.values())


@pytest.mark.slow
def test_a_streamed_run_resumes_bit_for_bit(disk, tmp_path, monkeypatch):
    """Stopped in the first epoch and again in the second, or only there."""
    monkeypatch.setattr(_loop, "_CALL_SECONDS", 0.0)
    few = config(training={"batch_size": 8, "epochs": 2, "diagnostic_samples": 0})
    data = streamed(disk)
    for out, stops in (("whole", []), ("run", [(1, 7)])):
        begin = lambda told, out=out: train(few, tmp_path / out, dataset=data, callbacks=told)  # noqa: E731
        for stop in (*stops, (2, 9)):
            with pytest.raises(Interrupted):
                begin([StopAt(*stop)])
            begin = lambda told, out=out: resume(tmp_path / out, dataset=data, callbacks=told)  # noqa: E731
    ours, theirs = (jax.tree.leaves(load(tmp_path / name, dataset=data).system) for name in ("whole", "run"))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_refused(disk):
    data = streamed(disk)
    for settings, message in (
        ({"limit": 50}, r"training.limit = 50: toy is read from disk file by file"),
        ({"batch_size": 50}, r"training.batch_size = 50: there are only 49 training samples"),
        ({"warm_start": True}, r"training.warm_start = true: the training samples do not stay on the device"),
    ):
        with pytest.raises(InputError, match=message):
            Trainer(config(training=settings), data)
