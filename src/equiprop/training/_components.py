"""What a run is made of besides its system and its data."""

import dataclasses

import equinox as eqx
from jaxtyping import Array, Float

from equiprop.estimators import AbstractEstimator
from equiprop.homeostasis import AbstractHomeostasis
from equiprop.solvers import AbstractSolver
from equiprop.training.optimizers import AbstractOptimizer, GivenOptimizer


class Components(eqx.Module):
    """The objects of a run that do not change while it trains; their numbers are leaves.

    - `reference`: the exact gradient that the estimator is compared with, not clipped.
    - `average`: the share of the average of parameters that a step keeps, such as 0.999; `None` for no average.
    """

    solver: AbstractSolver
    estimator: AbstractEstimator
    reference: AbstractEstimator
    homeostasis: AbstractHomeostasis
    optimizer: AbstractOptimizer | GivenOptimizer
    average: Float[Array, ""] | None = None

    def replace(self, **changes: object) -> "Components":
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType]
