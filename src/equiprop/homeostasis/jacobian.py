"""A loss on the antisymmetric part of the Jacobian at equilibrium."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from equiprop.errors import InputError
from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._loss import AbstractLoss, mean_over_usable, units
from equiprop.homeostasis._of_jacobian import (
    feedback_only_setting,
    jacobian_strength_setting,
    probes_setting,
    samples_setting,
    shared_updates_setting,
)
from equiprop.homeostasis._papers import LABORIEUX_2024
from equiprop.numerics import Number, flag, probe_moments
from equiprop.systems import System, coupling, coupling_is_exact, in_metric


class JacobianHomeostasis(AbstractLoss):
    """Adds the gradient of `strength`·L_homeo/n, L_homeo = E_ε[‖Jε‖² − εᵀJ²ε] = 2‖A‖²_F, ε ~ N(0, I), n units.

    From Laborieux & Zenke 2024 (arXiv 2309.02214). Two Jacobian-vector products a probe; the gradient is taken at fixed state.
    J is `coupling`, ∂H/∂r of a force H(r) − ℓ(u), which differs from the Jacobian of the force by the leak, a symmetric diagonal
    that leaves A as it is and would only add noise; all in the metric of the mobility, where there is one. Where the coupling
    cannot be had by itself, and is not exact on its diagonal, probes leave the diagonal out.

    The term ‖Jε‖² alone is the Jacobian regulariser of deep-equilibrium models (Bai et al. 2021, arXiv 2106.14342).
    """

    kind: ClassVar[str] = "jacobian"
    citation: ClassVar[tuple[str, ...]] = (LABORIEUX_2024,)

    strength: Number | None = jacobian_strength_setting()
    probes: int = probes_setting()
    samples: int = samples_setting()
    shared_updates: bool | str = shared_updates_setting()
    feedback_only: bool | str = feedback_only_setting(False)
    norm_term: bool = flag(True, "Whether the term |Jε|² counts.")
    square_term: bool = flag(True, "Whether the term −εᵀJ²ε counts.")

    def __check_init__(self) -> None:
        if not (self.norm_term or self.square_term):
            raise InputError(
                "norm_term and square_term are both off: nothing is left of the loss", hint="use kind = 'none'"
            )

    def loss(self, system: System, batch: Batch, *, key: PRNGKeyArray) -> Float[Array, ""]:
        """The estimate of L_homeo/n: mean over probes and usable samples, at fixed state."""
        x, state = batch.sound()
        injection = system.injection(x)
        operator = in_metric(system, coupling(system, state, injection))
        exact = coupling_is_exact(system, state, injection)
        moments = probe_moments(operator, state, probes=self.probes, key=key, diagonal=exact)
        per_probe = jnp.zeros_like(moments.squared_norm)
        if self.norm_term:
            per_probe += moments.squared_norm
        if self.square_term:
            per_probe -= moments.trace_of_square
        return mean_over_usable(per_probe.mean(axis=0), batch.usable) / units(state)
