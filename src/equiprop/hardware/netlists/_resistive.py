"""The circuit of a resistive network, element by element."""

from typing import Any

import jax
import numpy as np

from equiprop.hardware.netlists._circuit import Circuit, number
from equiprop.hardware.netlists._costs import cost_gradients
from equiprop.systems import ResistiveNetwork


def of_resistive(
    system: ResistiveNetwork, x: Any, *, target: Any = None, nudge: float = 0.0, ohms: float = 1e3
) -> Circuit:
    """A resistor a conductance, of `ohms` over it; sources at the input lines; a pair of diodes by their law at each hidden node.

    A bidirectional amplifier is a voltage-controlled voltage source, and a current-controlled current source that draws what it
    delivers, over A, from the node before it. Of each unit the state v + a·sinh(v/V) is a node of its own, for comparison.
    """
    design, layers = system.design, system.layers
    circuit = Circuit(
        f"a resistive network of {' - '.join(map(str, design.sizes))} nodes, {ohms:g} ohm a unit of resistance"
    )
    crossbars = [np.asarray(g, float) for g in system.crossbars]
    sources = np.asarray(system.sources(x), float)[0]
    for j, volts in enumerate(sources):
        circuit.add(f"Vx{j}", (f"x{j}", "0"), f"DC {number(volts)}")
    lines = [f"x{j}" for j in range(len(sources))]
    nodes: dict[str, list[str]] = {}
    for k, name in enumerate(layers):
        circuit.comment(f"{name} and the crossbar before it")
        nodes[name] = [f"v{k}_{i}" for i in range(design.sizes[k])]
        for j, line in enumerate(lines):
            for i, node in enumerate(nodes[name]):
                if crossbars[k][j, i] != 0:
                    circuit.resistor(f"{k}_{j}_{i}", line, node, ohms / crossbars[k][j, i])
        if name != layers[-1]:
            lines = [_hidden(circuit, system, k, i, node, ohms) for i, node in enumerate(nodes[name])]
    for name in sorted(layers):
        # The flattened state is in the order of the names.
        hidden = name != layers[-1]
        for node in nodes[name]:
            circuit.units.append(f"u_{node}" if hidden else node)
            circuit.reads.append(node)
    if nudge:
        circuit.comment(f"the nudge, {nudge:g}: the two nodes of an output get opposite currents")
        outputs = nodes[layers[-1]]
        pairs = list(zip(outputs[: len(outputs) // 2], outputs[len(outputs) // 2 :], strict=True))
        for k, (plus, minus) in enumerate(pairs):
            circuit.voltage(f"o{k}", f"o{k}", f"v({plus})-v({minus})")
        reads = [f"o{k}" for k in range(len(pairs))]
        for k, formula in enumerate(cost_gradients(circuit, system.cost, reads, jax.tree.map(np.asarray, target))):
            size = number(nudge * design.nominal[-1] / ohms)
            circuit.driven(f"np{k}", pairs[k][0], f"-({size})*({formula})")
            circuit.driven(f"nm{k}", pairs[k][1], f"({size})*({formula})")
    return circuit


def _hidden(circuit: Circuit, system: ResistiveNetwork, k: int, i: int, node: str, ohms: float) -> str:
    """The diodes of a hidden node and its amplifier; returns where the next crossbar begins."""
    design = system.design
    voltage, a = number(design.diode_voltage), design.diode_current
    sinh = f"(exp(v({node})/{voltage})-exp(-v({node})/{voltage}))/2"
    if a:
        circuit.driven(f"d{k}_{i}", node, f"-({number(a * design.nominal[k] / ohms)})*{sinh}")
    circuit.voltage(f"u{k}_{i}", f"u_{node}", f"v({node})+({number(a)})*{sinh}")
    gain = design.amplification
    circuit.add(f"E{k}_{i}", (f"e{k}_{i}", "0", node, "0"), number(gain))
    circuit.add(f"Vm{k}_{i}", (f"e{k}_{i}", f"w{k}_{i}"), "DC 0")
    circuit.add(f"F{k}_{i}", (node, "0", f"Vm{k}_{i}"), number(1 / gain))
    return f"w{k}_{i}"
