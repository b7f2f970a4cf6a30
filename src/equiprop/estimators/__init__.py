"""How the gradient is read: one estimator a file, one verb, `estimate`."""

from equiprop.estimators._auto import AbstractCircle as AbstractCircle
from equiprop.estimators._estimate import COUNTS as COUNTS
from equiprop.estimators._estimate import FLAGS as FLAGS
from equiprop.estimators._estimate import AbstractEstimator as AbstractEstimator
from equiprop.estimators._estimate import Estimate as Estimate
from equiprop.estimators._estimate import Response as Response
from equiprop.estimators._estimate import estimate as estimate
from equiprop.estimators._estimate import gradient_from_error_vector as gradient_from_error_vector
from equiprop.estimators._estimate import merge as merge
from equiprop.estimators._linear import GMRES as GMRES
from equiprop.estimators._problem import Problem as Problem
from equiprop.estimators._problem import relative as relative
from equiprop.estimators.adjoint import Adjoint as Adjoint
from equiprop.estimators.centered import Centered as Centered
from equiprop.estimators.continuous_time import ContinuousTime as ContinuousTime
from equiprop.estimators.corrected import Corrected as Corrected
from equiprop.estimators.dyadic import Dyadic as Dyadic
from equiprop.estimators.exact_response import ExactResponse as ExactResponse
from equiprop.estimators.holomorphic import Holomorphic as Holomorphic
from equiprop.estimators.neumann import Neumann as Neumann
from equiprop.estimators.one_sided import OneSided as OneSided
from equiprop.estimators.recurrent_backprop import RecurrentBackprop as RecurrentBackprop
from equiprop.estimators.unrolled import Unrolled as Unrolled

ESTIMATORS = {
    "one_sided": OneSided,
    "centered": Centered,
    "holomorphic": Holomorphic,
    "continuous_time": ContinuousTime,
    "exact_response": ExactResponse,
    "adjoint": Adjoint,
    "recurrent_backprop": RecurrentBackprop,
    "neumann": Neumann,
    "unrolled": Unrolled,
    "corrected": Corrected,
    "dyadic": Dyadic,
}
"""By the name that configurations use."""
