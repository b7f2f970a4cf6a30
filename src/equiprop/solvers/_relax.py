"""The one relaxation loop, and the answer it gives."""

import enum
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.errors import InputError
from equiprop.numerics import trees
from equiprop.solvers._solver import AbstractSolver, across_phases
from equiprop.systems import AbstractField


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

    def __repr__(self) -> str:
        if isinstance(self.status, Tracer):
            return super().__repr__()
        counts = {s.name.lower(): int((self.status == s).sum()) for s in Status}
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        return f"Equilibrium({told}; largest residual {float(self.residual.max()):.2g}, most steps {int(self.steps.max())})"


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
# for the force of the whole at the state in which the sweep ends, which is what the answer reports. Where that was not enough,
# as where one block feels another many times, a sample goes on at half of the half, so many times at most.
_SAFETY = 0.5
_ATTEMPTS = 4


@eqx.filter_jit
def relax_field(
    field: AbstractField,
    state: PyTree,
    solver: AbstractSolver,
    *,
    phases: int = 1,
    tolerance: Float[Array, " batch"] | None = None,
    max_steps: int | None = None,
    active: Bool[Array, " batch"] | None = None,
) -> Equilibrium:
    """Relaxes a batch of states to equilibrium in one compiled loop. A converged sample keeps its state while others go on.

    **Arguments:**

    - `state`: where to start.
    - `phases`: how many copies of each sample the batch holds, copy after copy. The copies of a sample stop together, after
      the same number of sweeps, so that what is left of their common drift cancels from their differences.
    - `tolerance`, `max_steps`: in place of the solver's; a tolerance for each sample.
    - `active`: the samples to relax; the others stay as they are, and take no steps. By default all.

    Raises `InputError` for an empty batch.
    """
    batch = trees.batch_size(state)
    if not batch:
        raise InputError("the batch holds no sample; give at least one")
    real = jnp.finfo(trees.dtype_of(state)).dtype
    goal = jnp.broadcast_to(jnp.asarray(solver.tolerance if tolerance is None else tolerance, real), (batch,))
    active = jnp.ones(batch, bool) if active is None else active
    job = _Job(field, solver, _SAFETY * goal, phases, solver.max_steps if max_steps is None else max_steps)
    early_steps = None
    if solver.start_precision is not None and not jnp.iscomplexobj(jax.tree.leaves(state)[0]):
        state, early_steps = _begin_in_low_precision(job, state, active)
    end, residual = _relaxed(job, goal, _init(field, solver, state, active))
    stalled = end.steps - 1 - end.improved_at >= jnp.maximum(end.steps // _PATIENCE, 2)
    status = jnp.select(
        [end.broken | ~jnp.isfinite(residual), residual <= goal, stalled],
        [Status.DIVERGED, Status.CONVERGED, Status.OSCILLATING],
        Status.MAX_STEPS,
    ).astype(jnp.int32)
    return Equilibrium(end.state, residual, end.steps if early_steps is None else end.steps + early_steps, status)


class _Job(eqx.Module):
    """What a relaxation needs besides where it is.

    - `goal`: the largest force met on the way at which a sweep is the last.
    """

    field: AbstractField
    solver: AbstractSolver
    goal: Float[Array, " batch"]
    phases: int
    max_steps: int

    @property
    def separable(self) -> bool:
        """Whether the field can be had for some rows of the batch alone."""
        return jax.eval_shape(lambda: self.field.index_batch(jnp.arange(1))) is not None

    def on(self, rows: Int[Array, " some"]) -> "_Job":
        """The same for some rows of the batch, of a field that is separable."""
        smaller = self.field.index_batch(rows)
        assert smaller is not None
        return _Job(smaller, self.solver, self.goal[rows], self.phases, self.max_steps)


def _relaxed(job: _Job, goal: Float[Array, " batch"], carry: _Carry) -> tuple[_Carry, Float[Array, " batch"]]:
    """Sweeps until the force at the end is within `goal`, and that force."""
    asked = carry.active

    def unfinished(residual: Array, carry: _Carry) -> Array:
        return asked & ~carry.broken & across_phases(jnp.any, ~(residual <= goal), job.phases)

    def go_on(state: tuple[Array, Array, _Carry, Array]) -> Array:
        attempt, step, carry, residual = state
        again = (step < job.max_steps) & jnp.any(unfinished(residual, carry))
        return (attempt == 0) | (again & (attempt < (_ATTEMPTS if job.solver.stops_early else 1)))

    def once(state: tuple[Array, Array, _Carry, Array]) -> tuple[Array, Array, _Carry, Array]:
        attempt, step, carry, residual = state
        closer = eqx.tree_at(lambda j: j.goal, job, job.goal * 0.5 ** attempt.astype(job.goal.dtype))
        carry = eqx.tree_at(lambda c: c.active, carry, unfinished(residual, carry))
        step, carry = _run(closer, step, carry, 0)
        return attempt + 1, step, carry, job.field.norm(job.field.force(carry.state))

    none = jnp.zeros((), jnp.int32)
    start = (none, none, carry, jnp.full_like(goal, jnp.inf))
    _, _, end, residual = jax.lax.while_loop(go_on, once, start)
    return end, residual


def _init(field: AbstractField, solver: AbstractSolver, state: PyTree, active: Bool[Array, " batch"]) -> _Carry:
    batch = active.shape[0]
    real = jnp.finfo(trees.dtype_of(state)).dtype
    none = jnp.zeros(batch, jnp.int32)
    return _Carry(
        state=state,
        memory=solver.init(field, state),
        active=active,
        steps=none,
        broken=jnp.zeros(batch, bool),
        first=jnp.zeros(batch, real),
        best=jnp.full(batch, jnp.inf, real),
        improved_at=none,
    )


# A force in half precision is believed down to so many units of rounding, and for so large a fraction of the sweeps: sums over
# many units may round to more.
_LOW_ROUNDING = 8
_LOW_SHARE = 4


def _begin_in_low_precision(
    job: _Job, state: PyTree, active: Bool[Array, " batch"]
) -> tuple[PyTree, Int[Array, " batch"]]:
    """Sweeps in half precision until that resolves no more; where each sample then is, and the sweeps it took.

    A sample whose force half precision cannot tell from nothing is left untouched, to every digit: its response to a weak
    nudge, say, would drown in rounding. So is one that half precision cannot hold.
    """
    half = jnp.dtype(job.solver.start_precision)

    def rounded(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda a: a.astype(half) if eqx.is_inexact_array(a) else a, tree)

    resolved = _LOW_ROUNDING * float(jnp.finfo(half).eps) * (1 + trees.max_abs(state))
    active &= across_phases(jnp.all, job.field.norm(job.field.force(state)) > resolved, job.phases)
    steps = max(job.max_steps // _LOW_SHARE, 1)
    goal = jnp.maximum(job.goal, _SAFETY * resolved).astype(half)
    rough = _Job(rounded(job.field), rounded(job.solver), goal, job.phases, steps)
    _, end = _run(rough, jnp.zeros((), jnp.int32), _init(rough.field, job.solver, rounded(state), active), 0)
    held = across_phases(jnp.all, ~end.broken & jnp.isfinite(trees.max_abs(end.state)), job.phases)
    found = jax.tree.map(lambda a, b: a.astype(b.dtype), end.state, state)
    return trees.select(active & held, found, state), end.steps


# A relaxation goes on with the samples that have not converged once no more than a quarter of them are left: the last few often
# need several times the sweeps of all others.
_LADDER = (4,)

# Each rung is one more loop to compile, half a second, which pays only where a sweep takes long: so many rows times parameters
# and units. Free phases differ less in the sweeps that they need than nudged ones, and gain a quarter as much.
_WORTHWHILE = 1_000_000
_OF_ONE_PHASE = 1 / 16


def _run(job: _Job, step: Int[Array, ""], carry: _Carry, rung: int) -> tuple[Int[Array, ""], _Carry]:
    """Sweeps until every sample has converged; from rung to rung of the ladder on a smaller batch of those that have not."""
    samples = carry.active.shape[0] // job.phases
    few = samples // _LADDER[rung] if rung < len(_LADDER) else 0
    gain = few * (job.phases if job.phases > 1 else _OF_ONE_PHASE) * _row_cost(job.field, carry.state)
    if not (job.solver.stops_early and gain >= _WORTHWHILE and job.separable):
        return _loop(job, step, carry, 0)
    step, carry = _loop(job, step, carry, few)
    # The unconverged ones first, each with all of its phases.
    first = jax.lax.top_k(carry.active[:samples].astype(jnp.float32), few)[1]
    rows = (first + samples * jnp.arange(job.phases)[:, None]).reshape(-1)
    step, inner = _run(job.on(rows), step, trees.index_batch(carry, rows), rung + 1)
    return step, trees.put(carry, rows, inner)


def _row_cost(field: AbstractField, state: PyTree) -> int:
    """Numbers that a sweep of one row touches, roughly: the parameters, once each, and the units."""
    units = sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(state))
    system = getattr(field, "system", field)
    return units + sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(system, eqx.is_inexact_array)))


