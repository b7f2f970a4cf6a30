"""A data set and a configuration that train in a second."""

import dataclasses

import numpy as np

from equiprop.data import Dataset, Split
from equiprop.training.config import (
    Config,
    EstimatorConfig,
    HomeostasisConfig,
    OptimizerConfig,
    SystemConfig,
    TrainingConfig,
)


def dataset(seed: int = 0) -> Dataset:
    """Three classes of 4×4 images, each brighter in its own rows; easy, but not trivial."""
    rng = np.random.default_rng(seed)

    def split(n: int) -> Split:
        labels = rng.integers(0, 3, n).astype(np.int32)
        images = rng.integers(0, 120, (n, 4, 4))
        images[np.arange(n), labels] += 90
        return Split(images.astype(np.uint8), labels)

    return Dataset("toy", split(120), split(40), split(40), ("a", "b", "c"), 0.0, 255.0, f"checksum-{seed}")


def config(**sections) -> Config:
    """Small; sections are given as dictionaries of what differs."""
    base = Config(
        dataset="toy",
        system=SystemConfig(hidden=(8,), gain=2.0, feedback_gain=0.3),
        estimator=EstimatorConfig(kind="centered", nudge=0.3),
        homeostasis=HomeostasisConfig(kind="jacobian", strength=1.0, probes=2, samples=0, shared_updates=False),
        optimizer=OptimizerConfig(learning_rate=0.3, schedule="constant"),
        training=TrainingConfig(epochs=3, batch_size=20, diagnostic_samples=20, seed=2, precision="float32"),
    )
    for name, values in sections.items():
        base = dataclasses.replace(base, **{name: dataclasses.replace(getattr(base, name), **values)})
    return base
