"""The training step and its loop on the device, optimizers, evaluation, for any system; nothing about files or options."""

from equiprop.training._accuracy import Adjustment as Adjustment
from equiprop.training._arrays import require_targets as require_targets
from equiprop.training._arrays import samples_of as samples_of
from equiprop.training._components import Components as Components
from equiprop.training._diagnosis import REPORTED as REPORTED
from equiprop.training._diagnosis import diagnose as diagnose
from equiprop.training._evaluate import Predictions as Predictions
from equiprop.training._evaluate import certify as certify
from equiprop.training._evaluate import diagnose_gradient as diagnose_gradient
from equiprop.training._evaluate import evaluate as evaluate
from equiprop.training._evaluate import finite_or_none as finite_or_none
from equiprop.training._evaluate import looked_into as looked_into
from equiprop.training._evaluate import predictions as predictions
from equiprop.training._feed import AbstractFeed as AbstractFeed
from equiprop.training._feed import BatchFeed as BatchFeed
from equiprop.training._feed import ShardFeed as ShardFeed
from equiprop.training._feed import WholeFeed as WholeFeed
from equiprop.training._lanes import Lanes as Lanes
from equiprop.training._loop import Ending as Ending
from equiprop.training._loop import NonFinite as NonFinite
from equiprop.training._loop import run as run
from equiprop.training._metrics import METRICS as METRICS
from equiprop.training._metrics import Metric as Metric
from equiprop.training._metrics import metrics_of as metrics_of
from equiprop.training._parameter_files import named_parameters as named_parameters
from equiprop.training._parameter_files import with_parameters as with_parameters
from equiprop.training._parameter_files import write_parameters as write_parameters
from equiprop.training._placement import Placement as Placement
from equiprop.training._processes import ProcessLost as ProcessLost
from equiprop.training._processes import agree as agree
from equiprop.training._processes import is_primary as is_primary
from equiprop.training._processes import local as local
from equiprop.training._processes import on_primary as on_primary
from equiprop.training._record import AbstractRecord as AbstractRecord
from equiprop.training._record import Memory as Memory
from equiprop.training._samples import Samples as Samples
from equiprop.training._samples import on_device as on_device
from equiprop.training._step import Job as Job
from equiprop.training._step import StepSpec as StepSpec
from equiprop.training._step import Totals as Totals
from equiprop.training._step import TrainState as TrainState
from equiprop.training._step import Transform as Transform
from equiprop.training._step import advance as advance
from equiprop.training._step import all_finite as all_finite
from equiprop.training._step import init_train_state as init_train_state
from equiprop.training._training import Training as Training
from equiprop.training._training import epochs_of as epochs_of
from equiprop.training.callbacks import Callback as Callback
from equiprop.training.callbacks import EarlyStopping as EarlyStopping
from equiprop.training.callbacks import MLflow as MLflow
from equiprop.training.callbacks import ModelCheckpoint as ModelCheckpoint
from equiprop.training.callbacks import Plan as Plan
from equiprop.training.callbacks import Progress as Progress
from equiprop.training.callbacks import TensorBoard as TensorBoard
from equiprop.training.callbacks import Tracker as Tracker
from equiprop.training.callbacks import Trackio as Trackio
from equiprop.training.callbacks import WandB as WandB
from equiprop.training.callbacks import as_callback as as_callback
from equiprop.training.callbacks import epoch_line as epoch_line
from equiprop.training.callbacks import gradient_line as gradient_line
from equiprop.training.optimizers import OPTIMIZERS as OPTIMIZERS
from equiprop.training.optimizers import SGD as SGD
from equiprop.training.optimizers import AbstractOptimizer as AbstractOptimizer
from equiprop.training.optimizers import AdamW as AdamW
from equiprop.training.optimizers import GivenOptimizer as GivenOptimizer
from equiprop.training.optimizers import learning_rate_setting as learning_rate_setting
from equiprop.training.optimizers import learning_rates_setting as learning_rates_setting
from equiprop.training.optimizers import parameter_groups as parameter_groups
from equiprop.training.optimizers import schedule_setting as schedule_setting
from equiprop.training.transforms import AbstractTransform as AbstractTransform
from equiprop.training.transforms import Crop as Crop
from equiprop.training.transforms import Cutout as Cutout
from equiprop.training.transforms import Flip as Flip
from equiprop.training.transforms import LabelSmoothing as LabelSmoothing
from equiprop.training.transforms import Mixup as Mixup
from equiprop.training.transforms import Normalize as Normalize

# What the reference documents, and `equiprop` itself offers; the rest is for other packages.
__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AbstractOptimizer",
    "AbstractTransform",
    "AdamW",
    "Callback",
    "Crop",
    "Cutout",
    "EarlyStopping",
    "Flip",
    "LabelSmoothing",
    "MLflow",
    "Mixup",
    "ModelCheckpoint",
    "NonFinite",
    "Normalize",
    "Plan",
    "ProcessLost",
    "TensorBoard",
    "Tracker",
    "Trackio",
    "WandB",
    "diagnose",
    "evaluate",
    "named_parameters",
    "with_parameters",
    "write_parameters",
]
