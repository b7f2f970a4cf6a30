"""The response to a nudge that oscillates, from the periodic state itself."""

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from equiprop.estimators._circle import RESPONSE_ACCURACY, displaced, displacement_tolerance, read_responses
from equiprop.estimators._estimator import AbstractEstimator, Response
from equiprop.estimators._nudging import nudge_setting
from equiprop.estimators._problem import SAFETY, Problem, relative
from equiprop.numerics import Number, count, filtered, number, trees
from equiprop.solvers import NewtonGMRES, relax_field
from equiprop.systems import AbstractField, Block, Displaced, Dynamics


class Periodic(AbstractField):
    """How far a state is from moving as its equation of motion says, at M points of a period at once, M odd.

    G_k = τ·(u̇(F) − ikω·u)_k/(1 + ikωτ) for harmonic k of the trigonometric polynomial through the points; what wires lag is by
    the response of their poles, 1/(1 + ikωT). Where G is zero the equation holds at all points. At ω = 0 it is the force at each;
    the denominator keeps sweeps u ← u + G from growing at high frequencies.

    **Fields:**

    - `field`: of displacements; the points are copies of the batch, each under its nudge.
    - `frequency`: ω, in radians a unit of time.
    """

    field: Displaced
    frequency: Float[Array, ""]

    @property
    def _dynamics(self) -> Dynamics:
        return Dynamics() if self.field.dynamics is None else self.field.dynamics

    def force(self, state: PyTree, only: Block = None) -> PyTree:
        del only
        field, dynamics = self.field, self._dynamics
        if dynamics.poles:
            arriving = self._filtered(lambda s: 1 / self._lagging(s, dynamics), field.passed_on(state))
            force = field.force_under(state, arriving)
        else:
            force = field.force(state)
        left = trees.subtract(field.velocity(force), self._filtered(lambda s: s, state))
        tau = dynamics.of_units(state)
        return self._filtered(lambda s, t: t / (1 + s * t), left, tau)

    @staticmethod
    def _lagging(s: Array, dynamics: Dynamics) -> Array:
        product = jnp.ones_like(s)
        for pole in dynamics.poles:
            product = product * (1 + s * jnp.asarray(pole, s.real.dtype))
        return product

    def _filtered(self, response: Callable[..., Array], tree: PyTree, *of_units: PyTree) -> PyTree:
        """What a linear filter makes of a signal at the points of a period.

        **Arguments:**

        - `response`: of the filter at s = ikω, and what else it knows of every unit.
        """

        def one(signal: Array, *own: Array) -> Array:
            points = signal.reshape(self.points, -1, *signal.shape[1:])
            return filtered(lambda s: response(s, *own), points, self.frequency, axis=0).reshape(signal.shape)

        return jax.tree.map(one, tree, *of_units)

    @property
    def points(self) -> int:
        return self.field.copies

    @property
    def couples_phases(self) -> bool:
        return True

    def norm(self, force: PyTree) -> Float[Array, " batch"]:
        return self.field.norm(force)

    def index_batch(self, rows: Int[Array, " some"]) -> "Periodic | None":
        inner = self.field.index_batch(rows)
        return None if inner is None else Periodic(inner, self.frequency)


class HarmonicBalance(AbstractEstimator):
    """−2·⟨r·cos ωt⟩/β under the nudge β·cos ωt, once all that was not periodic has died away.

    The periodic state is solved for directly, by its harmonics (Nakhla & Vlach 1976, IEEE Trans. Circuits Syst. 23, 85), with the
    time constants, the slew and the lagging wires of the system's `dynamics`; without those, τ = 1. It is what a lock-in
    amplifier finds on a device after a time without end and without noise: the reference for `ContinuousTime` with a nudge that
    oscillates. Where the frequency is low it is an average of centred estimates, Σ over the circle of real parts; its error is of
    order β², and of order (ωT)² of what lags behind, T the slowest time constant of the network.

    `Response.tracking` is how much of the response comes late, ‖⟨r·sin ωt⟩‖/‖⟨r·cos ωt⟩‖: near ωT while states follow, and a
    device can read it itself.
    """

    kind: ClassVar[str] = "harmonic_balance"
    label: ClassVar[str] = "harmonic balance of an oscillating nudge"
    citation: ClassVar[tuple[str, ...]] = (
        "Nakhla & Vlach, A piecewise harmonic balance technique for determination of periodic response of nonlinear systems, "
        "IEEE Trans. Circuits Syst. 1976, 23, 85",
    )

    nudge: Number = nudge_setting(0.1, "The amplitude β of the nudge.")
    frequency: Number = number(
        0.01, "Periods of the nudge in a unit of time, which is that of the time constants.", above=0
    )
    harmonics: int = count(3, "Harmonics of the nudge that the periodic state has.")
    dimension: int = count(20, "Jacobian products for a Newton step: the dimension of its Krylov space.")

    @property
    def order(self) -> int:
        return 2

    def respond(self, problem: Problem) -> Response:
        free, solver = problem.free, problem.solver
        points = 2 * self.harmonics + 1
        real = free.residual.dtype
        size = jnp.broadcast_to(jnp.abs(jnp.asarray(self.nudge, real)), free.residual.shape)
        angle = 2 * np.pi * np.arange(points) / points
        nudges = jnp.asarray(np.cos(angle), real)[:, None] * size
        field = Periodic(displaced(problem, nudges), 2 * jnp.pi * jnp.asarray(self.frequency, real))
        end = relax_field(
            field,
            jax.tree.map(lambda a: jnp.zeros((points * a.shape[0], *a.shape[1:]), a.dtype), free.state),
            NewtonGMRES(dimension=self.dimension, divergence=solver.divergence),
            phases=points,
            tolerance=jnp.tile(displacement_tolerance(problem, size, RESPONSE_ACCURACY), points),
            max_steps=solver.nudged_max_steps,
        )
        read = trees.real(read_responses(problem, trees.split_copies(field.field.response(end.state), points), 0))

        def lock_in(wave: np.ndarray) -> PyTree:
            return jax.tree.map(
                lambda r: -2 * jnp.tensordot(jnp.asarray(wave / points, r.dtype), r, 1) / trees.per_sample(size, r[0]),
                read,
            )

        in_phase, late = lock_in(np.cos(angle)), lock_in(np.sin(angle))
        length = trees.norm(in_phase)
        return Response(
            error_vector=in_phase,
            error_bar=SAFETY * problem.linear_residual(in_phase),
            converged=end.converged.reshape(points, -1).all(axis=0),
            relaxation_steps=end.steps.reshape(points, -1).sum(axis=0),
            nudge=size,
            noise=problem.noise_of((2 / points) ** 0.5, size, length),
            tracking=relative(trees.norm(late), length),
        )
