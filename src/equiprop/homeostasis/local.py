"""Homeostasis that each connection can do from its two ends: clamped probes, and no derivatives of the network."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._loss import check_probes, mean_over_usable, units
from equiprop.homeostasis._pairs import AbstractHomeostasis
from equiprop.homeostasis._treatment import as_strength, none_skipped
from equiprop.homeostasis.strength import AbstractStrength
from equiprop.numerics import normal_like, trees
from equiprop.systems import System


class LocalHomeostasis(AbstractHomeostasis):
    """An unbiased, derivative-free estimate of the gradient of `strength`·L_homeo/n, L_homeo = 2‖A‖²_F.

    The activities are clamped at r* ± h·z, z ~ N(0, I), and v = Jz is read off the change of the force that arrives,
    (F(r* + hz) − F(r* − hz))/2h. Since E[v_i z_j − z_i v_j] = J_ij − J_ji, the change (2/n)·(v_i z_j − z_i v_j) of J_ij is on
    average the gradient: each connection needs what its two ends do in the two clamped phases, and nothing else. A second
    pair of phases clamps v in the place of z, so that the rule serves any dependence of J on the parameters.

    - `strength`: factor on the loss per unit.
    - `probes`: vectors z per sample.
    - `samples`: how many samples of a batch are probed, the first ones; `0` for all.
    - `shared_updates`, `feedback_only`: whether both weights of a pair learn alike, and whether only one of them is moved by the
      treatment, see `AbstractHomeostasis`.
    - `step`: h, in units of the activity.
    """

    strength: AbstractStrength = eqx.field(default=1.0, converter=as_strength)
    probes: int = eqx.field(default=5, static=True)
    samples: int = eqx.field(default=0, static=True)
    shared_updates: bool | str = eqx.field(default=False, static=True)
    feedback_only: bool = eqx.field(default=False, static=True)
    step: float = eqx.field(default=0.1, static=True)

    def __check_init__(self) -> None:
        check_probes(self.probes, self.samples)
        if not 0 < self.step < float("inf"):
            raise InputError(f"step = {self.step}: must be a finite number above 0")

    def part_of(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        x, state = batch.sound()
        activity, n = system.activity(state), units(state)

        def change(theta: System, direction: PyTree) -> PyTree:
            """(F(r* + h·direction) − F(r* − h·direction))/2h, with the activities clamped there; in the metric."""
            injection = theta.injection(x)

            def read(direction: PyTree) -> PyTree:
                up, down = (
                    theta.clamped_force(
                        jax.tree.map(lambda r, d, s=sign: r + s * self.step * d, activity, direction), injection
                    )
                    for sign in (1, -1)
                )
                return jax.tree.map(lambda a, b: (a - b) / (2 * self.step), up, down)

            return theta.in_metric(read)(direction)

        def one(probe_key: PRNGKeyArray) -> tuple[PyTree, Array]:
            z = normal_like(activity, key=probe_key)
            v = change(system, z)

            @eqx.filter_grad
            def update(theta: System) -> Array:
                forward, backward = trees.inner(v, change(theta, z)), trees.inner(z, change(theta, v))
                return mean_over_usable(forward - backward, batch.usable)

            # ‖v‖² − zᵀJv is the loss itself.
            loss = mean_over_usable(trees.squared_norm(v) - trees.inner(z, change(system, v)), batch.usable)
            return update(system), loss

        updates, losses = jax.lax.map(one, jax.random.split(key, self.probes))
        own = jax.tree.map(lambda g: 2 * g.mean(axis=0) / n, updates)
        return own, losses.mean() / n, none_skipped()
