"""The step of equiprop on the network of energy-based-learning."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from worker import Step, load, serve

import equiprop as ep

LAYERS = ("hidden_1", "hidden_2", "output")
TOPOLOGY = ep.Topology(
    (
        ep.Population("input", 784),
        ep.Population("hidden_1", 256, "hard_sigmoid"),
        ep.Population("hidden_2", 256, "hard_sigmoid"),
        ep.Population("output", 10, "identity"),
    ),
    (
        ep.Connection("input", "hidden_1", "none"),
        ep.Connection("hidden_1", "hidden_2", "tied"),
        ep.Connection("hidden_2", "output", "tied"),
    ),
)
CONNECTIONS = [connection.name for connection in TOPOLOGY.connections]


def network() -> ep.LayeredNetwork:
    empty = ep.LayeredNetwork.create(TOPOLOGY, classes=10, key=jax.random.key(0), cost="squared_error")
    arrays = [jnp.asarray(array) for array in load("weights.npz").values()]
    given = dict(zip(LAYERS, arrays[:3], strict=True)), dict(zip(CONNECTIONS, arrays[3:], strict=True))
    return eqx.tree_at(lambda s: (s.biases, s.weights), empty, given)


def parts(gradient: ep.LayeredNetwork) -> list[Any]:
    return [*(gradient.biases[name] for name in LAYERS), *(gradient.weights[name] for name in CONNECTIONS)]


def train_step(
    estimator: ep.AbstractEstimator, solver: ep.AbstractSolver, optimizer: optax.GradientTransformation
) -> Callable[..., Any]:
    @eqx.filter_jit
    def train(system, memory, x, y):
        answer = ep.estimate(system, x, y, estimator, solver=solver)
        updates, memory = optimizer.update(answer.gradient, memory)
        return eqx.apply_updates(system, updates), memory, answer.gradient, system.activity(answer.equilibrium.state)

    return train


def case(
    system: ep.LayeredNetwork,
    parts: Callable[[Any], list[Any]],
    estimator: ep.AbstractEstimator,
    solver: ep.AbstractSolver,
) -> Step:
    data, optimizer = load("data.npz"), optax.sgd(0.0)
    memory = optimizer.init(eqx.filter(system, eqx.is_inexact_array))
    train = train_step(estimator, solver, optimizer)

    def step(batch):
        *_, gradient, r = jax.block_until_ready(train(system, memory, data["x"][batch], data["y"][batch]))
        return jnp.concatenate([r[name] for name in LAYERS], 1), parts(gradient)

    return step


if __name__ == "__main__":
    system = network()
    synchronous = ep.FixedIterations(max_steps=50, nudged_max_steps=20)
    serve(
        {
            "equiprop, 1e-4": case(system, parts, ep.Centered(nudge=0.2), ep.GaussSeidel(tolerance=1e-4)),
            "equiprop, 50 and 20": case(system, parts, ep.Centered(nudge=0.2, unconverged="keep"), synchronous),
        }
    )
