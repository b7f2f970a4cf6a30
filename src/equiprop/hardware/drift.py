"""Weights that fade."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from equiprop.hardware._cells import AbstractCells, normal, size_setting
from equiprop.numerics import Number, number

_FALLS = ("exponent or spread",)


class Drift(AbstractCells):
    """w·((t₀ + t)/t₀)^(−ν) with an exponent ν = max(ν₀ + σ_ν·z, 0) for each cell: the power law of phase-change memory."""

    citation: ClassVar[tuple[str, ...]] = (
        "Le Gallo et al., Collective structural relaxation in phase-change memory devices, Adv. Electron. Mater. 2018, "
        "doi:10.1002/aelm.201700627",
    )

    exponent: Number | None = size_setting("ν₀, the mean exponent with which a weight falls.")
    spread: Number | None = size_setting("Standard deviation of the exponents of cells.")
    time: Number = number(
        0.0, "Seconds since weights were written at which the chip is looked at.", at_least=0, needs=_FALLS
    )
    reference_time: Number = number(
        1.0, "t₀, the seconds after writing at which a weight is as it was meant.", above=0, needs=_FALLS
    )

    @property
    def is_off(self) -> bool:
        return self.exponent is None and self.spread is None

    def draw(self, weight: Array, *, key: PRNGKeyArray) -> PyTree:
        return normal(weight, key=key)

    def stored(self, weight: Array, drawn: PyTree) -> Array:
        mean, spread, time, reference = (
            jnp.asarray(0 if n is None else n, weight.dtype)
            for n in (self.exponent, self.spread, self.time, self.reference_time)
        )
        return weight * (1 + time / reference) ** -jnp.maximum(mean + spread * drawn, 0)
