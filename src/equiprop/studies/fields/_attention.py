"""A block of self-attention that relaxes to equilibrium."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PRNGKeyArray, PyTree

from equiprop.numerics import COSTS, AbstractCost, choice, constant, count, flag, text
from equiprop.studies.fields._parts import at_angle, times, uniform
from equiprop.systems import Block, System, only_block
from equiprop.systems.recipes import AbstractRecipe


class AttentionBlock(System):
    """u̇_t = e(x)_t + A(r)·(r·V)·O + r_h·Dᵀ + b − u_t, u̇_h = r_t·U + c − u_h, r = tanh(u), for tokens t and their hidden units h.

    A = softmax((r·Q)(r·K)ᵀ/√d) looks at all tokens. No choice of weights that keeps this form makes its Jacobian symmetric
    everywhere: who looks at whom is not who is looked at. As an `energy` the coupling of tokens is −∂E/∂r of
    E = −√d·Σ_i log Σ_j e^(q_i·k_j/√d), A·(r·K)·Qᵀ + Aᵀ·(r·Q)·Kᵀ, and D = U, the same weights: the symmetric twin
    (Hoover et al. 2023, arXiv 2302.07253).

    **Fields:**

    - `weights`: `query`, `key`, `value`, `out`, `[d, d]`; `up` and `down`, `[d, m]`, and what inputs arrive by, `embedding` and
      `position`.
    - `read`: whether the output is the activity of the `last` token or the `mean` over them.
    """

    weights: dict[str, Array]
    biases: dict[str, Array]
    cost: AbstractCost
    energy: bool = eqx.field(static=True)
    read: str = eqx.field(static=True)

    def initial_state(self, x: Any) -> PyTree:
        tokens = self.weights["position"].shape[0]
        return {
            name: jnp.zeros((len(x), tokens, self.biases[name].size), self.biases[name].dtype)
            for name in ("hidden", "tokens")
        }

    def activity(self, state: PyTree) -> PyTree:
        return jax.tree.map(jnp.tanh, state)

    def leak(self, state: PyTree) -> PyTree:
        return state

    def injection(self, x: Any) -> PyTree:
        x = x.reshape(len(x), self.weights["position"].shape[0], -1)
        arriving = x @ self.weights["embedding"] + self.weights["position"] + self.biases["tokens"]
        return {
            "hidden": jnp.broadcast_to(self.biases["hidden"], (*x.shape[:2], self.biases["hidden"].size)),
            "tokens": arriving,
        }

    def recurrent_input(self, activity: PyTree, injection: Any) -> PyTree:
        del injection
        w, r = self.weights, activity["tokens"]
        down = w["up"] if self.energy else w["down"]
        return {"hidden": times(r, w["up"]), "tokens": self._attended(r) + times(activity["hidden"], down.T)}

    def _attended(self, r: Inexact[Array, "batch tokens d"]) -> Inexact[Array, "batch tokens d"]:
        w = self.weights
        q, k = times(r, w["query"]), times(r, w["key"])
        scores = jnp.einsum("bid,bjd->bij", q, k) / q.shape[-1] ** 0.5
        # The largest real part is no part of the function: a complex maximum would not be holomorphic.
        size = jnp.exp(scores - jax.lax.stop_gradient(scores.real.max(axis=-1, keepdims=True)))
        a = size / size.sum(axis=-1, keepdims=True)
        if self.energy:
            looks = times(jnp.einsum("bij,bjd->bid", a, k), w["query"].T)
            return looks + times(jnp.einsum("bij,bid->bjd", a, q), w["key"].T)
        return times(jnp.einsum("bij,bjd->bid", a, times(r, w["value"])), w["out"])

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        arriving = self.recurrent_input(self.activity(state), injection)
        return only_block(jax.tree.map(lambda h, i, u: h + i - u, arriving, injection, state), only)

    def output(self, activity: PyTree) -> Array:
        tokens = activity["tokens"]
        return tokens[:, -1] if self.read == "last" else tokens.mean(axis=1)

    @property
    def holomorphic(self) -> bool:
        return True

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        return {} if self.energy else {"up": ("up", "down")}


class Attention(AbstractRecipe):
    """A block of self-attention over the rows of its input, with a hidden layer a token."""

    kind: ClassVar[str] = "equiprop.studies.fields:Attention"

    width: int = count(32, "Units of a token, d.")
    hidden: int = count(64, "Hidden units of a token, m.")
    weight_angle: float = constant(90.0, "Initial angle in degrees between down and up, out and valueᵀ.")
    energy: bool = flag(False, "Whether the coupling is that of an energy, with fewer weights.")
    read: str = choice("last", "Which activity the cost reads: that of the last token, or the mean.", "last", "mean")
    gain: float = constant(0.7, "Weights start uniform in ±gain/√inputs.", above=0)
    cost: str = text("softmax_readout", "softmax_readout (trainable), softmax_cross_entropy or squared_error.")

    def create(self, inputs: tuple[int, ...], outputs: int, *, key: PRNGKeyArray, dtype: Any = None) -> AttentionBlock:
        keys = iter(jax.random.split(key, 10))
        tokens, features, d = inputs[0], 1, self.width
        for side in inputs[1:]:
            features *= side

        def weight(rows: int, columns: int) -> Array:
            return uniform(next(keys), (rows, columns), self.gain, dtype)

        # The embedding of a token that is one of many is one row.
        weights = {"embedding": weight(features, d) * features**0.5 / self.gain, "position": weight(tokens, d)}
        weights |= {name: weight(d, d) for name in ("query", "key")} | {"up": weight(d, self.hidden)}
        if not self.energy:
            weights["value"] = weight(d, d)
            weights["out"] = at_angle(weights["value"].T, self.weight_angle, gain=self.gain, key=next(keys))
            weights["down"] = at_angle(weights["up"], self.weight_angle, gain=self.gain, key=next(keys))
        real = weights["query"].dtype
        biases = {"hidden": jnp.zeros(self.hidden, real), "tokens": jnp.zeros(d, real)}
        kind: Any = COSTS.find(self.cost)
        cost = kind.create(d, outputs, key=next(keys), dtype=real)
        return AttentionBlock(weights=weights, biases=biases, cost=cost, energy=self.energy, read=self.read)
