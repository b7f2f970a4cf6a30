"""Systems as circuits: netlists for SPICE simulators, and ngspice beside what is computed here."""

from equiprop.hardware.netlists._check import CircuitCheck as CircuitCheck
from equiprop.hardware.netlists._check import check_circuit as check_circuit
from equiprop.hardware.netlists._circuit import Circuit as Circuit
from equiprop.hardware.netlists._circuit import transient as transient
from equiprop.hardware.netlists._netlist import COUPLINGS as COUPLINGS
from equiprop.hardware.netlists._netlist import circuit_of as circuit_of
from equiprop.hardware.netlists._netlist import netlist as netlist
from equiprop.hardware.netlists._ngspice import read_raw as read_raw
from equiprop.hardware.netlists._ngspice import simulate as simulate
from equiprop.hardware.netlists._ngspice import version as version
