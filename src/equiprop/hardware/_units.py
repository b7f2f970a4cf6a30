"""Amplifiers that are not alike."""

from equiprop.hardware._cells import size_setting
from equiprop.numerics import Number, Settings, number


class Units(Settings):
    """F = (1 + σ_g·z)·H(r) + σ_o·z′ − ℓ(u) with z, z′ ~ N(0, 1) for each unit, once and for all; and r = φ(s·tanh(u/s)).

    What a unit adds up it multiplies by a gain of its own, and to that comes an offset of its own. A unit that saturates cannot
    pass on more than ±s, smoothly, so that the response stays analytic.
    """

    gain: Number | None = size_setting("Standard deviation of the gains of units about 1.")
    offset: Number | None = size_setting("Standard deviation of the offsets of units, in units of the force.")
    saturation: Number | None = number(
        float("inf"),
        "s, the largest state that a unit passes on, in units of the state; inf for any.",
        above=0,
        word=float("inf"),
    )

    @property
    def is_off(self) -> bool:
        return self.gain is None and self.offset is None and self.saturation is None
