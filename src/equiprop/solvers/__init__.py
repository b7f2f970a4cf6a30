"""How a system relaxes: `relax` and the solvers it takes."""

from equiprop.solvers._anderson import Anderson as Anderson
from equiprop.solvers._newton import NewtonGMRES as NewtonGMRES
from equiprop.solvers._relax import AbstractSolver as AbstractSolver
from equiprop.solvers._relax import Equilibrium as Equilibrium
from equiprop.solvers._relax import Status as Status
from equiprop.solvers._relax import Step as Step
from equiprop.solvers._relax import relax as relax
from equiprop.solvers._sweeps import FixedIterations as FixedIterations
from equiprop.solvers._sweeps import GaussSeidel as GaussSeidel
from equiprop.solvers._sweeps import Jacobi as Jacobi

SOLVERS = {
    "gauss_seidel": GaussSeidel,
    "anderson": Anderson,
    "newton": NewtonGMRES,
    "jacobi": Jacobi,
    "fixed_iterations": FixedIterations,
}
"""By the name that configurations use."""
