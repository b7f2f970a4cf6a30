"""Elementwise activations r = φ(u), one a file."""

from functools import cache

from equiprop.kinds import Family
from equiprop.numerics.activations._activation import AbstractActivation as AbstractActivation
from equiprop.numerics.activations.dsilu import DoubleSiLU as DoubleSiLU
from equiprop.numerics.activations.hard_sigmoid import HardSigmoid as HardSigmoid
from equiprop.numerics.activations.identity import Identity as Identity
from equiprop.numerics.activations.relu import ReLU as ReLU
from equiprop.numerics.activations.shifted_sigmoid import ShiftedSigmoid as ShiftedSigmoid
from equiprop.numerics.activations.tanh import Tanh as Tanh

ACTIVATIONS = Family("activation", __name__, f"{__name__}:AbstractActivation")


@cache
def activation(kind: str) -> AbstractActivation:
    """The activation that `kind` names. Raises `InputError` naming the known ones."""
    return ACTIVATIONS.find(kind)()
