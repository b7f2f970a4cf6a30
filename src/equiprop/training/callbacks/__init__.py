"""What is told how a training goes on, one a file."""

from equiprop.training.callbacks._callback import Callback as Callback
from equiprop.training.callbacks._callback import Plan as Plan
from equiprop.training.callbacks._callback import as_callback as as_callback
from equiprop.training.callbacks._early_stopping import EarlyStopping as EarlyStopping
from equiprop.training.callbacks._mlflow import MLflow as MLflow
from equiprop.training.callbacks._model_checkpoint import ModelCheckpoint as ModelCheckpoint
from equiprop.training.callbacks._progress import Progress as Progress
from equiprop.training.callbacks._progress import epoch_line as epoch_line
from equiprop.training.callbacks._progress import gradient_line as gradient_line
from equiprop.training.callbacks._tensorboard import TensorBoard as TensorBoard
from equiprop.training.callbacks._tracker import Tracker as Tracker
from equiprop.training.callbacks._trackio import Trackio as Trackio
from equiprop.training.callbacks._wandb import WandB as WandB
from equiprop.training.callbacks._warnings import Warnings as Warnings
