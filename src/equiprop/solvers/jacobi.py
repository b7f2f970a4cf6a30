"""Synchronous sweeps."""

from typing import ClassVar

from jaxtyping import Array, Float, PyTree

from equiprop.numerics import Number
from equiprop.solvers._paced import AbstractPaced, damping_setting, low_precision_setting
from equiprop.solvers._sweeps import all_at_once
from equiprop.systems import AbstractField


class Jacobi(AbstractPaced):
    """u ← u + ω·F(u), every unit at once.

    For F = H(r) − u and ω = 1 this is u ← H(r). It may fall into an oscillation of period 2 where Gauss–Seidel sweeps converge;
    damping removes it.
    """

    kind: ClassVar[str] = "jacobi"
    label: ClassVar[str] = "Jacobi"
    extrapolates: ClassVar[bool] = False

    damping: Number | None = damping_setting(
        "auto",
        "Fraction of the old state that a sweep keeps, 1 − ω; auto: damp the samples that go round and round, those alone.",
    )
    low_precision_start: str = low_precision_setting()

    def sweep_at(
        self, field: AbstractField, state: PyTree, factor: float | Array
    ) -> tuple[PyTree, Float[Array, " batch"]]:
        return all_at_once(field, state, factor)
