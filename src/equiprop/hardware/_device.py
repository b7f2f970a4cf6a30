"""What a device is: one object with everything that is not perfect about it."""

import abc
from typing import Any, ClassVar

from jaxtyping import PRNGKeyArray

from equiprop.errors import InputError
from equiprop.hardware._cells import AbstractCells
from equiprop.hardware._chip import Chip
from equiprop.hardware._inputs import Inputs
from equiprop.hardware._phase_coded import PhaseCoded
from equiprop.hardware._phase_coding import PhaseCoding
from equiprop.hardware._readout import Readout
from equiprop.hardware._timing import Timing
from equiprop.hardware._units import Units
from equiprop.hardware._update import Update
from equiprop.hardware.drift import Drift
from equiprop.hardware.lines import Lines
from equiprop.hardware.mismatch import Mismatch
from equiprop.hardware.programming import Programming
from equiprop.hardware.quantisation import Quantisation
from equiprop.hardware.stuck import Stuck
from equiprop.hardware.weight_range import WeightRange
from equiprop.numerics import Number, Settings, as_key, choice, count, number, part
from equiprop.systems import System


class AbstractDevice(Settings):
    """What a system is built on."""

    @property
    @abc.abstractmethod
    def is_perfect(self) -> bool:
        """Whether nothing is wrong with it."""

    @abc.abstractmethod
    def instance(self, system: Any, seed: "int | PRNGKeyArray | None" = None, *, x: Any = None) -> Chip | PhaseCoded:
        """A chip: the system on a device that was made once, by lot; with states that are coded, where the device codes them.

        **Arguments:**

        - `seed`: of the lot; by default that of the device.
        - `x`: a batch of inputs, from which follows how many units there are. A layered network knows that by itself.

        Raises `InputError` for what is no system, and for units that differ where it is not known how many there are; and when
        first used, of units that have gains or saturate, for a system that does not say what its leak is.
        """


class Device(AbstractDevice):
    """A device with everything that is not perfect about it.

    With its defaults nothing is, and a chip computes bit for bit as the system.

    Weights, that is parameters of two axes or more but for those of the cost, are held by cells: what is asked for is put on
    levels (`quantisation`), written (`programming`), multiplied and shifted by what the cell is like (`mismatch`, `stuck`), and
    fades (`drift`); currents are lost on their way (`lines`). All other parameters are as they are asked for.

    To make a device of your own, give it parts, or subclass it with other defaults; a subclass with a field of the class
    `AbstractCells` has one more thing that is wrong with its cells, which acts after those named here.
    """

    kind: ClassVar[str] = "device"

    seed: int | str = count(
        "auto",
        "By which lot chips are drawn; auto: another one for every seed of a training, the first where none is given.",
        at_least=0,
        word="auto",
    )
    full_scale: Number | None = number(
        "auto",
        "The largest weight that a cell holds, in units of the weights; auto: of each array, by its largest weight when the chip "
        "is made.",
        above=0,
        word="auto",
    )
    headroom: Number = number(
        2.0, "What full_scale = auto is, in units of that largest weight.", above=0, needs=("full_scale=auto",)
    )
    quantisation: Quantisation = part(Quantisation, "Levels of weights.")
    programming: Programming = part(Programming, "Noise of writing.")
    mismatch: Mismatch = part(Mismatch, "Gains and offsets of cells.")
    stuck: Stuck = part(Stuck, "Cells that cannot be written.")
    weight_range: WeightRange = part(WeightRange, "The least and the most that a cell holds.")
    drift: Drift = part(Drift, "Weights that fade.")
    lines: Lines = part(Lines, "Wires with a resistance.")
    units: Units = part(Units, "Gains, offsets and saturation of units.")
    timing: Timing = part(Timing, "Time constants, slew, delays, poles of wires and noise in time.")
    inputs: Inputs = part(Inputs, "Converters of inputs.")
    readout: Readout = part(Readout, "Noise and converters of what is read.")
    coding: PhaseCoding = part(PhaseCoding, "How complex numbers are held.")
    update: Update = part(Update, "What becomes of updates.")
    backward: str = choice(
        "device",
        "Where responses are measured: on the device, or on an ideal one at the equilibria that the device finds.",
        "device",
        "ideal",
    )

    @property
    def cells(self) -> dict[str, AbstractCells]:
        """What may be wrong with its cells, in the order in which it acts."""
        return {name: each for name, each in vars(self).items() if isinstance(each, AbstractCells)}

    @property
    def _parts(self) -> tuple[Any, ...]:
        """What may be wrong with it."""
        return (*self.cells.values(), self.units, self.timing, self.inputs, self.readout, self.coding, self.update)

    @property
    def is_perfect(self) -> bool:
        return all(part.is_off for part in self._parts)

    def __check_init__(self) -> None:
        if self.backward == "ideal" and not self.coding.is_off:
            hint = "leave one of the two out"
            raise InputError("an ideal device needs no coding to measure a response", path="backward", hint=hint)

    def instance(self, system: Any, seed: "int | PRNGKeyArray | None" = None, *, x: Any = None) -> Chip | PhaseCoded:
        if not isinstance(system, System):
            raise InputError(
                f"must be a system such as ep.mlp(...) or ep.from_force(...), not {system!r}", path="system"
            )
        if seed is None:
            seed = 0 if isinstance(self.seed, str) else self.seed
        chip = Chip.make(self, system, as_key(seed, "seed"), x)
        return chip if self.coding.is_off else self.coding.of(chip)

    def cited(self) -> tuple[str, ...]:
        papers = (paper for part in self._parts if not part.is_off for paper in part.cited())
        return tuple(dict.fromkeys((*self.citation, *papers)))


class Perfect(AbstractDevice):
    """A device that does what is asked for."""

    kind: ClassVar[str] = "perfect"

    @property
    def is_perfect(self) -> bool:
        return True

    def instance(self, system: Any, seed: "int | PRNGKeyArray | None" = None, *, x: Any = None) -> Chip | PhaseCoded:
        return Device().instance(system, seed, x=x)
