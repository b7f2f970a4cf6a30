"""Costs C(output, y) per sample, one a file."""

from equiprop.kinds import Family
from equiprop.numerics.costs._cost import AbstractCost as AbstractCost
from equiprop.numerics.costs._cost import AbstractCrossEntropy as AbstractCrossEntropy
from equiprop.numerics.costs._cost import softmax_cross_entropy as softmax_cross_entropy
from equiprop.numerics.costs.cross_entropy import SoftmaxCrossEntropy as SoftmaxCrossEntropy
from equiprop.numerics.costs.softmax_readout import SoftmaxReadout as SoftmaxReadout
from equiprop.numerics.costs.squared_error import SquaredError as SquaredError
from equiprop.numerics.costs.sum_of_costs import SumOfCosts as SumOfCosts

COSTS = Family("cost", __name__, f"{__name__}:AbstractCost")
