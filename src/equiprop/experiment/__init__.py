"""Runs: configuration files, run directories, checkpoints, resuming, several devices and processes."""

from equiprop.experiment._check_run import Finding as Finding
from equiprop.experiment._check_run import check_run as check_run
from equiprop.experiment._checkpoint import CheckpointMetadata as CheckpointMetadata
from equiprop.experiment._checkpoint import Checkpoints as Checkpoints
from equiprop.experiment._config import MAY_CHANGE as MAY_CHANGE
from equiprop.experiment._config import SECTIONS as SECTIONS
from equiprop.experiment._config import WHERE as WHERE
from equiprop.experiment._config import Choice as Choice
from equiprop.experiment._config import Config as Config
from equiprop.experiment._config import all_keys as all_keys
from equiprop.experiment._config import anchored as anchored
from equiprop.experiment._config import differences as differences
from equiprop.experiment._config import not_taken as not_taken
from equiprop.experiment._config import overlaid as overlaid
from equiprop.experiment._config import read_tables as read_tables
from equiprop.experiment._doctor import examine as examine
from equiprop.experiment._fit import FitResult as FitResult
from equiprop.experiment._fit import fit as fit
from equiprop.experiment._fit import fit_lanes as fit_lanes
from equiprop.experiment._legacy import renamed_key as renamed_key
from equiprop.experiment._legacy import renamed_kind as renamed_kind
from equiprop.experiment._processes import ProcessSettings as ProcessSettings
from equiprop.experiment._run_directory import RunDirectory as RunDirectory
from equiprop.experiment._seeds import SeedsDirectory as SeedsDirectory
from equiprop.experiment._seeds import seed_folders as seed_folders
from equiprop.experiment._settings import TrainingSettings as TrainingSettings
from equiprop.experiment._train import Interrupted as Interrupted
from equiprop.experiment._train import resume as resume
from equiprop.experiment._train import train as train
from equiprop.experiment._train import train_or_resume as train_or_resume
from equiprop.experiment._trained_run import TrainedRun as TrainedRun
from equiprop.experiment._trained_run import load as load
from equiprop.experiment._trainer import Trainer as Trainer
from equiprop.experiment._trainer import make_system as make_system
from equiprop.experiment.sweeps import Sweep as Sweep

# What the reference documents, and `equiprop` itself offers; the rest is for other packages.
__all__ = [
    "Config",
    "FitResult",
    "Interrupted",
    "ProcessSettings",
    "Sweep",
    "TrainedRun",
    "TrainingSettings",
    "check_run",
    "examine",
    "fit",
    "fit_lanes",
    "load",
    "resume",
    "train",
]
