"""Homeostasis that each connection can do from its two ends: clamped probes, and no derivatives of the network."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._homeostasis import none_skipped
from equiprop.homeostasis._loss import mean_over_usable, units
from equiprop.homeostasis._of_jacobian import (
    AbstractJacobianHomeostasis,
    feedback_only_setting,
    jacobian_strength_setting,
    probes_setting,
    samples_setting,
    shared_updates_setting,
)
from equiprop.homeostasis._papers import LABORIEUX_2024
from equiprop.numerics import Number, normal_like, number, trees
from equiprop.systems import System, clamped_force, in_metric


class LocalHomeostasis(AbstractJacobianHomeostasis):
    """An unbiased, derivative-free estimate of the gradient of `strength`·L_homeo/n, L_homeo = 2‖A‖²_F.

    The activities are clamped at r* ± h·z, z ~ N(0, I), and v = Jz is read off the change of the force that arrives,
    (F(r* + hz) − F(r* − hz))/2h. Since E[v_i z_j − z_i v_j] = J_ij − J_ji, the change (2/n)·(v_i z_j − z_i v_j) of J_ij is on
    average the gradient: each connection needs what its two ends do in the two clamped phases, and nothing else. A second
    pair of phases clamps v in the place of z, so that the rule serves any dependence of J on the parameters.
    """

    kind: ClassVar[str] = "local"
    citation: ClassVar[tuple[str, ...]] = (LABORIEUX_2024,)

    strength: Number | None = jacobian_strength_setting()
    probes: int = probes_setting()
    samples: int = samples_setting()
    shared_updates: bool | str = shared_updates_setting()
    feedback_only: bool | str = feedback_only_setting(False)
    step: Number = number(0.1, "How far activities are clamped from equilibrium, h, in units of the activity.", above=0)

    def gradient_of_usable(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        x, state = batch.sound()
        activity, n = system.activity(state), units(state)
        h = jnp.asarray(self.step, trees.dtype_of(state))

        def change(theta: System, direction: PyTree) -> PyTree:
            """(F(r* + h·direction) − F(r* − h·direction))/2h, with the activities clamped there; in the metric."""
            injection = theta.injection(x)

            def read(direction: PyTree) -> PyTree:
                up, down = (
                    clamped_force(
                        theta, jax.tree.map(lambda r, d, s=sign: r + s * h * d, activity, direction), injection
                    )
                    for sign in (1, -1)
                )
                return jax.tree.map(lambda a, b: (a - b) / (2 * h), up, down)

            return in_metric(theta, read)(direction)

        def one(probe_key: PRNGKeyArray) -> tuple[PyTree, Array]:
            z = normal_like(activity, key=probe_key)
            v = change(system, z)

            @eqx.filter_grad
            def update(theta: System) -> Array:
                forward, backward = (trees.inner(a, change(theta.believed, b)) for a, b in ((v, z), (z, v)))
                return mean_over_usable(forward - backward, batch.usable)

            # ‖v‖² − zᵀJv is the loss itself.
            loss = mean_over_usable(trees.squared_norm(v) - trees.inner(z, change(system, v)), batch.usable)
            return update(system), loss

        updates, losses = jax.lax.map(one, jax.random.split(key, self.probes))
        own = jax.tree.map(lambda g: 2 * g.mean(axis=0) / n, updates)
        return own, losses.mean() / n, none_skipped()
