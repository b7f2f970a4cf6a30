"""What a homeostasis is: a regulariser of the Jacobian, added to the gradient of the cost."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._strength import Controlled, StepContext
from equiprop.numerics import AbstractSchedule, Number, Settings
from equiprop.systems import System


class Regularised(eqx.Module):
    """What a homeostasis made of a gradient.

    - `gradient`: with the homeostasis's own, times its strength.
    - `loss`: of the homeostasis, before its strength.
    - `strength`: the factor that was used.
    - `skipped`: samples that it could not look at although they were usable.
    - `memory`: what a controlled strength wants to remember until the next step.
    """

    gradient: PyTree
    loss: Float[Array, ""]
    strength: Float[Array, ""]
    skipped: Int[Array, ""]
    memory: PyTree


class AbstractHomeostasis(Settings):
    """Changes the gradient so that the Jacobian becomes, or stays, symmetric.

    To add one, subclass this with `gradient` and a field `strength`, made by `strength_setting`: the factor on its own gradient.
    """

    strength: eqx.AbstractVar[Number | None]

    @abc.abstractmethod
    def gradient(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        """Its own gradient at strength one, in the structure of the system; its loss; how many usable samples were skipped."""

    def prepare(self, gradient: PyTree, system: System) -> PyTree:
        """The gradient of the cost as the homeostasis wants it, before its own is added."""
        del system
        return gradient

    def mask(self, gradient: PyTree, system: System) -> PyTree:
        """The homeostasis's own gradient, of those parameters alone that it may move; by default of all."""
        del system
        return gradient

    def decide(self, system: System) -> "AbstractHomeostasis":
        """The same with what `"auto"` stands for in this system."""
        del system
        return self

    def check(self, system: System) -> None:
        """Raises `InputError` where the homeostasis cannot serve the system."""

    def init(self, dtype: Any) -> PyTree:
        """What a controlled strength remembers before the first step; nothing of one that is not."""
        return self.strength.init(dtype) if isinstance(self.strength, Controlled) else ()

    def regularise(
        self,
        gradient: PyTree,
        system: System,
        batch: Batch,
        *,
        key: PRNGKeyArray,
        progress: Float[Array, ""] | float = 0.0,
        memory: PyTree = None,
    ) -> Regularised:
        """The gradient with `strength` times the homeostasis's own.

        Where complex numbers are coded, the Jacobian is that of what is coded.

        **Arguments:**

        - `progress`: how much of training is done, from 0 to 1; for scheduled strengths.
        - `memory`: from the step before; `None` at the first.
        """
        if (coding := system.coding) is not None:
            in_phase = Batch(batch.x, coding.in_phase(batch.state), batch.usable)
            inner = self.regularise(gradient.system, coding.system, in_phase, key=key, progress=progress, memory=memory)
            return eqx.tree_at(lambda r: r.gradient, inner, eqx.tree_at(lambda g: g.system, gradient, inner.gradient))
        decided = self.decide(system)
        dtype = jnp.result_type(*jax.tree.leaves(gradient))
        memory = decided.init(dtype) if memory is None else memory
        context = StepContext(jnp.asarray(progress, dtype), system, batch, jax.random.fold_in(key, 1))
        strength, memory = _strength_at(decided.strength, memory, context)
        own, loss, skipped = decided.gradient(system, batch, key=key)
        learnt, own = decided.prepare(gradient, system), decided.mask(own, system)
        regularised = jax.tree.map(lambda g, h: g + strength.astype(g.dtype) * h, learnt, own)
        return Regularised(regularised, loss.astype(dtype), strength, skipped, memory)


def _strength_at(strength: Any, memory: PyTree, context: StepContext) -> tuple[Float[Array, ""], PyTree]:
    if isinstance(strength, Controlled):
        return strength.step(memory, context)
    if isinstance(strength, AbstractSchedule):
        return strength(context.progress), memory
    assert strength is not None
    return jnp.asarray(strength, context.progress.dtype), memory


def none_skipped() -> Int[Array, ""]:
    return jnp.zeros((), jnp.int32)
