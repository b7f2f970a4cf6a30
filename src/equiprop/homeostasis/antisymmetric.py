"""The homeostatic loss from its antisymmetric part itself, without noise where that is zero."""

import dataclasses
from typing import ClassVar

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._loss import AbstractLoss, mean_over_usable, units
from equiprop.homeostasis._of_jacobian import (
    AbstractJacobianHomeostasis,
    feedback_only_setting,
    jacobian_strength_setting,
    probes_setting,
    samples_setting,
    shared_updates_setting,
)
from equiprop.homeostasis._papers import LABORIEUX_2024
from equiprop.numerics import Number, antisymmetric_moments, flag
from equiprop.systems import System, coupling, coupling_is_exact, in_metric


class AntisymmetricHomeostasis(AbstractLoss):
    """Adds the gradient of `strength`·L/n, L = ½·E_ε‖(J − Jᵀ)ε‖² = 2‖A‖²_F, ε ~ N(0, I), n units.

    The loss of `JacobianHomeostasis` in expectation, at the same cost: one product with J and one with Jᵀ a probe. But its
    gradient vanishes with A, probe by probe, where that of ‖Jε‖² − εᵀJ²ε is noise of the size of J, which at a large strength
    keeps weights from becoming equal. What a network itself could compute of it is another question: Jᵀ takes transposed
    weights. J is the coupling of `JacobianHomeostasis`; the gradient is at fixed state.

    Balanced, every population counts alike, instead of every unit: ε then has variance n/(P·n_p) on a population, or leaf of
    the state, of n_p units, one of P. Else a weight that is used at many places of an image is pulled as many times harder than
    one near the output.
    """

    kind: ClassVar[str] = "antisymmetric"
    citation: ClassVar[tuple[str, ...]] = (LABORIEUX_2024,)

    strength: Number | None = jacobian_strength_setting()
    probes: int = probes_setting()
    samples: int = samples_setting()
    shared_updates: bool | str = shared_updates_setting()
    feedback_only: bool | str = feedback_only_setting("auto")
    balanced: bool | str = flag(
        "auto", "Every population counts alike, instead of every unit; auto: true.", word="auto"
    )

    def decide(self, system: System) -> AbstractJacobianHomeostasis:
        return dataclasses.replace(super().decide(system), balanced=bool(self.balanced))

    def loss(self, system: System, batch: Batch, *, key: PRNGKeyArray) -> Float[Array, ""]:
        """The estimate of L/n: mean over probes and usable samples, at fixed state."""
        x, state = batch.sound()
        injection = system.injection(x)
        operator = in_metric(system, coupling(system, state, injection))
        n, populations = units(state), len(jax.tree.leaves(state))
        spread = jax.tree.map(lambda a: (n / (populations * units(a))) ** 0.5 if self.balanced else 1.0, state)
        seen = antisymmetric_moments(
            operator,
            state,
            spread,
            probes=self.probes,
            key=key,
            diagonal=coupling_is_exact(system, state, injection),
        )
        return mean_over_usable(2 * seen.mean(axis=0), batch.usable) / n
