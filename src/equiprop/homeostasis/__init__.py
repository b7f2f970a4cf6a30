"""What keeps the Jacobian symmetric."""

from equiprop.homeostasis._batch import Batch as Batch
from equiprop.homeostasis._treatment import AbstractTreatment as AbstractTreatment
from equiprop.homeostasis._treatment import Treated as Treated
from equiprop.homeostasis.antisymmetric import AntisymmetricHomeostasis as AntisymmetricHomeostasis
from equiprop.homeostasis.jacobian import JacobianHomeostasis as JacobianHomeostasis
from equiprop.homeostasis.local import LocalHomeostasis as LocalHomeostasis
from equiprop.homeostasis.none import NoHomeostasis as NoHomeostasis
from equiprop.homeostasis.rotation import RotationHomeostasis as RotationHomeostasis
from equiprop.homeostasis.strength import AbstractStrength as AbstractStrength
from equiprop.homeostasis.strength import Constant as Constant
from equiprop.homeostasis.strength import Controlled as Controlled
from equiprop.homeostasis.strength import Scheduled as Scheduled
from equiprop.homeostasis.strength import StepContext as StepContext
from equiprop.homeostasis.weights import KolenPollack as KolenPollack
from equiprop.homeostasis.weights import WeightMirror as WeightMirror

TREATMENTS = {
    "none": NoHomeostasis,
    "jacobian": JacobianHomeostasis,
    "antisymmetric": AntisymmetricHomeostasis,
    "rotation": RotationHomeostasis,
    "local": LocalHomeostasis,
    "kolen_pollack": KolenPollack,
    "weight_mirror": WeightMirror,
}
"""By the name that configurations use."""
