"""Networks and data that the benchmarks share: random images, for the time of a step does not ask what is on them."""

import dataclasses

import numpy as np

from equiprop.data import Dataset, Split
from equiprop.training.config import Config, EstimatorConfig, HomeostasisConfig, SystemConfig, TrainingConfig
from equiprop.training.loop import Trainer

SIZES = {"small": (64, 32), "published": (256, 256), "4 x 1024": (1024, 1024, 1024, 1024)}
"""Hidden populations; the input has 784 units, the output 10."""


def images(n: int = 1000) -> Dataset:
    """`n` of random pixels and labels, 28 by 28."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.int32) % 10)
    return Dataset("random", split, split, split, tuple("abcdefghij"), 0.0, 255.0, "")


def trainer(
    hidden: tuple[int, ...] = SIZES["published"],
    *,
    batch: int = 50,
    kind: str = "centered",
    points: int = 6,
    homeostasis: bool = True,
    feedback_gain: float = 0.05,
    samples: int = 1000,
) -> Trainer:
    """A fresh network with everything that the default recipe says."""
    default = Config()
    estimator = {"kind": kind, "nudge": 0.05, "branch_switch": "keep"} | (
        {"points": points} if kind == "holomorphic" else {}
    )
    config = dataclasses.replace(
        default,
        dataset="random",
        system=SystemConfig(hidden=hidden, feedback_gain=feedback_gain),
        estimator=EstimatorConfig(**estimator),
        homeostasis=HomeostasisConfig() if homeostasis else HomeostasisConfig(kind="none"),
        training=TrainingConfig(batch_size=batch),
    )
    return Trainer(config, images(samples))
