"""What keeps the Jacobian symmetric."""

from equiprop.homeostasis._treatment import AbstractTreatment as AbstractTreatment
from equiprop.homeostasis.jacobian import JacobianHomeostasis as JacobianHomeostasis
from equiprop.homeostasis.none import NoHomeostasis as NoHomeostasis

TREATMENTS = {"none": NoHomeostasis, "jacobian": JacobianHomeostasis}
"""By the name that configurations use."""
