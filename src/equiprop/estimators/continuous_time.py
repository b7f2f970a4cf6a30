"""Phase-free equilibrium propagation: a lock-in amplifier on a rotating nudge."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.estimators._circle import RESPONSE_ACCURACY, nudged_tolerance
from equiprop.estimators._estimator import AbstractEstimator, Response
from equiprop.estimators._nudging import nudge_setting
from equiprop.estimators._papers import HOLOMORPHIC, HOMEOSTASIS
from equiprop.estimators._problem import SAFETY, Problem, relative
from equiprop.numerics import Number, choice, constant, count, flag, normal_like, number, trees
from equiprop.solvers import AbstractSolver, Equilibrium, Status
from equiprop.systems import Nudged, System, is_holomorphic, phasors

# Noise of standard deviation s on every unit leaves a force of a few s on the worst of thousands of them.
_NOISE_ON_THE_WORST_UNIT = 10


_Carry = tuple[PyTree, PyTree, Bool[Array, " batch"]]
"""A state, what the solver remembers, and which samples are sound."""


class LockInRecord(eqx.Module):
    """What a lock-in heard, period after period; warm-up periods are not among them.

    - `per_period`: the estimate of −dr/dβ from each period alone, `[periods, batch, ...]`.
    - `late`: what the lock-in hears a quarter of a period later, `[periods, batch, ...]`.
    - `states`, `activities`: u and r at each point of the circle, averaged over reading windows and periods,
      `[points, batch, ...]`.
    - `residual`: the largest force on any unit at the end of a reading window, over all of them.
    - `sound`: whether every number was finite and no force exploded.
    """

    per_period: PyTree
    late: PyTree
    states: PyTree
    activities: PyTree
    residual: Float[Array, " batch"]
    sound: Bool[Array, " batch"]

    @property
    def running(self) -> PyTree:
        """The estimate after each period: the mean of those so far."""

        def mean_so_far(a: Array) -> Array:
            count = jnp.arange(1, a.shape[0] + 1, dtype=a.dtype).reshape((-1,) + (1,) * (a.ndim - 1))
            return jnp.cumsum(a, axis=0) / count

        return jax.tree.map(mean_so_far, self.per_period)

    @property
    def standard_error(self) -> PyTree:
        """Of the mean over the periods, per unit; infinite after a single period."""

        def error(a: Array) -> Array:
            n = a.shape[0]
            return jnp.std(a, axis=0, ddof=1) / n**0.5 if n > 1 else jnp.full(a.shape[1:], jnp.inf, a.dtype)

        return jax.tree.map(error, self.per_period)


class ContinuousTime(AbstractEstimator):
    """−⟨r·e^(−iωt)⟩/|β| while the nudge β(t) = |β|e^(iωt) goes round: no free phase, and no phases to tell apart.

    The continuous-time estimate of Laborieux & Zenke (2022, arXiv 2209.00530; for vector fields 2024, arXiv 2309.02214). The
    nudge rests at each of `points` positions for `steps_per_point` sweeps; activities are averaged over the last part of them.
    With many points of one step each it turns smoothly. ∂F/∂θ is averaged over the same oscillation, which by the mean-value
    property of holomorphic functions is its value at the free equilibrium, and so is the average state, which is reported as the
    equilibrium. Its error is of order |β|^N, plus what the system lags behind, plus noise.

    With `drive = "oscillating"` the nudge is |β|·cos ωt and real, as on a device without complex states, and the estimate is
    −2⟨r·cos ωt⟩/|β|: its error is of order β² whatever N. `HarmonicBalance` is where that leads.

    With the solver `ode` a sweep is an interval of time, the frequency is 1/(points · steps_per_point · interval) in units of
    1/τ, and what is on lagging wires stays there from one position to the next. `Response.tracking` says how much of the response
    comes late; where it is not small, equilibrium is no longer followed.

    Under a nudge that rests, a sample whose force at the end of a reading window exceeds the tolerance of a nudged phase, or ten
    times the noise, is flagged as unconverged and its status is oscillating; under one that oscillates, which is never at rest, a
    sample of whose response more than `largest_lag` comes late.
    """

    kind: ClassVar[str] = "continuous_time"
    label: ClassVar[str] = "continuous-time equilibrium propagation"
    citation: ClassVar[tuple[str, ...]] = (HOLOMORPHIC, HOMEOSTASIS)

    nudge: Number = nudge_setting(0.1, "The size |β| of the nudge.")
    points: int = count(4, "Positions of the nudge a period, N.", at_least=2)
    steps_per_point: int = count(30, "Sweeps at each position.")
    periods: int = count(4, "Periods that are averaged; their scatter gives the standard error.")
    warmup: int = count(1, "Periods before them that are not.", at_least=0)
    dead_time: float = constant(
        0.5, "Fraction of the sweeps at each position before reading begins.", at_least=0, below=1
    )
    drive: str = choice(
        "rotating",
        "What the nudge does: rotating in the complex plane, or oscillating on the real line.",
        "rotating",
        "oscillating",
    )
    largest_lag: Number = number(
        0.5,
        "A sample of whose response under an oscillating nudge more than this comes late has not converged: of an error of the "
        "square of it, equilibrium is no longer followed.",
        above=0,
        needs=("drive=oscillating",),
    )
    noise: Number | None = number(
        0.0,
        "Standard deviation of the Gaussian noise on every unit in every sweep, in the units of u; real and imaginary parts "
        "each. Needs a key.",
        at_least=0,
        word=0.0,
    )
    allow_non_holomorphic: bool = flag(
        False, "Serve systems with kinks although N > 2; the error bar then shows what it costs."
    )
    error_bar: str = choice(
        "auto",
        "residual or auto: 3·‖D(Jδ + ∇C)‖/‖D∇C‖ at the average state, one Jacobian product, plus what the force that is left "
        "there says of the aliasing; periods: twice the standard error of the mean over the periods relative to δ, no "
        "derivative, and blind to what all periods share.",
        "auto",
        "residual",
        "periods",
        kw_only=True,
    )

    needs_free_phase: ClassVar[bool] = False

    @property
    def _turns(self) -> bool:
        """Whether nudges are complex; two points are the same either way."""
        return self.drive == "rotating" and self.points > 2

    @property
    def order(self) -> int:
        return self.points if self._turns else 2

    def check(self, system: System, x: Any) -> None:
        if self._turns and not (self.allow_non_holomorphic or is_holomorphic(system, x)):
            raise InputError(
                "the system is not holomorphic, so a circle of complex nudges does not give its response",
                path="points",
                value=self.points,
                hint="use points = 2, drive = 'oscillating', a holomorphic activation, or allow_non_holomorphic = true",
            )

    def record(self, problem: Problem) -> LockInRecord:
        """Lets the nudge go round, and reads."""
        system = problem.system
        if self.noise is not None and problem.key is None:
            raise InputError("needs a key to draw it with", path="noise", hint="give estimate(..., key=...)")
        key = jax.random.key(0) if problem.key is None else problem.key
        real = trees.dtype_of(problem.free.state)
        dtype = jnp.result_type(real, jnp.complex64) if self._turns else real
        positions = jnp.asarray(np.exp(1j * self._angles) if self._turns else np.cos(self._angles), dtype)
        of_state = dtype if system.coding is None else real
        start = jax.tree.map(lambda a: a.astype(of_state), problem.free.state)
        batch = trees.batch_size(start)

        def at_position(position: Array) -> Nudged:
            nudge = jnp.broadcast_to(jnp.asarray(self.nudge, real) * position, (batch,)).astype(dtype)
            return Nudged(problem.field, system, problem.target, nudge)

        def visit(carry: _Carry, at: tuple[Array, PRNGKeyArray]) -> tuple[_Carry, Any]:
            position, visit_key = at
            return self._hold(at_position(position), problem.solver, carry, visit_key)

        def period(carry: tuple[Any, PyTree, PyTree, Array], at: tuple[Array, PRNGKeyArray]) -> tuple[Any, PyTree]:
            (inner, states, activities, residual), (index, period_key) = carry, at
            inner, (mean_u, mean_r, left) = jax.lax.scan(
                visit, inner, (positions, jax.random.split(period_key, self.points))
            )
            counts = index >= self.warmup
            mean_r = heard_of(problem.read(mean_r, index))
            weight = jnp.where(counts, 1 / self.periods, 0).astype(real)
            accumulate = lambda m, a: m + weight * a  # noqa: E731
            residual = jnp.maximum(residual, jnp.where(counts, left.max(axis=0), 0))
            carry = (
                inner,
                jax.tree.map(accumulate, states, mean_u),
                jax.tree.map(accumulate, activities, mean_r),
                residual,
            )
            return carry, (jax.tree.map(self._lock_in, mean_r), jax.tree.map(self._late, mean_r))

        def around(one: PyTree) -> PyTree:
            return jax.tree.map(lambda a: jnp.zeros((self.points, *a.shape), a.dtype), one)

        def heard_of(activity: PyTree) -> PyTree:
            read = phasors(system, activity)
            return read if self._turns else trees.real(read)

        read = jax.eval_shape(lambda u: heard_of(system.activity(u)), start)
        total = self.warmup + self.periods
        at_rest = start, problem.solver.init(at_position(positions[0]), start), jnp.ones(batch, bool)
        (inner, states, activities, residual), heard = jax.lax.scan(
            period,
            (at_rest, around(start), around(read), jnp.zeros(batch, real)),
            (jnp.arange(total), jax.random.split(key, total)),
        )
        per_period, late = jax.tree.map(lambda a: a[self.warmup :], heard)
        return LockInRecord(per_period, late, states, activities, residual, inner[2])

    def _hold(
        self, field: Nudged, solver: AbstractSolver, carry: "_Carry", key: PRNGKeyArray
    ) -> tuple["_Carry", tuple[PyTree, PyTree, Array]]:
        """Holds the nudge at one position: where that ends, and the means of state and activity, and what force is left."""
        state, memory, sound = carry
        real = jnp.finfo(trees.dtype_of(state)).dtype
        noise = self._noise(field, solver, state)
        dead = min(round(self.dead_time * self.steps_per_point), self.steps_per_point - 1)
        read = self.steps_per_point - dead

        def sweep(step: Array, inner: tuple[PyTree, PyTree, PyTree, PyTree, Array]) -> Any:
            u, memory, mean_u, mean_r, still_sound = inner
            moved, force, memory = solver.follow(field, u, memory)
            if noise is not None:
                drawn = normal_like(moved, key=jax.random.fold_in(key, step))
                moved = jax.tree.map(lambda a, s, z: a + s * z, moved, noise, drawn)
            healthy = jnp.isfinite(force) & (force <= solver.divergence)
            u = trees.select(still_sound & healthy, moved, u)
            weight = jnp.where(step >= dead, 1 / read, 0).astype(real)
            accumulate = lambda m, a: m + weight * a  # noqa: E731
            mean_u = jax.tree.map(accumulate, mean_u, u)
            mean_r = jax.tree.map(accumulate, mean_r, field.system.activity(u))
            return u, memory, mean_u, mean_r, still_sound & healthy

        zeros = jax.tree.map(jnp.zeros_like, state)
        state, memory, mean_u, mean_r, sound = jax.lax.fori_loop(
            0, self.steps_per_point, sweep, (state, memory, zeros, zeros, sound)
        )
        return (state, memory, sound), (mean_u, mean_r, trees.max_abs(field.force(state)))

    def _noise(self, field: Nudged, solver: AbstractSolver, state: PyTree) -> PyTree | None:
        """The standard deviation of what a sweep adds to each unit: what was asked for, and what the device does in its time."""
        duration, dynamics = solver.duration(field), field.dynamics
        own = None if duration is None or dynamics is None else dynamics.noise_over(duration, state)
        if self.noise is None:
            return own
        asked = jax.tree.map(lambda u: jnp.asarray(self.noise, u.real.dtype), state)
        return asked if own is None else jax.tree.map(jnp.hypot, asked, own)

    def _noise_in_time(self, problem: Problem) -> Float[Array, ""] | None:
        """The standard deviation of the noise on units, that was asked for and that of a device in its time; `None` for none."""
        dynamics = problem.field.dynamics
        if dynamics is None or problem.solver.duration(problem.field) is None or dynamics.noise is None:
            return None if self.noise is None else jnp.asarray(self.noise)
        return jnp.hypot(0.0 if self.noise is None else jnp.asarray(self.noise), dynamics.noise)

    @property
    def _angles(self) -> np.ndarray:
        """ωt at the positions."""
        return 2 * np.pi * np.arange(self.points) / self.points

    def _lock_in(self, activity: Array) -> Array:
        """−Re⟨r·e^(−iωt)⟩/|β| over the positions, the leading axis; twice that of a real nudge, half of a rotating one."""
        return self._heard(activity, np.cos(self._angles), np.sin(self._angles))

    def _late(self, activity: Array) -> Array:
        """The same of r·e^(−i(ωt − π/2)): zero where every state follows at once."""
        return self._heard(activity, np.sin(self._angles), -np.cos(self._angles))

    def _heard(self, activity: Array, of_real: np.ndarray, of_imaginary: np.ndarray) -> Array:
        def mean(wave: np.ndarray, part: Array) -> Array:
            return jnp.tensordot(jnp.asarray(wave / self.points, part.dtype), part, 1)

        heard = mean(of_real, activity.real)
        if jnp.iscomplexobj(activity):
            heard += mean(of_imaginary, activity.imag)
        elif self.points > 2:
            heard *= 2
        return -heard / jnp.asarray(self.nudge, heard.dtype)

    def respond(self, problem: Problem) -> Response:
        heard = self.record(problem)
        error_vector = problem.error_vector(jax.tree.map(lambda a: a.mean(axis=0), heard.per_period))
        state = jax.tree.map(lambda a: a.real.mean(axis=0), heard.states)
        residual = trees.max_abs(problem.force(state))
        sweeps = (self.warmup + self.periods) * self.points * self.steps_per_point
        here = Equilibrium(
            state, residual, jnp.full(residual.shape, sweeps, jnp.int32), jnp.zeros(residual.shape, jnp.int32)
        )
        found = eqx.tree_at(lambda p: p.free, problem, here)
        size = jnp.broadcast_to(jnp.abs(jnp.asarray(self.nudge, residual.dtype)), residual.shape)
        goal = nudged_tolerance(found, size, RESPONSE_ACCURACY)
        in_time = self._noise_in_time(problem)
        noisy = in_time is not None or problem.system.reading_error is not None
        if in_time is not None:
            goal = goal + _NOISE_ON_THE_WORST_UNIT * in_time.astype(goal.dtype)
        late = found.error_vector(jax.tree.map(lambda a: a.mean(axis=0), heard.late))
        tracking = relative(trees.norm(late), trees.norm(error_vector))
        follows = tracking <= self.largest_lag if self.drive == "oscillating" else heard.residual <= goal
        converged = heard.sound & follows
        status = jnp.select([~heard.sound, converged], [Status.DIVERGED, Status.CONVERGED], Status.OSCILLATING)
        return Response(
            error_vector=error_vector,
            error_bar=self._bar(found, heard, error_vector, size),
            converged=converged,
            relaxation_steps=here.steps,
            nudge=size,
            equilibrium=eqx.tree_at(lambda e: e.status, here, status.astype(jnp.int32)),
            surrogate=OverOscillation(heard.states),
            noise=self._scatter(found, heard, error_vector) if noisy else None,
            tracking=tracking,
        )

    def _scatter(self, found: Problem, heard: LockInRecord, error_vector: PyTree) -> Float[Array, " batch"]:
        """The relative standard error of the mean over the periods."""
        return relative(trees.norm(found.error_vector(heard.standard_error)), trees.norm(error_vector))

    def _bar(
        self, found: Problem, heard: LockInRecord, error_vector: PyTree, size: Float[Array, " batch"]
    ) -> Float[Array, " batch"]:
        if self.error_bar == "periods":
            return 2 * self._scatter(found, heard, error_vector)
        # The force at the average state is a_N of the Taylor series in units of a_1, and a_(N+1) is what its Jacobian is off.
        left = found.in_activity(found.force(found.free.state))
        drift = relative(left, size * found.in_activity(found.cost_gradient))
        aliased = drift * jnp.minimum(drift, 1) ** (1 / (self.order - 1))
        return SAFETY * found.linear_residual(error_vector) + aliased


class OverOscillation(eqx.Module):
    """δ·⟨F(θ, u, x)⟩ over the states that the nudge led through: what the parameter gradient is the gradient of."""

    states: PyTree

    def __call__(self, theta: System, x: Any, error_vector: PyTree, sound: Array) -> Array:
        injection = theta.injection(x)
        force = jax.vmap(lambda u: theta.force(trees.stand_in(sound, u), injection))(self.states)
        return trees.inner(error_vector, jax.tree.map(lambda a: a.real.mean(axis=0), force))