def _loop(job: _Job, step: Int[Array, ""], carry: _Carry, few: int) -> tuple[Int[Array, ""], _Carry]:
    """Sweeps a batch until no more than `few` of its samples are active, or the sweeps run out."""
    samples = carry.active.shape[0] // job.phases

    def go_on(state: tuple[Array, _Carry]) -> Array:
        step, carry = state
        return (jnp.sum(carry.active[:samples]) > few) & (step < job.max_steps)

    return jax.lax.while_loop(go_on, _body(job), (step, carry))


def _body(job: _Job) -> Callable[[tuple[Array, _Carry]], tuple[Array, _Carry]]:
    phases, solver = job.phases, job.solver

    def body(state: tuple[Array, _Carry]) -> tuple[Array, _Carry]:
        step, carry = state
        taken = solver.step(job.field, carry.state, carry.memory, step, phases)
        force = taken.force
        first = jnp.where(step == 0, force, carry.first)
        largest = jnp.minimum(jnp.asarray(solver.divergence, first.dtype), jnp.finfo(first.dtype).max)
        sound = jnp.isfinite(force) & (force <= largest * (1 + first))
        improved = force < _IMPROVEMENT * carry.best
        active = carry.active & across_phases(jnp.all, sound, phases)
        if solver.stops_early:
            active &= ~across_phases(jnp.all, force <= job.goal, phases)
        state = taken.state
        if state is not taken.swept:
            # Nothing would judge a last step that is not a sweep.
            state = trees.select(active & (step + 1 < job.max_steps), state, taken.swept)
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

    return body
