"""How a system relaxes: `relax` and the solvers it takes, one a file."""

from equiprop.kinds import Family
from equiprop.solvers._free import as_solver as as_solver
from equiprop.solvers._free import relax as relax
from equiprop.solvers._integration import METHODS as METHODS
from equiprop.solvers._integration import controller as controller
from equiprop.solvers._integration import diffrax as diffrax
from equiprop.solvers._integration import method_of as method_of
from equiprop.solvers._linear import GMRES as GMRES
from equiprop.solvers._relax import Equilibrium as Equilibrium
from equiprop.solvers._relax import Status as Status
from equiprop.solvers._relax import relax_field as relax_field
from equiprop.solvers._solver import AbstractSolver as AbstractSolver
from equiprop.solvers._solver import Step as Step
from equiprop.solvers.anderson import Anderson as Anderson
from equiprop.solvers.fixed_iterations import FixedIterations as FixedIterations
from equiprop.solvers.gauss_seidel import GaussSeidel as GaussSeidel
from equiprop.solvers.jacobi import Jacobi as Jacobi
from equiprop.solvers.newton import NewtonGMRES as NewtonGMRES
from equiprop.solvers.ode import ODE as ODE

SOLVERS = Family("solver", __name__, f"{__name__}:AbstractSolver")

# What the reference documents, and `equiprop` itself offers; the rest is for other packages.
__all__ = [
    "GMRES",
    "ODE",
    "SOLVERS",
    "AbstractSolver",
    "Anderson",
    "Equilibrium",
    "FixedIterations",
    "GaussSeidel",
    "Jacobi",
    "NewtonGMRES",
    "Status",
    "Step",
    "relax",
]
