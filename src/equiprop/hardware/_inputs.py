"""What brings inputs to a chip."""

from typing import Any

import equinox as eqx
import jax

from equiprop.hardware._levels import bits_setting, in_place_of, on_levels, range_setting
from equiprop.numerics import Number, Settings


class Inputs(Settings):
    """Digital-to-analog converters; inputs beyond their range end there. Gradients for the inputs are as if there were none."""

    bits: int = bits_setting("Bits of an input.")
    range: Number = range_setting("The largest input, in units of the inputs.")

    @property
    def is_off(self) -> bool:
        return not self.bits

    def brought(self, x: Any) -> Any:
        """What arrives of inputs; whole numbers, which are no voltages, as they are."""
        if self.is_off:
            return x
        return jax.tree.map(
            lambda a: in_place_of(a, on_levels(a, self.bits, self.range)) if eqx.is_inexact_array(a) else a, x
        )
