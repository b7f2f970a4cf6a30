"""What relaxes: the interface of every system."""

import abc
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PRNGKeyArray, PyTree

from equiprop.numerics import AbstractCost, trees
from equiprop.systems._dynamics import Dynamics

if TYPE_CHECKING:
    from equiprop.systems._coding import AbstractCoding

Block = tuple[str, ...] | None
"""The populations that one update moves together; `None` stands for the whole state."""


class System(eqx.Module):
    """A vector field with an activity, an output and a cost: u̇ = F(θ, u, x), r = φ(u), C(output(r), y).

    The parameters θ are the inexact arrays of the module itself, so gradients come back as a module of the same structure.
    Every state is a pytree whose leaves have the batch as their leading axis, and no sample acts on another.

    To add a kind of system, subclass this with `force`, `initial_state`, `output` and a field `cost`. The other methods say what
    a system may have besides. What follows from them (slopes, Jacobians, the metric) are functions of a system:
    `systems/_linearise.py`.
    """

    cost: eqx.AbstractVar[AbstractCost]

    @abc.abstractmethod
    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        """F at `state`, in the structure of the state.

        **Arguments:**

        - `state`: u, real, or complex under a complex nudge.
        - `injection`: what the method `injection` made of the input.
        - `only`: one of `blocks`; the force on those populations alone is returned.
        """

    @abc.abstractmethod
    def initial_state(self, x: Any) -> PyTree:
        """Where a free relaxation starts, for the input batch `x`."""

    @abc.abstractmethod
    def output(self, activity: PyTree) -> PyTree[Inexact[Array, "batch ..."]]:
        """What the cost reads of the activity: an array, or a tree of arrays where there are several outputs."""

    def activity(self, state: PyTree) -> PyTree:
        """r = φ(u), elementwise, in the structure of the state. By default r = u."""
        return state

    def leak(self, state: PyTree) -> PyTree | None:
        """ℓ(u) of a force F = H(r) − ℓ(u), elementwise; `None` if it is not known, or r = u.

        Only with it are Jacobians known where φ saturates: ∂F/∂u is then −ℓ′, and says nothing of ∂H/∂r.
        """
        del state
        return None

    def recurrent_input(self, activity: PyTree, injection: Any) -> PyTree | None:
        """H(r) of a force F = H(r) − ℓ(u), up to what does not depend on r; `None` if it cannot be had by itself.

        It is what arrives at every unit while the activities are clamped at `activity`, whatever the states.
        """
        del activity, injection
        return None

    def measured_from(self, activity: PyTree) -> PyTree:
        """What `force_difference` has to know of the activity r that it measures from, computed once; by default r.

        Arrays with the batch on their first axis.
        """
        return activity

    def force_difference(
        self, origin: PyTree, displacement: PyTree, response: PyTree, only: Block = None
    ) -> PyTree | None:
        """F(u + Δ) − F(u), told from Δ and ρ = φ(u + Δ) − φ(u) without that subtraction.

        With it a response is as precise as it is small; `None`, where it cannot be had so, has two forces subtracted. Of a force
        that is linear in r and u it is F(Δ, ρ) without what does not depend on them.

        **Arguments:**

        - `origin`: what `measured_from` gave of φ(u).
        """
        del origin, displacement, response, only
        return None

    def injection(self, x: Any) -> Any:
        """The input injection: everything in the force that does not depend on the state, computed once. By default `x`."""
        return x

    @property
    def blocks(self) -> tuple[Block, ...]:
        """A partition of the state such that no block acts on itself, updated in turn by Gauss–Seidel sweeps.

        In the order in which an input travels through them, so that one sweep carries it to the output. Nudged phases take the
        reverse order.
        """
        return (None,)

    @property
    def holomorphic(self) -> bool | None:
        """Whether F and φ continue analytically to complex states; `None` if nobody has said, and it has to be tested."""
        return None

    @property
    def mobility(self) -> PyTree | None:
        """μ per leaf of the state (numbers, or arrays that broadcast against it), 1 on the output; `None` for 1 everywhere.

        A system F = −M·∂E/∂r, M = diag(μ), has the Jacobian J = −M·∂²E/∂r², symmetric in the metric of M⁻¹ although J ≠ Jᵀ.
        Because the cost acts where μ = 1, −J⁻ᵀ∇C = M⁻¹·(−J⁻¹∇C): a response divided by μ is the exact error vector. All
        that measures or mends asymmetry looks at M^(−½)·J·M^½. With μ falling away from the output this is learning by
        weak feedback (Xie & Seung 2003, Neural Computation 15, 441), which is backpropagation in the limit.
        """
        return None

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """For each pair of weights that lead forward and back between the same units, by name, their names in `weights`."""
        return {}

    @property
    def fully_paired(self) -> bool:
        """Whether the weights of `pairs` are all that could make the Jacobian asymmetric; without pairs, that nothing could."""
        return False

    # What is other than for a system that is computed where one is built.

    @property
    def ready(self) -> "System":
        """A system with the same force, for a relaxation: what follows from parameters alone is worked out. By default itself.

        Of its parameters no gradient is taken, so that they need not be those of this system.
        """
        return self

    @property
    def dynamics(self) -> Dynamics | None:
        """How the state moves under the force; `None` for u̇ = F, in units of a time that the system does not know."""
        return None

    @property
    def coding(self) -> "AbstractCoding | None":
        """How complex numbers are held in a state that stays real; `None` where states are complex under a complex nudge."""
        return None

    @property
    def believed(self) -> "System":
        """The system as who trains it knows it: of this one ∂F/∂θ is taken at the states that are found. By default itself."""
        return self

    @property
    def departures(self) -> "dict[str, System]":
        """What `believed` leaves out of ∂F/∂θ, cause by cause: with the first, with the first two, up to the system itself."""
        return {}

    def updated(self, updates: PyTree, *, key: PRNGKeyArray) -> "System":
        """The system after an update of its parameters, in its own structure, was asked for. By default they are added."""
        del key
        return eqx.apply_updates(self, updates)

    def measured(self, activity: PyTree, *, key: PRNGKeyArray) -> PyTree | None:
        """What reading activities gives, real and imaginary parts each; `None` where they are known as they are."""
        del activity, key
        return None

    @property
    def reading_error(self) -> Float[Array, ""] | None:
        """The standard deviation of what is `measured` of an activity; `None` where it is known as it is."""
        return None

    def backward(self, state: PyTree, x: Any, injection: Any) -> "tuple[System, Any]":
        """The system, and its injection, of which the response at an equilibrium is measured. By default itself."""
        del state, x
        return self, injection

    def singularity_distance(self, state: PyTree) -> Float[Array, " batch"]:
        """The distance in u from each sample to the nearest singularity that the system knows of; infinite by default."""
        return jnp.full(trees.batch_size(state), jnp.inf, jnp.finfo(trees.dtype_of(state)).dtype)


def population_names(state: PyTree) -> tuple[str, ...]:
    """A name for each leaf of a state, in the order of its leaves: its path, or `state` for a bare array."""
    return tuple(name or "state" for name in trees.paths(state))
