"""What relaxes: layered networks on any directed graph, energies, and bare force functions."""

from equiprop.systems._flat import flat_operator as flat_operator
from equiprop.systems._flat import force_of_one as force_of_one
from equiprop.systems._flat import symmetric_parts as symmetric_parts
from equiprop.systems._force import FunctionSystem as FunctionSystem
from equiprop.systems._force import from_energy as from_energy
from equiprop.systems._force import from_force as from_force
from equiprop.systems._layered import LayeredNetwork as LayeredNetwork
from equiprop.systems._nudged import Nudged as Nudged
from equiprop.systems._nudged import nudged as nudged
from equiprop.systems._presets import loop_network as loop_network
from equiprop.systems._presets import mlp as mlp
from equiprop.systems._system import Block as Block
from equiprop.systems._system import System as System
from equiprop.systems._system import population_names as population_names
from equiprop.systems._topology import INPUT as INPUT
from equiprop.systems._topology import Connection as Connection
from equiprop.systems._topology import Population as Population
from equiprop.systems._topology import Topology as Topology
from equiprop.systems._topology import chain as chain
from equiprop.systems._topology import loop as loop
from equiprop.systems._wrapped import Wrapped as Wrapped
from equiprop.systems._wrapped import only_block as only_block
