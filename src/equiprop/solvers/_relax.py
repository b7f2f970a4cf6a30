"""The one relaxation loop: what every solver shares, and the answer it gives."""

import abc
import enum
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.errors import InputError
from equiprop.numerics import trees
from equiprop.systems import System


class Status(enum.IntEnum):
    """How the relaxation of one sample ended."""

    CONVERGED = 0
    """The residual is at most the tolerance."""
    MAX_STEPS = 1
    """The residual was still falling when the steps ran out."""
    OSCILLATING = 2
    """The residual stopped falling without converging: a limit cycle, or the floor of the arithmetic."""
    DIVERGED = 3
    """The force became infinite, not a number, or larger than `divergence` times what it was at the start."""


class Equilibrium(eqx.Module):
    """Where a relaxation ended, per sample.

    **Fields:**

    - `state`: the last state of each sample; finite even for a diverged one, unless it started otherwise.
    - `residual`: the largest absolute force on any unit at `state`, in units of the force.
    - `steps`: sweeps taken, one sweep updating every unit once.
    - `status`: a `Status` as an integer.
    """

    state: PyTree
    residual: Float[Array, " batch"]
    steps: Int[Array, " batch"]
    status: Int[Array, " batch"]

    @property
    def converged(self) -> Bool[Array, " batch"]:
        return self.status == Status.CONVERGED


class Step(eqx.Module):
    """What one step of a relaxation found.

    - `swept`: where a sweep of the system ends: the answer, if the sample has converged.
    - `state`: where to go on from, if it has not.
    - `force`: the largest absolute force met on the way, per sample.
    - `memory`: for the next step.
    """

    swept: PyTree
    state: PyTree
    force: Float[Array, " batch"]
    memory: PyTree


