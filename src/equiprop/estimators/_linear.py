"""Linear systems in the Jacobian at equilibrium, sample by sample and matrix-free."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.errors import InputError
from equiprop.estimators._problem import Problem
from equiprop.numerics import trees
from equiprop.systems import force_of_one


class LinearAnswer(eqx.Module):
    """The solution, its relative residual as recomputed at the end, whether that is within the tolerance, products taken."""

    value: PyTree
    relative_residual: Float[Array, " batch"]
    converged: Bool[Array, " batch"]
    products: Int[Array, " batch"]


class GMRES(eqx.Module):
    """Restarted GMRES (Saad & Schultz 1986, doi:10.1137/0907058) with a Krylov space of its own for every sample.

    - `tolerance`: relative residual at which a sample is done.
    - `restart`: dimension of the Krylov space.
    - `max_restarts`: after that many, a sample is reported as not converged.
    """

    tolerance: float = eqx.field(default=1e-4, static=True)
    restart: int = eqx.field(default=20, static=True)
    max_restarts: int = eqx.field(default=5, static=True)

    def __check_init__(self) -> None:
        for name, least in (("restart", 1), ("max_restarts", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)}: must be at least {least}")
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance = {self.tolerance}: must be between 0 and 1")

    def solve(self, problem: Problem, right: PyTree, *, transpose: bool) -> LinearAnswer:
        """Solves (∂F/∂u)·v = right, or its transpose, at the free equilibrium of every sample."""
        system = problem.system

        def single(u: PyTree, d: Any, b: PyTree) -> tuple[PyTree, Array, Array]:
            _, product = jax.linearize(force_of_one(system, d), u)
            if transpose:
                pullback = jax.linear_transpose(product, u)
                operate = lambda v: pullback(v)[0]  # noqa: E731
            else:
                operate = product
            # A right-hand side of unit length makes the absolute tolerance of the library a relative one.
            length = trees.norm(jax.tree.map(_lift, b))[0]
            unit = jax.tree.map(lambda a: a / jnp.where(length > 0, length, 1), b)
            solver = lx.GMRES(
                rtol=0.0,
                atol=self.tolerance * size**-0.5,
                restart=self.restart,
                # The first step of the library only looks at the residual.
                max_steps=self.max_restarts + 1,
            )
            operator = lx.FunctionLinearOperator(operate, jax.eval_shape(lambda: u))
            solution = lx.linear_solve(operator, unit, solver, throw=False)
            rest = trees.norm(jax.tree.map(lambda a, c: _lift(a - c), operate(solution.value), unit))[0]
            value = jax.tree.map(lambda a: a * length, solution.value)
            return value, rest, (solution.stats["num_steps"] - 1) * min(self.restart, size)

        size = sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(right))
        value, rest, products = jax.vmap(single)(problem.free.state, problem.injection, right)
        return LinearAnswer(value, rest, rest <= 2 * self.tolerance, products)


def _lift(a: Array) -> Array:
    return a[None]
