"""One class or function of each kind, as a user writes them outside of the library, none longer than 25 lines."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

import equiprop as ep
from equiprop.estimators import AbstractEstimator, Response
from equiprop.homeostasis import AbstractHomeostasis, strength_setting
from equiprop.numerics import AbstractActivation, count, number
from equiprop.solvers import AbstractSolver


class Damped(AbstractSolver):
    """Synchronous steps along the force, which say what they are called as the kinds of the library do."""

    kind: ClassVar[str] = "damped"
    label: ClassVar[str] = "damped steps"
    citation: ClassVar[tuple[str, ...]] = ("Solver, A journal 2026",)
    rate: ep.Number = number(0.5, "Of the force, in a step.", above=0)

    def sweep(self, field, state):
        force = field.force(state)
        return jax.tree.map(lambda u, f: u + self.rate * f, state, force), field.norm(force)


class Iterated(AbstractEstimator):
    """Richardson's iteration for the response, δE = −J⁻¹∇C."""

    label: ClassVar[str] = "the iterated response"
    citation: ClassVar[tuple[str, ...]] = ("Estimator, A journal 2026",)
    terms: int = count(100, "Steps of the iteration.")

    def respond(self, problem):
        push = jax.linearize(problem.force, problem.free.state)[1]
        go_on = lambda _, v: jax.tree.map(lambda v, f, g: v + 0.5 * (f + g), v, push(v), problem.cost_gradient)  # noqa: E731
        moved = jax.lax.fori_loop(0, self.terms, go_on, jax.tree.map(jnp.zeros_like, problem.free.state))
        delta = problem.error_vector(jax.linearize(problem.system.activity, problem.free.state)[1](moved))
        bar = 3 * problem.linear_residual(delta)
        return Response(delta, bar, bar < 1, jnp.full(bar.shape, self.terms))


class Decay(AbstractHomeostasis):
    """Weight decay, which is no homeostasis but has the form of one."""

    label: ClassVar[str] = "decay"
    citation: ClassVar[tuple[str, ...]] = ("Homeostasis, A journal 2026",)
    strength: ep.Number = strength_setting(1e-4, "Factor on the weights.")

    def gradient(self, system, batch, *, key):
        own = eqx.filter(system, eqx.is_inexact_array)
        return own, jnp.asarray(sum(jnp.sum(w**2) for w in jax.tree.leaves(own)) / 2), jnp.zeros((), jnp.int32)


class Softsign(AbstractActivation):
    """z/√(1 + z²), between −1 and 1."""

    citation: ClassVar[tuple[str, ...]] = ("Activation, A journal 2026",)
    holomorphic: ClassVar[bool | None] = True

    def __call__(self, u):
        return u / jnp.sqrt(1 + u**2)


def make_system(inputs, outputs, *, key, size=12):
    """A dense recurrent network whose last units are the classes."""
    w, v = (
        0.3 * jax.random.normal(k, (size, n)) / n**0.5 for k, n in zip(jax.random.split(key), (size, 64), strict=True)
    )

    def force(p, u, x):
        return jnp.tanh(u) @ p["w"].T + x.reshape(len(x), -1) @ p["v"].T - u

    return ep.from_force(
        force, {"w": w, "v": v}, initial_state=jnp.zeros(size), activity=jnp.tanh, output=lambda r: r[:, -outputs:]
    )
