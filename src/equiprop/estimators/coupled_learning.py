"""Coupled learning: the output clamped a little of the way to what is wanted."""

from typing import ClassVar

from equiprop.estimators._clamping import AbstractClamping
from equiprop.estimators._estimator import Response
from equiprop.estimators._nudging import constant_size
from equiprop.estimators._problem import Problem
from equiprop.numerics import Number, number


class CoupledLearning(AbstractClamping):
    """δ = (r − r_C)/η, r_C with the output clamped at r + η(y − r) (Stern et al. 2021, doi:10.1103/PhysRevX.11.021045).

    The parameter gradient is (∂E_C/∂θ − ∂E/∂θ)/η, here ½·δᵀ(∂F/∂θ + ∂F_C/∂θ) for any vector field. As η → 0 the hidden part of
    δ is −J_hh⁻¹J_ho·δ_o with δ_o = r − y: that of equilibrium propagation, but for an output that is held, where a nudged one
    answers by −J⁻¹∇C itself. The error bar is three times how far δ is from that limit, by one Jacobian product.

    Wants a cost with a desired output, such as the squared error, and an output that is a part of the activity.
    """

    kind: ClassVar[str] = "coupled_learning"
    label: ClassVar[str] = "coupled learning"
    citation: ClassVar[tuple[str, ...]] = (
        "Stern et al., Supervised learning in physical networks: from machine learning to learning machines, Phys. Rev. X 2021, "
        "doi:10.1103/PhysRevX.11.021045",
    )
    tends_to: ClassVar[str] = "clamped"

    nudge: Number = number(0.1, "η, how much of the way the output is clamped to what is wanted.", above=0, at_most=1)

    def respond(self, problem: Problem) -> Response:
        return self.respond_at(problem, constant_size(self.nudge, problem.free))
