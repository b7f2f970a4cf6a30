"""What reads a chip."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree

from equiprop.hardware._cells import size_setting
from equiprop.hardware._levels import bits_setting, on_levels, range_setting, steps_of
from equiprop.numerics import Number, Settings, count, normal_like


class Readout(Settings):
    """Noise on every reading of an activity, then analog-to-digital converters; the mean over some readings counts.

    The response to a nudge is read as a difference of activities, and so is as uncertain as they are. Relaxation itself, which
    is not read, goes on without noise.
    """

    noise: Number | None = size_setting("Standard deviation of one reading of an activity, in units of the activity.")
    bits: int = bits_setting("Bits of a reading.")
    range: Number = range_setting("The largest activity that can be read, in units of the activity.")
    repeats: int = count(1, "Readings of every activity, of which the mean counts.", needs=("noise",))

    @property
    def is_off(self) -> bool:
        return self.noise is None and not self.bits

    def read(self, activity: PyTree, *, key: PRNGKeyArray) -> PyTree:
        """What is read of activities, real and imaginary parts each."""

        def once(key: PRNGKeyArray) -> PyTree:
            found = activity if self.noise is None else _noisy(activity, self.noise, key)
            if not self.bits:
                return found
            return jax.tree.map(lambda r: on_levels(r, self.bits, self.range), found)

        if self.repeats == 1:
            return once(key)
        read = jax.vmap(once)(jax.random.split(key, self.repeats))
        return jax.tree.map(lambda a: a.mean(axis=0), read)

    @property
    def error(self) -> Any:
        """The standard deviation of what is read: that of the noise, and of even errors within a level, √(σ² + ε²/12)/√n."""
        noise = 0.0 if self.noise is None else self.noise
        step = self.range / steps_of(self.bits) if self.bits else 0.0
        return jnp.sqrt((jnp.square(noise) + jnp.square(step) / 12) / self.repeats)


def _noisy(activity: PyTree, size: Any, key: PRNGKeyArray) -> PyTree:
    drawn = normal_like(activity, key=key)
    return jax.tree.map(lambda r, z: r + jnp.asarray(size, z.real.dtype) * z, activity, drawn)
