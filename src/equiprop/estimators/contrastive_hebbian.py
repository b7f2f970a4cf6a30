"""Contrastive Hebbian learning: the output clamped at what is wanted."""

from typing import ClassVar

import jax.numpy as jnp

from equiprop.estimators._clamping import AbstractClamping
from equiprop.estimators._estimator import Response
from equiprop.estimators._problem import Problem


class ContrastiveHebbian(AbstractClamping):
    """δ = r − r_C, r_C with the output clamped at the target (Movellan 1991, doi:10.1016/B978-1-4832-1448-1.50007-X).

    `CoupledLearning(nudge=1)`: the contrast of a free and a fully clamped phase, which for a Hopfield network is the difference
    of two Hebbian terms, r·rᵀ − r_C·r_Cᵀ (Xie & Seung 2003, doi:10.1162/089976603762552988). The error bar is three times how
    far δ is from the response to a clamp that vanishes, which a full clamp is not meant to be: leave the tolerance at inf.
    """

    kind: ClassVar[str] = "contrastive_hebbian"
    label: ClassVar[str] = "contrastive Hebbian learning"
    citation: ClassVar[tuple[str, ...]] = (
        "Movellan, Contrastive Hebbian learning in the continuous Hopfield model, Connectionist Models 1991, "
        "doi:10.1016/B978-1-4832-1448-1.50007-X",
    )
    tends_to: ClassVar[str] = "clamped"

    def respond(self, problem: Problem) -> Response:
        return self.respond_at(problem, jnp.ones_like(problem.free.residual))
