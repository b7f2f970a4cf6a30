"""Numbers that change while a system trains, as functions of how much of training is done."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from equiprop.errors import InputError, suggest, unknown_key

T = TypeVar("T")

SHAPES = ("linear", "cosine", "warmup")


class AbstractSchedule(eqx.Module):
    """Stands in the place of a number, and gives it for every step of training."""

    stateful: ClassVar[bool] = False
    """Whether the number depends on more than progress; then it is not resolved beforehand."""

    @abc.abstractmethod
    def __call__(self, progress: Float[Array, ""]) -> Float[Array, ""]:
        """The number when the fraction `progress` of training is done, from 0 to 1."""

    @abc.abstractmethod
    def table(self) -> dict[str, Any]:
        """As a table of a configuration file."""


class Schedule(AbstractSchedule):
    """From one number to another over the whole of training, by Optax.

    - `shape`: `"linear"`; `"cosine"`, slow at both ends; `"warmup"`, linear over the first tenth and constant after it.
    - `start`, `end`: the two numbers. Files call them `from` and `to`.
    """

    shape: str = eqx.field(static=True)
    start: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    end: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __check_init__(self) -> None:
        if self.shape not in SHAPES:
            raise suggest("schedule", self.shape, SHAPES)

    def __call__(self, progress: Float[Array, ""]) -> Float[Array, ""]:
        if self.shape == "cosine":
            value = self.end + optax.cosine_decay_schedule(1.0, 1)(progress) * (self.start - self.end)
        else:
            value = optax.linear_schedule(self.start, self.end, 1)(
                10 * progress if self.shape == "warmup" else progress
            )
        return jnp.asarray(value, progress.dtype)

    def table(self) -> dict[str, Any]:
        return {"schedule": self.shape, "from": plain_number(self.start), "to": plain_number(self.end)}


class FunctionSchedule(AbstractSchedule):
    """A function of the user's own."""

    function: Callable[[Float[Array, ""]], Any] = eqx.field(static=True)

    def __call__(self, progress: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.asarray(self.function(progress), progress.dtype)

    def table(self) -> dict[str, Any]:
        return {"schedule": getattr(self.function, "__qualname__", repr(self.function))}


def as_schedule(table: Mapping[str, Any]) -> Schedule:
    """From the table of a configuration file, `{schedule = "cosine", from = 0.5, to = 0.05}`. Raises `InputError`."""
    for key in table:
        if key not in ("schedule", "from", "to"):
            raise unknown_key((), key, ["schedule", "from", "to"])
    for key in ("schedule", "from", "to"):
        if key not in table:
            raise InputError(f"a schedule needs the keys schedule, from and to; {key} is missing")
    for key in ("from", "to"):
        if isinstance(table[key], bool) or not isinstance(table[key], int | float):
            raise InputError("must be a number", path=key, value=table[key])
    return Schedule(table["schedule"], float(table["from"]), float(table["to"]))


def plain_number(leaf: Array) -> float:
    """A leaf as the shortest number that gives it: 0.1, not 0.10000000149."""
    return float(str(np.asarray(leaf)[()]))


def resolve(tree: T, progress: Float[Array, ""] | float) -> T:
    """`tree` with the numbers that its schedules give at `progress`."""
    here = jnp.asarray(progress)

    def number(leaf: Any) -> Any:
        return leaf(here) if is_schedule(leaf) and not leaf.stateful else leaf

    return jax.tree.map(number, tree, is_leaf=is_schedule)


def is_schedule(leaf: Any) -> bool:
    return isinstance(leaf, AbstractSchedule)
