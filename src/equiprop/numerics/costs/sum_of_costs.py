"""Several outputs, each with a cost of its own."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from equiprop.errors import InputError
from equiprop.numerics.costs._cost import AbstractCost


class SumOfCosts(AbstractCost):
    """Σ_k w_k·C_k(output_k, y_k) of a system whose output is a dictionary; targets are dictionaries of the same names.

    **Fields:**

    - `costs`: by name.
    - `weights`: w_k by name; 1 for those that are not named.

    Raises `InputError` where names differ.
    """

    costs: dict[str, AbstractCost]
    weights: dict[str, float] = eqx.field(static=True, default_factory=dict)

    def __check_init__(self) -> None:
        unknown = sorted(self.weights.keys() - self.costs.keys())
        if unknown:
            raise InputError(f"names {unknown[0]!r}, which is no cost", path="weights")

    def __call__(self, output: Any, target: Any) -> Inexact[Array, " batch"]:
        for what, given in (("output", output), ("target", target)):
            if not (isinstance(given, Mapping) and given.keys() == self.costs.keys()):
                found = sorted(given) if isinstance(given, Mapping) else type(given).__name__
                raise InputError(f"{what} is {found}: must be a dictionary of {sorted(self.costs)}")
        parts = [self.weights.get(name, 1.0) * cost(output[name], target[name]) for name, cost in self.costs.items()]
        return jnp.sum(jnp.stack(parts), axis=0)

    def scores(self, output: Any) -> Any:
        return {name: cost.scores(output[name]) for name, cost in self.costs.items()}

    def correct(self, output: Any, target: Any) -> None:
        """Not one decision but several: look at those that matter by metrics of your own."""
        del output, target

    def desired_output(self, output: Any, target: Any) -> Any:
        found = {name: cost.desired_output(output[name], target[name]) for name, cost in self.costs.items()}
        return None if any(each is None for each in found.values()) else found
