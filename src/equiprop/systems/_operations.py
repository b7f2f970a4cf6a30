"""What a connection does to the activity that it carries. One class per kind; weights are passed in, never held."""

import abc
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PRNGKeyArray

from equiprop.errors import InputError
from equiprop.numerics import check_padding, convolve, convolve_locally, real_linear, softmax_pool

Shape = tuple[int, ...]
"""Of one sample of a population: `(units,)`, or `(height, width, channels)`."""


@dataclass(frozen=True)
class Operation(abc.ABC):
    """What leads from a population of shape `source` to one of shape `target`."""

    source: Shape
    target: Shape

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


@dataclass(frozen=True)
class Dense(Operation):
    """r ↦ r·W with W `[inputs, outputs]`, every unit to every unit."""

    @property
    def weight_shape(self) -> Shape:
        return math.prod(self.source), math.prod(self.target)

    @property
    def fan_in(self) -> int:
        return math.prod(self.source)

    def apply(self, weight: Any, r: Array) -> Array:
        return _reshaped(real_linear(lambda a: a @ weight, _reshaped(r, self.weight_shape[:1])), self.target)

    def apply_transpose(self, weight: Any, r: Array, at: Array) -> Array:
        del at
        return _reshaped(real_linear(lambda a: a @ weight.T, _reshaped(r, self.weight_shape[1:])), self.source)

    def transposed_weight(self, weight: Array) -> Array:
        return weight.T


@dataclass(frozen=True)
class Identity(Operation):
    """r ↦ r, a residual path without weights."""

    def __post_init__(self) -> None:
        if self.source != self.target:
            raise InputError(f"kind = 'identity': carries {list(self.source)}, but the target is {list(self.target)}")

    @property
    def weight_shape(self) -> None:
        return None

    @property
    def fan_in(self) -> int:
        return 1

    def apply(self, weight: Any, r: Array) -> Array:
        del weight
        return r


@dataclass(frozen=True)
class Windowed(Operation):
    """What slides a window of `kernel` by `kernel` over an image by `stride`, and pools what it finds.

    - `padding`: `same` or `valid`.
    - `pool`: side of the windows of softmax pooling; 1 for none.
    - `temperature`: of the pooling.
    """

    kernel: int = 3
    stride: int = 1
    padding: str = "same"
    pool: int = 1
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name, shape in (("source", self.source), ("target", self.target)):
            if len(shape) != 3:
                raise InputError(
                    f"the {name} has size {list(shape)}: a window slides over images, size = [height, width, channels]"
                )
        for name in ("kernel", "stride", "pool"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: must be at least 1")
        check_padding(self.padding)
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature = {self.temperature}: must be a finite number above 0")
        if self.pool == 1 and self.temperature != 1:
            raise InputError(f"temperature = {self.temperature}: is that of pooling, and pool = 1; leave it out")
        before = self._before_pooling
        if min(before) < 1 or any(side % self.pool for side in before):
            raise InputError(
                f"pool = {self.pool}: does not divide the {list(before)} that a window of {self.kernel} by stride {self.stride} "
                f"with padding {self.padding!r} makes of {list(self.source[:2])}"
            )
        made = tuple(side // self.pool for side in before)
        if made != self.target[:2]:
            raise InputError(
                f"a window of {self.kernel} by stride {self.stride} with padding {self.padding!r} and pool = {self.pool} makes "
                f"{list(made)} of {list(self.source[:2])}, but the target is {list(self.target[:2])}"
            )

    @property
    def _before_pooling(self) -> tuple[int, int]:
        reach = 0 if self.padding == "same" else self.kernel - 1
        height, width = (-(-(side - reach) // self.stride) for side in self.source[:2])
        return height, width

    @property
    def fan_in(self) -> int:
        return self.kernel**2 * self.source[-1]

    @property
    def is_linear(self) -> bool:
        return self.pool == 1

    @abc.abstractmethod
    def linear(self, weight: Any, r: Inexact[Array, "batch *source"]) -> Inexact[Array, "batch *image"]:
        """Before pooling."""

    def apply(self, weight: Any, r: Array) -> Array:
        found = self.linear(weight, r)
        return found if self.pool == 1 else softmax_pool(found, self.pool, self.temperature)


@dataclass(frozen=True)
class Convolution(Windowed):
    """The same weights `[kernel, kernel, inputs, outputs]` at every place."""

    @property
    def weight_shape(self) -> Shape:
        return self.kernel, self.kernel, self.source[-1], self.target[-1]

    def linear(self, weight: Any, r: Array) -> Array:
        return real_linear(lambda a: convolve(a, weight, self.stride, self.padding), r)

    def transposed_weight(self, weight: Array) -> Array:
        if self.stride > 1 or self.pool > 1 or self.kernel % 2 == 0:
            raise InputError("a lateral convolution has a transpose only with an odd kernel, stride = 1 and pool = 1")
        return jnp.swapaxes(weight[::-1, ::-1], 2, 3)


@dataclass(frozen=True)
class LocallyConnected(Windowed):
    """Weights `[rows, columns, inputs·kernel², outputs]` of its own at every place."""

    @property
    def weight_shape(self) -> Shape:
        return *self._before_pooling, self.fan_in, self.target[-1]

    def linear(self, weight: Any, r: Array) -> Array:
        places = weight.reshape(*weight.shape[:2], self.source[-1], self.kernel, self.kernel, self.target[-1])
        return real_linear(lambda a: convolve_locally(a, places, self.stride, self.padding), r)


def _reshaped(r: Array, shape: Shape) -> Array:
    return r if r.shape[1:] == shape else r.reshape(r.shape[0], *shape)


OPERATIONS: dict[str, type[Operation]] = {
    "dense": Dense,
    "convolution": Convolution,
    "local": LocallyConnected,
    "identity": Identity,
}
"""By the name that topologies use."""
