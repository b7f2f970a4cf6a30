"""A field as an ordinary differential equation."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from equiprop.systems._dynamics import Dynamics
from equiprop.systems._field import AbstractField

Moving = tuple[PyTree, tuple[PyTree, ...]]
"""A state, and what is on the wires, pole after pole."""


class Motion(eqx.Module):
    """The equation of motion of a field, of its state and of what is on the wires."""

    field: AbstractField

    @property
    def dynamics(self) -> Dynamics:
        return Dynamics() if self.field.dynamics is None else self.field.dynamics

    def wires_at_rest(self, state: PyTree) -> tuple[PyTree, ...]:
        """Wires on which is what the units pass on."""
        poles = self.dynamics.poles
        return (self.field.passed_on(state),) * len(poles) if poles else ()

    def force(self, moving: Moving) -> PyTree:
        """What moves the units now, whatever is on its way to them."""
        state, wires = moving
        return self.field.force_under(state, wires[-1]) if wires else self.field.force(state)

    def velocity(self, moving: Moving) -> Moving:
        """How fast the state moves, and what is on the wires."""
        state, wires = moving
        before = (self.field.passed_on(state), *wires[:-1]) if wires else ()
        of_wires = []
        for pole, enters, is_there in zip(self.dynamics.poles, before, wires, strict=True):
            per_time = jax.tree.map(lambda a, b, pole=pole: (a - b) / jnp.asarray(pole, b.real.dtype), enters, is_there)
            of_wires.append(per_time)
        return self.field.velocity(self.force(moving)), tuple(of_wires)


def in_parts(tree: PyTree) -> list[Array]:
    """The arrays of a tree, each complex one as two real ones, as which a device has it."""
    return [part for a in jax.tree.leaves(tree) for part in ((a.real, a.imag) if jnp.iscomplexobj(a) else (a,))]


def of_parts(parts: Sequence[Array], like: PyTree) -> PyTree:
    """The tree that `like` is, of its parts."""
    rest = iter(parts)
    return jax.tree.map(lambda a: jax.lax.complex(next(rest), next(rest)) if jnp.iscomplexobj(a) else next(rest), like)
