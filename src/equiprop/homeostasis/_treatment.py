"""What a treatment of the weights is."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from equiprop.systems import System


class AbstractTreatment(eqx.Module):
    """Changes the gradient so that the Jacobian becomes, or stays, symmetric."""

    @abc.abstractmethod
    def treat(
        self,
        gradient: PyTree,
        system: System,
        x: Any,
        state: PyTree,
        usable: Bool[Array, " batch"],
        *,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, Array]:
        """The gradient with the treatment's own part, and the treatment's loss, a scalar.

        **Arguments:**

        - `gradient`: in the structure of the system.
        - `state`: the free equilibrium; held fixed.
        - `usable`: the samples whose state may be looked at.
        """