class AbstractSolver(eqx.Module):
    """How a system relaxes. A solver is one sweep, and where to go on from after it; `relax` is the loop around it.

    **Fields:**

    - `tolerance`: a sample has converged when no unit feels a force above this, in units of the force.
    - `max_steps`: sweeps of a free relaxation at most.
    - `nudged_max_steps`: sweeps of a nudged relaxation at most.
    - `divergence`: a sample has diverged when the force exceeds this many times one plus its first value.
    """

    tolerance: eqx.AbstractVar[float]
    max_steps: eqx.AbstractVar[int]
    nudged_max_steps: eqx.AbstractVar[int]
    divergence: eqx.AbstractVar[float]

    @abc.abstractmethod
    def sweep(self, system: System, injection: Any, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        """Moves every unit once; returns the new state and the largest absolute force met on the way, per sample."""

    def start(self, state: PyTree) -> PyTree:
        """What is remembered of each sample from sweep to sweep, before the first; nothing by default."""
        del state
        return ()

    def step(
        self, system: System, injection: Any, state: PyTree, memory: PyTree, count: Int[Array, ""], phases: int
    ) -> Step:
        """One sweep, and where to go on from. By default from where the sweep ended.

        **Arguments:**

        - `memory`: of the step before, or of `start`.
        - `count`: steps taken before.
        - `phases`: copies of each sample in the batch, copy after copy.
        """
        del count, phases
        swept, force = self.sweep(system, injection, state)
        return Step(swept, swept, force, memory)

    @property
    def stops_early(self) -> bool:
        """Whether a converged sample stops; solvers of a fixed number of steps say no."""
        return True

    @property
    def coarse_precision(self) -> str | None:
        """The half precision in which a real relaxation begins, as far as that resolves it; `None` to begin in its own."""
        return None

    def __check_init__(self) -> None:
        _require(self.tolerance > 0, "tolerance", self.tolerance, "above 0")
        _require(self.max_steps >= 1, "max_steps", self.max_steps, "at least 1")
        _require(self.nudged_max_steps >= 1, "nudged_max_steps", self.nudged_max_steps, "at least 1")
        _require(self.divergence > 1, "divergence", self.divergence, "above 1")


def share(over: Any, values: Array, phases: int) -> Array:
    """`over` the phases of each sample, as `jnp.all` or `jnp.max`, for every phase."""
    return jnp.tile(over(values.reshape(phases, -1), axis=0), phases) if phases > 1 else values


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise InputError(f"{name} = {value}: must be {allowed}")


class _Carry(eqx.Module):
    state: PyTree
    memory: PyTree
    active: Bool[Array, " batch"]
    steps: Int[Array, " batch"]
    broken: Bool[Array, " batch"]
    first: Float[Array, " batch"]
    best: Float[Array, " batch"]
    improved_at: Int[Array, " batch"]


# A residual that has not fallen by two parts in a hundred during the last quarter of the sweeps is not falling any more.
_IMPROVEMENT = 0.98
_PATIENCE = 4

# A sweep meets each block's force once, at a state that changes as the sweep goes on. Half the tolerance there leaves room
# for the force of the whole at the state in which the sweep ends, which is what the answer reports.
_SAFETY = 0.5


@eqx.filter_jit
def relax(
    system: System,
    x: Any,
    solver: AbstractSolver,
    *,
    state: PyTree | None = None,
    injection: Any = None,
    phases: int = 1,
    tolerance: Float[Array, " batch"] | None = None,
    nudged: bool = False,
    active: Bool[Array, " batch"] | None = None,
) -> Equilibrium:
    """Relaxes a batch to equilibrium in one compiled loop. A converged sample keeps its state while others go on.

    **Arguments:**

    - `x`: the input batch; may be `None` where both `state` and `injection` are given.
    - `state`: where to start; by default `system.initial_state(x)`.
    - `injection`: `system.injection(x)`, if it is at hand.
    - `phases`: how many copies of each sample the batch holds, copy after copy. The copies of a sample stop together, after
      the same number of sweeps, so that what is left of their common drift cancels from their differences.
    - `tolerance`: in place of the solver's, for each sample.
    - `nudged`: whether `nudged_max_steps` bounds the sweeps in place of `max_steps`.
    - `active`: the samples to relax; the others stay as they are, and take no steps. By default all.
    """
    injection = system.injection(x) if injection is None else injection
    state = system.initial_state(x) if state is None else state
    batch = trees.batch_size(state)
    if not batch:
        raise InputError("the batch holds no sample; give at least one")
    real = jnp.finfo(trees.dtype_of(state)).dtype
    goal = jnp.broadcast_to(jnp.asarray(solver.tolerance if tolerance is None else tolerance, real), (batch,))
    max_steps = solver.nudged_max_steps if nudged else solver.max_steps

    active = jnp.ones(batch, bool) if active is None else active
    job = _Job(system, injection, solver, goal, phases, max_steps)
    coarse_steps = None
    if solver.coarse_precision is not None and not jnp.iscomplexobj(jax.tree.leaves(state)[0]):
        state, coarse_steps = _begin_coarsely(job, state, active)
    _, end = _run(job, jnp.zeros((), jnp.int32), _start(solver, state, active), 0)
    residual = system.norm(system.force(end.state, injection))
    stalled = end.steps - 1 - end.improved_at >= jnp.maximum(end.steps // _PATIENCE, 2)
    status = jnp.select(
        [end.broken | ~jnp.isfinite(residual), residual <= goal, stalled],
        [Status.DIVERGED, Status.CONVERGED, Status.OSCILLATING],
        Status.MAX_STEPS,
    ).astype(jnp.int32)
    steps = end.steps if coarse_steps is None else end.steps + coarse_steps
    return Equilibrium(end.state, residual, steps, status)


class _Job(eqx.Module):
    """What a relaxation needs besides where it is."""

    system: System
    injection: Any
    solver: AbstractSolver
    goal: Float[Array, " batch"]
    phases: int
    max_steps: int

    @property
    def separable(self) -> bool:
        """Whether the system can be had for some rows of the batch alone."""
        return self.system.take(jnp.arange(1)) is not None

    def on(self, rows: Int[Array, " some"]) -> "_Job":
        """The same for some rows of the batch, of a system that is separable."""
        smaller = self.system.take(rows)
        assert smaller is not None
        return _Job(
            smaller, trees.take(self.injection, rows), self.solver, self.goal[rows], self.phases, self.max_steps
        )


def _start(solver: AbstractSolver, state: PyTree, active: Bool[Array, " batch"]) -> _Carry:
    batch = active.shape[0]
    real = jnp.finfo(trees.dtype_of(state)).dtype
    none = jnp.zeros(batch, jnp.int32)
    return _Carry(
        state=state,
        memory=solver.start(state),
        active=active,
        steps=none,
        broken=jnp.zeros(batch, bool),
        first=jnp.zeros(batch, real),
        best=jnp.full(batch, jnp.inf, real),
        improved_at=none,
    )


# A force in half precision is believed down to so many units of rounding, and for so large a share of the sweeps: sums over
# many units may round to more.
_COARSE_ROUNDING = 8
_COARSE_SHARE = 4


def _begin_coarsely(job: _Job, state: PyTree, active: Bool[Array, " batch"]) -> tuple[PyTree, Int[Array, " batch"]]:
    """Sweeps in half precision until that resolves no more; where each sample then is, and the sweeps it took.

    A sample whose force half precision cannot tell from nothing is left untouched, to every digit: its response to a weak
    nudge, say, would drown in rounding. So is one that half precision cannot hold.
    """
    half = jnp.dtype(job.solver.coarse_precision)

    def rounded(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda a: a.astype(half) if eqx.is_inexact_array(a) else a, tree)

    resolved = _COARSE_ROUNDING * float(jnp.finfo(half).eps) * (1 + trees.max_abs(state))
    active &= share(jnp.all, job.system.norm(job.system.force(state, job.injection)) > resolved, job.phases)
    steps = max(job.max_steps // _COARSE_SHARE, 1)
    goal = jnp.maximum(job.goal, resolved).astype(half)
    rough = _Job(rounded(job.system), rounded(job.injection), job.solver, goal, job.phases, steps)
    _, end = _run(rough, jnp.zeros((), jnp.int32), _start(job.solver, rounded(state), active), 0)
    held = share(jnp.all, ~end.broken & jnp.isfinite(trees.max_abs(end.state)), job.phases)
    found = jax.tree.map(lambda a, b: a.astype(b.dtype), end.state, state)
    return trees.select(active & held, found, state), end.steps


# A relaxation goes on with the samples that have not converged once no more than half of them are left, and once more below an
# eighth: the last few often need several times the sweeps of all others.
_LADDER = (4,)

# Each rung is one more loop to compile, which pays only where a sweep takes long: so many rows times parameters and units.
_WORTHWHILE = 1_000_000


def _run(job: _Job, step: Int[Array, ""], carry: _Carry, rung: int) -> tuple[Int[Array, ""], _Carry]:
    """Sweeps until every sample has converged; from rung to rung of the ladder on a smaller batch of those that have not."""
    samples = carry.active.shape[0] // job.phases
    few = samples // _LADDER[rung] if rung < len(_LADDER) else 0
    worthwhile = few * job.phases * _row_cost(job.system, carry.state) >= _WORTHWHILE
    if not (job.solver.stops_early and worthwhile and job.separable):
        return _loop(job, step, carry, 0)
    step, carry = _loop(job, step, carry, few)
    # The unconverged ones first, each with all of its phases.
    first = jax.lax.top_k(carry.active[:samples].astype(jnp.float32), few)[1]
    rows = (first + samples * jnp.arange(job.phases)[:, None]).reshape(-1)
    step, inner = _run(job.on(rows), step, trees.take(carry, rows), rung + 1)
    return step, trees.put(carry, rows, inner)


def _row_cost(system: System, state: PyTree) -> int:
    """Numbers that a sweep of one row touches, roughly: the parameters, once each, and the units."""
    units = sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(state))
    return units + sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(system, eqx.is_inexact_array)))


