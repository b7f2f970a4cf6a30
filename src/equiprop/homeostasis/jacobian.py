"""A loss on the antisymmetric part of the Jacobian at equilibrium."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.homeostasis._treatment import AbstractTreatment
from equiprop.numerics import probe_moments, trees
from equiprop.systems import System


class JacobianHomeostasis(AbstractTreatment):
    """Adds the gradient of `strength`·L_homeo/n, L_homeo = E_ε[‖Jε‖² − εᵀJ²ε] = 2‖A‖²_F, ε ~ N(0, I), n units.

    From Laborieux & Zenke 2024 (arXiv 2309.02214). Two Jacobian-vector products a probe; the gradient is taken at fixed state.
    J is `system.coupling`: for networks ∂H/∂r, which differs from the Jacobian of the force by the leak, a symmetric diagonal
    that leaves A as it is and would only add noise.

    - `strength`: factor on the loss per unit.
    - `probes`: vectors ε per sample.
    - `samples`: how many samples of a batch are probed, the first ones; `0` for all. Where the coupling does not depend on the
      state (dense layers) more samples are nothing but more probes.
    - `norm_term`, `square_term`: whether ‖Jε‖² and −εᵀJ²ε count. The first alone is the Jacobian regulariser of
      deep-equilibrium models (Bai et al. 2021, arXiv 2106.14342).
    """

    strength: float = eqx.field(default=1.0, static=True)
    probes: int = eqx.field(default=5, static=True)
    samples: int = eqx.field(default=0, static=True)
    norm_term: bool = eqx.field(default=True, static=True)
    square_term: bool = eqx.field(default=True, static=True)

    def __check_init__(self) -> None:
        if not self.strength >= 0:
            raise InputError(f"strength = {self.strength}: must be at least 0")
        if self.probes < 1:
            raise InputError(f"probes = {self.probes}: must be at least 1")
        if self.samples < 0:
            raise InputError(f"samples = {self.samples}: must be at least 1, or 0 for the whole batch")
        if not (self.norm_term or self.square_term):
            raise InputError("norm_term and square_term are both off: nothing is left of the loss; use kind = 'none'")

    def loss(
        self, system: System, x: Any, state: PyTree, usable: Bool[Array, " batch"] | None = None, *, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """The estimate of L_homeo/n: mean over probes and usable samples. `x` and `state` are batches; state is held fixed."""
        n = self.samples or trees.batch_size(state)
        x, state = jax.tree.map(lambda a: a[:n], (x, jax.lax.stop_gradient(state)))
        usable = jnp.ones(n, bool) if usable is None else usable[:n]
        state = jax.tree.map(lambda a: jnp.where(trees.per_sample(usable, a), a, jnp.zeros_like(a)), state)
        moments = probe_moments(system.coupling(state, system.input_drive(x)), state, probes=self.probes, key=key)
        per_probe = jnp.zeros_like(moments.squared_norm)
        if self.norm_term:
            per_probe += moments.squared_norm
        if self.square_term:
            per_probe -= moments.trace_of_square
        weight = usable.astype(per_probe.dtype)
        units = sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(state))
        return jnp.sum(per_probe.mean(axis=0) * weight) / jnp.maximum(weight.sum(), 1) / units

    def treat(
        self,
        gradient: PyTree,
        system: System,
        x: Any,
        state: PyTree,
        usable: Bool[Array, " batch"],
        *,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, Array]:
        loss, own = eqx.filter_value_and_grad(lambda theta: self.loss(theta, x, state, usable, key=key))(system)
        return jax.tree.map(lambda g, h: g + self.strength * h, gradient, own), loss
