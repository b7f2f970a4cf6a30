"""Solvers whose sweep has a factor, given or found sample by sample."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from equiprop.numerics import Number, choice, number
from equiprop.solvers._pace import Pace
from equiprop.solvers._solver import AbstractSolver, Step
from equiprop.systems import AbstractField


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

    extrapolates: ClassVar[bool]
    """Whether `damping = "auto"` over-relaxes, besides damping."""

    damping: eqx.AbstractVar[Number | None]  # pyright: ignore[reportGeneralTypeIssues]
    low_precision_start: eqx.AbstractVar[str]  # pyright: ignore[reportGeneralTypeIssues]

    @property
    def start_precision(self) -> str | None:
        return None if self.low_precision_start == "none" else self.low_precision_start

    @abc.abstractmethod
    def sweep_at(
        self, field: AbstractField, state: PyTree, factor: float | Array
    ) -> tuple[PyTree, Float[Array, " batch"]]:
        """`sweep` at ω = `factor`."""

    def sweep(self, field: AbstractField, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        """With `damping = "auto"` at ω = 1."""
        return self.sweep_at(field, state, 1.0 if self.damping is None else 1 - jnp.asarray(self.damping))

    def init(self, field: AbstractField, state: PyTree) -> Pace | tuple[()]:
        del field
        return Pace.start(state) if self.damping is None else ()

    def step(
        self, field: AbstractField, state: PyTree, memory: Pace | tuple[()], count: Int[Array, ""], phases: int
    ) -> Step:
        if not isinstance(memory, Pace):
            return super().step(field, state, memory, count, phases)
        return memory.step(lambda u: self.sweep(field, u), state, phases, extrapolates=self.extrapolates)
