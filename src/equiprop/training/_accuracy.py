"""What a training changes where the bar of its gradient is larger than asked for."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from equiprop.solvers import AbstractSolver
from equiprop.training._advice import MENDS
from equiprop.training._components import Components

FACTORS = ("nudge_factor", "solver_tolerance_factor")
"""The keys of the metrics that say what has been changed by the end of an epoch."""

# What is aimed at, of the tolerance, and how far one epoch may go: the next bar tells whether that was right.
_AIM = 0.7
_LEAST, _MOST = 0.1, 0.7
# Against what the estimator tends to.
_CAUSES = ("nudge", "relaxation", "rounding", "noise", "lag")


class Adjustment(eqx.Module):
    """Factors on numbers of a run: on the nudge of its estimator, and on the tolerance of its solver."""

    nudge: Float[Array, ""]
    tolerance: Float[Array, ""]

    @classmethod
    def none(cls, dtype: Any) -> "Adjustment":
        return cls(jnp.ones((), dtype), jnp.ones((), dtype))

    @classmethod
    def said_in(cls, metrics: Mapping[str, Any], dtype: Any) -> "Adjustment":
        """Those that an epoch ended with, as its metrics say; none where they say nothing."""
        factors = (metrics.get(name, 1.0) for name in FACTORS)
        return cls(*(jnp.asarray(factor, dtype) for factor in factors))

    @property
    def told(self) -> dict[str, float]:
        """For the metrics of an epoch."""
        return dict(zip(FACTORS, (float(self.nudge), float(self.tolerance)), strict=True))

    def of(self, components: Components) -> Components:
        """The components, their schedules resolved, with these factors."""
        estimator, nudge = components.estimator, getattr(components.estimator, "nudge", None)
        if nudge is not None:
            estimator = eqx.tree_at(lambda e: e.nudge, estimator, nudge * self.nudge)
        return components.replace(estimator=estimator, solver=self.of_solver(components.solver))

    def of_solver(self, solver: AbstractSolver) -> AbstractSolver:
        return eqx.tree_at(lambda s: s.tolerance, solver, solver.tolerance * self.tolerance)

    def after(self, metrics: Mapping[str, Any], tolerance: float, components: Components) -> tuple["Adjustment", str]:
        """What follows from the audit of an epoch, and what is to be said of it; nothing where the bar is small enough.

        The error by a finite nudge falls as its power of N, that by relaxation with the tolerance of the solver. What asymmetry
        and exclusion do is not in the numbers of an estimator, nor are rounding and noise.

        **Arguments:**

        - `components`: with the factors so far.
        """
        bar, causes = metrics["gradient_bar_limit"], metrics["gradient_bar_causes"]
        if bar is not None and bar <= tolerance:
            return self, ""
        if bar is None or any(causes[name] is None for name in _CAUSES):
            return self, "how far the gradient is off cannot be told, and nothing is changed"
        worst = max(_CAUSES, key=causes.__getitem__)
        wanted = _AIM * tolerance / bar
        estimator, solver = components.estimator, components.solver
        nudge = getattr(estimator, "nudge", None)
        if worst == "nudge" and nudge is not None:
            factor = _within(wanted ** (1 / estimator.order))
            changed = eqx.tree_at(lambda a: a.nudge, self, self.nudge * factor)
            return changed, f"the nudge is {float(nudge) * factor:.2g} from now on"
        if worst == "relaxation" and solver.stops_early:
            factor = _within(wanted)
            changed = eqx.tree_at(lambda a: a.tolerance, self, self.tolerance * factor)
            return changed, f"the tolerance of the solver is {float(solver.tolerance) * factor:.2g} from now on"
        return self, f"nothing is changed, because most of it is {worst}: {MENDS[worst]}"


def _within(factor: float) -> float:
    return min(max(factor, _LEAST), _MOST)
