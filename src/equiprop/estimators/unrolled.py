"""Backpropagation through the relaxation."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from equiprop.estimators._estimator import AbstractEstimator, Response
from equiprop.estimators._problem import SAFETY, Problem, relative
from equiprop.numerics import count, flag, trees
from equiprop.solvers import AbstractSolver
from equiprop.systems import AbstractField, Block, Free, System, only_block


class Pushed(AbstractField):
    """A field with a constant force added to every unit."""

    field: AbstractField
    push: PyTree

    def force(self, state: PyTree, only: Block = None) -> PyTree:
        return trees.add(self.field.force(state, only), only_block(self.push, only))

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.field.blocks


class FinalCost(eqx.Module):
    """The cost of each sample after so many sweeps of a solver, as what the parameter gradient is the gradient of.

    - `state`: where the sweeps start; `None` for the initial state of the system.
    - `cost_system`: with the cost: its own parameters are not what is unrolled, their gradient is taken at the equilibrium.
    - `length`: of the error vectors before they were clipped.
    """

    solver: AbstractSolver
    cost_system: System
    target: PyTree
    state: PyTree | None
    length: Float[Array, " batch"] | None
    steps: int = eqx.field(static=True)

    def __call__(self, theta: System, x: Any, error_vector: PyTree, sound: Array) -> Array:
        state, target, length = trees.stand_in(sound, (self.state, self.target, self.length))
        state = theta.initial_state(x) if state is None else state
        still = jax.tree.map(jnp.zeros_like, state)
        scale = relative(trees.norm(error_vector), length)
        return scale * self.after(theta, still, state, theta.injection(x), target)

    def after(
        self, theta: System, push: PyTree, start: PyTree, injection: Any, target: PyTree
    ) -> Float[Array, " batch"]:
        """With a constant force `push` added in every sweep."""
        pushed = Pushed(Free(theta, injection), push)

        def sweep(state: PyTree, _: None) -> tuple[PyTree, None]:
            return self.solver.sweep(pushed, state)[0], None

        end, _ = jax.lax.scan(sweep, start, length=self.steps)
        return self.cost_system.cost(theta.output(theta.activity(end)), target)


class Unrolled(AbstractEstimator):
    """dC(u_T)/dθ by reverse-mode differentiation of T sweeps of the solver, backpropagation through time.

    Truncated, the T sweeps start at the free equilibrium; whole, at the initial state, and then the gradient is that of the
    cost after exactly T sweeps, transient included. Both tend to the exact gradient as T grows (Ernoult et al. 2019,
    arXiv 1905.13633). Memory grows with T. The error vector is ∂C/∂p for a constant force p added in every sweep, which tends to
    −J⁻ᵀ∇C; the error bar is 3·‖(∂F/∂u)ᵀδ + D∇C‖/‖D∇C‖ at the free equilibrium, and a sample for which that residual exceeds
    one is flagged as unconverged.
    """

    kind: ClassVar[str] = "unrolled"
    label: ClassVar[str] = "backpropagation through the unrolled relaxation"
    citation: ClassVar[tuple[str, ...]] = (
        "Ernoult et al., Updates of equilibrium prop match gradients of backprop through time in an RNN with static input, "
        "NeurIPS 2019, arXiv:1905.13633",
    )

    steps: int = count(20, "Sweeps that are differentiated, T.")
    whole: bool = flag(False, "Unroll from the initial state instead of the equilibrium.")

    tends_to: ClassVar[str] = "adjoint"

    def respond(self, problem: Problem) -> Response:
        system, free = problem.system, problem.free.state
        start = system.initial_state(problem.x) if self.whole else free
        sweeps = FinalCost(problem.solver, system, problem.target, None if self.whole else free, None, self.steps)
        cost, pullback = jax.vjp(
            lambda push: sweeps.after(system, push, start, problem.injection, problem.target),
            jax.tree.map(jnp.zeros_like, free),
        )
        error_vector = pullback(jnp.ones_like(cost))[0]
        length = trees.norm(error_vector)
        residual = problem.adjoint_residual(error_vector)
        return Response(
            error_vector=error_vector,
            error_bar=SAFETY * residual,
            converged=residual <= 1,
            relaxation_steps=jnp.full(length.shape, self.steps, jnp.int32),
            surrogate=eqx.tree_at(lambda s: s.length, sweeps, length, is_leaf=lambda leaf: leaf is None),
        )
