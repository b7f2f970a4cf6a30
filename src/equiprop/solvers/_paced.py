"""Solvers whose sweep has a factor, given or found sample by sample."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from equiprop.numerics import Number, choice, number, trees
from equiprop.solvers._solver import AbstractSolver, Step, across_phases
from equiprop.systems import AbstractField


class Pace(eqx.Module):
    """How far each sample goes in a sweep.

    - `factor`: ω in u ← u + ω·F(u).
    - `force`: the largest force met in the last sweep.
    """

    factor: Float[Array, " batch"]
    force: Float[Array, " batch"]


def damping_setting(default: float | str, doc: str) -> Any:
    """The field of 1 − ω; `"auto"` for a factor of its own for every sample."""
    return number(default, doc, at_least=0, below=1, word="auto")


def low_precision_setting() -> Any:
    """The field of the half precision in which a relaxation begins."""
    return choice(
        "none",
        "none, or the half precision in which a relaxation begins, as far as that resolves it, before it goes on in that of the "
        "state: bfloat16 or float16. The residual that counts is always the latter's. Complex states begin in their own.",
        "none",
        "bfloat16",
        "float16",
    )


class AbstractPaced(AbstractSolver):
    """A solver whose sweep has a factor ω = 1 − `damping`, or one for each sample where `damping` is `"auto"`."""

    damping: eqx.AbstractVar[Number | None]  # pyright: ignore[reportGeneralTypeIssues]
    low_precision_start: eqx.AbstractVar[str]  # pyright: ignore[reportGeneralTypeIssues]

    @property
    def start_precision(self) -> str | None:
        return None if self.low_precision_start == "none" else self.low_precision_start

    @abc.abstractmethod
    def sweep_at(
        self, field: AbstractField, state: PyTree, factor: float | Array
    ) -> tuple[PyTree, Float[Array, " batch"]]:
        """`sweep` at ω = `factor`, one for all samples or one for each."""

    @abc.abstractmethod
    def better_factor(self, field: AbstractField, factor: Array, ratio: Array) -> Array:
        """The factor to go on with for a sample whose force fell to `ratio` times what it was in one sweep at `factor`."""

    def sweep(self, field: AbstractField, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        """With `damping = "auto"` at ω = 1."""
        return self.sweep_at(field, state, 1.0 if self.damping is None else 1 - jnp.asarray(self.damping))

    def init(self, state: PyTree) -> Pace | tuple[()]:
        if self.damping is not None:
            return ()
        ones = jnp.ones(trees.batch_size(state), jnp.finfo(trees.dtype_of(state)).dtype)
        return Pace(ones, ones)

    def step(
        self, field: AbstractField, state: PyTree, memory: Pace | tuple[()], count: Int[Array, ""], phases: int
    ) -> Step:
        if not isinstance(memory, Pace):
            return super().step(field, state, memory, count, phases)
        factor = memory.factor
        moved, force = self.sweep_at(field, state, factor)
        slowest = across_phases(jnp.max, force, phases)
        ratio = slowest / memory.force
        falling = jnp.where(factor < 1, jnp.minimum(_RECOVER * factor, 1), self.better_factor(field, factor, ratio))
        stuck = (factor <= 1) & (count >= _PATIENCE)
        slower = jnp.where(stuck, jnp.maximum(_DAMP * factor, _LEAST), jnp.minimum(factor, 1))
        new = jnp.where(ratio < _NOT_FALLING, falling, slower)
        due = count % _EVERY == _EVERY - 1
        # What is left after a long step may be larger than the force met on the way.
        seen = force * jnp.maximum(1, 2 * factor - 1)
        return Step(moved, moved, seen, Pace(jnp.where(due, new, factor), slowest))


# A new factor is tried for so many sweeps before its effect is judged by the last of them.
_EVERY = 3
# A force that has not fallen at ω = 1 after so many sweeps goes round and round.
_PATIENCE = 30
_NOT_FALLING = 0.999
_DAMP, _LEAST, _RECOVER = 0.5, 0.2, 1.1
