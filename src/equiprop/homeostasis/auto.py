"""The homeostasis that fits a system."""

from typing import ClassVar

from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._homeostasis import AbstractHomeostasis
from equiprop.homeostasis._of_jacobian import (
    feedback_only_setting,
    jacobian_strength_setting,
    probes_setting,
    samples_setting,
    shared_updates_setting,
)
from equiprop.homeostasis._papers import LABORIEUX_2024
from equiprop.homeostasis.antisymmetric import AntisymmetricHomeostasis
from equiprop.homeostasis.jacobian import JacobianHomeostasis
from equiprop.homeostasis.none import NoHomeostasis
from equiprop.numerics import Number
from equiprop.systems import System


class AutoHomeostasis(AbstractHomeostasis):
    """`AntisymmetricHomeostasis` where untied pairs of forward and feedback weights are all that could be asymmetric, and
    `JacobianHomeostasis` elsewhere: what trained best (the page Closing the gap). Where nothing could be asymmetric, as with tied
    weights, none, unless it is told what to do."""

    kind: ClassVar[str] = "auto"
    citation: ClassVar[tuple[str, ...]] = (LABORIEUX_2024,)

    strength: Number | None = jacobian_strength_setting()
    probes: int = probes_setting()
    samples: int = samples_setting()
    shared_updates: bool | str = shared_updates_setting()
    feedback_only: bool | str = feedback_only_setting("auto")

    def decide(self, system: System) -> AbstractHomeostasis:
        given = {name: getattr(self, name) for name in ("probes", "samples", "shared_updates", "feedback_only")}
        usual = AutoHomeostasis()
        told = self.strength is not None or any(value != getattr(usual, name) for name, value in given.items())
        if system.fully_paired and not system.pairs and not told:
            return NoHomeostasis()
        chosen = AntisymmetricHomeostasis if system.fully_paired and system.pairs else JacobianHomeostasis
        return chosen("auto" if self.strength is None else self.strength, **given).decide(system)

    def check(self, system: System) -> None:
        self.decide(system).check(system)

    def gradient(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        return self.decide(system).gradient(system, batch, key=key)
