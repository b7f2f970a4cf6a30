"""Relaxation as it happens in time."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from equiprop.numerics import Number, choice, count, number
from equiprop.solvers._integration import METHODS, integrate
from equiprop.solvers._solver import AbstractSolver, Step
from equiprop.systems import AbstractField, Motion


class ODE(AbstractSolver):
    """u̇ = F(u), or as the system's `dynamics` say it: time constants, slew, wires that lag. One sweep is an interval of time.

    Where relaxation leads is where sweeps lead, unless there are several equilibria; how long that takes is what a device takes.
    A sample has converged when the force is small that is there, and the force that would be there if nothing were on its way.
    Integrated by diffrax (Kidger 2021, arXiv 2202.02435).

    Raises `InputError` where diffrax is not installed, or wires lag of a system that does not tell what is on them.
    """

    kind: ClassVar[str] = "ode"
    label: ClassVar[str] = "ordinary differential equation"
    remedy: ClassVar[str] = "give them more time, shorter intervals of it, or faster wires"
    citation: ClassVar[tuple[str, ...]] = ("Kidger, On neural differential equations, thesis 2021, arXiv:2202.02435",)

    interval: Number = number(1.0, "The time of one sweep, in units of the largest time constant of a unit.", above=0)
    method: str = choice(
        "tsit5",
        "Euler's, Heun's, Tsitouras' of order 5, Dormand & Prince's of order 8, or Kværnø's implicit one of order 5, for poles "
        "much faster than units.",
        *METHODS,
    )
    steps: int | str = count(
        "auto", "Steps of the method in an interval; auto: as many as the accuracy needs.", word="auto"
    )
    accuracy: Number = number(
        1e-3, "Error of a step, relative to how far an interval may lead a sample.", above=0, needs=("steps=auto",)
    )

    def sweep(self, field: AbstractField, state: PyTree) -> tuple[PyTree, Float[Array, " batch"]]:
        moved, force, _ = self.follow(field, state, self.init(field, state))
        return moved, force

    def init(self, field: AbstractField, state: PyTree) -> tuple[PyTree, ...]:
        return Motion(field).wires_at_rest(state)

    def duration(self, field: AbstractField) -> Float[Array, ""]:
        return self.interval * Motion(field).dynamics.slowest

    def step(
        self, field: AbstractField, state: PyTree, memory: tuple[PyTree, ...], count: Int[Array, ""], phases: int
    ) -> Step:
        del count, phases
        moved, force, memory = self.follow(field, state, memory)
        return Step(moved, moved, force, memory)

    def follow(
        self, field: AbstractField, state: PyTree, memory: tuple[PyTree, ...]
    ) -> tuple[PyTree, Float[Array, " batch"], tuple[PyTree, ...]]:
        motion = Motion(field)
        force = field.norm(motion.force((state, memory)))
        if memory:
            force = jnp.maximum(force, field.norm(field.force(state)))
        (moved, wires), arrived = integrate(
            motion.velocity,
            (state, memory),
            self.duration(field),
            method=self.method,
            steps=None if isinstance(self.steps, str) else self.steps,
            accuracy=jnp.asarray(self.accuracy),
        )
        return moved, jnp.where(arrived, force, jnp.inf), wires
