"""Imperfect devices: what a system is built on, and what that makes of it."""

from equiprop.hardware import netlists as netlists
from equiprop.hardware._cells import AbstractCells as AbstractCells
from equiprop.hardware._chip import Chip as Chip
from equiprop.hardware._device import AbstractDevice as AbstractDevice
from equiprop.hardware._device import Device as Device
from equiprop.hardware._device import Perfect as Perfect
from equiprop.hardware._inputs import Inputs as Inputs
from equiprop.hardware._monte_carlo import MonteCarlo as MonteCarlo
from equiprop.hardware._monte_carlo import monte_carlo as monte_carlo
from equiprop.hardware._phase_coded import PhaseCoded as PhaseCoded
from equiprop.hardware._phase_coding import PhaseCoding as PhaseCoding
from equiprop.hardware._readout import Readout as Readout
from equiprop.hardware._safe_frequency import SafeFrequency as SafeFrequency
from equiprop.hardware._safe_frequency import safe_frequency as safe_frequency
from equiprop.hardware._timing import Timing as Timing
from equiprop.hardware._transient import Transient as Transient
from equiprop.hardware._transient import transient as transient
from equiprop.hardware._units import Units as Units
from equiprop.hardware._update import Update as Update
from equiprop.hardware.drift import Drift as Drift
from equiprop.hardware.good_cmos import GoodCMOS as GoodCMOS
from equiprop.hardware.lines import Lines as Lines
from equiprop.hardware.mismatch import Mismatch as Mismatch
from equiprop.hardware.poor_memristor import PoorMemristor as PoorMemristor
from equiprop.hardware.programming import Programming as Programming
from equiprop.hardware.quantisation import Quantisation as Quantisation
from equiprop.hardware.stuck import Stuck as Stuck
from equiprop.hardware.weight_range import WeightRange as WeightRange
from equiprop.kinds import Family

DEVICES = Family("device", __name__, f"{__name__}:AbstractDevice")
