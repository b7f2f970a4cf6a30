"""Symmetry where responses are, and nowhere else."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._loss import mean_over_usable
from equiprop.homeostasis._of_jacobian import (
    AbstractJacobianHomeostasis,
    feedback_only_setting,
    probes_setting,
    samples_setting,
    shared_updates_setting,
)
from equiprop.homeostasis._papers import LABORIEUX_2024
from equiprop.homeostasis._strength import strength_setting
from equiprop.numerics import Number, normal_like, part, trees
from equiprop.solvers import GMRES
from equiprop.systems import System, coupling, in_metric, leak_slope, slope


class ResponseHomeostasis(AbstractJacobianHomeostasis):
    """Adds the gradient of `strength`·½·Σ_p E_e[‖r_p‖²]/(s_p + ‖δ_p‖²), r = D(Jδ + e), over the leaves p of the state.

    e is what a random error N(0, I) of the output is to the activity, and δ = −J⁻ᵀe its exact error vector, held fixed. A nudge
    responds with −J⁻¹e, which is δ if and only if r = 0: symmetry is asked for on the few directions that nudges excite and on no
    others, where it would cost what the system learns with. δ does not vanish where the feedback does, so that no loss is
    saved by switching it off. The units that the cost reads are left out: what comes back to them is small beside e.

    s_p is the mean square of the derivative of an entry of r_p by the parameters, as of normalised least mean squares (Nagumo &
    Noda 1967, doi:10.1109/TAC.1967.1098599): whatever the size of anything, a step of gradient descent takes at most `strength`
    times the learning rate of r away, times 1/(1 − momentum) and over the number of outputs. All is in the metric of the
    mobility; D = φ′(u). The gradient is taken at fixed state, with one solve with Jᵀ a probe; a sample for which one does not
    converge is skipped and counted.
    """

    kind: ClassVar[str] = "response"
    citation: ClassVar[tuple[str, ...]] = (LABORIEUX_2024,)

    strength: Number | None = strength_setting(
        3.0,
        "Times the learning rate, over 1 - momentum: the most that a step adds of what a random error misses. Keep it below 1.",
    )
    probes: int = probes_setting()
    samples: int = samples_setting()
    shared_updates: bool | str = shared_updates_setting()
    feedback_only: bool | str = feedback_only_setting(False)
    linear_solver: GMRES = part(GMRES, "Of the exact error vectors.", tolerance=1e-3)

    def gradient_of_usable(
        self, system: System, batch: Batch, *, key: PRNGKeyArray
    ) -> tuple[PyTree, Float[Array, ""], Int[Array, ""]]:
        x, state = batch.sound()
        d, leak = slope(system, state), leak_slope(system, state)
        solve_keys, probe_keys = (jax.random.split(k, self.probes) for k in jax.random.split(key))
        errors, exact, solved = jax.lax.map(lambda k: self._exact(system, x, state, k), solve_keys)
        counted = batch.usable & solved.all(axis=0)

        def arriving(theta: System, w: PyTree) -> PyTree:
            operator = in_metric(theta, coupling(theta, state, theta.injection(x)))
            return jax.tree.map(jnp.multiply, d, operator(w))

        def one(total: PyTree, probe: tuple[PyTree, PyTree, PRNGKeyArray]) -> tuple[PyTree, Array]:
            e, w, probe_key = probe
            seen = jax.tree.map(lambda e: (e == 0) & trees.per_sample(counted, e), e)
            arrived, pullback = eqx.filter_vjp(lambda theta: arriving(theta, w), system)
            lost = jax.tree.map(jnp.zeros_like, w) if leak is None else jax.tree.map(jnp.multiply, leak, w)
            r = jax.tree.map(lambda a, b, s: jnp.where(s, a - b, 0), arrived, lost, seen)
            scales = jax.tree.map(
                jnp.add,
                _sensitivities(pullback, seen, normal_like(w, key=probe_key)),
                jax.tree.map(lambda a: mean_over_usable(trees.squared_norm(a), counted), w),
            )
            pushed = jax.tree.map(lambda r, scale: r / jnp.maximum(scale, jnp.finfo(r.dtype).tiny), r, scales)
            return trees.add(total, pullback(pushed)[0]), trees.inner(r, pushed).sum() / 2

        nothing = jax.tree.map(jnp.zeros_like, eqx.filter(system, eqx.is_inexact_array))
        total, losses = jax.lax.scan(one, nothing, (errors, exact, probe_keys))
        share = 1 / (self.probes * jnp.maximum(counted.sum(), 1))
        own = jax.tree.map(lambda a: a * share.astype(a.dtype), total)
        return own, losses.sum() * share, jnp.sum(batch.usable & ~counted, dtype=jnp.int32)

    def _exact(
        self, system: System, x: Any, state: PyTree, key: PRNGKeyArray
    ) -> tuple[PyTree, PyTree, Bool[Array, " batch"]]:
        """A random error of the activity, its exact error vector in the metric of the mobility, and where that was found."""
        out, pullback = jax.vjp(system.output, system.activity(state))
        e = pullback(normal_like(out, key=key))[0]
        right = jax.tree.map(lambda d, e: -d * e, slope(system, state), e)
        answer = self.linear_solver.solve(system, state, system.injection(x), right, transpose=True)
        mobility = system.mobility
        w = answer.value if mobility is None else jax.tree.map(lambda m, a: m**0.5 * a, mobility, answer.value)
        return e, w, answer.converged


def _sensitivities(pullback: Callable[[PyTree], tuple[PyTree]], seen: PyTree, drawn: PyTree) -> PyTree:
    """Of every leaf the mean square of the derivative of a seen entry by the parameters: ‖Gᵀξ‖² of one probe, per entry."""
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda s, a: jnp.where(s, a, 0), seen, drawn))
    entries = jnp.stack([jnp.maximum(s.sum(), 1) for s in jax.tree.leaves(seen)])

    def square(chosen: Array) -> Array:
        pulled = pullback(jax.tree.unflatten(structure, [c * a for c, a in zip(chosen, leaves, strict=True)]))[0]
        return sum((jnp.sum(a**2) for a in jax.tree.leaves(pulled)), jnp.zeros((), chosen.dtype))

    squares = jax.lax.map(square, jnp.eye(len(leaves), dtype=leaves[0].dtype)) / entries.astype(leaves[0].dtype)
    return jax.tree.unflatten(structure, list(squares))
