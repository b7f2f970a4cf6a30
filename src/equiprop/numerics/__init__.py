"""Activations, costs, complex arithmetic through real operations, Hutchinson probes, tree algebra."""

from equiprop.numerics import trees as trees
from equiprop.numerics.activations import ACTIVATIONS as ACTIVATIONS
from equiprop.numerics.activations import Activation as Activation
from equiprop.numerics.activations import activation as activation
from equiprop.numerics.activations import dsilu as dsilu
from equiprop.numerics.activations import hard_sigmoid as hard_sigmoid
from equiprop.numerics.activations import identity as identity
from equiprop.numerics.activations import relu as relu
from equiprop.numerics.activations import shifted_sigmoid as shifted_sigmoid
from equiprop.numerics.activations import tanh as tanh
from equiprop.numerics.complex import real_dtype as real_dtype
from equiprop.numerics.complex import real_linear as real_linear
from equiprop.numerics.costs import COSTS as COSTS
from equiprop.numerics.costs import AbstractCost as AbstractCost
from equiprop.numerics.costs import SoftmaxCrossEntropy as SoftmaxCrossEntropy
from equiprop.numerics.costs import SoftmaxReadout as SoftmaxReadout
from equiprop.numerics.costs import SquaredError as SquaredError
from equiprop.numerics.costs import create_cost as create_cost
from equiprop.numerics.costs import softmax_cross_entropy as softmax_cross_entropy
from equiprop.numerics.hutchinson import ProbeMoments as ProbeMoments
from equiprop.numerics.hutchinson import normal_like as normal_like
from equiprop.numerics.hutchinson import probe_moments as probe_moments
from equiprop.numerics.hutchinson import symmetric_antisymmetric_norms as symmetric_antisymmetric_norms
