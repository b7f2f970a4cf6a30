"""How the gradient is read: one estimator a file, one verb, `estimate`."""

from equiprop.estimators._estimate import AbstractEstimator as AbstractEstimator
from equiprop.estimators._estimate import Estimate as Estimate
from equiprop.estimators._estimate import Response as Response
from equiprop.estimators._estimate import estimate as estimate
from equiprop.estimators._estimate import gradient_from_error_vector as gradient_from_error_vector
from equiprop.estimators._linear import Krylov as Krylov
from equiprop.estimators.adjoint import Adjoint as Adjoint
from equiprop.estimators.centered import Centered as Centered
from equiprop.estimators.exact_response import ExactResponse as ExactResponse
from equiprop.estimators.holomorphic import Holomorphic as Holomorphic
from equiprop.estimators.one_sided import OneSided as OneSided

ESTIMATORS = {
    "one_sided": OneSided,
    "centered": Centered,
    "holomorphic": Holomorphic,
    "exact_response": ExactResponse,
    "adjoint": Adjoint,
}
"""By the name that configurations use."""
