"""Fixed-point sweeps: all units at once, or block after block."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from equiprop.errors import InputError, suggest
from equiprop.numerics import trees
from equiprop.solvers._relax import AbstractSolver, Step, share
from equiprop.systems import System


def _all_at_once(
    system: System, injection: Any, state: PyTree, factor: float | Array
) -> tuple[PyTree, Float[Array, " batch"]]:
    force = system.force(state, injection)
    return _moved(state, force, factor), system.norm(force)


def _moved(state: PyTree, force: PyTree, factor: float | Array) -> PyTree:
    """u + ω·F, with one ω for all samples or one for each."""
    if not isinstance(factor, jax.Array):
        return jax.tree.map(lambda u, f: u + factor * f, state, force)
    return trees.add(state, trees.scale(factor, force))


def _check_damping(damping: float | str) -> None:
    if isinstance(damping, str) or not 0 <= damping < 1:
        raise InputError(f"damping = {damping}: must be at least 0 and below 1, or 'auto' where a solver has that")


def block_by_block(
    system: System, injection: Any, state: PyTree, factor: float | Array = 1.0
) -> tuple[PyTree, Float[Array, " batch"]]:
    """One alternating sweep at ω = `factor`, and the largest absolute force met on the way."""
    largest = None
    for block in system.blocks:
        force = system.force(state, injection, block)
        here = system.norm(force)
        largest = here if largest is None else jnp.maximum(largest, here)
        if block is None:
            state = _moved(state, force, factor)
        else:
            state = state | _moved({name: state[name] for name in block}, force, factor)
    assert largest is not None
    return state, largest


_COARSE = ("none", "bfloat16", "float16")


class Pace(eqx.Module):
    """How far each sample goes in a sweep.

    - `factor`: ω in u ← u + ω·F(u).
    - `force`: the largest force met in the last sweep.
    """

    factor: Float[Array, " batch"]
    force: Float[Array, " batch"]


class AbstractPaced(AbstractSolver):
    """A solver whose sweep has a factor ω = 1 − `damping`, or one for each sample where `damping` is `"auto"`.

    - `coarse`: `none`, or the half precision in which a relaxation begins, as far as that resolves it, before it goes on in the
      precision of the state: `bfloat16` or `float16`. The residual that counts is always the latter's. Complex states, which
      have no half precision, begin in their own.
    """

    damping: eqx.AbstractVar[float | str]
    coarse: eqx.AbstractVar[str]

    def __check_init__(self) -> None:
        if self.damping != "auto":
            _check_damping(self.damping)
        if self.coarse not in _COARSE:
            raise suggest("coarse", self.coarse, list(_COARSE))

    @property
    def coarse_precision(self) -> str | None:
        return None if self.coarse == "none" else self.coarse

    @abc.abstractmethod
    def sweep_at(
        self, system: System, injection: Any, state: PyTree, factor: float | Array
    ) -> tuple[PyTree, Float[Array, " batch"]]:
        """`sweep` at ω = `factor`, one for all samples or one for each."""

    @abc.abstractmethod
    def better_factor(self, system: System, factor: Array, ratio: Array) -> Array:
        """The factor to go on with for a sample whose force fell to `ratio` times what it was in one sweep at `factor`."""

    def sweep(self, system: System, injection: Any, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        """With `damping = "auto"` at ω = 1."""
        return self.sweep_at(system, injection, state, 1.0 if isinstance(self.damping, str) else 1 - self.damping)

    def start(self, state: PyTree) -> Pace | tuple[()]:
        if self.damping != "auto":
            return ()
        ones = jnp.ones(trees.batch_size(state), jnp.finfo(trees.dtype_of(state)).dtype)
        return Pace(ones, ones)

    def step(
        self,
        system: System,
        injection: Any,
        state: PyTree,
        memory: Pace | tuple[()],
        count: Int[Array, ""],
        phases: int,
    ) -> Step:
        if not isinstance(memory, Pace):
            return super().step(system, injection, state, memory, count, phases)
        factor = memory.factor
        moved, force = self.sweep_at(system, injection, state, factor)
        slowest = share(jnp.max, force, phases)
        ratio = slowest / memory.force
        falling = jnp.where(factor < 1, jnp.minimum(_RECOVER * factor, 1), self.better_factor(system, factor, ratio))
        stuck = (factor <= 1) & (count >= _PATIENCE)
        slower = jnp.where(stuck, jnp.maximum(_DAMP * factor, _LEAST), jnp.minimum(factor, 1))
        new = jnp.where(ratio < _NOT_FALLING, falling, slower)
        due = count % _EVERY == _EVERY - 1
        # What is left after a long step may be larger than the force met on the way.
        seen = force * jnp.maximum(1, 2 * factor - 1)
        return Step(moved, moved, seen, Pace(jnp.where(due, new, factor), slowest))


# A new factor is tried for so many sweeps before its effect is judged by the last of them.
_EVERY = 3
# The slowest fall, and the largest μ², that are believed: a factor chosen for more would overshoot for everything else.
_SLOWEST = 0.9
# A force that has not fallen at ω = 1 after so many sweeps goes round and round.
_PATIENCE = 30
_NOT_FALLING = 0.999
_DAMP, _LEAST, _RECOVER = 0.5, 0.2, 1.1


class Jacobi(AbstractPaced):
    """u ← u + ω·F(u), every unit at once.

    For F = H(r) − u and ω = 1 this is u ← H(r). It may fall into an oscillation of period 2 where alternating sweeps converge;
    damping removes it.

    - `damping`: 1 − ω; or `"auto"`, which damps the samples whose force does not fall, those alone. The phases of a sample
      share their factor.
    """

    tolerance: float = eqx.field(default=1e-4, static=True)
    max_steps: int = eqx.field(default=500, static=True)
    nudged_max_steps: int = eqx.field(default=200, static=True)
    damping: float | str = eqx.field(default=0.0, static=True)
    divergence: float = eqx.field(default=1e6, static=True)
    coarse: str = eqx.field(default="none", static=True)

    def sweep_at(
        self, system: System, injection: Any, state: PyTree, factor: float | Array
    ) -> tuple[PyTree, Float[Array, " batch"]]:
        return _all_at_once(system, injection, state, factor)

    def better_factor(self, system: System, factor: Array, ratio: Array) -> Array:
        del system, ratio
        return factor


class GaussSeidel(AbstractPaced):
    """u_c ← u_c + ω·F_c(u) for one block c of the system after the other, each seeing the new state of the last.

    The blocks are the colour classes of the network's graph, so that within a block no unit acts on another: for a chain, the
    even and the odd layers. With symmetric weights every such update at 0 < ω < 2 descends the energy.

    - `damping`: 1 − ω; or `"auto"`, for an ω of its own for every sample, found on the way. Of two colour classes, a force that
      falls by λ a sweep means μ² = (λ + ω − 1)²/(λω²) for the largest μ of the synchronous iteration, and the best factor
      is then ω = 2/(1 + √(1 − μ²)): successive over-relaxation (Young 1954, Trans. AMS 76, 92). A sample whose force does not
      fall goes back to ω = 1, and is damped if it does not fall there either. The phases of a sample share their factor. A
      system of a single block is never over-relaxed.
    """

    tolerance: float = eqx.field(default=1e-4, static=True)
    max_steps: int = eqx.field(default=200, static=True)
    nudged_max_steps: int = eqx.field(default=100, static=True)
    damping: float | str = eqx.field(default="auto", static=True)
    divergence: float = eqx.field(default=1e6, static=True)
    coarse: str = eqx.field(default="none", static=True)

    def sweep_at(
        self, system: System, injection: Any, state: PyTree, factor: float | Array
    ) -> tuple[PyTree, Float[Array, " batch"]]:
        return block_by_block(system, injection, state, factor)

    def better_factor(self, system: System, factor: Array, ratio: Array) -> Array:
        if len(system.blocks) < 2:
            return factor
        fall = jnp.clip(ratio, 1e-3, _SLOWEST)
        mu_squared = jnp.clip((fall + factor - 1) ** 2 / (fall * factor**2), 0, _SLOWEST)
        best = 2 / (1 + jnp.sqrt(1 - mu_squared))
        # Past the best factor the force falls by ω − 1 whatever μ, and says nothing about it.
        return jnp.where(ratio < 1.05 * (factor - 1), factor, best)


class FixedIterations(AbstractSolver):
    """A fixed number of synchronous steps whatever the residual, as published protocols do.

    `max_steps` are taken in the free and `nudged_max_steps` in the nudged phase; whether a sample has converged is judged
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

    def sweep(self, system: System, injection: Any, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        return _all_at_once(system, injection, state, 1 - self.damping)
