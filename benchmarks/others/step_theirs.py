"""The training step of energy-based-learning, put together as its papers/fast-drn/dhn.py does for two hidden layers."""
# pyright: reportMissingImports=false

import sys

import numpy as np
import torch
from model.function.cost import SquaredError
from model.function.network import Network
from model.hopfield.minimizer import FixedPointMinimizer
from model.hopfield.network import DeepHopfieldEnergy
from training.epoch import Trainer
from training.monitor import Optimizer
from training.sgd import AugmentedFunction, EquilibriumProp
from worker import BATCHES, Step, load, serve

DATA = load("data.npz")
BATCH = [(torch.from_numpy(DATA["x"][batch]), torch.from_numpy(DATA["y"][batch])) for batch in BATCHES]


class FreeState:
    """A statistic that their trainer takes between the free and the nudged phases."""

    def __init__(self, layers):
        self.layers = layers

    def reset(self):
        pass

    def do_measurement(self):
        self.value = torch.cat([layer.state for layer in self.layers], 1)


def trainer(energy, batches, free_iterations, nudged_iterations, nudge, rates):
    cost, network = SquaredError(energy.layers()[-1]), Network(energy)
    augmented = AugmentedFunction(energy, cost)
    free, nudged = (
        FixedPointMinimizer(function, network.free_layers(), iterations, "asynchronous")
        for function, iterations in ((energy, free_iterations), (augmented, nudged_iterations))
    )
    estimator = EquilibriumProp(energy.params(), energy.layers(), augmented, cost, nudged, "centered", nudge)
    return Trainer(network, cost, energy.params(), batches, estimator, Optimizer(energy, cost, rates), free)


def network():
    energy = DeepHopfieldEnergy([(784,), (256,), (256,), (10,)], [0.7] * 3)
    energy.set_device("cpu")
    return energy


def case(threads, *settings) -> Step:
    energy, batches = network(), []
    for parameter, weight in zip(energy.params(), load("weights.npz").values(), strict=True):
        parameter.state.data.copy_(torch.from_numpy(weight))
    loop, state = trainer(energy, batches, *settings, rates=[0.0] * 6), FreeState(energy.layers()[1:])
    loop.add_statistic(state)

    def step(batch):
        torch.set_num_threads(threads)
        batches[:] = [BATCH[BATCHES.index(batch)]]
        loop.run()
        return state.value, [parameter.state.grad for parameter in energy.params()]

    return step


def make_weights():
    """Three epochs."""
    torch.manual_seed(0)
    energy = network()
    loop = trainer(energy, BATCH, 50, 20, 0.2, rates=[0.2, 0.05, 0.01] * 2)
    for _ in range(3):
        loop.run()
    weights = {str(i): parameter.state.numpy() for i, parameter in enumerate(energy.params())}
    np.savez("weights.npz", **weights)


if __name__ == "__main__":
    if sys.argv[1:] == ["weights"]:
        make_weights()
    else:
        settings = ((15, 15, 0.25), (50, 20, 0.2))
        serve({f"energy-based-learning, {of}, threads={n}": case(n, *of) for of in settings for n in (1, 2)})
