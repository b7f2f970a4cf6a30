"""What a connection does to the activity that it carries; weights are passed in, never held."""

import abc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Inexact, PRNGKeyArray

from equiprop.errors import InputError

Shape = tuple[int, ...]
"""Of one sample of a population: `(units,)`, or `(height, width, channels)`."""


@dataclass(frozen=True)
class AbstractOperation(abc.ABC):
    """What leads from a population of shape `source` to one of shape `target`.

    To add one, subclass this with `weight_shape`, `fan_in` and `apply`; its other fields are keys of a connection.
    """

    kind: ClassVar[str] = ""
    label: ClassVar[str] = ""
    citation: ClassVar[tuple[str, ...]] = ()

    source: Shape = field(metadata={"setting": None})
    target: Shape = field(metadata={"setting": None})

    @property
    @abc.abstractmethod
    def weight_shape(self) -> Shape | None:
        """Of its weight; `None` if it has none."""

    @property
    @abc.abstractmethod
    def fan_in(self) -> int:
        """How many activities add up to the input of a unit."""

    @property
    def is_linear(self) -> bool:
        """Whether what arrives is linear in the activity that it comes from."""
        return True

    @property
    def tells_differences(self) -> bool:
        """Whether it has `difference` and `transpose_difference`, as it has where it is linear."""
        return self.is_linear

    @abc.abstractmethod
    def apply(self, weight: Any, r: Inexact[Array, "batch *source"]) -> Inexact[Array, "batch *target"]:
        """What arrives at the target while the source is at activity r."""

    def apply_transpose(
        self, weight: Any, r: Inexact[Array, "batch *target"], at: Inexact[Array, "batch *source"]
    ) -> Inexact[Array, "batch *source"]:
        """What arrives at the source, itself at activity `at`, while the target is at activity r: ∂/∂at of r·apply(at).

        The force of the interaction energy −r·apply(weight, at), so that a connection and its transpose with the same weight
        are symmetric whatever the operation. For an operation that is linear it does not depend on `at`.
        """
        return jax.vjp(lambda a: self.apply(weight, a), at)[1](r)[0]

    def measured_from(self, weight: Any, r: Inexact[Array, "batch *source"]) -> Any:
        """What the differences have to know of the activity r of the source that they measure from, computed once."""
        del weight, r
        return None

    def difference(
        self, weight: Any, origin: Any, change: Inexact[Array, "batch *source"]
    ) -> Inexact[Array, "batch *target"]:
        """apply(r + change) − apply(r), to as many digits as `change` has, however small that is.

        **Arguments:**

        - `origin`: what `measured_from` gave of r.
        """
        del origin
        return self.apply(weight, change)

    def transpose_difference(
        self,
        weight: Any,
        origin: Any,
        r: Inexact[Array, "batch *target"],
        change: Inexact[Array, "batch *target"],
        at_change: Inexact[Array, "batch *source"],
    ) -> Inexact[Array, "batch *source"]:
        """apply_transpose(r + change, at + at_change) − apply_transpose(r, at), to as many digits as the changes have.

        **Arguments:**

        - `origin`: what `measured_from` gave of `at`.
        """
        del origin, r
        return self.apply_transpose(weight, change, at_change)

    def initial_weight(self, key: PRNGKeyArray, dtype: Any, gain: float = 1.0) -> Array:
        """Uniform in ±gain/√(fan-in)."""
        limit = gain * self.fan_in**-0.5
        assert self.weight_shape is not None
        return jax.random.uniform(key, self.weight_shape, dtype, -limit, limit)

    def noise(self, key: PRNGKeyArray, batch: int, dtype: Any) -> Inexact[Array, "batch *source"]:
        """Standard normal activities of the source."""
        return jax.random.normal(key, (batch, *self.source), dtype)

    def transposed_weight(self, weight: Array) -> Array:
        """The weight with which a lateral connection acts as the transpose of itself. Raises `InputError` where none does."""
        del weight
        raise InputError("a lateral connection of this kind has no transpose of its kind")


def reshaped(r: Array, shape: Shape) -> Array:
    return r if r.shape[1:] == shape else r.reshape(r.shape[0], *shape)
