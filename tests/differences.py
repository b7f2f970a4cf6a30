"""Exact error vectors and gradients of any system by finite differences and dense solves, where there is no closed form."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from equiprop.solvers import relax
from equiprop.systems import cost_gradient

STEP = 1e-6


def flat(tree):
    """A batched tree as one matrix [batch, numbers]."""
    return np.concatenate([np.asarray(leaf).reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(tree)], axis=1)


@dataclass
class Exact:
    """Of every sample −M⁻¹J⁻¹∇C and −J⁻ᵀ∇C, J by central differences of the force; of the batch the gradient of the mean cost.

    - `gradient`: by central differences of the cost at equilibrium, as a system; `None` for parameters that were not asked for.
    """

    response: np.ndarray
    adjoint: np.ndarray
    gradient: object

    @classmethod
    def of(cls, system, x, y, solver, parameters=lambda system: system):
        free = eqx.filter_jit(relax)(system, x, solver)
        leaves, structure = jax.tree.flatten(free.state)
        ends = np.cumsum([leaf[0].size for leaf in leaves])

        @jax.jit
        def both(u):
            parts = [p.reshape(a.shape) for p, a in zip(jnp.split(u, ends[:-1], axis=1), leaves, strict=True)]
            state = jax.tree.unflatten(structure, parts)
            flatten = lambda tree: jnp.concatenate([a.reshape(len(a), -1) for a in jax.tree.leaves(tree)], axis=1)  # noqa: E731
            return flatten(system.force(state, system.injection(x))), flatten(system.activity(state))

        u = flat(free.state)
        membrane, slope = np.empty((len(u), ends[-1], ends[-1])), np.empty_like(u)
        for k, unit in enumerate(STEP * np.eye(ends[-1])):
            up, down = both(u + unit), both(u - unit)
            membrane[:, :, k] = (up[0] - down[0]) / (2 * STEP)
            slope[:, k] = ((up[1] - down[1]) / (2 * STEP))[:, k]
        pull = flat(cost_gradient(system, system.activity(free.state), y))
        mobility = jax.tree.map(jnp.ones_like, free.state)
        if system.mobility is not None:
            mobility = jax.tree.map(jnp.full_like, free.state, system.mobility)
        response = -slope * np.linalg.solve(membrane, pull[..., None])[..., 0] / flat(mobility)
        adjoint = -np.linalg.solve(np.swapaxes(membrane, 1, 2), (slope * pull)[..., None])[..., 0]
        return cls(response, adjoint, _gradient(system, x, y, solver, parameters))


def _gradient(system, x, y, solver, parameters):
    chosen = parameters(eqx.filter(system, eqx.is_inexact_array))
    leaves, structure = jax.tree.flatten(chosen)

    @eqx.filter_jit
    def loss(changed):
        moved = eqx.tree_at(lambda s: jax.tree.leaves(parameters(s)), system, changed)
        return moved.cost(moved.output(moved.activity(relax(moved, x, solver).state)), y).mean()

    slopes = []
    for place, value in enumerate(leaves):
        change = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            up, down = (
                loss([leaf if i != place else value.at[index].add(step) for i, leaf in enumerate(leaves)])
                for step in (STEP, -STEP)
            )
            change[index] = (up - down) / (2 * STEP)
        slopes.append(change)
    return jax.tree.unflatten(structure, slopes)
