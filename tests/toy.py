"""A data set and a configuration that train in a second."""

import numpy as np

from equiprop.data import Dataset, Split
from equiprop.experiment import Config, overlaid


def dataset(seed: int = 0) -> Dataset:
    """Three classes of 4×4 images, each brighter in its own rows; easy, but not trivial."""
    rng = np.random.default_rng(seed)

    def split(n: int) -> Split:
        labels = rng.integers(0, 3, n).astype(np.int32)
        images = rng.integers(0, 120, (n, 4, 4))
        images[np.arange(n), labels] += 90
        return Split(images.astype(np.uint8), labels)

    return Dataset("toy", split(120), split(40), split(40), ("a", "b", "c"), 0.0, 255.0, f"checksum-{seed}")


BASE = {
    "dataset": "toy",
    "system": {"kind": "mlp", "hidden": [8], "gain": 2.0, "feedback_gain": 0.3},
    "estimator": {"kind": "centered", "nudge": 0.3, "clip": 2.0},
    "homeostasis": {"kind": "jacobian", "strength": 1.0, "probes": 2, "samples": 0, "shared_updates": False},
    "optimizer": {"kind": "sgd", "learning_rate": 0.3, "schedule": "constant"},
    "training": {"epochs": 3, "batch_size": 20, "diagnostic_samples": 20, "seed": 2, "precision": "float32"},
}


def config(**sections) -> Config:
    """Small; sections are given as dictionaries of what differs."""
    given = {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}
    return Config.from_mapping(overlaid(BASE, given))
