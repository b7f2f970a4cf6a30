"""Optimizers by Optax, one a file."""

from equiprop.kinds import Family
from equiprop.training.optimizers._adamw import AdamW as AdamW
from equiprop.training.optimizers._optimizer import AbstractOptimizer as AbstractOptimizer
from equiprop.training.optimizers._optimizer import parameter_groups as parameter_groups
from equiprop.training.optimizers._sgd import SGD as SGD

OPTIMIZERS = Family("optimizer", __name__, f"{__name__}:AbstractOptimizer")
