"""How a system moves under its force, beside where it comes to rest."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


class Dynamics(eqx.Module):
    """τ·u̇ = s·tanh(F/s), with what arrives at a unit lagging behind what others pass on.

    A wire is a chain of poles, T₁·q̇₁ = r − q₁, T₂·q̇₂ = q₁ − q₂ and so on, of which the last arrives. None of this moves an
    equilibrium.

    **Fields:**

    - `time_constants`: τ, in the structure of the state with a batch axis of one, or a number for all units.
    - `slew`: s, the largest force by which a unit moves; `None` for any.
    - `poles`: T₁, T₂, ..., in the unit of τ.
    - `noise`: the standard deviation that white noise makes of a unit whose leak is 1 and to which nothing is connected.
    """

    time_constants: PyTree = 1.0
    slew: Float[Array, ""] | None = None
    poles: tuple[Float[Array, ""], ...] = ()
    noise: Float[Array, ""] | None = None

    @property
    def slowest(self) -> Float[Array, ""]:
        """The largest time constant of a unit."""
        return jnp.max(self._all)

    @property
    def fastest(self) -> Float[Array, ""]:
        """The smallest time constant of a unit."""
        return jnp.min(self._all)

    @property
    def _all(self) -> Float[Array, " units"]:
        return jnp.concatenate([jnp.ravel(jnp.asarray(t)) for t in jax.tree.leaves(self.time_constants)])

    def of_units(self, state: PyTree) -> PyTree:
        """τ of every unit, in the precision of the state."""
        leaves = jax.tree.leaves(self.time_constants)
        tau = jax.tree.map(lambda _: leaves[0], state) if len(leaves) == 1 else self.time_constants
        return jax.tree.map(lambda t, u: jnp.asarray(t, u.real.dtype), tau, state)

    def velocity(self, force: PyTree) -> PyTree:
        """u̇ under a force. Of a complex one real and imaginary parts are limited each by itself, as two channels are."""
        return jax.tree.map(lambda f, t: self._limited(f) / t, force, self.of_units(force))

    def noise_over(self, duration: Float[Array, ""], like: PyTree) -> PyTree | None:
        """The standard deviation of what white noise adds to each unit in a time, σ·√(1 − e^(−2t/τ)); `None` without noise."""
        if self.noise is None:
            return None
        return jax.tree.map(
            lambda t: jnp.asarray(self.noise, t.dtype) * jnp.sqrt(-jnp.expm1(-2 * duration.astype(t.dtype) / t)),
            self.of_units(like),
        )

    def _limited(self, force: Array) -> Array:
        if self.slew is None:
            return force
        s = jnp.asarray(self.slew, force.real.dtype)
        if jnp.iscomplexobj(force):
            return jax.lax.complex(s * jnp.tanh(force.real / s), s * jnp.tanh(force.imag / s))
        return s * jnp.tanh(force / s)