def _loop(job: _Job, step: Int[Array, ""], carry: _Carry, few: int) -> tuple[Int[Array, ""], _Carry]:
    """Sweeps a batch until no more than `few` of its samples are active, or the sweeps run out."""
    phases, solver = job.phases, job.solver
    samples = carry.active.shape[0] // phases
    divergence = min(solver.divergence, float(jnp.finfo(carry.first.dtype).max))

    def go_on(state: tuple[Array, _Carry]) -> Array:
        step, carry = state
        return (jnp.sum(carry.active[:samples]) > few) & (step < job.max_steps)

    def body(state: tuple[Array, _Carry]) -> tuple[Array, _Carry]:
        step, carry = state
        taken = solver.step(job.system, job.injection, carry.state, carry.memory, step, phases)
        force = taken.force
        first = jnp.where(step == 0, force, carry.first)
        sound = jnp.isfinite(force) & (force <= divergence * (1 + first))
        improved = force < _IMPROVEMENT * carry.best
        active = carry.active & share(jnp.all, sound, phases)
        if solver.stops_early:
            active &= ~share(jnp.all, force <= _SAFETY * job.goal, phases)
        state = taken.state
        if state is not taken.swept:
            state = trees.select(active, state, taken.swept)
        return step + 1, _Carry(
            state=trees.select(carry.active & sound, state, carry.state),
            memory=taken.memory,
            active=active,
            steps=carry.steps + carry.active.astype(jnp.int32),
            broken=carry.broken | (carry.active & ~sound),
            first=first,
            best=jnp.where(improved, force, carry.best),
            improved_at=jnp.where(improved, step, carry.improved_at),
        )

    return jax.lax.while_loop(go_on, body, (step, carry))
