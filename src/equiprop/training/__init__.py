"""The training step and its loop on the device, optimizers, evaluation, for any system; nothing about files or options."""

from equiprop.training._components import Components as Components
from equiprop.training._diagnosis import REPORTED as REPORTED
from equiprop.training._diagnosis import diagnose as diagnose
from equiprop.training._evaluate import certify as certify
from equiprop.training._evaluate import diagnose_gradient as diagnose_gradient
from equiprop.training._evaluate import evaluate as evaluate
from equiprop.training._evaluate import finite_or_none as finite_or_none
from equiprop.training._evaluate import looked_into as looked_into
from equiprop.training._placement import Placement as Placement
from equiprop.training._step import Images as Images
from equiprop.training._step import Job as Job
from equiprop.training._step import StepSpec as StepSpec
from equiprop.training._step import Totals as Totals
from equiprop.training._step import TrainState as TrainState
from equiprop.training._step import advance as advance
from equiprop.training._step import all_finite as all_finite
from equiprop.training._step import init_train_state as init_train_state
from equiprop.training._step import on_device as on_device
from equiprop.training.optimizers import OPTIMIZERS as OPTIMIZERS
from equiprop.training.optimizers import SGD as SGD
from equiprop.training.optimizers import AbstractOptimizer as AbstractOptimizer
from equiprop.training.optimizers import AdamW as AdamW
from equiprop.training.optimizers import learning_rate_setting as learning_rate_setting
from equiprop.training.optimizers import learning_rates_setting as learning_rates_setting
from equiprop.training.optimizers import parameter_groups as parameter_groups
from equiprop.training.optimizers import schedule_setting as schedule_setting
