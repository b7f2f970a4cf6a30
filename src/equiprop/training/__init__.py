"""Configuration, the training step, the loop, checkpoints, run directories.

`Config` can be read without waiting for JAX; everything else is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equiprop.training.checkpoint import Checkpoints as Checkpoints
    from equiprop.training.config import Config as Config
    from equiprop.training.evaluate import evaluate as evaluate
    from equiprop.training.loop import resume as resume
    from equiprop.training.loop import train as train
    from equiprop.training.step import TrainState as TrainState

_HOME = {
    "Checkpoints": "checkpoint",
    "Config": "config",
    "TrainState": "step",
    "evaluate": "evaluate",
    "resume": "loop",
    "train": "loop",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"equiprop.training.{_HOME[name]}"), name)
    raise AttributeError(f"module 'equiprop.training' has no attribute {name!r}")
