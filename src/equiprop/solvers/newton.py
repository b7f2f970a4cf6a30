"""Newton's method on top of Gauss–Seidel sweeps, its linear systems solved by GMRES."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.errors import InputError
from equiprop.numerics import count, gmres_cycle, trees
from equiprop.solvers._linear import GMRES
from equiprop.solvers._solver import AbstractSolver, Step, across_phases
from equiprop.solvers._sweeps import block_by_block
from equiprop.systems import AbstractField


class Leap(eqx.Module):
    """Where each sample comes from.

    - `fallback`: where the last sweep ended, from which a Newton step was taken.
    - `force`: the largest force met in that sweep.
    - `leapt`: whether a Newton step was taken from there.
    - `wait`, `pause`: sweeps until the next one may be, and how many there were after the last that failed.
    """

    fallback: PyTree
    force: Float[Array, " batch"]
    leapt: Bool[Array, " batch"]
    wait: Int[Array, " batch"]
    pause: Int[Array, " batch"]


class NewtonGMRES(AbstractSolver):
    """A sweep, and from where it ends a Newton step u ← u − (∂F/∂u)⁻¹F(u), sample by sample.

    The linear system is solved by one cycle of GMRES (Saad & Schultz 1986, doi:10.1137/0907058) on Jacobian-vector products, as
    far as that goes: an inexact Newton method (Dembo, Eisenstat & Steihaug 1982, SIAM J. Numer. Anal. 19, 400).
    For complex states it is the Newton method of the holomorphic continuation.

    A sample whose force has not halved after a Newton step goes back to where it came from and sweeps on, once, three times,
    seven times and so on before the next. A converged sample ends with a plain sweep. One step costs a sweep and `dimension` + 1
    products: for the few samples that sweeps take hundreds of steps for. Newton's method finds equilibria whether sweeps would
    stay there or not.

    Raises `InputError` for a field whose samples cannot be separated.
    """

    kind: ClassVar[str] = "newton"
    citation: ClassVar[tuple[str, ...]] = GMRES.citation

    dimension: int = count(10, "Jacobian products for a Newton step: the dimension of its Krylov space.")

    def sweep(self, field: AbstractField, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        return block_by_block(field, state)

    def init(self, field: AbstractField, state: PyTree) -> Leap:
        del field
        batch = trees.batch_size(state)
        real = jnp.finfo(trees.dtype_of(state)).dtype
        none = jnp.zeros(batch, jnp.int32)
        return Leap(state, jnp.full(batch, jnp.inf, real), jnp.zeros(batch, bool), none, none)

    def step(self, field: AbstractField, state: PyTree, memory: Leap, count: Int[Array, ""], phases: int) -> Step:
        del count
        swept, force = self.sweep(field, state)
        # The phases of a sample leap together, or what is left of their common drift would not cancel.
        failed = memory.leapt & ~across_phases(jnp.all, force <= _PAYS * memory.force, phases)
        swept = trees.select(failed, memory.fallback, swept)
        force = jnp.where(failed, memory.force, force)
        pause = jnp.where(failed, 2 * memory.pause + 1, memory.pause)
        wait = jnp.where(failed, pause, jnp.maximum(memory.wait - 1, 0))
        leaps = wait == 0
        corrected = trees.add(swept, self._correction(field, swept, phases))
        leaps &= across_phases(jnp.all, jnp.isfinite(trees.max_abs(corrected)), phases)
        return Step(swept, trees.select(leaps, corrected, swept), force, Leap(swept, force, leaps, wait, pause))

    def _correction(self, field: AbstractField, state: PyTree, phases: int) -> PyTree:
        """−(∂F/∂u)⁻¹F(u), as far as one cycle of GMRES goes; of all phases of a sample together where they act on each other."""
        rows = jnp.arange(trees.batch_size(state))
        if jax.eval_shape(lambda: field.index_batch(rows[:phases])) is None:
            raise InputError(f"Newton's method: {type(field).__name__} cannot be had for one sample alone")
        together = phases if field.couples_phases else 1

        def groups(a: Array) -> Array:
            return jnp.moveaxis(a.reshape(together, -1, *a.shape[1:]), 0, 1)

        def of_group(rows: Array, u: PyTree) -> PyTree:
            alone = field.index_batch(rows)
            assert alone is not None
            here, product = jax.linearize(alone.force, u)
            right, unflat = ravel_pytree(trees.negative(here))
            return unflat(
                gmres_cycle(lambda v: ravel_pytree(product(unflat(v)))[0], right, min(self.dimension, right.size))
            )

        found = jax.vmap(of_group)(groups(rows), jax.tree.map(groups, state))
        return jax.tree.map(lambda a, u: jnp.moveaxis(a, 1, 0).reshape(u.shape), found, state)


# A Newton step that is worth its price makes the force smaller by far more than this.
_PAYS = 0.5
