"""Equilibrium propagation whose nudged phase sees the transposed Jacobian."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from equiprop.estimators._estimator import Response
from equiprop.estimators._nudging import (
    branch_switch_setting,
    branch_switch_threshold_setting,
    error_bar_setting,
    retries_setting,
    shrink_setting,
)
from equiprop.estimators._on_circle import (
    AbstractOnCircle,
    allow_non_holomorphic_setting,
    circle_nudge_setting,
    points_setting,
)
from equiprop.estimators._papers import NON_CONSERVATIVE
from equiprop.estimators._problem import Problem
from equiprop.numerics import Number, trees
from equiprop.systems import AbstractField, Anchor, Block, Free, coupling, only_block


class AsymmetryCorrected(AbstractField):
    """F(u) − (J − Jᵀ)·(φ(u) − r*): the same equilibrium, where its Jacobian is Jᵀ.

    J − Jᵀ is that of `coupling`, so a symmetric leak cancels before it is computed. A batch may hold several copies of
    the samples that the equilibrium is of.
    """

    field: Free
    anchor: PyTree
    twice_antisymmetric: Callable[[PyTree], PyTree]

    def force(self, state: PyTree, only: Block = None) -> PyTree:
        copies = trees.batch_size(state) // trees.batch_size(self.anchor)
        activity = self.field.system.activity(state)
        response = trees.subtract(activity, trees.broadcast_batch(self.anchor, copies))
        return trees.subtract(self.field.force(state, only), only_block(self._turned(response), only))

    def difference(self, anchor: Anchor, displacement: PyTree, response: PyTree, only: Block = None) -> PyTree:
        made = self.field.difference(anchor, displacement, response, only)
        return trees.subtract(made, only_block(self._turned(response), only))

    def _turned(self, response: PyTree) -> PyTree:
        """(J − Jᵀ)ρ."""
        per_copy = jax.vmap(self.twice_antisymmetric)
        split = trees.split_copies(response, trees.batch_size(response) // trees.batch_size(self.anchor))
        if jnp.issubdtype(trees.dtype_of(response), jnp.complexfloating):
            real, imaginary = (per_copy(jax.tree.map(part, split)) for part in (jnp.real, jnp.imag))
            turned = jax.tree.map(jax.lax.complex, real, imaginary)
        else:
            turned = per_copy(split)
        return trees.join_copies(turned)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.field.blocks

    def repeated(self, copies: int) -> "AsymmetryCorrected":
        """For so many copies of the batch, copy after copy."""
        injection = trees.broadcast_batch(self.field.injection, copies)
        return AsymmetryCorrected(Free(self.field.system, injection), self.anchor, self.twice_antisymmetric)


def corrected(problem: Problem) -> AsymmetryCorrected:
    """The field of `problem` with −2A(r − r*) added to its force, at its free equilibrium."""
    product = coupling(problem.system, problem.free.state, problem.injection)
    anchor = problem.activity
    transposed = jax.linear_transpose(product, anchor)
    return AsymmetryCorrected(
        Free(problem.system, problem.injection),
        anchor,
        lambda v: trees.subtract(product(v), transposed(v)[0]),
    )


class Corrected(AbstractOnCircle):
    """Holomorphic, centred (N = 2) or one-sided (N = 1) equilibrium propagation of F − 2A(r − r*), which gives δ, not δE.

    Asymmetric equilibrium propagation (Scurria et al. 2026, arXiv 2602.03670): the force −2A(r − r*), A the antisymmetric part
    of J at the free equilibrium, turns J into Jᵀ in the linearised nudged phase, so that the response is the exact error
    vector −J⁻ᵀ∇C. The correction is holomorphic in β, so a Cauchy estimate of it is exact at finite nudge as N grows. It needs
    the transpose of J: a reference and a proposal for hardware, not a way to do without.

    The nudged phases relax towards a system with another Jacobian, and may fail to converge where the free phase does.
    """

    kind: ClassVar[str] = "corrected"
    label: ClassVar[str] = "asymmetry-corrected equilibrium propagation"
    citation: ClassVar[tuple[str, ...]] = (NON_CONSERVATIVE,)

    nudge: Number | None = circle_nudge_setting()
    points: int | str = points_setting()
    allow_non_holomorphic: bool = allow_non_holomorphic_setting()
    error_bar: str = error_bar_setting()
    retries: int = retries_setting()
    shrink: Number = shrink_setting()
    branch_switch: str = branch_switch_setting()
    branch_switch_threshold: Number | None = branch_switch_threshold_setting()

    tends_to: ClassVar[str] = "adjoint"

    def respond(self, problem: Problem) -> Response:
        return self.respond_on_circle(eqx.tree_at(lambda p: p.corrected, problem, corrected(problem), is_leaf=_is_none))


def _is_none(leaf: object) -> bool:
    return leaf is None
