"""What every homeostasis of the Jacobian may do, whatever loss it descends."""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._homeostasis import AbstractHomeostasis
from equiprop.homeostasis._papers import KOLEN_POLLACK
from equiprop.homeostasis._strength import strength_setting
from equiprop.numerics import count, flag
from equiprop.systems import System

# What docs/closing-the-gap.md found best: where feedback weights alone follow, fast, which holds nothing back; elsewhere a light
# hand, since there a homeostasis pulls at weights that learn.
_FOLLOWING, _LIGHT = 100.0, 0.3


def jacobian_strength_setting() -> Any:
    return strength_setting(
        "auto", "Factor on the loss per unit; auto: 100 where feedback weights alone are moved, 0.3 elsewhere."
    )


def probes_setting() -> Any:
    return count(5, "Random vectors per sample.")


def samples_setting() -> Any:
    return count(
        5,
        "Samples of a batch that are probed, the first ones; 0 for all. Where the coupling does not depend on the state (dense "
        "layers) more samples are nothing but more probes.",
        at_least=0,
    )


def shared_updates_setting() -> Any:
    return flag(
        "auto",
        "Both weights of every untied pair learn from the sum of their two gradients (Kolen & Pollack 1994), so that feedback "
        "does not lag behind what it has to mirror, and only the homeostasis acts on their difference. auto: where "
        "there are such pairs.",
        word="auto",
    )


def feedback_only_setting(default: bool | str) -> Any:
    return flag(
        default,
        "The homeostasis moves the feedback weights of untied pairs and nothing else: where both weights move they meet half "
        "way, and two at a right angle are then shorter by √2, in every layer. auto: where nothing else could be asymmetric.",
        word="auto",
    )


class AbstractJacobianHomeostasis(AbstractHomeostasis):
    """A homeostasis of the Jacobian, whatever the system, that may leave learning to both weights of a pair alike.

    To add one, subclass this with `gradient_of_usable` and the fields that are declared here.
    """

    samples: eqx.AbstractVar[int]
    shared_updates: eqx.AbstractVar[bool | str]
    feedback_only: eqx.AbstractVar[bool | str]

    @abc.abstractmethod
    def gradient_of_usable(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        """What `gradient` gives, read off the usable samples of `batch`. If there are none it does not matter what."""

    def gradient(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        looked_at = batch.first(self.samples)
        *found, skipped = self.gradient_of_usable(system, looked_at, key=key)
        any_seen = jnp.sum(looked_at.usable) > skipped
        own, loss = jax.tree.map(lambda a: jnp.where(any_seen, a, 0), found)
        return own, loss, skipped

    def decide(self, system: System) -> "AbstractJacobianHomeostasis":
        alone = bool(system.pairs) and system.fully_paired
        feedback_only = alone if self.feedback_only == "auto" else bool(self.feedback_only)
        decided: dict[str, Any] = {
            "feedback_only": feedback_only,
            "shared_updates": bool(system.pairs) if self.shared_updates == "auto" else bool(self.shared_updates),
        }
        if self.strength is None:
            decided["strength"] = _FOLLOWING if feedback_only else _LIGHT
        return dataclasses.replace(self, **decided)

    def check(self, system: System) -> None:
        decided = self.decide(system)
        for name in ("shared_updates", "feedback_only"):
            if getattr(decided, name) and not system.pairs:
                raise InputError(
                    "the system has no untied pair of forward and feedback weights",
                    path=name,
                    value=True,
                    hint="write false",
                )

    def cited(self) -> tuple[str, ...]:
        return (*self.citation, KOLEN_POLLACK) if self.shared_updates is True else self.citation

    def prepare(self, gradient: PyTree, system: System) -> PyTree:
        return tie_updates(gradient, system) if self.shared_updates else gradient

    def mask(self, gradient: PyTree, system: System) -> PyTree:
        if not self.feedback_only:
            return gradient
        nothing = jax.tree.map(jnp.zeros_like, gradient)
        feedback = {back: gradient.weights[back] for _, back in system.pairs.values()}
        return eqx.tree_at(lambda o: o.weights, nothing, dict(nothing.weights) | feedback)


def require_pairs(system: System) -> dict[str, tuple[str, str]]:
    """The names of the system's untied pairs. Raises `InputError` where there are none."""
    if not system.pairs:
        raise InputError(
            "the system has no untied pair of forward and feedback weights to bring together",
            hint="use a homeostasis that needs none, such as jacobian",
        )
    return system.pairs


def tie_updates(gradient: PyTree, system: System, factor: float = 1.0) -> PyTree:
    """A gradient in which both weights of every untied pair have `factor` times the sum of their two.

    At factor 1 that is the gradient of one tied weight.
    """
    weights = dict(gradient.weights)
    for forward, feedback in require_pairs(system).values():
        weights[forward] = weights[feedback] = factor * (weights[forward] + weights[feedback])
    return eqx.tree_at(lambda g: g.weights, gradient, weights)
