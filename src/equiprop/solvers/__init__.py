"""How a system relaxes: `relax` and the solvers it takes."""

from equiprop.solvers._anderson import Anderson as Anderson
from equiprop.solvers._newton import NewtonGMRES as NewtonGMRES
from equiprop.solvers._relax import AbstractSolver as AbstractSolver
from equiprop.solvers._relax import Equilibrium as Equilibrium
from equiprop.solvers._relax import Status as Status
from equiprop.solvers._relax import Step as Step
from equiprop.solvers._relax import relax as relax
from equiprop.solvers._sweeps import Alternating as Alternating
from equiprop.solvers._sweeps import FixedStep as FixedStep
from equiprop.solvers._sweeps import Synchronous as Synchronous

SOLVERS = {
    "alternating": Alternating,
    "anderson": Anderson,
    "newton": NewtonGMRES,
    "synchronous": Synchronous,
    "fixed_step": FixedStep,
}
"""By the name that configurations use."""
