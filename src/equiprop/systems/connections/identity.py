"""A path without weights."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Array

from equiprop.errors import InputError
from equiprop.systems.connections._operation import AbstractOperation


@dataclass(frozen=True)
class Identity(AbstractOperation):
    """r ↦ r, a residual path without weights."""

    kind: ClassVar[str] = "identity"

    def __post_init__(self) -> None:
        if self.source != self.target:
            raise InputError(
                f"carries {list(self.source)}, but the target is {list(self.target)}", path="kind", value="identity"
            )

    @property
    def weight_shape(self) -> None:
        return None

    @property
    def fan_in(self) -> int:
        return 1

    def apply(self, weight: Any, r: Array) -> Array:
        del weight
        return r
