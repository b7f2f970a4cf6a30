"""What a connection does to the activity that it carries, one kind a file."""

from equiprop.kinds import Family
from equiprop.systems.connections._operation import AbstractOperation as AbstractOperation
from equiprop.systems.connections._operation import Shape as Shape
from equiprop.systems.connections.convolution import Convolution as Convolution
from equiprop.systems.connections.dense import Dense as Dense
from equiprop.systems.connections.identity import Identity as Identity
from equiprop.systems.connections.local import LocallyConnected as LocallyConnected

CONNECTIONS = Family("connection", __name__, f"{__name__}:AbstractOperation")
