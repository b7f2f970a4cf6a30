"""A network in which one layer lets the next one through, or not."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from equiprop.numerics import COSTS, AbstractCost, constant, count, text
from equiprop.numerics.activations.shifted_sigmoid import ShiftedSigmoid
from equiprop.studies.fields._parts import at_angle, times, uniform
from equiprop.systems import Block, System, only_block
from equiprop.systems.recipes import AbstractRecipe

FORWARD, BACK = "hidden_1->hidden_2", "hidden_2->hidden_1"
OUT, OUT_BACK = "hidden_2->output", "output->hidden_2"


class GatedNetwork(System):
    """u̇₁ = x·W₀ + b₁ + r₂·Bᵀ − u₁, u̇₂ = σ(r₁·G)⊙(r₁·W) + b₂ + r_o·Vᵀ − u₂, u̇_o = r₂·V′ + b_o − u_o.

    Feedback is not gated: with B = W the weights are symmetric, and the Jacobian is not, whose ∂u̇₂/∂r₁ holds the gate and what
    moves it.

    **Fields:**

    - `weights`: by connection; feedback in the shape of its forward weight. `gate` is G.
    """

    weights: dict[str, Array]
    biases: dict[str, Array]
    cost: AbstractCost
    phi: ShiftedSigmoid = ShiftedSigmoid()

    def initial_state(self, x: Any) -> PyTree:
        return {name: jnp.zeros((len(x), bias.size), bias.dtype) for name, bias in self.biases.items()}

    def activity(self, state: PyTree) -> PyTree:
        return jax.tree.map(self.phi, state)

    def leak(self, state: PyTree) -> PyTree:
        return state

    def injection(self, x: Any) -> PyTree:
        arriving = {name: jnp.broadcast_to(bias, (len(x), bias.size)) for name, bias in self.biases.items()}
        return arriving | {"hidden_1": arriving["hidden_1"] + x.reshape(len(x), -1) @ self.weights["input->hidden_1"]}

    def recurrent_input(self, activity: PyTree, injection: Any) -> PyTree:
        del injection
        first, second, output = (activity[name] for name in ("hidden_1", "hidden_2", "output"))
        w = self.weights
        return {
            "hidden_1": times(second, w[BACK].T),
            "hidden_2": self.phi(times(first, w["gate"])) * times(first, w[FORWARD]) + times(output, w[OUT_BACK].T),
            "output": times(second, w[OUT]),
        }

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        arriving = self.recurrent_input(self.activity(state), injection)
        return only_block(jax.tree.map(lambda h, i, u: h + i - u, arriving, injection, state), only)

    def output(self, activity: PyTree) -> Array:
        return activity["output"]

    @property
    def blocks(self) -> tuple[Block, ...]:
        return ("hidden_1",), ("hidden_2",), ("output",)

    @property
    def holomorphic(self) -> bool:
        return True

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        return {FORWARD: (FORWARD, BACK), OUT: (OUT, OUT_BACK)}


class Gated(AbstractRecipe):
    """Two hidden layers, the first of which gates what it sends to the second."""

    kind: ClassVar[str] = "equiprop.studies.fields:Gated"

    width: int = count(32, "Units of each hidden layer.")
    weight_angle: float = constant(90.0, "Initial angle in degrees between feedback and forward weights.")
    gain: float = constant(2.0, "Weights start uniform in ±gain/√inputs.", above=0)
    cost: str = text("softmax_readout", "softmax_readout (trainable), softmax_cross_entropy or squared_error.")

    def create(self, inputs: tuple[int, ...], outputs: int, *, key: PRNGKeyArray, dtype: Any = None) -> GatedNetwork:
        keys = iter(jax.random.split(key, 8))
        n, features = self.width, 1
        for side in inputs:
            features *= side

        def weight(rows: int, columns: int) -> Array:
            return uniform(next(keys), (rows, columns), self.gain, dtype)

        weights = {
            "input->hidden_1": weight(features, n),
            FORWARD: weight(n, n),
            "gate": weight(n, n),
            OUT: weight(n, outputs),
        }
        for forward, back in ((FORWARD, BACK), (OUT, OUT_BACK)):
            weights[back] = at_angle(weights[forward], self.weight_angle, gain=self.gain, key=next(keys))
        real = weights[FORWARD].dtype
        biases = {name: jnp.zeros(size, real) for name, size in (("hidden_1", n), ("hidden_2", n), ("output", outputs))}
        kind: Any = COSTS.find(self.cost)
        cost = kind.create(outputs, outputs, key=next(keys), dtype=real)
        return GatedNetwork(weights=weights, biases=biases, cost=cost)
