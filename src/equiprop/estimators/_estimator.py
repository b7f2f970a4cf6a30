"""What an estimator is, and what it answers."""

import abc
import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.estimators._problem import Problem
from equiprop.numerics import Number, Settings, choice, number
from equiprop.solvers import Equilibrium, Status
from equiprop.systems import System

FLAGS = ("unconverged", "clipped", "branch_switch", "inaccurate", "non_analytic", "retried")
"""What a sample may be flagged as, beside the status of its free phase."""

POLICIES = ("unconverged", "clipped", "branch_switch", "inaccurate")
"""The flags for which an estimator says what the gradient does with such samples: `"drop"` or `"keep"`."""

REMEDIES = {
    "unconverged": "shorter steps (damping, or relaxation of Anderson's solver) or more of them (max_steps) may bring them to "
    "rest",
    "clipped": "a larger clip lets them in",
    "branch_switch": "a smaller nudge may keep them on their branch",
    "inaccurate": "a smaller nudge, or a larger tolerance of the estimator, lets them in",
}
"""What to do about the samples that have such a flag."""

COUNTS = ("samples", *(s.name.lower() for s in Status), *FLAGS, "excluded")
"""The keys of `Estimate.counts`."""

Surrogate = Callable[[System, Any, PyTree, Array], Float[Array, " batch"]]
"""`surrogate(theta, x, error_vector, sound)`: per sample, what the parameter gradient is the gradient of, δ fixed.

Only samples that are `sound` may be looked at (`trees.stand_in`): the others count with weight zero, and 0·NaN would be NaN.
"""


class Response(eqx.Module):
    """What an estimator measured, before anything is excluded.

    **Fields:**

    - `error_vector`: the estimate of −dr/dβ, in the structure of the state, real.
    - `error_bar`: its relative error as the estimator itself sees it, per sample; infinite or NaN where it cannot be told.
    - `converged`: whether every relaxation or linear solve behind it converged.
    - `relaxation_steps`: sweeps over all phases, or Jacobian products of a linear solve.
    - `branch_switch`: whether the nudge carried the sample to another branch. By default no.
    - `non_analytic`: whether the response does not look analytic on the disc of the nudge. By default no.
    - `nudge`: |β|, where there is one.
    - `retried`: whether the sample was estimated again at a smaller nudge. By default no.
    - `equilibrium`: the equilibrium it belongs to, from an estimator that needs no free phase.
    - `unfinished`, `rounding`, `noise`: the parts of its relative error that are put down to unfinished relaxation, to rounding,
      and to noise. By default none.
    - `tracking`: how much of the response comes late, ‖quadrature‖/‖in phase‖, where the nudge moves. By default none.
    - `surrogate`: of an estimator whose parameter gradient is not δᵀ∂F/∂θ at the free equilibrium; an Equinox module.
    """

    error_vector: PyTree
    error_bar: Float[Array, " batch"]
    converged: Bool[Array, " batch"]
    relaxation_steps: Int[Array, " batch"]
    branch_switch: Bool[Array, " batch"] | None = None
    non_analytic: Bool[Array, " batch"] | None = None
    nudge: Float[Array, " batch"] | None = None
    retried: Bool[Array, " batch"] | None = None
    equilibrium: Equilibrium | None = None
    surrogate: Surrogate | None = None
    unfinished: Float[Array, " batch"] | None = None
    rounding: Float[Array, " batch"] | None = None
    noise: Float[Array, " batch"] | None = None
    tracking: Float[Array, " batch"] | None = None

    @property
    def lag(self) -> Float[Array, " batch"] | None:
        """The part of its relative error that is put down to states that lag behind: what one pole of such tracking does.

        Of 1 such a pole leaves 1/(1 + ix): x comes late, relative to what is in phase, and x² is missing, relative to that, too.
        """
        return None if self.tracking is None else self.tracking**2


class AbstractEstimator(Settings):
    """How the gradient is read. To add one, subclass this with `respond`."""

    clip: Number | None = number(
        100.0,
        "A sample's error vector longer than this many times the norm of its cost gradient is scaled down to that length and "
        "flagged as clipped; inf for off. Near a bifurcation the exact response and the exact adjoint grow without limit.",
        above=0,
        word=math.inf,
        kw_only=True,
    )
    tolerance: Number | None = number(
        math.inf,
        "Largest error bar of a sample that is good enough; inf for any. A sample above it is inaccurate; one that adds less to "
        "the gradient than samples do on average, if its error is above that fraction of what these add.",
        above=0,
        word=math.inf,
        kw_only=True,
    )
    unconverged: str = choice(
        "drop", "What the gradient does with samples that did not converge: drop or keep.", "drop", "keep", kw_only=True
    )
    clipped: str = choice(
        "keep",
        "What the gradient does with clipped samples: drop or keep.",
        "drop",
        "keep",
        kw_only=True,
        needs=("clip",),
    )
    inaccurate: str = choice(
        "drop",
        "What the gradient does with samples above the tolerance: drop or keep.",
        "drop",
        "keep",
        kw_only=True,
        needs=("tolerance",),
    )
    divide_by: str = choice(
        "batch",
        "By which number of samples the sum over those in the gradient is divided: batch, of all, so that an excluded sample "
        "adds nothing; kept, of those, as if the excluded ones were like them.",
        "batch",
        "kept",
        kw_only=True,
    )

    tends_to: ClassVar[str] = "response"
    """What its error vector is an estimate of: `"response"`, δE = −J⁻¹∇C, or `"adjoint"`, δ = −J⁻ᵀ∇C, or `"clamped"`, the
    response to an output that is clamped."""

    needs_free_phase: ClassVar[bool] = True
    """Whether `respond` is given the free equilibrium, or only a state to start from."""

    @property
    def nudges(self) -> bool:
        """Whether it is measured on a system that is nudged or clamped, and not computed from its equations."""
        return hasattr(self, "nudge") or self.tends_to == "clamped"

    @property
    def order(self) -> int:
        """The power of the nudge with which the error of one that nudges or clamps falls."""
        return 1

    @abc.abstractmethod
    def respond(self, problem: Problem) -> Response:
        """Measures the error vector of every sample at its free equilibrium."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """The flags whose samples have no part in the gradient; an estimator that cannot tell one has no policy for it."""
        return tuple(name for name in POLICIES if getattr(self, name, "keep") == "drop")

    def check(self, system: System, x: Any) -> None:
        """Raises `InputError` where the estimator cannot serve the system for such inputs."""
