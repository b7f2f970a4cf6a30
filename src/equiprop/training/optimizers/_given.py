"""An optimizer of Optax as it is."""

from typing import ClassVar

import equinox as eqx
import optax

from equiprop.systems import System


class GivenOptimizer(eqx.Module):
    """A transformation of Optax that has its own learning rate and schedule."""

    label: ClassVar[str] = "an optimizer of Optax"

    given: optax.GradientTransformation = eqx.field(static=True)

    def transformation(self, system: System, total_steps: int) -> optax.GradientTransformation:
        del system, total_steps
        return self.given
