"""What makes a system for inputs and outputs of given sizes."""

import abc
import math
from typing import Any

from jaxtyping import PRNGKeyArray

from equiprop.errors import InputError
from equiprop.numerics import ACTIVATIONS, COSTS, Settings
from equiprop.numerics.settings import defaults_of
from equiprop.systems._system import System

Shape = tuple[int, ...]

WEAK_FEEDBACK = (
    "Xie & Seung, Equivalence of backpropagation and contrastive Hebbian learning in a layered network, Neural Comput. 2003, "
    "doi:10.1162/089976603762552988"
)


class AbstractRecipe(Settings):
    """Makes a system for data of a given shape. Its fields are what may be chosen.

    To add one, subclass this with `create`. A function of the user's own serves as well:
    `make_system(inputs, outputs, *, key, ...)`, whose parameters with a default are its settings.
    """

    def cited(self) -> tuple[str, ...]:
        """The papers behind the recipe, its activation and its cost."""
        chosen = (ACTIVATIONS, getattr(self, "activation", "auto")), (COSTS, getattr(self, "cost", "auto"))
        return *self.citation, *(p for family, kind in chosen if kind != "auto" for p in family.find(kind).citation)

    @abc.abstractmethod
    def create(self, inputs: Shape, outputs: int, *, key: PRNGKeyArray, dtype: Any = None) -> System:
        """A system with random parameters.

        **Arguments:**

        - `inputs`: the shape of one input, without the batch axis.
        - `outputs`: the number of classes, or of target values.
        - `dtype`: of all parameters; by default JAX's default float.

        Raises `InputError` where the sizes do not fit.
        """


def refuse_unused(recipe: AbstractRecipe, name: str, reason: str) -> None:
    """Raises `InputError` if a field that has no use here is not left at its default."""
    value = getattr(recipe, name)
    if value != defaults_of(type(recipe))[name]:
        raise InputError(reason, path=name, value=value, hint="leave it out")


def units(inputs: Shape) -> int:
    return math.prod(inputs)


def as_image(inputs: Shape) -> tuple[int, int, int]:
    """Height, width and channels of an input; without channels it has one."""
    height, width, *channels = inputs if len(inputs) > 1 else (1, *inputs)
    return height, width, math.prod(channels)
