"""The circuit of a layered network, perfect or on a chip."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from equiprop.errors import InputError
from equiprop.hardware._chip import Chip
from equiprop.hardware.netlists._circuit import Circuit, number
from equiprop.hardware.netlists._costs import cost_gradients
from equiprop.numerics import activation, trees
from equiprop.systems import Dynamics, LayeredNetwork, System, innermost, population_names


def of_layered(
    system: System, x: Any, *, target: Any = None, nudge: float = 0.0, couplings: str = "sources", ohms: float = 1e3
) -> Circuit:
    """A node a unit, whose voltage is its state: C·du/dt = Σ w·r + b − u, all divided by a resistance.

    The capacitance is τ over that resistance, which is also the leak. Activities are behavioural sources with their formula. What
    arrives is a controlled source a weight, or with `couplings = "resistors"` a pair of resistors a weight, from the activity and
    from its negative, into a virtual ground; what flows there is mirrored into the unit. Wires that lag are an RC a pole, with
    buffers between.
    """
    network = innermost(system)
    assert isinstance(network, LayeredNetwork)
    state = system.initial_state(x)
    injection = system.injection(x)
    if not all(edge.operation.is_linear for edge in network.edges):
        raise InputError(
            "a network with pooling is no circuit of controlled sources", path="system", hint="export one without"
        )
    matrix, constant = _affine(system, state, injection)
    dynamics = Dynamics() if system.dynamics is None else system.dynamics
    tau = np.concatenate(
        [
            np.broadcast_to(t, u.shape).ravel()
            for t, u in zip(*map(jax.tree.leaves, (dynamics.of_units(state), state)), strict=True)
        ]
    )
    names = [f"{name}[{i}]" for name, u in _by_name(state) for i in range(u.size)]
    formulas = _formulas(system, network, state)
    circuit = Circuit(f"a layered network of {len(names)} units, 1 V and {ohms:g} ohm a unit of the state")
    poles = [float(pole) for pole in dynamics.poles]
    starts = ravel_pytree(system.activity(state))[0]
    for i, name in enumerate(names):
        circuit.comment(name)
        circuit.units.append(f"u{i}")
        circuit.reads.append(f"r{i}")
        circuit.capacitor(f"u{i}", f"u{i}", float(tau[i]) / ohms)
        circuit.voltage(f"r{i}", f"r{i}", formulas[i])
        circuit.initial[f"u{i}"] = 0.0
        _wire(circuit, i, poles, float(starts[i]), buffered=couplings == "resistors")
    arriving = [("a" if couplings == "resistors" else "q") + str(i) if poles else f"r{i}" for i in range(len(names))]
    for i, name in enumerate(names):
        circuit.comment(f"what moves {name}")
        summed = f"u{i}"
        if couplings == "resistors" or dynamics.slew is not None:
            summed = f"s{i}"
            circuit.add(f"Vs{i}", (f"s{i}", "0"), "DC 0")
        if dynamics.slew is None:
            circuit.resistor(f"u{i}", f"u{i}", "0", ohms)
        else:
            circuit.transconductance(f"l{i}", summed, f"u{i}", -1 / ohms)
        circuit.current(f"b{i}", summed, float(constant[i]) / ohms)
        for j in np.flatnonzero(matrix[i]):
            weight = float(matrix[i, j]) / ohms
            if couplings == "sources":
                circuit.transconductance(f"{i}_{j}", summed, arriving[j], weight)
            else:
                # A negative weight is a resistor from what the inverter makes of the activity.
                source = arriving[j] if weight > 0 else f"n{j}"
                circuit.resistor(f"{i}_{j}", source, summed, 1 / abs(weight))
        if summed != f"u{i}" and dynamics.slew is None:
            circuit.add(f"F{i}", ("0", f"u{i}", f"Vs{i}"), "1")
        elif summed != f"u{i}":
            limit = float(jnp.asarray(dynamics.slew)) / ohms
            circuit.driven(f"s{i}", f"u{i}", f"{number(limit)}*tanh(i(Vs{i})/{number(limit)})")
    if couplings == "resistors":
        for j in np.flatnonzero((matrix < 0).any(axis=0)):
            circuit.add(f"En{j}", (f"n{j}", "0", arriving[j], "0"), "-1")
    if nudge:
        circuit.comment(f"the nudge, {nudge:g}")
        outputs = _outputs(system, state)
        reads = [circuit.reads[i] for i in outputs]
        for i, formula in zip(outputs, cost_gradients(circuit, network.cost, reads, target), strict=True):
            summed = f"s{i}" if dynamics.slew is not None else f"u{i}"
            circuit.driven(f"n{i}", summed, f"-({number(nudge / ohms)})*({formula})")
    return circuit


def _affine(system: System, state: PyTree, injection: Any) -> tuple[np.ndarray, np.ndarray]:
    """W and b of F = W·r + b − u, as they are on the chip."""
    flat, unflat = ravel_pytree(system.activity(state))

    def arrives(r: Any) -> Any:
        found = system.recurrent_input(unflat(r), injection)
        assert found is not None
        return ravel_pytree(found)[0]

    force = ravel_pytree(trees.add(system.force(state, injection), system.leak(state)))[0]
    return np.asarray(jax.jacfwd(arrives)(flat), float), np.asarray(force - arrives(flat), float)


def _formulas(system: System, network: LayeredNetwork, state: PyTree) -> list[str]:
    """φ of every unit, of the voltage of its node. Raises `InputError` for an activation without a formula."""
    limit = system.device.units.saturation if isinstance(system, Chip) else None
    found = []
    for name, u in _by_name(state):
        own = activation(network.topology.population(name).activation)
        for _ in range(u.size):
            node = f"v(u{len(found)})"
            if limit is not None:
                node = f"({number(float(limit))}*tanh({node}/{number(float(limit))}))"
            formula = own.formula(node)
            if formula is None:
                hint = "give the activation the method formula(u)"
                raise InputError(
                    f"population {name}: its activation {own.kind} has no formula", path="system", hint=hint
                )
            found.append(formula)
    return found


def _by_name(state: PyTree) -> Iterator[tuple[str, Array]]:
    """The populations in the order of the flattened state, which is not that of the dictionary."""
    yield from zip(population_names(state), jax.tree.leaves(state), strict=True)


def _outputs(system: System, state: PyTree) -> list[int]:
    """The places of the output units in the flattened state."""
    flat, unflat = ravel_pytree(system.activity(state))
    places = system.output(unflat(jnp.arange(flat.size, dtype=flat.dtype)))
    return [int(i) for i in np.asarray(places).ravel()]


def _wire(circuit: Circuit, i: int, poles: list[float], start: float, *, buffered: bool) -> None:
    """r{i} → ... → q{i}, and → a{i} where that is loaded."""
    before = f"r{i}"
    for k, pole in enumerate(poles):
        after = f"q{i}" if k == len(poles) - 1 else f"q{i}_{k}"
        if k:
            circuit.add(f"Eq{i}_{k}", (f"e{i}_{k}", "0", before, "0"), "1")
            before = f"e{i}_{k}"
        circuit.resistor(f"q{i}_{k}", before, after, 1.0)
        circuit.capacitor(f"q{i}_{k}", after, pole)
        circuit.initial[after] = start
        before = after
    if poles and buffered:
        circuit.add(f"Ea{i}", (f"a{i}", "0", before, "0"), "1")
