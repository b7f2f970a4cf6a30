"""How the gradient is read: one estimator a file, one verb, `estimate`."""

from equiprop.estimators._audit import CAUSES as CAUSES
from equiprop.estimators._audit import GradientBar as GradientBar
from equiprop.estimators._estimate import Estimate as Estimate
from equiprop.estimators._estimate import estimate as estimate
from equiprop.estimators._estimate import merge as merge
from equiprop.estimators._estimator import COUNTS as COUNTS
from equiprop.estimators._estimator import FLAGS as FLAGS
from equiprop.estimators._estimator import POLICIES as POLICIES
from equiprop.estimators._estimator import REMEDIES as REMEDIES
from equiprop.estimators._estimator import AbstractEstimator as AbstractEstimator
from equiprop.estimators._estimator import Response as Response
from equiprop.estimators._gradient import gradient_from_error_vector as gradient_from_error_vector
from equiprop.estimators._layer import Layer as Layer
from equiprop.estimators._problem import Problem as Problem
from equiprop.estimators._problem import relative as relative
from equiprop.estimators.adjoint import Adjoint as Adjoint
from equiprop.estimators.centered import Centered as Centered
from equiprop.estimators.clamped_response import ClampedResponse as ClampedResponse
from equiprop.estimators.continuous_time import ContinuousTime as ContinuousTime
from equiprop.estimators.contrastive_hebbian import ContrastiveHebbian as ContrastiveHebbian
from equiprop.estimators.corrected import Corrected as Corrected
from equiprop.estimators.coupled_learning import CoupledLearning as CoupledLearning
from equiprop.estimators.dyadic import Dyadic as Dyadic
from equiprop.estimators.exact_response import ExactResponse as ExactResponse
from equiprop.estimators.harmonic_balance import HarmonicBalance as HarmonicBalance
from equiprop.estimators.holomorphic import Holomorphic as Holomorphic
from equiprop.estimators.neumann import Neumann as Neumann
from equiprop.estimators.one_sided import OneSided as OneSided
from equiprop.estimators.recurrent_backprop import RecurrentBackprop as RecurrentBackprop
from equiprop.estimators.unrolled import Unrolled as Unrolled
from equiprop.kinds import Family

ESTIMATORS = Family("estimator", __name__, f"{__name__}:AbstractEstimator")

# What the reference documents, and `equiprop` itself offers; the rest is for other packages.
__all__ = [
    "ESTIMATORS",
    "AbstractEstimator",
    "Adjoint",
    "Centered",
    "ClampedResponse",
    "ContinuousTime",
    "ContrastiveHebbian",
    "Corrected",
    "CoupledLearning",
    "Dyadic",
    "Estimate",
    "ExactResponse",
    "GradientBar",
    "HarmonicBalance",
    "Holomorphic",
    "Layer",
    "Neumann",
    "OneSided",
    "Problem",
    "RecurrentBackprop",
    "Response",
    "Unrolled",
    "estimate",
    "gradient_from_error_vector",
    "merge",
]
