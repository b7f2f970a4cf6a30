"""Networks, data and programs that the benchmarks share. Images are random: the time of a step does not depend on them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Int

import equiprop as ep
from equiprop.training import Job, TrainState

SIZES = {"small": (64, 32), "published": (256, 256), "4 x 1024": (1024, 1024, 1024, 1024)}
"""Hidden populations; the input has 784 units, the output 10."""


def images(n: int = 1000) -> ep.data.Dataset:
    """`n` of random pixels and labels, 28 by 28."""
    rng = np.random.default_rng(0)
    split = ep.data.Split(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.int32) % 10)
    return ep.data.Dataset("random", split, split, split, tuple("abcdefghij"), 0.0, 255.0, "")


def trainer(
    hidden: tuple[int, ...] = SIZES["published"],
    *,
    batch: int = 50,
    kind: str = "centered",
    points: int = 6,
    homeostasis: bool = True,
    feedback_gain: float = 0.05,
    samples: int = 1000,
    solver: Mapping[str, Any] | None = None,
) -> ep.experiment.Trainer:
    """A fresh network with everything that the default recipe says.

    **Arguments:**

    - `kind`, `points`: of the estimator.
    - `solver`: its table; the default solver otherwise.
    """
    tables = {
        "dataset": "random",
        "system": {"hidden": list(hidden), "feedback_gain": feedback_gain},
        "solver": dict(solver or {}),
        "estimator": {"kind": kind, "nudge": 0.05, "branch_switch": "keep"}
        | ({"points": points} if kind == "holomorphic" else {}),
        "homeostasis": {"kind": "auto" if homeostasis else "none"},
        "training": {"batch_size": batch},
    }
    return ep.experiment.Trainer(ep.experiment.Config.from_mapping(tables), images(samples))


def steps(job: Job, state: TrainState, count: Int[Array, ""]) -> TrainState:
    """`count` training steps, as a function to compile."""
    return job.steps(state, count)
