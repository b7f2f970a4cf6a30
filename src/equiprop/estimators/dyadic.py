"""Equilibrium propagation in which the error is a second state that relaxes beside the first."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from equiprop.estimators._estimator import AbstractEstimator, Response
from equiprop.estimators._nudging import nudge_setting
from equiprop.estimators._papers import NON_CONSERVATIVE
from equiprop.estimators._problem import SAFETY, Problem
from equiprop.numerics import Number, trees
from equiprop.solvers import Equilibrium, relax_field
from equiprop.systems import AbstractField, Block, Free, cost_gradient


class Dyad(AbstractField):
    """ṁ = F(m), ḋ = (∂F/∂u(m))ᵀd − β·∇_u C(m), as one field.

    Where the inner field has blocks, its state is a dictionary, and the two are laid side by side so that each block moves
    the m and the d of its populations together; otherwise the state has the two entries `m` and `d`.
    """

    field: Free
    target: PyTree
    nudge: Float[Array, ""]

    @property
    def _side_by_side(self) -> bool:
        return self.field.blocks != (None,)

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
        return tuple(tuple(f"{half}.{name}" for half in "md" for name in block or ()) for block in self.field.blocks)

    def force(self, state: dict[str, Any], only: Block = None) -> dict[str, Any]:
        m, d = self.split(state)
        system = self.field.system
        force, pullback = jax.vjp(self.field.force, m)
        activity, to_state = jax.vjp(system.activity, m)
        gradient = to_state(cost_gradient(system, activity, self.target))[0]
        adjoint = jax.tree.map(lambda a, g: a - self.nudge * g, pullback(d)[0], gradient)
        whole = self.join(force, adjoint)
        return whole if only is None else {name: whole[name] for name in only}

    def index_batch(self, rows: Int[Array, " some"]) -> "Dyad":
        return Dyad(self.field.index_batch(rows), trees.index_batch(self.target, rows), self.nudge)


class Dyadic(AbstractEstimator):
    """δ = −d/β with ṁ = F(m) and ḋ = J(m)ᵀd − β∇C relaxed together (Scurria et al. 2026, arXiv 2602.03670).

    The mean state m finds the free equilibrium while the difference d finds −β·δ: one phase, and exact, because d is linear in
    β. It needs the transpose of J. The error bar is 3·‖(∂F/∂u)ᵀδ + D∇C‖/‖D∇C‖.
    """

    kind: ClassVar[str] = "dyadic"
    label: ClassVar[str] = "dyadic equilibrium propagation"
    citation: ClassVar[tuple[str, ...]] = (NON_CONSERVATIVE,)

    nudge: Number = nudge_setting(
        1.0,
        "β; in exact arithmetic the answer does not depend on it, and with a tolerance a larger one resolves it better.",
    )

    needs_free_phase: ClassVar[bool] = False

    tends_to: ClassVar[str] = "adjoint"

    def respond(self, problem: Problem) -> Response:
        start = problem.free.state
        nudge = jnp.asarray(self.nudge, jnp.finfo(trees.dtype_of(start)).dtype)
        dyad = Dyad(Free(problem.system, problem.injection), problem.target, nudge)
        end = relax_field(dyad, dyad.join(start, jax.tree.map(jnp.zeros_like, start)), problem.solver)
        m, d = dyad.split(end.state)
        error_vector = jax.tree.map(lambda a: -a / nudge, d)
        free = Equilibrium(m, trees.max_abs(problem.force(m)), end.steps, end.status)
        found = eqx.tree_at(lambda p: p.free, problem, free)
        return Response(
            error_vector=error_vector,
            error_bar=SAFETY * found.adjoint_residual(error_vector),
            converged=end.converged,
            relaxation_steps=end.steps,
            nudge=jnp.broadcast_to(jnp.abs(nudge), end.residual.shape),
            equilibrium=free,
        )
