"""Equilibrium propagation whose nudged phase sees the transposed Jacobian."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from equiprop.estimators._auto import AbstractCircle
from equiprop.estimators._estimate import Response
from equiprop.estimators._problem import Problem
from equiprop.numerics import trees
from equiprop.systems import Block, Wrapped, only_block


class AsymmetryCorrected(Wrapped):
    """F(u) − (J − Jᵀ)·(φ(u) − r*): the same equilibrium, where its Jacobian is Jᵀ.

    J − Jᵀ is that of `system.coupling`, so a symmetric leak cancels before it is computed. A batch may hold several copies of
    the samples that the equilibrium is of.
    """

    anchor: PyTree
    twice_antisymmetric: Callable[[PyTree], PyTree]

    @property
    def mobility(self) -> None:
        """Its response is the error vector as it is."""
        return None

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        copies = trees.batch_size(state) // trees.batch_size(self.anchor)
        displacement = trees.subtract(self.system.activity(state), trees.broadcast_batch(self.anchor, copies))
        per_copy = jax.vmap(self.twice_antisymmetric)
        split = trees.split_copies(displacement, copies)
        if jnp.issubdtype(trees.dtype_of(state), jnp.complexfloating):
            real, imaginary = (per_copy(jax.tree.map(part, split)) for part in (jnp.real, jnp.imag))
            turned = jax.tree.map(jax.lax.complex, real, imaginary)
        else:
            turned = per_copy(split)
        correction = trees.join_copies(turned)
        return trees.subtract(self.system.force(state, injection, only), only_block(correction, only))


def corrected(problem: Problem) -> AsymmetryCorrected:
    """The system of `problem` with −2A(r − r*) added to its force, at its free equilibrium."""
    product = problem.system.coupling(problem.free.state, problem.injection)
    anchor = problem.activity
    transposed = jax.linear_transpose(product, anchor)
    return AsymmetryCorrected(
        system=problem.system,  # pyright: ignore[reportCallIssue]
        anchor=anchor,
        twice_antisymmetric=lambda v: trees.subtract(product(v), transposed(v)[0]),
    )


class Corrected(AbstractCircle):
    """Holomorphic, centred (N = 2) or one-sided (N = 1) equilibrium propagation of F − 2A(r − r*), which gives δ, not δE.

    Asymmetric equilibrium propagation (Scurria et al. 2026, arXiv 2602.03670): the force −2A(r − r*), A the antisymmetric part
    of J at the free equilibrium, turns J into Jᵀ in the linearised nudged phase, so that the response is the exact error
    vector −J⁻ᵀ∇C. The correction is holomorphic in β, so a Cauchy estimate of it is exact at finite nudge as N grows. It needs
    the transpose of J: a reference and a proposal for hardware, not a way to do without.

    The nudged phases relax towards a system with another Jacobian, and may fail to converge where the free phase does. Its
    fields are those of `AbstractCircle`.
    """

    tends_to: ClassVar[str] = "adjoint"

    def respond(self, problem: Problem) -> Response:
        return self.respond_on_circle(eqx.tree_at(lambda p: p.system, problem, corrected(problem)))
