"""Steps of its own for every sample: plain sweeps, extrapolated one step at a time, and damped where they go round and round."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.numerics import trees
from equiprop.solvers._solver import Step, across_phases

# Extrapolation must be predicted to take away this share of a displacement at least. The prediction is that of a linear sweep:
# what it is wrong by has to be small against what it promises.
_LEFT_OVER = 0.5
# Two predictions in a row must agree to this relative accuracy: where they drift the sweep is not linear yet, and extrapolation
# may end near another equilibrium. With 0.1 three of some 50,000 samples did not converge that did by plain sweeps, with 0.05
# none.
_AGREE = 0.05
# The largest ω that is believed, for a force that falls by 1 % a sweep: a smaller fall drowns in the rounding of its measurement.
_LONGEST = 100.0
# A smallest force that has not fallen by two parts in a hundred counts as not improved, as for the loop.
_IMPROVEMENT = 0.98
# A displacement that makes a larger angle than acos(0.9) = 26° with the last one turns. One that keeps its direction leaves a
# saddle, which may take long and needs no damping.
_STRAIGHT = 0.9
# So many sweeps that turn without improvement are a limit cycle: samples that plain sweeps settle hardly ever turn for longer
# than 40 on their way. Nudged phases end after 100.
_PATIENCE = 50
# Halved: a cycle of any period contracts at a small enough ω if its equilibrium is stable in continuous time; a quarter was the
# least that any sample needed, and slower steps do not end within the sweeps that there are.
_DAMP, _LEAST = 0.5, 0.2


class Pace(eqx.Module):
    """How far each sample goes in a step, and what is remembered to decide that.

    - `factor`: ω of its ordinary steps: 1, and less for a sample that is damped.
    - `reach`: ω of its last step. Other than `factor` while that step is on trial.
    - `aim`: ω at which extrapolation would aim after the last sweep; 0 where its displacements predict nothing.
    - `move`, `size`: the displacement G(u) − u of the last sweep that counted, and its squared norm over all phases.
    - `force`: the largest force of that sweep on any phase; `best`, the smallest so far.
    - `turns`: sweeps that turned since `best` improved.
    - `spent`: whether a trial has failed. There is no second one then.
    """

    factor: Float[Array, " batch"]
    reach: Float[Array, " batch"]
    aim: Float[Array, " batch"]
    move: PyTree
    size: Float[Array, " batch"]
    force: Float[Array, " batch"]
    best: Float[Array, " batch"]
    turns: Int[Array, " batch"]
    spent: Bool[Array, " batch"]

    @classmethod
    def start(cls, state: PyTree) -> "Pace":
        batch = trees.batch_size(state)
        # Squares of half precision's small numbers would be nothing.
        ones = jnp.ones(batch, jnp.promote_types(jnp.finfo(trees.dtype_of(state)).dtype, jnp.float32))
        return cls(
            factor=ones,
            reach=ones,
            aim=0 * ones,
            move=jax.tree.map(jnp.zeros_like, state),
            size=0 * ones,
            force=0 * ones,
            best=jnp.inf * ones,
            turns=jnp.zeros(batch, jnp.int32),
            spent=jnp.zeros(batch, bool),
        )

    def step(
        self,
        sweep: Callable[[PyTree], tuple[PyTree, Float[Array, " batch"]]],
        state: PyTree,
        phases: int,
        *,
        extrapolates: bool,
    ) -> Step:
        """One plain `sweep`, and how far to go along its displacement. All phases of a sample go equally far."""
        swept, met = sweep(state)
        dtype = self.force.dtype
        force = across_phases(jnp.max, met, phases).astype(dtype)
        on_trial = self.reach != self.factor
        # Also where it is not a number.
        failed = on_trial & ~(force <= self.force)

        move = trees.subtract(swept, state)
        size, product = _inner(move, move, phases, dtype), _inner(self.move, move, phases, dtype)
        turned = ~on_trial & ~(product > _STRAIGHT * jnp.sqrt(self.size) * jnp.sqrt(size))
        factor, best, turns = self._damped(force, turned)
        aim, clear = self._aim(size, product)
        clear &= ~failed
        # Where the force grows, extrapolation would follow it.
        goes = clear & (jnp.abs(aim - self.aim) <= _AGREE * self.aim) & (force <= self.best)
        goes &= extrapolates & ~self.spent & (factor == self.factor)
        reach = jnp.where(goes, aim, factor)

        # A step that is taken back leaves the sample where an ordinary one would have led, with the force met before it.
        move = trees.select(failed, self.move, move)
        back = self.factor - self.reach
        plain, ahead = (
            trees.select(~failed & (omega == 1), swept, _along(state, jnp.where(failed, back, omega), move))
            for omega in (factor, reach)
        )
        met_last = jnp.where(failed, self.force, force)
        memory = Pace(
            factor=factor,
            reach=reach,
            aim=jnp.where(clear & ~goes, aim, 0),
            move=move,
            size=jnp.where(failed, self.size, size),
            force=met_last,
            best=best,
            turns=turns,
            spent=self.spent | failed,
        )
        return Step(plain, ahead, jnp.where(failed, met_last.astype(met.dtype), met), memory)

    def _damped(self, force: Float[Array, " batch"], turned: Bool[Array, " batch"]) -> tuple[Array, Array, Array]:
        """`factor`, `best` and `turns` after a sweep that met `force`."""
        improved = force < _IMPROVEMENT * self.best
        turns = jnp.where(improved, 0, self.turns + turned.astype(jnp.int32))
        stuck = turns >= _PATIENCE
        factor = jnp.where(stuck, jnp.maximum(_DAMP * self.factor, _LEAST), self.factor)
        # Whatever force the cycle met, the damped steps are measured by what they begin with.
        best = jnp.where(improved | stuck, force, self.best)
        return factor, best, jnp.where(stuck, 0, turns)

    def _aim(
        self, size: Float[Array, " batch"], product: Float[Array, " batch"]
    ) -> tuple[Float[Array, " batch"], Bool[Array, " batch"]]:
        """The ω after which, of a linear sweep, least displacement would be left; and whether that is worth a trial.

        With d′ and d the last two displacements and ω′ the factor between them it is ω′·⟨d′, d′ − d⟩/‖d′ − d‖², and what is
        left of d is its part across d′ − d.

        - `size`, `product`: ‖d‖² and ⟨d′, d⟩.
        """
        change = self.size + size - 2 * product
        aim = self.reach * (self.size - product) / jnp.where(change > 0, change, 1)
        along = jnp.abs(product - size)
        clear = along >= (1 - _LEFT_OVER**2) ** 0.5 * jnp.sqrt(size) * jnp.sqrt(jnp.maximum(change, 0))
        # Half the factor is what a displacement that turns round at full length aims at: it does not fall.
        return aim, clear & (aim > self.factor / 2) & (aim < _LONGEST)


def _along(state: PyTree, factor: Array, move: PyTree) -> PyTree:
    """u + ω·d, with one ω for each sample, in the precision of the state."""
    return trees.add(state, trees.scale(factor.astype(jnp.finfo(trees.dtype_of(state)).dtype), move))


def _inner(a: PyTree, b: PyTree, phases: int, dtype: Any) -> Float[Array, " batch"]:
    """Re⟨a, b⟩ over all phases of each sample, summed in `dtype`."""

    def parts(tree: PyTree) -> list[Array]:
        leaves = jax.tree.leaves(tree)
        real = [part for leaf in leaves for part in ((leaf.real, leaf.imag) if jnp.iscomplexobj(leaf) else (leaf,))]
        return [part.astype(dtype) for part in real]

    return across_phases(jnp.sum, trees.inner(parts(a), parts(b)), phases)
