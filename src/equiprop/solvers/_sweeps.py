"""Fixed-point sweeps: all units at once, or block after block."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from equiprop.errors import InputError
from equiprop.numerics import trees
from equiprop.solvers._relax import AbstractSolver
from equiprop.systems import System


def _all_at_once(system: System, drive: Any, state: PyTree, damping: float) -> tuple[PyTree, Float[Array, " batch"]]:
    force = system.force(state, drive)
    return _moved(state, force, damping), trees.max_abs(force)


def _moved(state: PyTree, force: PyTree, damping: float) -> PyTree:
    return jax.tree.map(lambda u, f: u + (1 - damping) * f, state, force)


def _check_damping(damping: float) -> None:
    if not 0 <= damping < 1:
        raise InputError(f"damping = {damping}: must be at least 0 and below 1")


class Synchronous(AbstractSolver):
    """u ← u + (1 − damping)·F(u), every unit at once.

    For F = H(r) − u and no damping this is u ← H(r). It may fall into an oscillation of period 2 where alternating sweeps
    settle; damping removes it.
    """

    tolerance: float = eqx.field(default=1e-4, static=True)
    max_steps: int = eqx.field(default=500, static=True)
    nudged_max_steps: int = eqx.field(default=200, static=True)
    damping: float = eqx.field(default=0.0, static=True)
    divergence: float = eqx.field(default=1e6, static=True)

    def __check_init__(self) -> None:
        _check_damping(self.damping)

    def sweep(self, system: System, drive: Any, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        return _all_at_once(system, drive, state, self.damping)


class Alternating(AbstractSolver):
    """u_c ← u_c + (1 − damping)·F_c(u) for one block c of the system after the other, each seeing the new state of the last.

    The blocks are the colour classes of the network's graph, so that within a block no unit acts on another: for a chain, the
    even and the odd layers. With symmetric weights every such update descends the energy.
    """

    tolerance: float = eqx.field(default=1e-4, static=True)
    max_steps: int = eqx.field(default=200, static=True)
    nudged_max_steps: int = eqx.field(default=100, static=True)
    damping: float = eqx.field(default=0.0, static=True)
    divergence: float = eqx.field(default=1e6, static=True)

    def __check_init__(self) -> None:
        _check_damping(self.damping)

    def sweep(self, system: System, drive: Any, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        largest = None
        for block in system.blocks:
            force = system.force(state, drive, block)
            here = trees.max_abs(force)
            largest = here if largest is None else jnp.maximum(largest, here)
            if block is None:
                state = _moved(state, force, self.damping)
            else:
                state = state | _moved({name: state[name] for name in block}, force, self.damping)
        assert largest is not None
        return state, largest


class FixedStep(AbstractSolver):
    """A fixed number of synchronous steps whatever the residual, as published protocols do.

    `max_steps` are taken in the free and `nudged_max_steps` in the nudged phase; whether a sample has settled is judged
    afterwards by `tolerance`. The published Fashion-MNIST setting is 150 and 20 (arXiv 2309.02214, appendix).
    """

    tolerance: float = eqx.field(default=1e-4, static=True)
    max_steps: int = eqx.field(default=150, static=True)
    nudged_max_steps: int = eqx.field(default=20, static=True)
    damping: float = eqx.field(default=0.0, static=True)
    divergence: float = eqx.field(default=1e6, static=True)

    def __check_init__(self) -> None:
        _check_damping(self.damping)

    @property
    def stops_early(self) -> bool:
        return False

    def sweep(self, system: System, drive: Any, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        return _all_at_once(system, drive, state, self.damping)
