"""Optimizers by Optax, one a file."""

from equiprop.kinds import Family
from equiprop.training.optimizers._adamw import AdamW as AdamW
from equiprop.training.optimizers._given import GivenOptimizer as GivenOptimizer
from equiprop.training.optimizers._optimizer import AbstractOptimizer as AbstractOptimizer
from equiprop.training.optimizers._optimizer import learning_rate_setting as learning_rate_setting
from equiprop.training.optimizers._optimizer import learning_rates_setting as learning_rates_setting
from equiprop.training.optimizers._optimizer import parameter_groups as parameter_groups
from equiprop.training.optimizers._optimizer import schedule_setting as schedule_setting
from equiprop.training.optimizers._sgd import SGD as SGD

OPTIMIZERS = Family("optimizer", __name__, f"{__name__}:AbstractOptimizer")
