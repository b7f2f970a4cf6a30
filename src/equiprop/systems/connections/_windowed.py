"""What connections share that slide a window over an image."""

import abc
import math
from dataclasses import dataclass
from typing import Any

import jax
from jaxtyping import Array, Inexact

from equiprop.errors import InputError
from equiprop.numerics import PoolingOrigin, check_padding, choice, constant, count, softmax_pool
from equiprop.systems.connections._operation import AbstractOperation


@dataclass(frozen=True)
class AbstractWindowed(AbstractOperation):
    """What slides a window over an image, and pools what it finds."""

    kernel: int = count(3, "Side of the window.")
    stride: int = count(1, "Step from one window to the next.")
    padding: str = choice(
        "same", "same: zeros around the image, so that it keeps its size; valid: none.", "same", "valid"
    )
    pool: int = count(1, "Side of the windows of softmax pooling; 1 for none.")
    temperature: float = constant(1.0, "Of the pooling: below 1 nearer to the maximum.", above=0)

    def __post_init__(self) -> None:
        for name, shape in (("source", self.source), ("target", self.target)):
            if len(shape) != 3:
                raise InputError(
                    f"the {name} has size {list(shape)}: a window slides over images, size = [height, width, channels]"
                )
        for name in ("kernel", "stride", "pool"):
            if getattr(self, name) < 1:
                raise InputError("must be at least 1", path=name, value=getattr(self, name))
        check_padding(self.padding)
        if not 0 < self.temperature < math.inf:
            raise InputError("must be a finite number above 0", path="temperature", value=self.temperature)
        if self.pool == 1 and self.temperature != 1:
            raise InputError(
                "is that of pooling, and pool = 1", path="temperature", value=self.temperature, hint="leave it out"
            )
        before = self._before_pooling
        if min(before) < 1 or any(side % self.pool for side in before):
            raise InputError(
                f"does not divide the {list(before)} that a window of {self.kernel} by stride {self.stride} with padding "
                f"{self.padding!r} makes of {list(self.source[:2])}",
                path="pool",
                value=self.pool,
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

    @property
    def tells_differences(self) -> bool:
        return True

    @abc.abstractmethod
    def linear(self, weight: Any, r: Inexact[Array, "batch *source"]) -> Inexact[Array, "batch *image"]:
        """Before pooling."""

    def apply(self, weight: Any, r: Array) -> Array:
        found = self.linear(weight, r)
        return found if self.pool == 1 else softmax_pool(found, self.pool, self.temperature)

    def measured_from(self, weight: Any, r: Array) -> PoolingOrigin | None:
        return None if self.pool == 1 else PoolingOrigin.at(self.linear(weight, r), self.pool, self.temperature)

    def difference(self, weight: Any, origin: PoolingOrigin | None, change: Array) -> Array:
        found = self.linear(weight, change)
        return found if origin is None else origin.difference(found)

    def transpose_difference(
        self, weight: Any, origin: PoolingOrigin | None, r: Array, change: Array, at_change: Array
    ) -> Array:
        if origin is None:
            return self.apply_transpose(weight, change, at_change)
        moved, back = jax.vjp(lambda a: self.linear(weight, a), at_change)
        return back(origin.transpose_difference(moved, r, change))[0]
