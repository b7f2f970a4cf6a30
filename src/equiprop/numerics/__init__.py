"""Activations, costs, settings, schedules, complex arithmetic by real operations, convolution and pooling, probes, trees."""

from equiprop.numerics import trees as trees
from equiprop.numerics.activations import ACTIVATIONS as ACTIVATIONS
from equiprop.numerics.activations import AbstractActivation as AbstractActivation
from equiprop.numerics.activations import activation as activation
from equiprop.numerics.complex import real_dtype as real_dtype
from equiprop.numerics.complex import real_linear as real_linear
from equiprop.numerics.convolution import check_padding as check_padding
from equiprop.numerics.convolution import convolve as convolve
from equiprop.numerics.convolution import convolve_locally as convolve_locally
from equiprop.numerics.costs import COSTS as COSTS
from equiprop.numerics.costs import AbstractCost as AbstractCost
from equiprop.numerics.costs import AbstractCrossEntropy as AbstractCrossEntropy
from equiprop.numerics.costs import SoftmaxCrossEntropy as SoftmaxCrossEntropy
from equiprop.numerics.costs import SoftmaxReadout as SoftmaxReadout
from equiprop.numerics.costs import SquaredError as SquaredError
from equiprop.numerics.costs import SumOfCosts as SumOfCosts
from equiprop.numerics.costs import softmax_cross_entropy as softmax_cross_entropy
from equiprop.numerics.diodes import voltage_beside_diodes as voltage_beside_diodes
from equiprop.numerics.frozen import Frozen as Frozen
from equiprop.numerics.frozen import freeze as freeze
from equiprop.numerics.frozen import thaw as thaw
from equiprop.numerics.given import as_key as as_key
from equiprop.numerics.given import require_numbers as require_numbers
from equiprop.numerics.hutchinson import ProbeMoments as ProbeMoments
from equiprop.numerics.hutchinson import antisymmetric_moments as antisymmetric_moments
from equiprop.numerics.hutchinson import exact_norms as exact_norms
from equiprop.numerics.hutchinson import normal_like as normal_like
from equiprop.numerics.hutchinson import probe_moments as probe_moments
from equiprop.numerics.hutchinson import symmetric_antisymmetric_norms as symmetric_antisymmetric_norms
from equiprop.numerics.krylov import Rotation as Rotation
from equiprop.numerics.krylov import arnoldi as arnoldi
from equiprop.numerics.krylov import gmres as gmres
from equiprop.numerics.krylov import gmres_cycle as gmres_cycle
from equiprop.numerics.krylov import ritz as ritz
from equiprop.numerics.krylov import rotation as rotation
from equiprop.numerics.krylov import smallest_eigenvalue as smallest_eigenvalue
from equiprop.numerics.krylov import solve_positive as solve_positive
from equiprop.numerics.periodic import filtered as filtered
from equiprop.numerics.pooling import PoolingOrigin as PoolingOrigin
from equiprop.numerics.pooling import softmax_pool as softmax_pool
from equiprop.numerics.schedules import AbstractSchedule as AbstractSchedule
from equiprop.numerics.schedules import Schedule as Schedule
from equiprop.numerics.schedules import as_schedule as as_schedule
from equiprop.numerics.schedules import is_schedule as is_schedule
from equiprop.numerics.schedules import resolve as resolve
from equiprop.numerics.settings import Number as Number
from equiprop.numerics.settings import Setting as Setting
from equiprop.numerics.settings import Settings as Settings
from equiprop.numerics.settings import choice as choice
from equiprop.numerics.settings import constant as constant
from equiprop.numerics.settings import count as count
from equiprop.numerics.settings import counts as counts
from equiprop.numerics.settings import flag as flag
from equiprop.numerics.settings import number as number
from equiprop.numerics.settings import part as part
from equiprop.numerics.settings import text as text
from equiprop.numerics.small import solve_definite as solve_definite
from equiprop.numerics.tables import Figures as Figures
from equiprop.numerics.tables import named as named
from equiprop.numerics.tables import spread as spread

# What the reference documents, and `equiprop` itself offers; the rest is for other packages.
__all__ = [
    "ACTIVATIONS",
    "COSTS",
    "AbstractActivation",
    "AbstractCost",
    "AbstractSchedule",
    "Number",
    "Schedule",
    "Setting",
    "Settings",
    "SoftmaxCrossEntropy",
    "SoftmaxReadout",
    "SquaredError",
    "SumOfCosts",
    "activation",
    "choice",
    "constant",
    "count",
    "counts",
    "flag",
    "number",
    "part",
    "real_linear",
    "text",
]
