"""Sweeps of one block of the system after the other."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from equiprop.numerics import Number
from equiprop.solvers._paced import AbstractPaced, damping_setting, low_precision_setting
from equiprop.solvers._sweeps import block_by_block
from equiprop.systems import AbstractField

# The slowest fall, and the largest μ², that are believed: a factor chosen for more would overshoot for everything else.
_SLOWEST = 0.9


class GaussSeidel(AbstractPaced):
    """u_c ← u_c + ω·F_c(u) for one block c of the system after the other, each seeing the new state of the last.

    The blocks are the colour classes of the network's graph, so that within a block no unit acts on another: for a chain, the
    even and the odd layers. With symmetric weights every such update at 0 < ω < 2 descends the energy.

    With `damping = "auto"` every sample has an ω of its own, found on the way. Of two colour classes, a force that
    falls by λ a sweep means μ² = (λ + ω − 1)²/(λω²) for the largest μ of the synchronous iteration, and the best factor
    is then ω = 2/(1 + √(1 − μ²)): successive over-relaxation (Young 1954, Trans. AMS 76, 92). A sample whose force does not
    fall goes back to ω = 1, and is damped if it does not fall there either. The phases of a sample share their factor. A
    system of a single block is never over-relaxed.
    """

    kind: ClassVar[str] = "gauss_seidel"
    label: ClassVar[str] = "Gauss-Seidel"
    remedy: ClassVar[str] = "damp them by damping = 0.5, or extrapolate by Anderson's method"

    damping: Number | None = damping_setting(
        "auto", "Fraction of the old state that a sweep keeps, 1 − ω; auto: longer or shorter steps sample by sample."
    )
    low_precision_start: str = low_precision_setting()

    def sweep_at(
        self, field: AbstractField, state: PyTree, factor: float | Array
    ) -> tuple[PyTree, Float[Array, " batch"]]:
        return block_by_block(field, state, factor)

    def better_factor(self, field: AbstractField, factor: Array, ratio: Array) -> Array:
        if len(field.blocks) < 2:
            return factor
        fall = jnp.clip(ratio, 1e-3, _SLOWEST)
        mu_squared = jnp.clip((fall + factor - 1) ** 2 / (fall * factor**2), 0, _SLOWEST)
        best = 2 / (1 + jnp.sqrt(1 - mu_squared))
        # Past the best factor the force falls by ω − 1 whatever μ, and says nothing about it.
        return jnp.where(ratio < 1.05 * (factor - 1), factor, best)
