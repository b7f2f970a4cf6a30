"""Equilibrium propagation in which the error is a second state that relaxes beside the first."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from equiprop.estimators._estimate import AbstractEstimator, Response
from equiprop.estimators._nudging import check_nudge
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.numerics import trees
from equiprop.solvers import Equilibrium, relax
from equiprop.systems import Block, Wrapped


class Dyad(Wrapped):
    """ṁ = F(m), ḋ = (∂F/∂u(m))ᵀd − β·∇_u C(m), as one system.

    Where the inner system has blocks, its state is a dictionary, and the two are laid side by side so that each block moves
    the m and the d of its populations together; otherwise the state has the two entries `m` and `d`.
    """

    target: Array
    nudge: float = eqx.field(static=True)

    per_sample: ClassVar[tuple[str, ...] | None] = ("target",)

    @property
    def _side_by_side(self) -> bool:
        return self.system.blocks != (None,)

    def join(self, m: PyTree, d: PyTree) -> dict[str, Any]:
        if not self._side_by_side:
            return {"m": m, "d": d}
        return {f"m.{name}": value for name, value in m.items()} | {f"d.{name}": value for name, value in d.items()}

    def split(self, state: dict[str, Any]) -> tuple[PyTree, PyTree]:
        if not self._side_by_side:
            return state["m"], state["d"]
        m, d = ({k[2:]: v for k, v in state.items() if k.startswith(prefix)} for prefix in ("m.", "d."))
        return m, d

    @property
    def blocks(self) -> tuple[Block, ...]:
        if not self._side_by_side:
            return (None,)
        return tuple(tuple(f"{half}.{name}" for half in "md" for name in block or ()) for block in self.system.blocks)

    def force(self, state: dict[str, Any], injection: Any, only: Block = None) -> dict[str, Any]:
        m, d = self.split(state)
        force, pullback = jax.vjp(lambda u: self.system.force(u, injection), m)
        activity, to_state = jax.vjp(self.system.activity, m)
        cost_gradient = to_state(self.system.cost_gradient(activity, self.target))[0]
        adjoint = jax.tree.map(lambda a, g: a - self.nudge * g, pullback(d)[0], cost_gradient)
        whole = self.join(force, adjoint)
        return whole if only is None else {name: whole[name] for name in only}


class Dyadic(AbstractEstimator):
    """δ = −d/β with ṁ = F(m) and ḋ = J(m)ᵀd − β∇C relaxed together (Scurria et al. 2026, arXiv 2602.03670).

    The mean state m finds the free equilibrium while the difference d finds −β·δ: one phase, and exact, because d is linear in
    β. It needs the transpose of J. The error bar is 3·‖(∂F/∂u)ᵀδ + D∇C‖/‖D∇C‖.

    - `nudge`: β; in exact arithmetic the answer does not depend on it, and with a tolerance a larger one resolves it better.
    """

    nudge: float = eqx.field(default=1.0, static=True)

    needs_free_phase: ClassVar[bool] = False

    tends_to: ClassVar[str] = "adjoint"

    def __check_init__(self) -> None:
        check_nudge(self.nudge)

    def respond(self, problem: Problem) -> Response:
        start = problem.free.state
        dyad = Dyad(system=problem.system, target=problem.target, nudge=self.nudge)  # pyright: ignore[reportCallIssue]
        end = relax(
            dyad,
            None,
            problem.solver,
            state=dyad.join(start, jax.tree.map(jnp.zeros_like, start)),
            injection=problem.injection,
        )
        m, d = dyad.split(end.state)
        error_vector = jax.tree.map(lambda a: -a / self.nudge, d)
        free = Equilibrium(m, trees.max_abs(problem.force(m)), end.steps, end.status)
        found = eqx.tree_at(lambda p: p.free, problem, free)
        return Response(
            error_vector=error_vector,
            error_bar=SAFETY * found.adjoint_residual(error_vector),
            converged=end.converged,
            relaxation_steps=end.steps,
            nudge=jnp.full(end.residual.shape, abs(self.nudge), end.residual.dtype),
            equilibrium=free,
        )
