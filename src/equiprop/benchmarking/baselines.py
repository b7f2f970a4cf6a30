"""What the library is measured against: backpropagation of the same layers, and equilibrium propagation as it is published."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from equiprop.numerics import activation, trees
from equiprop.systems import LayeredNetwork, cost_gradient, error_vector_of
from equiprop.training import Samples

Steps = Callable[[LayeredNetwork, PyTree, Samples], tuple[LayeredNetwork, PyTree]]
"""`(system, optimizer_state, samples)` to the first two after a number of steps."""


def _loop(
    gradient: Callable[[LayeredNetwork, Array, Array], PyTree],
    optimizer: optax.GradientTransformation,
    batch_size: int,
    steps: int,
) -> Steps:
    def run(system: LayeredNetwork, state: PyTree, samples: Samples) -> tuple[LayeredNetwork, PyTree]:
        def step(carry: tuple[LayeredNetwork, PyTree], i: Array) -> tuple[tuple[LayeredNetwork, PyTree], None]:
            system, state = carry
            x, labels = samples.batch((i * batch_size + jnp.arange(batch_size)) % len(samples))
            updates, state = optimizer.update(
                gradient(system, x, labels), state, eqx.filter(system, eqx.is_inexact_array)
            )
            return (eqx.apply_updates(system, updates), state), None

        return jax.lax.scan(step, (system, state), jnp.arange(steps))[0]

    return run


def feedforward(optimizer: optax.GradientTransformation, batch_size: int, steps: int) -> Steps:
    """Training steps by backpropagation through one forward pass over the network's connections from the input to the output.

    Feedback weights are there, as in the network itself, but nothing flows through them.
    """

    def cost(system: Any, x: Array, labels: Array) -> Array:
        state = system.injection(x)
        for edge in system.edges:
            if edge.transposed:
                continue
            source = edge.source
            r = activation(system.topology.population(source).activation)(state[source])
            state[edge.target] = state[edge.target] + edge.operation.apply(system.weight_of(edge), r)
        return system.cost(system.output(system.activity(state)), labels).mean()

    return _loop(eqx.filter_grad(cost), optimizer, batch_size, steps)


def _published_force(system: LayeredNetwork, state: dict[str, Array], injection: dict[str, Array]) -> dict[str, Array]:
    """F as published code computes it, edge after edge; dense weights in the precision of the state."""
    dtype = jnp.result_type(*state.values())
    total = {name: injection[name].astype(dtype) - u for name, u in state.items()}
    activity = system.activity(state)
    for edge in system.edges:
        weight, r = system.weight_of(edge), activity[edge.source]
        if weight is not None and weight.ndim == 2:  # dense
            product = r.reshape(len(r), -1) @ (weight.T if edge.transposed else weight).astype(dtype)
            carried = product.reshape(total[edge.target].shape)
        elif edge.transposed:
            carried = edge.operation.apply_transpose(weight, r, activity[edge.target])
        else:
            carried = edge.operation.apply(weight, r)
        total[edge.target] += edge.factor * carried
    return total


def plain(
    optimizer: optax.GradientTransformation,
    batch_size: int,
    steps: int,
    *,
    points: int,
    nudge: float,
    free_steps: int = 150,
    nudged_steps: int = 20,
) -> Steps:
    """Training steps as published code takes them (arXiv 2309.02214): fixed numbers of synchronous steps.

    Every sample takes every step, all N phases are relaxed, and for N > 2 the weights of dense connections are cast to complex
    numbers; complex activities go through real convolutions, which only flatters this baseline.
    """
    nudges = np.array([1.0, -1.0][:points]) if points <= 2 else np.exp(2j * np.pi * np.arange(points) / points)

    def gradient(system: LayeredNetwork, x: Array, labels: Array) -> PyTree:
        injection = system.injection(x)

        def free_step(_: Any, u: dict[str, Array]) -> dict[str, Array]:
            return jax.tree.map(jnp.add, u, _published_force(system, u, injection))

        free = jax.lax.fori_loop(0, free_steps, free_step, system.initial_state(x))
        dtype = jnp.result_type(x.dtype, jnp.complex64) if points > 2 else x.dtype
        beta = jnp.asarray(nudge * np.repeat(nudges, batch_size), dtype)
        injections, targets = trees.broadcast_batch((injection, labels), points)

        def nudged_step(_: Any, u: dict[str, Array]) -> dict[str, Array]:
            pulled = trees.scale(beta, cost_gradient(system, system.activity(u), targets))
            return jax.tree.map(lambda v, f, p: v + f - p, u, _published_force(system, u, injections), pulled)

        start = jax.tree.map(lambda a: a.astype(dtype), trees.broadcast_batch(free, points))
        end = system.activity(jax.lax.fori_loop(0, nudged_steps, nudged_step, start))
        at_equilibrium = system.activity(free)
        turned = jnp.asarray(nudges.conj() / points, dtype)

        def first_harmonic(r: Array, r0: Array) -> Array:
            phases = r.reshape(points, *r0.shape)
            if points == 1:
                return -(phases[0] - r0) / nudge
            return -jnp.tensordot(turned, phases, 1).real / nudge

        error = error_vector_of(system, jax.tree.map(first_harmonic, end, at_equilibrium))

        def surrogate(system: Any) -> Array:
            moved = _published_force(system, free, system.injection(x))
            inner = sum(jnp.sum(error[name] * moved[name]) for name in error)
            return inner / batch_size + system.cost(system.output(at_equilibrium), labels).mean()

        return eqx.filter_grad(surrogate)(system)

    return _loop(gradient, optimizer, batch_size, steps)
