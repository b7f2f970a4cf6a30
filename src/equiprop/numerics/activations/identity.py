"""No activation."""

from typing import ClassVar

from jaxtyping import Array

from equiprop.numerics.activations._activation import AbstractActivation


class Identity(AbstractActivation):
    """z: a linear network."""

    kind: ClassVar[str] = "identity"
    holomorphic: ClassVar[bool | None] = True

    def __call__(self, u: Array) -> Array:
        return u

    def formula(self, u: str) -> str:
        return u
