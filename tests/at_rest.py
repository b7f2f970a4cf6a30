"""Estimates at equilibria that are found by a program of their own.

Most tests of estimators are not about the free phase, which would be compiled once more with each of them.
"""

from equiprop.estimators import estimate
from equiprop.solvers import GaussSeidel, relax


def estimated(system, x, y, estimator, *, solver=None, equilibrium=None, key=None):
    """As `estimate`."""
    solver = GaussSeidel() if solver is None else solver
    if equilibrium is None and estimator.needs_free_phase:
        equilibrium = relax(system, x, solver)
    return estimate(system, x, y, estimator, solver=solver, equilibrium=equilibrium, key=key)
