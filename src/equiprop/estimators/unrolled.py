"""Backpropagation through the relaxation."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from equiprop.errors import InputError
from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.estimators._problem import SAFETY, Problem, relative
from equiprop.numerics import trees
from equiprop.systems import Block, System, Wrapped, only_block


class Pushed(Wrapped):
    """`system` with a constant force added to every unit."""

    push: PyTree

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        return trees.add(self.system.force(state, injection, only), only_block(self.push, only))


class Unrolled(AbstractEstimator):
    """dC(u_T)/dθ by reverse-mode differentiation of T sweeps of the solver, backpropagation through time.

    Truncated, the T sweeps start at the free equilibrium; whole, at the initial state, and then the gradient is that of the
    cost after exactly T sweeps, transient included. Both tend to the exact gradient as T grows (Ernoult et al. 2019,
    arXiv 1905.13633). Memory grows with T. The error vector is ∂C/∂p for a constant force p added in every sweep, which tends to
    −J⁻ᵀ∇C; the error bar is 3·‖(∂F/∂u)ᵀδ + D∇C‖/‖D∇C‖ at the free equilibrium, and a sample for which that residual exceeds
    one is flagged as unconverged.

    - `steps`: T.
    - `whole`: start at the initial state.
    """

    steps: int = eqx.field(default=20, static=True)
    whole: bool = eqx.field(default=False, static=True)

    tends_to: ClassVar[str] = "adjoint"

    def __check_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps = {self.steps}: must be at least 1")

    def respond(self, problem: Problem) -> Response:
        system, target = problem.system, problem.target

        def start_of(x: Any, state: PyTree) -> PyTree:
            return system.initial_state(x) if self.whole else state

        def final_cost(
            theta: System, push: PyTree, start: PyTree, injection: Any, target: Array
        ) -> Float[Array, " batch"]:
            pushed = Pushed(system=theta, push=push)  # pyright: ignore[reportCallIssue]

            def sweep(state: PyTree, _: None) -> tuple[PyTree, None]:
                return problem.solver.sweep(pushed, injection, state)[0], None

            end, _ = jax.lax.scan(sweep, start, length=self.steps)
            # The cost's own parameters are not what is unrolled: their gradient is taken at the equilibrium.
            return system.cost(theta.output(theta.activity(end)), target)

        still = jax.tree.map(jnp.zeros_like, problem.free.state)
        start = start_of(problem.x, problem.free.state)
        cost, pullback = jax.vjp(lambda push: final_cost(system, push, start, problem.injection, target), still)
        error_vector = pullback(jnp.ones_like(cost))[0]
        length = trees.norm(error_vector)

        def work(theta: System, x: Any, clipped: PyTree, sound: Array) -> Array:
            state, label, whole = trees.stand_in(sound, (problem.free.state, target, length))
            share = relative(trees.norm(clipped), whole)
            return share * final_cost(theta, still, start_of(x, state), theta.injection(x), label)

        residual = problem.adjoint_residual(error_vector)
        return Response(
            error_vector=error_vector,
            error_bar=SAFETY * residual,
            converged=residual <= 1,
            relaxation_steps=jnp.full(length.shape, self.steps, jnp.int32),
            work=work,
        )
