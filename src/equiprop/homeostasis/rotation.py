"""A loss on the rotation that asymmetry makes, not on asymmetry itself."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
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
from equiprop.numerics import Number, smallest_eigenvalue, solve_positive, trees
from equiprop.systems import System, symmetric_parts

# Of the space in which an indefinite S is looked for.
_KRYLOV_STEPS = 30


class RotationHomeostasis(AbstractJacobianHomeostasis):
    """Adds the gradient of `strength`·‖K̃‖²_F/n, ‖K̃‖²_F = −tr(S⁻¹A S⁻¹A) = E_ε[(A S⁻¹ε)ᵀ·(−S)⁻¹·Aε], n units.

    K̃ = L⁻¹A L⁻ᵀ with −S = L·Lᵀ: its singular values are the tangents of half the angles by which asymmetry turns the error
    vector, so this penalises what matters of ‖A‖ and no more, at the price of two solves with S a probe. Taken in the
    coordinates D^½JD^½, which leave K̃ as it is; the gradient is at fixed state. A sample whose S is not negative definite has
    no such angle: it is skipped and counted.
    """

    kind: ClassVar[str] = "rotation"
    citation: ClassVar[tuple[str, ...]] = (LABORIEUX_2024,)

    strength: Number | None = jacobian_strength_setting()
    probes: int = probes_setting()
    samples: int = samples_setting()
    shared_updates: bool | str = shared_updates_setting()
    feedback_only: bool | str = feedback_only_setting(False)

    def loss(self, system: System, batch: Batch, *, key: PRNGKeyArray) -> tuple[Float[Array, ""], Int[Array, ""]]:
        """The estimate of ‖K̃‖²_F/n, the mean over probes and samples that have one; and how many usable ones have none."""
        x, state = batch.sound()
        keys = jax.random.split(key, trees.batch_size(state))
        # Which samples have an angle must be known before differentiating: where S is indefinite, or infinite, the derivative
        # of the solves is anything, and times zero still NaN.
        rotations = jax.vmap(lambda *sample: self._rotation(system, *sample))
        injection = system.injection(x)
        values, solved = rotations(state, injection, keys)
        smallest = jax.vmap(lambda *sample: self._smallest_eigenvalue(system, *sample))(state, injection, keys)
        counted = batch.usable & jax.lax.stop_gradient(solved & (smallest > 0)) & jnp.isfinite(values)
        x, state, keys = trees.stand_in(counted, (x, state, keys))
        values, _ = rotations(state, system.injection(x), keys)
        skipped = jnp.sum(batch.usable & ~counted, dtype=jnp.int32)
        return mean_over_usable(values, counted) / units(state), skipped

    def gradient_of_usable(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        (loss, skipped), own = eqx.filter_value_and_grad(lambda theta: self.loss(theta, batch, key=key), has_aux=True)(
            system
        )
        return own, loss, skipped

    def _rotation(
        self, system: System, state: PyTree, injection: Any, key: PRNGKeyArray
    ) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        """The estimate of ‖K̃‖²_F of one sample, and whether the solves with −S converged, as they do if it is positive."""
        minus_s, a = symmetric_parts(system, state, injection)
        size = _units_of_one(state)
        solver = lx.CG(rtol=0.0, atol=1e-4 * size**-0.5, max_steps=100)

        def one(probe_key: PRNGKeyArray) -> tuple[Array, Array]:
            epsilon = jax.random.normal(probe_key, (size,), trees.dtype_of(state))
            turned = a(epsilon)
            y, z = jax.vmap(lambda v: solve_positive(minus_s, v, solver))(jnp.stack([turned, epsilon]))
            residual = jnp.linalg.norm(minus_s(z) - epsilon) / jnp.linalg.norm(epsilon)
            return a(z) @ y, (residual < 1e-2) & (z @ epsilon > 0) & (y @ turned >= 0)

        values, sound = jax.vmap(one)(jax.random.split(jax.random.split(key)[1], self.probes))
        return values.mean(), sound.all()

    def _smallest_eigenvalue(
        self, system: System, state: PyTree, injection: Any, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """Of −S of one sample, as a Krylov space sees it."""
        minus_s, _ = symmetric_parts(system, state, injection)
        start = jax.random.normal(jax.random.split(key)[0], (_units_of_one(state),), trees.dtype_of(state))
        return smallest_eigenvalue(minus_s, start, _KRYLOV_STEPS)


def _units_of_one(state: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(state))
