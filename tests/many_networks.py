"""Hundreds of random networks of every kind, symmetric or not, each relaxed with all others of its kind at once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from equiprop.numerics import activation as named_activation
from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver, relax, relax_field
from equiprop.systems import (
    Free,
    LayeredNetwork,
    Nudged,
    Stage,
    System,
    Topology,
    chain,
    convolutional,
    from_force,
    loop,
)
from networks import skip_and_lateral

INPUTS, CLASSES, UNITS = 16, 4, 12

# On the circle of holomorphic estimators.
PHASES = 4


class Family(eqx.Module):
    """Networks of one kind: their arrays, inputs `[networks, samples, ...]` and targets are stacked."""

    name: str = eqx.field(static=True)
    system: System
    x: Array
    y: Array


def family(kind: str, activation: str, count: int, *, seed: int = 0, samples: int = 16, dtype: Any = float) -> Family:
    """`count` networks of one of the `KINDS`."""
    name, rng = f"{kind}, {activation}", np.random.default_rng(seed)
    if kind == "one population":
        return _dense(name, activation, count, samples, rng, dtype)
    return _layered(name, KINDS[kind](activation), count, samples, rng, dtype)


def _general(activation: str) -> Topology:
    topology = skip_and_lateral()
    populations = tuple(p if p.name == "input" else replace(p, activation=activation) for p in topology.populations)
    return replace(topology, populations=populations)


def _convolutional(activation: str) -> Topology:
    stages = (Stage(3, pool=2), Stage(3, residual=True), Stage(4, kernel=2, padding="valid"))
    return convolutional((4, 4, 2), stages, activation=activation)


KINDS: dict[str, Callable[[str], Topology]] = {
    "shallow chain": lambda activation: chain((INPUTS, 12, CLASSES), activation=activation),
    "chain": lambda activation: chain((INPUTS, 6, 6, CLASSES), activation=activation),
    "deep chain": lambda activation: chain((INPUTS, 8, 8, 8, CLASSES), activation=activation),
    "tied chain": lambda activation: chain(
        (INPUTS, 6, 6, CLASSES), activation=activation, feedback="tied", feedback_gain=0.5
    ),
    "loop": lambda activation: loop((INPUTS, 6, 6, CLASSES), activation=activation),
    "general graph": _general,
    "convolutional": _convolutional,
}
"""Topologies, and `one population` in which every unit acts on every other."""


def _layered(name: str, topology: Topology, count: int, samples: int, rng: np.random.Generator, dtype: Any) -> Family:
    """Gains from 0.5 to 3, weight angles from 0 to 180°, feedback from a twentieth to as strong as forward."""
    classes = topology.population(topology.output).units

    def one(key: Array) -> System:
        keys = iter(jax.random.split(key, 2 + 2 * len(topology.pairs)))
        system = LayeredNetwork.create(topology, classes=classes, key=next(keys), dtype=dtype)
        gain = jax.random.uniform(next(keys), (), dtype, 0.5, 3.0)
        weights = {name: gain * weight for name, weight in system.weights.items()}
        for there, back in topology.pairs.values():
            angle = jax.random.uniform(next(keys), (), dtype, 0, jnp.pi)
            strength = jnp.exp(jax.random.uniform(next(keys), (), dtype, jnp.log(0.05), 0))
            weights[back] = strength * (jnp.sin(angle) * weights[back] + jnp.cos(angle) * weights[there])
        return LayeredNetwork(weights, system.biases, system.cost, topology)

    system: Any = eqx.filter_vmap(one)(jax.random.split(jax.random.key(int(rng.integers(1 << 30))), count))
    shape = topology.population("input").shape
    x = jnp.asarray(rng.random((count, samples, *shape)), dtype)
    y = jnp.asarray(rng.integers(0, classes, (count, samples)))
    return Family(name, system, x, y)


def _dense(name: str, activation: str, count: int, samples: int, rng: np.random.Generator, dtype: Any) -> Family:
    """Every unit acts on every other, from symmetric to independent weights, at gains from 0.2 to 2."""
    random = rng.normal(size=(count, UNITS, UNITS)) / UNITS**0.5
    symmetric = (random + np.swapaxes(random, 1, 2)) / 2
    asymmetry, gain = rng.random((count, 1, 1)), rng.uniform(0.2, 2.0, (count, 1, 1))
    phi = named_activation(activation)

    def make(weights: Array) -> System:
        return from_force(
            lambda p, u, x: phi(u) @ p.astype(u.dtype) + x - u,
            weights,
            initial_state=jnp.zeros(UNITS, dtype),
            activity=phi,
            output=lambda r: r[:, :CLASSES],
            holomorphic=True,
        )

    system = eqx.filter_vmap(make)(jnp.asarray(gain * (symmetric + asymmetry * (random - symmetric)), dtype))
    x = jnp.asarray(rng.normal(size=(count, samples, UNITS)) / 2, dtype)
    return Family(name, system, x, jnp.asarray(rng.normal(size=(count, samples, CLASSES)), dtype))


class Outcome(eqx.Module):
    """`[networks, samples]` each, and the state."""

    state: PyTree
    steps: Array
    converged: Array


@eqx.filter_jit
def _free(family: Family, solver: AbstractSolver) -> Outcome:
    def one(system: System, x: Array) -> Outcome:
        found = relax(system, x, solver)
        return Outcome(found.state, found.steps, found.converged)

    return eqx.filter_vmap(one)(family.system, family.x)


@eqx.filter_jit
def _nudged(family: Family, start: Outcome, solver: AbstractSolver) -> Outcome:
    """Complex nudges on a circle, of radii from 0.05 to 1; all stop together."""
    radii = np.exp(np.random.default_rng(5).uniform(np.log(0.05), 0, start.steps.shape))
    circle = np.exp(2j * np.pi * np.arange(PHASES) / (PHASES + 2))

    def one(system: System, x: Array, y: Array, start: Outcome, radius: Array) -> Outcome:
        nudge = (jnp.asarray(circle, jnp.result_type(radius, jnp.complex64))[:, None] * radius).reshape(-1)
        injection, target, state = trees.broadcast_batch((system.injection(x), y, start.state), PHASES)
        found = relax_field(
            Nudged(Free(system, injection), system, target, nudge),
            jax.tree.map(lambda u: u.astype(nudge.dtype), state),
            solver,
            phases=PHASES,
            max_steps=solver.nudged_max_steps,
            active=jnp.tile(start.converged, PHASES),
        )
        steps, converged = trees.split_copies((found.steps, found.converged), PHASES)
        return Outcome((), steps[0], converged.all(axis=0) & start.converged)

    radii = jnp.asarray(radii, trees.dtype_of(start.state))
    return eqx.filter_vmap(one)(family.system, family.x, family.y, start, radii)


def outcomes(family: Family, plain: AbstractSolver, other: AbstractSolver) -> Iterator[tuple[str, Outcome, Outcome]]:
    """`free` and `nudged`, and what two solvers made of them from the same start."""
    start = _free(family, plain)
    yield "free", start, _free(family, other)
    yield "nudged", _nudged(family, start, plain), _nudged(family, start, other)
