"""What an optimizer is: Optax's, with one learning rate a parameter group."""

import abc
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from equiprop.errors import InputError, unknown_key
from equiprop.numerics import Number, Settings, choice, is_schedule, number
from equiprop.numerics.settings import Setting
from equiprop.systems import System


def learning_rate_setting() -> Any:
    """The field of the learning rate."""
    return number(0.03, "Learning rate of every parameter that learning_rates does not name.", above=0)


def weight_decay_setting(doc: str) -> Any:
    return number(0.0, doc, at_least=0, word=0.0)


def schedule_setting() -> Any:
    """The field of how the learning rates fall."""
    return choice("cosine", "Of the learning rates: constant, or cosine (to 0 at the last step).", "cosine", "constant")


def learning_rates_setting() -> Any:
    """The field of the learning rates of single groups."""
    doc = (
        "Learning rate by connection (such as input->hidden_1), by population for biases, by parameter, or readout. A feedback "
        "weight without one has that of its forward weight."
    )
    setting = Setting("numbers", doc)
    return eqx.field(default_factory=dict, converter=_as_leaves, metadata={"setting": setting})


def _as_leaves(rates: dict[str, Any]) -> dict[str, Any]:
    return {name: jnp.asarray(rate) for name, rate in rates.items()}


class AbstractOptimizer(Settings):
    """Makes a transformation of Optax for the parameters of a system.

    To add one, subclass this with `scaled`.
    """

    learning_rate: eqx.AbstractVar[Number]
    schedule: eqx.AbstractVar[str]
    learning_rates: eqx.AbstractVar[dict[str, Any]]

    def __check_init__(self) -> None:
        if is_schedule(self.learning_rate) and self.schedule != "constant":
            raise InputError(
                "learning_rate is a schedule already", path="schedule", value=self.schedule, hint="write constant"
            )
        for name, rate in self.learning_rates.items():
            if not isinstance(rate, Tracer) and not 0 <= float(rate) < float("inf"):
                raise InputError(
                    "must be a finite number, at least 0", path=("learning_rates", name), value=float(rate)
                )

    @abc.abstractmethod
    def scaled(self, learning_rate: optax.Schedule) -> optax.GradientTransformation:
        """The transformation with one learning rate."""

    def transformation(self, system: System, total_steps: int) -> optax.GradientTransformation:
        """The transformation, its schedule over `total_steps`. Raises `InputError` for a group that the system has not."""
        groups = parameter_groups(system)
        known = sorted(set(jax.tree.leaves(groups)))
        for name in self.learning_rates:
            if name not in known:
                raise unknown_key("learning_rates", name, known)

        def with_peak(peak: Any) -> optax.GradientTransformation:
            constant = self.schedule == "constant"
            return self.scaled(
                optax.constant_schedule(peak) if constant else optax.cosine_decay_schedule(peak, total_steps)
            )

        if not self.learning_rates:
            return with_peak(self.learning_rate)
        forward = {back: name for name, back in system.pairs.values()}
        given = self.learning_rates
        rates = {name: given.get(name, given.get(forward.get(name, ""), self.learning_rate)) for name in known}
        return optax.partition({name: with_peak(rate) for name, rate in rates.items()}, parameter_groups)


def is_weight(params: Any) -> Any:
    """Which parameters are weights, not biases: those that decay."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def parameter_groups(system: Any) -> Any:
    """For every parameter the name under which `learning_rates` knows it: its connection, its population, or `readout`.

    On a chip they are those of the system.
    """

    def name(path: tuple[Any, ...], leaf: Any) -> str:
        del leaf
        keys = [str(getattr(k, "key", getattr(k, "name", k))) for k in path]
        # A wrapper has the parameters of what it is around.
        keys = list(itertools.dropwhile(lambda key: key == "system", keys))
        return "readout" if keys[0] == "cost" else keys[-1]

    return jax.tree_util.tree_map_with_path(name, eqx.filter(system, eqx.is_inexact_array))
