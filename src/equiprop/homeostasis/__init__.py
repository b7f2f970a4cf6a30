"""What keeps the Jacobian symmetric, one kind a file."""

from equiprop.homeostasis._batch import Batch as Batch
from equiprop.homeostasis._homeostasis import AbstractHomeostasis as AbstractHomeostasis
from equiprop.homeostasis._homeostasis import Regularised as Regularised
from equiprop.homeostasis._of_jacobian import AbstractJacobianHomeostasis as AbstractJacobianHomeostasis
from equiprop.homeostasis._penalty import penalty as penalty
from equiprop.homeostasis._strength import Controlled as Controlled
from equiprop.homeostasis._strength import strength_setting as strength_setting
from equiprop.homeostasis.antisymmetric import AntisymmetricHomeostasis as AntisymmetricHomeostasis
from equiprop.homeostasis.auto import AutoHomeostasis as AutoHomeostasis
from equiprop.homeostasis.jacobian import JacobianHomeostasis as JacobianHomeostasis
from equiprop.homeostasis.kolen_pollack import KolenPollack as KolenPollack
from equiprop.homeostasis.local import LocalHomeostasis as LocalHomeostasis
from equiprop.homeostasis.none import NoHomeostasis as NoHomeostasis
from equiprop.homeostasis.response import ResponseHomeostasis as ResponseHomeostasis
from equiprop.homeostasis.rotation import RotationHomeostasis as RotationHomeostasis
from equiprop.homeostasis.weight_mirror import WeightMirror as WeightMirror
from equiprop.kinds import Family

HOMEOSTASES = Family("homeostasis", __name__, f"{__name__}:AbstractHomeostasis")

# What the reference documents, and `equiprop` itself offers; the rest is for other packages.
__all__ = [
    "HOMEOSTASES",
    "AbstractHomeostasis",
    "AbstractJacobianHomeostasis",
    "AntisymmetricHomeostasis",
    "AutoHomeostasis",
    "Batch",
    "Controlled",
    "JacobianHomeostasis",
    "KolenPollack",
    "LocalHomeostasis",
    "NoHomeostasis",
    "Regularised",
    "ResponseHomeostasis",
    "RotationHomeostasis",
    "WeightMirror",
    "penalty",
    "strength_setting",
]
