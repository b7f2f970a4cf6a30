"""What makes a system for data of a given shape, one recipe a file."""

from equiprop.kinds import Family
from equiprop.systems.recipes._cnn import CNN as CNN
from equiprop.systems.recipes._cnn import cnn as cnn
from equiprop.systems.recipes._loop import Loop as Loop
from equiprop.systems.recipes._loop import loop_network as loop_network
from equiprop.systems.recipes._mlp import MLP as MLP
from equiprop.systems.recipes._mlp import mlp as mlp
from equiprop.systems.recipes._network import Network as Network
from equiprop.systems.recipes._recipe import AbstractRecipe as AbstractRecipe
from equiprop.systems.recipes._resistive import Resistive as Resistive
from equiprop.systems.recipes._resistive import resistive as resistive

RECIPES = Family("system", __name__, f"{__name__}:AbstractRecipe")
