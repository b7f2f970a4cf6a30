"""Many chips of a device."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equiprop.diagnostics import agreement
from equiprop.errors import InputError
from equiprop.estimators import AbstractEstimator, Adjoint, Centered, estimate
from equiprop.hardware._device import AbstractDevice
from equiprop.numerics import Figures
from equiprop.solvers import AbstractSolver
from equiprop.systems import System, correct


class MonteCarlo(Figures):
    """What chips of a device make of a batch, chip by chip.

    **Fields:**

    - `cost`: the mean cost.
    - `error_percent`: of classes; `None` where targets name none.
    - `cosine`, `norm_ratio`: of the gradient as it is learnt against the true one of the chip; below zero it points uphill.
    - `cosine_to_ideal`: of the gradient as it is learnt against the exact one of a perfect device.
    - `converged`: the fraction of samples whose free phase reached equilibrium.
    """

    cost: Float[Array, " chips"]
    error_percent: Float[Array, " chips"] | None
    cosine: Float[Array, " chips"]
    norm_ratio: Float[Array, " chips"]
    cosine_to_ideal: Float[Array, " chips"]
    converged: Float[Array, " chips"]

    def rows(self) -> Iterator[tuple[str, str]]:
        for name, values in vars(self).items():
            if values is not None and values.ndim == 1:
                of = np.asarray(values)
                deviation = of.std(ddof=1) if of.size > 1 else float("nan")
                yield name.replace("_", " "), f"{of.mean():.4g} ± {deviation:.2g}, {of.min():.4g} to {of.max():.4g}"


def monte_carlo(
    device: AbstractDevice,
    system: System,
    x: Any,
    target: Any,
    estimator: AbstractEstimator | None = None,
    *,
    chips: int = 20,
    seed: int = 0,
    solver: AbstractSolver | None = None,
) -> MonteCarlo:
    """What so many chips of a device make of a system and a batch: how well they do, and whether what is learnt points downhill.

    **Arguments:**

    - `estimator`: how gradients are read; `Centered()` by default.
    - `seed`: of the lot by which chips are made and readings are noisy.

    Raises `InputError` for less than one chip, and what `estimate` raises.
    """
    if not isinstance(chips, int) or chips < 1:
        raise InputError("must be a number of chips, at least 1", path="chips", value=chips)
    estimator = Centered() if estimator is None else estimator
    exact = Adjoint(clip=float("inf"))
    ideal = estimate(system, x, target, exact, solver=solver).gradient

    @eqx.filter_jit
    def of_all(keys: Array) -> dict[str, Any]:
        def one(key: Array) -> dict[str, Any]:
            made, read, judged = jax.random.split(key, 3)
            chip = device.instance(system, made, x=x)
            learnt = estimate(chip, x, target, estimator, solver=solver, key=read)
            true = estimate(chip, x, target, exact, solver=solver, equilibrium=learnt.equilibrium).gradient
            to_true = agreement(learnt.gradient, true)
            right = correct(chip, learnt.equilibrium.state, target, key=judged)
            return {
                "cost": jnp.mean(learnt.cost),
                "error_percent": None if right is None else 100 * (1 - jnp.mean(right)),
                "cosine": to_true.cosine,
                "norm_ratio": to_true.norm_ratio,
                "cosine_to_ideal": agreement(learnt.gradient, ideal).cosine,
                "converged": jnp.mean(learnt.equilibrium.converged),
            }

        return eqx.filter_vmap(one)(keys)

    return MonteCarlo(**of_all(jax.random.split(jax.random.key(seed), chips)))
