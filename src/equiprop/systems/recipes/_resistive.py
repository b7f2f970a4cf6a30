"""Networks of resistors and diodes."""

from collections.abc import Sequence
from typing import Any, ClassVar

from jaxtyping import PRNGKeyArray

from equiprop.errors import InputError
from equiprop.numerics import as_key, constant, counts, text
from equiprop.systems._resistive import ResistiveNetwork
from equiprop.systems.recipes._recipe import AbstractRecipe, Shape, units


class Resistive(AbstractRecipe):
    """Layers of nodes with crossbars of conductances between them, diodes at hidden nodes, and bidirectional amplifiers."""

    kind: ClassVar[str] = "resistive"
    label: ClassVar[str] = "network of resistors and diodes"
    citation: ClassVar[tuple[str, ...]] = (
        "Kendall et al., Training end-to-end analog neural networks with equilibrium propagation, 2020, arXiv:2006.01981",
    )

    hidden: Sequence[int] = counts((64,), "Nodes of each hidden layer.")
    amplification: float = constant(
        4.0, "By how much voltages are higher for the next layer, and currents smaller for the one before.", above=0
    )
    diode_current: float = constant(
        5e-3,
        "Twice the saturation current of a diode, over the conductance of its node, in volts; 0 for no diodes.",
        at_least=0,
    )
    diode_voltage: float = constant(
        0.05,
        "Thermal voltage of a diode times its emission coefficient, in volts; 26 mV is an ideal one at 27 °C.",
        above=0,
    )
    smallest: float = constant(
        1e-3, "The smallest conductance, in units of the mean of those that a new network has.", above=0
    )
    largest: float = constant(10.0, "The largest, in the same unit.", above=0)
    cost: str = text(
        "squared_error", "softmax_readout (trainable), softmax_cross_entropy or squared_error; or file.py:Class."
    )

    def create(self, inputs: Shape, outputs: int, *, key: PRNGKeyArray, dtype: Any = None) -> ResistiveNetwork:
        for size in self.hidden:
            if size < 1:
                raise InputError("every layer needs at least 1 node", path="hidden", value=list(self.hidden))
        if self.smallest >= self.largest:
            raise InputError("must be below largest", path="smallest", value=self.smallest)
        return ResistiveNetwork.create(
            units(inputs),
            self.hidden,
            outputs,
            classes=outputs,
            key=key,
            cost=self.cost,
            amplification=self.amplification,
            diode_current=self.diode_current,
            diode_voltage=self.diode_voltage,
            smallest=self.smallest,
            largest=self.largest,
            dtype=dtype,
        )


def resistive(
    inputs: int, hidden: Sequence[int], outputs: int, *, key: PRNGKeyArray | int, dtype: Any = None, **settings: Any
) -> ResistiveNetwork:
    """A network of resistors, diodes and amplifiers, which relaxes by Kirchhoff's laws.

    **Arguments:**

    - `key`: of the first weights; or a seed.
    - `settings`: the other fields of `Resistive`: `amplification`, `diode_current`, `diode_voltage`, `smallest`, `largest` and
      `cost`.
    """
    return Resistive(hidden, **settings).create((inputs,), outputs, key=as_key(key), dtype=dtype)
