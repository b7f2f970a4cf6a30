"""The homeostasis that fits a system."""

from typing import ClassVar

from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._of_jacobian import (
    AbstractJacobianHomeostasis,
    feedback_only_setting,
    jacobian_strength_setting,
    probes_setting,
    samples_setting,
    shared_updates_setting,
)
from equiprop.homeostasis._papers import LABORIEUX_2024
from equiprop.homeostasis.antisymmetric import AntisymmetricHomeostasis
from equiprop.homeostasis.jacobian import JacobianHomeostasis
from equiprop.numerics import Number
from equiprop.systems import System


class AutoHomeostasis(AbstractJacobianHomeostasis):
    """`AntisymmetricHomeostasis` where untied pairs of forward and feedback weights are all that could be asymmetric, and
    `JacobianHomeostasis` elsewhere: what `docs/closing-the-gap.md` found best."""

    kind: ClassVar[str] = "auto"
    citation: ClassVar[tuple[str, ...]] = (LABORIEUX_2024,)

    strength: Number | None = jacobian_strength_setting()
    probes: int = probes_setting()
    samples: int = samples_setting()
    shared_updates: bool | str = shared_updates_setting()
    feedback_only: bool | str = feedback_only_setting("auto")

    def decide(self, system: System) -> AbstractJacobianHomeostasis:
        given = {name: getattr(self, name) for name in ("probes", "samples", "shared_updates", "feedback_only")}
        strength = "auto" if self.strength is None else self.strength
        chosen = AntisymmetricHomeostasis if system.fully_paired else JacobianHomeostasis
        return chosen(strength, **given).decide(system)

    def gradient_of_usable(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        return self.decide(system).gradient_of_usable(system, batch, key=key)
