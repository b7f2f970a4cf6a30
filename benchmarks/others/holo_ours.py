"""The step of equiprop on the network of generalized-holo-ep."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from step_ours import case, train_step
from worker import BATCHES, load, serve

import equiprop as ep

CONNECTIONS = {
    "in-l1": "input->hidden_1",
    "l1-l2": "hidden_1->hidden_2",
    "l2-l1": "hidden_2->hidden_1",
    "l2-out": "hidden_2->output",
    "out-l2": "output->hidden_2",
}
BACK = ("l2-l1", "out-l2")
"""Feedback weights have the shape of the forward ones in equiprop."""
BIASES = {"in-l1": "hidden_1", "l1-l2": "hidden_2", "l2-out": "output"}


def network(name: str) -> ep.LayeredNetwork:
    """With the arrays of a file."""
    a = {key: jnp.asarray(array) for key, array in load(name).items()}
    given = (
        {ours: a[f"{key}/kernel"].T if key in BACK else a[f"{key}/kernel"] for key, ours in CONNECTIONS.items()},
        {ours: a[f"{key}/bias"] for key, ours in BIASES.items()},
        a["readout/kernel"],
        a["readout/bias"],
    )
    empty = ep.mlp(784, (256, 256), 10, key=jax.random.key(0), feedback_gain=1.0)
    return eqx.tree_at(lambda s: (s.weights, s.biases, s.cost.weight, s.cost.bias), empty, given)


def kernels(system: ep.LayeredNetwork) -> list[jax.Array]:
    """In the order and the shapes of theirs."""
    weights = system.weights
    return [weights[ours].T if key in BACK else weights[ours] for key, ours in CONNECTIONS.items()]


def make_weights() -> None:
    """20 epochs with the exact gradient, from the weights with which their network starts."""
    optimizer = optax.sgd(0.01, 0.9)
    train = train_step(ep.RecurrentBackprop(clip=2.0), ep.GaussSeidel(tolerance=1e-4), optimizer)
    data, system = load("data.npz"), network("fresh.npz")
    memory = optimizer.init(eqx.filter(system, eqx.is_inexact_array))
    for batch in 20 * BATCHES:
        system, memory, *_ = train(system, memory, data["x"][batch], data["y"][batch])
    arrays = {f"{key}/kernel": kernel for key, kernel in zip(CONNECTIONS, kernels(system), strict=True)}
    arrays |= {f"{key}/bias": system.biases[ours] for key, ours in BIASES.items()}
    arrays |= {"readout/kernel": system.cost.weight, "readout/bias": system.cost.bias}
    np.savez("weights.npz", **arrays)


if __name__ == "__main__":
    if sys.argv[1:] == ["weights"]:
        make_weights()
    else:
        system = network("weights.npz")
        serve(
            {
                "equiprop, 150 and 20": case(
                    system, kernels, ep.Centered(nudge=0.05, unconverged="keep"), ep.FixedIterations()
                ),
                "equiprop, 1e-4": case(system, kernels, ep.Centered(nudge=0.05), ep.GaussSeidel(tolerance=1e-4)),
            }
        )
