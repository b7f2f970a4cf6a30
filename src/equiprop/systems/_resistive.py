"""Networks of resistors, diodes and amplifiers: what relaxes is Kirchhoff's current law."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.numerics import COSTS, AbstractCost, real_linear, voltage_beside_diodes
from equiprop.systems._system import Block, System


@dataclass(frozen=True)
class Design:
    """What of a resistive network is built and not trained.

    - `sizes`: nodes of each layer that relaxes, the output last: two for each of its values.
    - `nominal`: for each of these, the conductance of a node to all others that is expected when it is new.
    - `amplification`: A, by how much a layer's voltages are higher where the next one sees them.
    - `diode_current`, `diode_voltage`: a in volts, twice the saturation current over the nominal conductance, and V in volts.
    - `smallest`, `largest`: the range of a conductance.
    """

    sizes: tuple[int, ...]
    nominal: tuple[float, ...]
    amplification: float
    diode_current: float
    diode_voltage: float
    smallest: float
    largest: float


class ResistiveNetwork(System):
    """Layers of nodes, crossbars of conductances g ≥ 0 between them, diodes from each hidden node to ground, and amplifiers.

    The net current into node i of a layer, where the layer before it has voltages v′ and the next one v″, is

        I = Σ_j g_ji·(A·v′_j − v_i) + (1/A)·Σ_l g_il·(v″_l − A·v_i) − a·G·sinh(v_i/V)

    (Kendall et al. 2020, arXiv 2006.01981): amplifiers make voltages A times higher on their way forward, and currents A times
    smaller on their way back. Sources are the inputs x, −x, 1 and −1, as conductances have no sign; an output is the difference
    of two nodes. At equilibrium all currents are zero: the pseudo-power is stationary, and the network learns by what its
    resistors see.

    The state of a node is u = v + a·sinh(v/V), in volts, of which φ(u) = v is its voltage: F = I/G + φ(u) + a·sinh(v/V) − u is
    linear in voltages but for the leak −u, whatever the diodes do. G is the nominal conductance of the layer's nodes. With the
    mobility A^(−2) from layer to layer, times the ratio of their G, the Jacobian is symmetric.

    **Fields:**

    - `weights`: conductances by the layers that they are between, in a unit of which the mean new one has about 1,
      `[lines or nodes, nodes]`. An update that would take one out of its range leaves it at the end of that.
    """

    weights: dict[str, Float[Array, "from to"]]
    cost: AbstractCost
    design: Design = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        classes: int,
        key: PRNGKeyArray,
        cost: str = "squared_error",
        amplification: float = 4.0,
        diode_current: float = 5e-3,
        diode_voltage: float = 0.05,
        smallest: float = 1e-3,
        largest: float = 10.0,
        dtype: Any = None,
    ) -> "ResistiveNetwork":
        """Conductances uniform between `smallest` and 2.

        **Arguments:**

        - `outputs`: values that the cost reads.
        - `classes`: of the cost.
        """
        dtype = jnp.dtype(dtype or jnp.result_type(float))
        lines, sizes = 2 * inputs + 2, (*hidden, 2 * outputs)
        cost_key, *keys = jax.random.split(key, 1 + len(sizes))
        before = (lines, *sizes[:-1])
        highest = max(2.0, 2 * smallest)
        weights = {
            name: jax.random.uniform(own, (rows, columns), dtype, smallest, highest)
            for name, own, rows, columns in zip(_crossbars(sizes), keys, before, sizes, strict=True)
        }
        mean = (smallest + highest) / 2
        nominal = tuple(mean * (before[k] + (sizes[k + 1] if k + 1 < len(sizes) else 0)) for k in range(len(sizes)))
        readout = COSTS.find(cost).create(outputs, classes, key=cost_key, dtype=dtype)  # pyright: ignore[reportAttributeAccessIssue]
        design = Design(sizes, nominal, amplification, diode_current, diode_voltage, smallest, largest)
        return cls(weights=weights, cost=readout, design=design)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers that relax."""
        return _layers(self.design.sizes)

    @property
    def crossbars(self) -> tuple[Float[Array, "from to"], ...]:
        """The conductances before each of them."""
        return tuple(self.weights[name] for name in _crossbars(self.design.sizes))

    @property
    def mobility(self) -> dict[str, float] | None:
        nominal, a = self.design.nominal, self.design.amplification
        last = len(nominal) - 1
        found = {name: a ** (-2 * (last - k)) * nominal[-1] / nominal[k] for k, name in enumerate(self.layers)}
        return None if all(mobility == 1 for mobility in found.values()) else found

    @property
    def fully_paired(self) -> bool:
        return True

    @property
    def holomorphic(self) -> bool | None:
        return True

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Layer after layer. Nodes of a layer do not act on each other, and hardly on themselves."""
        return tuple((name,) for name in self.layers) if len(self.layers) > 1 else (None,)

    def sources(self, x: Inexact[Array, "batch ..."]) -> Inexact[Array, "batch lines"]:
        """The voltages of the source lines: x, −x, 1, −1. Raises `InputError` for inputs of another size."""
        lines = self.crossbars[0].shape[0]
        if not hasattr(x, "shape") or x.ndim < 1 or 2 * int(np.prod(x.shape[1:])) + 2 != lines:
            given = list(x.shape) if hasattr(x, "shape") else type(x).__name__
            raise InputError(f"must be an array of shape [batch, {(lines - 2) // 2}], not {given}", path="x")
        flat = x.reshape(x.shape[0], -1).astype(self.crossbars[0].dtype)
        ones = jnp.ones((x.shape[0], 1), flat.dtype)
        return jnp.concatenate([flat, -flat, ones, -ones], axis=1)

    def injection(self, x: Array) -> Float[Array, "batch first"]:
        """The currents from the sources into the first layer, over its nominal conductance."""
        return self.sources(x) @ self.crossbars[0] / self.design.nominal[0]

    def initial_state(self, x: Array) -> dict[str, Array]:
        batch, dtype = self.sources(x).shape[0], self.crossbars[0].dtype
        return {name: jnp.zeros((batch, n), dtype) for name, n in zip(self.layers, self.design.sizes, strict=True)}

    def activity(self, state: dict[str, Array]) -> dict[str, Array]:
        """The voltages of the nodes. Those of the output have no diodes."""
        a, v = self.design.diode_current, self.design.diode_voltage
        return {
            name: u if name == "output" else voltage_beside_diodes(u, a, v).astype(u.dtype) for name, u in state.items()
        }

    def output(self, activity: dict[str, Array]) -> Inexact[Array, "batch n"]:
        plus, minus = jnp.split(activity["output"], 2, axis=1)
        return plus - minus

    def leak(self, state: dict[str, Array]) -> dict[str, Array]:
        return state

    def recurrent_input(self, activity: dict[str, Array], injection: Any) -> dict[str, Array]:
        """All that voltages of nodes do, over the nominal conductances, and the voltages themselves."""
        del injection
        return self._carried(activity, None)

    def _carried(self, activity: dict[str, Array], only: Block) -> dict[str, Array]:
        names, crossbars, a = self.layers, self.crossbars, self.design.amplification
        found = {}
        for k, name in enumerate(names):
            if only is not None and name not in only:
                continue
            v, before = activity[name], crossbars[k]
            current = -v * before.sum(axis=0).astype(v.dtype)
            if k:
                current += a * real_linear(lambda r, g=before: r @ g, activity[names[k - 1]])
            if k + 1 < len(names):
                after = crossbars[k + 1]
                current += real_linear(lambda r, g=after: r @ g.T, activity[names[k + 1]]) / a
                current -= v * after.sum(axis=1).astype(v.dtype)
            found[name] = current / self.design.nominal[k] + v
        return found

    def force(self, state: dict[str, Array], injection: Array, only: Block = None) -> dict[str, Array]:
        force = {name: h - state[name] for name, h in self._carried(self.activity(state), only).items()}
        first = self.layers[0]
        return force | ({first: force[first] + injection} if first in force else {})

    def force_difference(
        self, origin: PyTree, displacement: dict[str, Array], response: dict[str, Array], only: Block = None
    ) -> dict[str, Array] | None:
        del origin
        return {name: h - displacement[name] for name, h in self._carried(response, only).items()}

    def pseudo_power(self, voltages: dict[str, Float[Array, "batch nodes"]], x: Array) -> Float[Array, " batch"]:
        """P = Σ_k A^(2(K−k))·(½·Σ g_ij·(A·v′_j − v_i)² + a·G_k·V·Σ (cosh(v_i/V) − 1)) of layers k = 1 … K; unit: of g times V².

        Half of what the resistors dissipate, and the co-content of the diodes, both as from the output (Kendall et al. 2020,
        arXiv 2006.01981). The net current into a node is −∂P/∂v·A^(−2(K−k)), so that P is stationary at equilibrium, and under a
        nudge P + β·G_K·C is: dC/dg is how ∂P/∂g changes with β, over G_K.

        **Arguments:**

        - `voltages`: by layer, as `activity` gives them.
        """
        design, before, total = self.design, self.sources(x), 0.0
        for k, (name, g) in enumerate(zip(self.layers, self.crossbars, strict=True)):
            v = voltages[name]
            drops = (design.amplification if k else 1.0) * before[:, :, None] - v[:, None, :]
            power = 0.5 * jnp.sum(g * drops**2, axis=(1, 2))
            if name != "output":
                diodes = design.diode_current * design.nominal[k] * design.diode_voltage
                power += diodes * jnp.sum(jnp.cosh(v / design.diode_voltage) - 1, axis=1)
            total += design.amplification ** (2 * (len(self.layers) - 1 - k)) * power
            before = v
        return jnp.asarray(total)

    def updated(self, updates: PyTree, *, key: PRNGKeyArray) -> "ResistiveNetwork":
        del key
        design, moved = self.design, eqx.apply_updates(self, updates)
        held = {name: jnp.clip(g, design.smallest, design.largest) for name, g in moved.weights.items()}
        return eqx.tree_at(lambda s: s.weights, moved, held)


def _layers(sizes: tuple[int, ...]) -> tuple[str, ...]:
    return (*(f"hidden_{k + 1}" for k in range(len(sizes) - 1)), "output")


def _crossbars(sizes: tuple[int, ...]) -> tuple[str, ...]:
    names = _layers(sizes)
    return tuple(f"{before}->{after}" for before, after in zip(("input", *names), names, strict=False))
