"""Sweeps: many trainings over the values of some keys, chosen and kept by Optuna."""

from equiprop.experiment.sweeps._executors import EXECUTORS as EXECUTORS
from equiprop.experiment.sweeps._executors import execute as execute
from equiprop.experiment.sweeps._sweep import Sweep as Sweep
from equiprop.experiment.sweeps._trials import Trial as Trial
