"""Sweeps of one block of the system after the other."""

from typing import ClassVar

from jaxtyping import Array, Float, PyTree

from equiprop.numerics import Number
from equiprop.solvers._paced import AbstractPaced, damping_setting, low_precision_setting
from equiprop.solvers._sweeps import block_by_block
from equiprop.systems import AbstractField


class GaussSeidel(AbstractPaced):
    """u_c ← u_c + ω·F_c(u) for one block c of the system after the other, each seeing the new state of the last.

    Within a block no unit acts on another: of a chain each layer is one, from the input to the output; nudged phases begin at the
    output. With symmetric weights every such update at 0 < ω < 2 descends the energy.

    With `damping = "auto"` every sample settles that settles with `damping = 0`, in fewer sweeps on average. Steps
    are u ← u + ω·(G(u) − u) with G the sweep at ω = 1, and ω for every sample by itself:

    1. ω = 1 as long as nothing below says otherwise.
    2. Over-relaxation, one step at a time. Two displacements d′, d of successive sweeps predict the ω at which a linear sweep
       would arrive, ω′·⟨d′, d′ − d⟩/‖d′ − d‖²: Aitken's extrapolation for vectors (Irons & Tuck 1969). It is tried where it
       would take away half of the displacement at least, two predictions in a row agree, and the force is the smallest so
       far: where one slow mode is left. The next sweep judges it. Unless the force has fallen, the sample goes back to where
       ω = 1 would have led and tries no more: a failure costs one sweep.
    3. Damping. A sample whose displacements turn, and whose smallest force has not improved for 50 such sweeps, goes on at
       half its ω, down to 0.2. An equilibrium that attracts plain sweeps attracts these too.

    The phases of a sample share every decision, so that their common drift cancels.
    """

    kind: ClassVar[str] = "gauss_seidel"
    label: ClassVar[str] = "Gauss-Seidel"
    extrapolates: ClassVar[bool] = True
    citation: ClassVar[tuple[str, ...]] = (
        "Irons & Tuck, A version of the Aitken accelerator for computer iteration, Int. J. Numer. Methods Eng. 1969, "
        "doi:10.1002/nme.1620010306",
    )
    remedy: ClassVar[str] = "damp them by damping = 0.5, or take Anderson's method with short sweeps (relaxation = 0.3)"

    damping: Number | None = damping_setting(
        "auto", "Fraction of the old state that a sweep keeps, 1 − ω; auto: longer and shorter steps sample by sample."
    )
    low_precision_start: str = low_precision_setting()

    def sweep_at(
        self, field: AbstractField, state: PyTree, factor: float | Array
    ) -> tuple[PyTree, Float[Array, " batch"]]:
        return block_by_block(field, state, factor)
