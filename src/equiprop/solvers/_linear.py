"""Linear systems in the Jacobian at equilibrium, sample by sample and matrix-free."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.numerics import Number, Settings, count, number, trees
from equiprop.systems import System, force_of_one


class LinearAnswer(eqx.Module):
    """The solution, its relative residual as recomputed at the end, whether that is within the tolerance, products taken."""

    value: PyTree
    relative_residual: Float[Array, " batch"]
    converged: Bool[Array, " batch"]
    products: Int[Array, " batch"]


class GMRES(Settings):
    """Restarted GMRES (Saad & Schultz 1986, doi:10.1137/0907058) with a Krylov space of its own for every sample."""

    citation: ClassVar[tuple[str, ...]] = (
        "Saad & Schultz, GMRES: a generalized minimal residual algorithm, SIAM J. Sci. Stat. Comput. 1986, doi:10.1137/0907058",
    )

    tolerance: Number = number(1e-4, "Relative residual at which a sample is done.", above=0, below=1)
    restart: int = count(20, "Dimension of the Krylov space.")
    max_restarts: int = count(5, "After that many a sample is reported as not converged.")

    def solve(self, system: System, state: PyTree, injection: Any, right: PyTree, *, transpose: bool) -> LinearAnswer:
        """Solves (∂F/∂u)·v = right, or its transpose, at a state of every sample."""
        size = sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(right))

        def single(u: PyTree, d: Any, b: PyTree) -> tuple[PyTree, Array, Array]:
            lifted = jax.tree.map(_lift, d)
            _, product = jax.linearize(force_of_one(lambda v: system.force(v, lifted)), u)
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
                atol=jnp.asarray(self.tolerance, length.dtype) * size**-0.5,  # pyright: ignore[reportArgumentType]
                restart=self.restart,
                # The first step of the library only looks at the residual.
                max_steps=self.max_restarts + 1,
            )
            operator = lx.FunctionLinearOperator(operate, jax.eval_shape(lambda: u))
            solution = lx.linear_solve(operator, unit, solver, throw=False)
            left = trees.norm(jax.tree.map(lambda a, c: _lift(a - c), operate(solution.value), unit))[0]
            # Nothing is solved by nothing, whatever the Jacobian.
            value = jax.tree.map(lambda a: jnp.where(length == 0, 0, a * length), solution.value)
            return value, jnp.where(length == 0, 0, left), (solution.stats["num_steps"] - 1) * min(self.restart, size)

        value, left, products = jax.vmap(single)(state, injection, right)
        return LinearAnswer(value, left, left <= 2 * self.tolerance, products)


def _lift(a: Array) -> Array:
    return a[None]
