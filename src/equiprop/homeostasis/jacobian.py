"""A loss on the antisymmetric part of the Jacobian at equilibrium."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from equiprop.errors import InputError
from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._loss import AbstractLoss, check_probes, mean_over_usable, units
from equiprop.homeostasis._treatment import as_strength
from equiprop.homeostasis.strength import AbstractStrength
from equiprop.numerics import probe_moments
from equiprop.systems import System


class JacobianHomeostasis(AbstractLoss):
    """Adds the gradient of `strength`·L_homeo/n, L_homeo = E_ε[‖Jε‖² − εᵀJ²ε] = 2‖A‖²_F, ε ~ N(0, I), n units.

    From Laborieux & Zenke 2024 (arXiv 2309.02214). Two Jacobian-vector products a probe; the gradient is taken at fixed state.
    J is `system.coupling`: for networks ∂H/∂r, which differs from the Jacobian of the force by the leak, a symmetric diagonal
    that leaves A as it is and would only add noise; all in the metric of the mobility, where there is one.

    - `strength`: factor on the loss per unit.
    - `probes`: vectors ε per sample.
    - `samples`: how many samples of a batch are probed, the first ones; `0` for all. Where the coupling does not depend on the
      state (dense layers) more samples are nothing but more probes.
    - `shared_updates`, `feedback_only`: whether both weights of a pair learn alike, and whether only one of them is moved by the
      treatment, see `AbstractHomeostasis`.
    - `norm_term`, `square_term`: whether ‖Jε‖² and −εᵀJ²ε count. The first alone is the Jacobian regulariser of
      deep-equilibrium models (Bai et al. 2021, arXiv 2106.14342).
    """

    strength: AbstractStrength = eqx.field(default=1.0, converter=as_strength)
    probes: int = eqx.field(default=5, static=True)
    samples: int = eqx.field(default=0, static=True)
    shared_updates: bool | str = eqx.field(default=False, static=True)
    feedback_only: bool = eqx.field(default=False, static=True)
    norm_term: bool = eqx.field(default=True, static=True)
    square_term: bool = eqx.field(default=True, static=True)

    def __check_init__(self) -> None:
        check_probes(self.probes, self.samples)
        if not (self.norm_term or self.square_term):
            raise InputError("norm_term and square_term are both off: nothing is left of the loss; use kind = 'none'")

    def loss(self, system: System, batch: Batch, *, key: PRNGKeyArray) -> Float[Array, ""]:
        """The estimate of L_homeo/n: mean over probes and usable samples, at fixed state."""
        x, state = batch.sound()
        coupling = system.in_metric(system.coupling(state, system.injection(x)))
        moments = probe_moments(coupling, state, probes=self.probes, key=key)
        per_probe = jnp.zeros_like(moments.squared_norm)
        if self.norm_term:
            per_probe += moments.squared_norm
        if self.square_term:
            per_probe -= moments.trace_of_square
        return mean_over_usable(per_probe.mean(axis=0), batch.usable) / units(state)
