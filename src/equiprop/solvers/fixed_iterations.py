"""A fixed number of steps."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from equiprop.numerics import Number, count, number
from equiprop.solvers._solver import AbstractSolver
from equiprop.solvers._sweeps import all_at_once
from equiprop.systems import AbstractField


class FixedIterations(AbstractSolver):
    """A fixed number of synchronous steps whatever the residual, as published protocols do.

    Whether a sample has converged is judged afterwards by `tolerance`. The published Fashion-MNIST setting is 150 and 20
    (arXiv 2309.02214, appendix).
    """

    kind: ClassVar[str] = "fixed_iterations"
    stops_early: ClassVar[bool] = False

    max_steps: int = count(150, "Steps of a free phase, exactly.", kw_only=True)
    nudged_max_steps: int = count(20, "Steps of a nudged phase, exactly.", kw_only=True)
    damping: Number = number(0.0, "Fraction of the old state that a step keeps, 1 − ω.", at_least=0, below=1)

    def sweep(self, field: AbstractField, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        return all_at_once(field, state, 1 - jnp.asarray(self.damping))
