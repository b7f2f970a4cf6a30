"""Complex numbers in a system whose states are real."""

import abc

import equinox as eqx
from jaxtyping import Array, Inexact, PyTree

from equiprop.systems._system import System


class AbstractCoding(eqx.Module):
    """How a system holds complex numbers in real states: what a complex nudge does to it, and how its response is read.

    **Fields:**

    - `system`: that is coded.
    """

    system: eqx.AbstractVar[System]

    @abc.abstractmethod
    def nudging(
        self, state: PyTree, activity: PyTree, target: PyTree, nudge: Inexact[Array, " batch"]
    ) -> PyTree[Inexact[Array, "batch ..."]]:
        """β·∇_r C continued to complex activities, as a force on the state."""

    @abc.abstractmethod
    def phasors(self, activity: PyTree) -> PyTree:
        """The complex numbers that activities stand for, or differences of them, in their structure.

        They are such that their real parts, as an error vector, give the gradient.
        """

    @abc.abstractmethod
    def in_phase(self, state: PyTree) -> PyTree:
        """The real state of `system` that this one is."""
