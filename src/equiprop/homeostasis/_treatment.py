"""What a treatment of the weights is."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis.strength import AbstractStrength, Constant, StepContext
from equiprop.systems import System


class Treated(eqx.Module):
    """What a treatment made of a gradient.

    - `gradient`: with the treatment's own part.
    - `loss`: the treatment's loss, before its strength.
    - `strength`: the factor that was used.
    - `skipped`: samples that it could not look at although they were usable.
    - `memory`: what the strength wants to remember until the next step.
    """

    gradient: PyTree
    loss: Float[Array, ""]
    strength: Float[Array, ""]
    skipped: Int[Array, ""]
    memory: PyTree


def as_strength(value: float | AbstractStrength) -> AbstractStrength:
    return value if isinstance(value, AbstractStrength) else Constant(value)


class AbstractTreatment(eqx.Module):
    """Changes the gradient so that the Jacobian becomes, or stays, symmetric.

    To add one, subclass this with `own_part`.

    - `strength`: the factor on the treatment's own part: a number, or what makes one from step to step.
    """

    strength: eqx.AbstractVar[AbstractStrength]

    @abc.abstractmethod
    def own_part(
        self, gradient: PyTree, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        """What is added to the gradient at strength one, the loss, and how many usable samples had to be skipped.

        **Arguments:**

        - `gradient`: of the cost, in the structure of the system.
        """

    def prepare(self, gradient: PyTree, system: System) -> PyTree:
        """The gradient of the cost as the treatment wants it, before its own part is added."""
        del system
        return gradient

    def confine(self, own: PyTree, system: System) -> PyTree:
        """The treatment's own part, of those parameters alone that it may move; by default of all."""
        del system
        return own

    def check(self, system: System) -> None:
        """Raises `InputError` where the treatment cannot serve the system."""

    def start(self, dtype: Any) -> PyTree:
        """What the strength remembers before the first step."""
        return self.strength.start(dtype)

    def treat(
        self,
        gradient: PyTree,
        system: System,
        batch: Batch,
        *,
        key: PRNGKeyArray,
        progress: Float[Array, ""] | float = 0.0,
        memory: PyTree = None,
    ) -> Treated:
        """The gradient with `strength` times the treatment's own part.

        **Arguments:**

        - `progress`: how much of training is done, from 0 to 1; for scheduled strengths.
        - `memory`: from the step before; `None` at the first.
        """
        dtype = jnp.result_type(*jax.tree.leaves(gradient))
        memory = self.start(dtype) if memory is None else memory
        context = StepContext(jnp.asarray(progress, dtype), system, batch, jax.random.fold_in(key, 1))
        strength, memory = self.strength.step(memory, context)
        own, loss, skipped = self.own_part(gradient, system, batch, key=key)
        learnt, own = self.prepare(gradient, system), self.confine(own, system)
        treated = jax.tree.map(lambda g, h: g + strength.astype(g.dtype) * h, learnt, own)
        return Treated(treated, loss.astype(dtype), strength, skipped, memory)


def none_skipped() -> Int[Array, ""]:
    return jnp.zeros((), jnp.int32)
