"""What a solver is: one sweep, and where to go on from after it."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from equiprop.numerics import Number, Settings, count, number
from equiprop.systems import AbstractField


class Step(eqx.Module):
    """What one step of a relaxation found.

    - `swept`: where a sweep of the field ends: the answer, if the sample has converged.
    - `state`: where to go on from, if it has not.
    - `force`: the largest absolute force met on the way, per sample.
    - `memory`: for the next step.
    """

    swept: PyTree
    state: PyTree
    force: Float[Array, " batch"]
    memory: PyTree


class AbstractSolver(Settings):
    """How a field relaxes. A solver is one sweep, and where to go on from after it; `relax` is the loop around it.

    To add one, subclass this with `sweep`.
    """

    tolerance: Number = number(
        1e-4,
        "A sample has converged when no unit feels a force above this, in units of the force.",
        above=0,
        kw_only=True,
    )
    max_steps: int = count(200, "Sweeps of a free phase at most.", kw_only=True)
    nudged_max_steps: int = count(100, "Sweeps of a nudged phase at most.", kw_only=True)
    divergence: Number = number(
        1e6,
        "A sample has diverged when the force exceeds this many times one plus its first value.",
        above=1,
        kw_only=True,
    )

    stops_early: ClassVar[bool] = True
    """Whether a converged sample stops; solvers of a fixed number of steps say no."""

    remedy: ClassVar[str] = "damp, or use Gauss-Seidel sweeps or Anderson's method"
    """What to try for samples that oscillate or diverge under this solver."""

    @abc.abstractmethod
    def sweep(self, field: AbstractField, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        """Moves every unit once; returns the new state and the largest absolute force met on the way, per sample."""

    def init(self, field: AbstractField, state: PyTree) -> PyTree:
        """What is remembered of each sample from sweep to sweep, before the first; nothing by default."""
        del field, state
        return ()

    def follow(
        self, field: AbstractField, state: PyTree, memory: PyTree
    ) -> tuple[PyTree, Float[Array, " batch"], PyTree]:
        """A sweep of a state that follows a moving equilibrium and never leaps ahead: what `sweep` returns, and memory."""
        moved, force = self.sweep(field, state)
        return moved, force, memory

    def duration(self, field: AbstractField) -> Float[Array, ""] | None:
        """The time that a sweep takes, in the unit of the field's time constants; `None` where sweeps are no time."""
        del field
        return None

    def step(self, field: AbstractField, state: PyTree, memory: PyTree, count: Int[Array, ""], phases: int) -> Step:
        """One sweep, and where to go on from. By default from where the sweep ended.

        **Arguments:**

        - `memory`: of the step before, or of `init`.
        - `count`: steps taken before.
        - `phases`: copies of each sample in the batch, copy after copy.
        """
        del count, phases
        swept, force = self.sweep(field, state)
        return Step(swept, swept, force, memory)

    @property
    def start_precision(self) -> str | None:
        """The half precision in which a real relaxation begins, as far as that resolves it; `None` to begin in its own."""
        return None


def across_phases(over: Callable[..., Array], values: Any, phases: int) -> Array:
    """`over` the phases of each sample, as `jnp.all` or `jnp.max`, for every phase."""
    return jnp.tile(over(values.reshape(phases, -1), axis=0), phases) if phases > 1 else values
