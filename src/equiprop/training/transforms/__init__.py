"""What is done to batches on the device: normalised always, and flipped, cropped, cut, mixed while training. One a file."""

from equiprop.training.transforms._crop import Crop as Crop
from equiprop.training.transforms._cutout import Cutout as Cutout
from equiprop.training.transforms._flip import Flip as Flip
from equiprop.training.transforms._label_smoothing import LabelSmoothing as LabelSmoothing
from equiprop.training.transforms._mixup import Mixup as Mixup
from equiprop.training.transforms._normalize import Normalize as Normalize
from equiprop.training.transforms._transform import AbstractTransform as AbstractTransform
