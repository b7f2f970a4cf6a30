"""Linear systems in the Jacobian at equilibrium, sample by sample and matrix-free."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.numerics import Number, Settings, count, gmres, number
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
        restart = min(self.restart, sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(right)))

        def single(u: PyTree, d: Any, b: PyTree) -> tuple[PyTree, Array, Array]:
            lifted = jax.tree.map(_lift, d)
            _, product = jax.linearize(force_of_one(lambda v: system.force(v, lifted)), u)
            if transpose:
                pullback = jax.linear_transpose(product, u)
                operate = lambda v: pullback(v)[0]  # noqa: E731
            else:
                operate = product
            flat, unflat = ravel_pytree(b)
            length = jnp.linalg.norm(flat)
            unit = flat / jnp.where(length > 0, length, 1)
            value, left, cycles = gmres(
                lambda v: ravel_pytree(operate(unflat(v)))[0],
                unit,
                tolerance=jnp.asarray(self.tolerance, length.dtype),
                restart=restart,
                max_restarts=self.max_restarts,
            )
            # Nothing is solved by nothing, whatever the Jacobian.
            value = jnp.where(length == 0, 0, value * length)
            return unflat(value), jnp.where(length == 0, 0, left), cycles * restart

        value, left, products = jax.vmap(single)(state, injection, right)
        return LinearAnswer(value, left, left <= self.tolerance, products)


def _lift(a: Array) -> Array:
    return a[None]
