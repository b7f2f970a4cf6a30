"""Updates that are not what was asked for."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from equiprop.hardware._cells import normal, size_setting, uniform
from equiprop.numerics import Number, Settings, count, number


class Update(Settings):
    """What a cell at w makes of a change Δ that is asked for, all in units of full scale.

        w ← w + n·s·(1 ± a)·(1 ∓ k·w)·(1 + σ_d·z_±)·(1 + σ_c·z/√n) + σ_b·z′,   n = |Δ|/s

    with the upper signs for Δ > 0. Pulses of size s come in whole numbers n, rounded up with the probability of the rest, so that
    they are right on average. Going up takes another step than going down (a, the asymmetry), and a smaller one the nearer the
    end is (k, soft bounds: at k = 1 full scale is never passed). z_± and z′ are of the cell, z of the update. A bias σ_b·z′ that
    comes with every update, whatever is asked for, is what learning circuits report as their limit.
    """

    citation = (
        "Burr et al., Experimental demonstration and tolerancing of a large-scale neural network using phase-change memory as "
        "the synaptic weight element, IEEE Trans. Electron Devices 2015, doi:10.1109/TED.2015.2439635",
        "Dillavou et al., Machine learning without a processor: emergent learning in a nonlinear analog network, PNAS 2024, "
        "doi:10.1073/pnas.2319718121",
    )

    step: Number | None = size_setting("s, the change by one pulse, in units of full scale; 0 for any change.")
    most_pulses: int = count(0, "Pulses of one update at most; 0 for any number.", at_least=1, word=0, needs=("step",))
    asymmetry: Number | None = number(
        0.0, "a: by which part of the mean pulses up are larger, and pulses down smaller.", above=-1, below=1, word=0.0
    )
    nonlinearity: Number | None = size_setting(
        "k: by which part pulses are smaller at full scale, where they lead further out."
    )
    spread: Number | None = size_setting("σ_d, the standard deviation of the gains of cells about 1, up and down each.")
    variation: Number | None = size_setting(
        "σ_c, the standard deviation of one pulse about its mean, as part of that; of n pulses, by √n less; without pulses, of "
        "the update."
    )
    bias: Number | None = size_setting(
        "σ_b, the standard deviation of what each cell adds of its own to every update, in units of full scale."
    )

    @property
    def is_off(self) -> bool:
        sizes = (self.step, self.asymmetry, self.nonlinearity, self.spread, self.variation, self.bias)
        return all(size is None for size in sizes)

    def made_of(
        self, change: Float[Array, "..."], weight: Float[Array, "..."], *, cells: PRNGKeyArray, key: PRNGKeyArray
    ) -> Float[Array, "..."]:
        """What becomes of a change, both in units of full scale.

        **Arguments:**

        - `cells`: what the cells were made with.
        - `key`: of this update.
        """
        up_key, down_key, bias_key = jax.random.split(cells, 3)
        rounding_key, variation_key = jax.random.split(key)
        like, up = change.dtype, change > 0
        pulses = None
        if self.step is not None:
            step = jnp.asarray(self.step, like)
            pulses = jnp.floor(jnp.abs(change) / step + uniform(change, key=rounding_key))
            if self.most_pulses:
                pulses = jnp.minimum(pulses, self.most_pulses)
            change = jnp.sign(change) * pulses * step
        if self.asymmetry is not None:
            change *= 1 + jnp.where(up, 1, -1) * jnp.asarray(self.asymmetry, like)
        if self.nonlinearity is not None:
            change *= 1 - jnp.where(up, 1, -1) * jnp.asarray(self.nonlinearity, like) * weight
        if self.spread is not None:
            gains = jnp.where(up, normal(change, key=up_key), normal(change, key=down_key))
            change *= 1 + jnp.asarray(self.spread, like) * gains
        if self.variation is not None:
            many = 1 if pulses is None else jnp.maximum(pulses, 1)
            change *= 1 + jnp.asarray(self.variation, like) * normal(change, key=variation_key) / jnp.sqrt(many)
        if self.bias is not None:
            change += jnp.asarray(self.bias, like) * normal(change, key=bias_key)
        return change
