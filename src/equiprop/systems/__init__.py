"""What relaxes: layered networks on any directed graph, energies, and bare force functions."""

from equiprop.systems._chains import Stage as Stage
from equiprop.systems._chains import chain as chain
from equiprop.systems._chains import convolutional as convolutional
from equiprop.systems._chains import loop as loop
from equiprop.systems._coding import AbstractCoding as AbstractCoding
from equiprop.systems._displaced import Anchor as Anchor
from equiprop.systems._displaced import Displaced as Displaced
from equiprop.systems._displaced import tells_differences as tells_differences
from equiprop.systems._dynamics import Dynamics as Dynamics
from equiprop.systems._field import AbstractField as AbstractField
from equiprop.systems._field import Free as Free
from equiprop.systems._field import Nudged as Nudged
from equiprop.systems._field import only_block as only_block
from equiprop.systems._force import FunctionSystem as FunctionSystem
from equiprop.systems._force import from_energy as from_energy
from equiprop.systems._force import from_force as from_force
from equiprop.systems._layered import LayeredNetwork as LayeredNetwork
from equiprop.systems._linearise import balanced_jacobian as balanced_jacobian
from equiprop.systems._linearise import clamped_force as clamped_force
from equiprop.systems._linearise import correct as correct
from equiprop.systems._linearise import cost_gradient as cost_gradient
from equiprop.systems._linearise import coupling as coupling
from equiprop.systems._linearise import coupling_is_exact as coupling_is_exact
from equiprop.systems._linearise import error_vector_of as error_vector_of
from equiprop.systems._linearise import flat_operator as flat_operator
from equiprop.systems._linearise import force_of_one as force_of_one
from equiprop.systems._linearise import in_metric as in_metric
from equiprop.systems._linearise import jacobian as jacobian
from equiprop.systems._linearise import leak_slope as leak_slope
from equiprop.systems._linearise import membrane_jacobian as membrane_jacobian
from equiprop.systems._linearise import nudging as nudging
from equiprop.systems._linearise import over_slope as over_slope
from equiprop.systems._linearise import phasors as phasors
from equiprop.systems._linearise import predict as predict
from equiprop.systems._linearise import read_output as read_output
from equiprop.systems._linearise import slope as slope
from equiprop.systems._linearise import symmetric_parts as symmetric_parts
from equiprop.systems._motion import Motion as Motion
from equiprop.systems._motion import in_parts as in_parts
from equiprop.systems._motion import of_parts as of_parts
from equiprop.systems._resistive import ResistiveNetwork as ResistiveNetwork
from equiprop.systems._system import Block as Block
from equiprop.systems._system import System as System
from equiprop.systems._system import population_names as population_names
from equiprop.systems._topology import INPUT as INPUT
from equiprop.systems._topology import Connection as Connection
from equiprop.systems._topology import Population as Population
from equiprop.systems._topology import Topology as Topology
from equiprop.systems._topology_file import read_topology as read_topology
from equiprop.systems._topology_file import read_topology_tables as read_topology_tables
from equiprop.systems._topology_file import topology_from_mapping as topology_from_mapping
from equiprop.systems._verify import is_holomorphic as is_holomorphic
from equiprop.systems._verify import verify as verify
from equiprop.systems._verify import verify_cost as verify_cost
from equiprop.systems._verify import verify_labels as verify_labels
from equiprop.systems._verify import verify_state as verify_state
from equiprop.systems._wrapper import AbstractWrapper as AbstractWrapper
from equiprop.systems._wrapper import innermost as innermost
from equiprop.systems.connections import CONNECTIONS as CONNECTIONS
from equiprop.systems.connections import AbstractOperation as AbstractOperation
from equiprop.systems.recipes import CNN as CNN
from equiprop.systems.recipes import MLP as MLP
from equiprop.systems.recipes import RECIPES as RECIPES
from equiprop.systems.recipes import AbstractRecipe as AbstractRecipe
from equiprop.systems.recipes import Loop as Loop
from equiprop.systems.recipes import Network as Network
from equiprop.systems.recipes import Resistive as Resistive
from equiprop.systems.recipes import cnn as cnn
from equiprop.systems.recipes import loop_network as loop_network
from equiprop.systems.recipes import mlp as mlp
from equiprop.systems.recipes import resistive as resistive

# What the reference documents, and `equiprop` itself offers; the rest is for other packages.
__all__ = [
    "CNN",
    "CONNECTIONS",
    "MLP",
    "RECIPES",
    "AbstractOperation",
    "AbstractRecipe",
    "AbstractWrapper",
    "Connection",
    "FunctionSystem",
    "LayeredNetwork",
    "Loop",
    "Network",
    "Population",
    "Resistive",
    "ResistiveNetwork",
    "Stage",
    "System",
    "Topology",
    "balanced_jacobian",
    "chain",
    "cnn",
    "convolutional",
    "cost_gradient",
    "from_energy",
    "from_force",
    "innermost",
    "is_holomorphic",
    "jacobian",
    "loop",
    "loop_network",
    "membrane_jacobian",
    "mlp",
    "read_topology",
    "resistive",
    "topology_from_mapping",
    "verify",
]
