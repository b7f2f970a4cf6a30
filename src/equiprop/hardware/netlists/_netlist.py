"""From a system to a netlist."""

from typing import Any

from equiprop.errors import InputError
from equiprop.hardware._chip import Chip
from equiprop.hardware.netlists._circuit import Circuit
from equiprop.hardware.netlists._layered import of_layered
from equiprop.hardware.netlists._resistive import of_resistive
from equiprop.numerics import trees
from equiprop.systems import LayeredNetwork, ResistiveNetwork, System, innermost

COUPLINGS = ("sources", "resistors")


def circuit_of(
    system: System,
    x: Any,
    *,
    target: Any = None,
    nudge: float = 0.0,
    couplings: str = "sources",
    ohms: float = 1e3,
) -> Circuit:
    """The circuit of a system for one sample: of a layered network, perfect or on a chip with all that is wrong with it, or of a
    resistive one, perfect or on a chip whose cells and inputs are not.

    **Arguments:**

    - `x`: a batch of one input.
    - `target`: of that sample, where there is a nudge; the cost is one of the library's.
    - `nudge`: β, a real number.
    - `couplings`: of a layered network: `sources`, a voltage-controlled current source a weight, or `resistors`, a differential
      pair of them.
    - `ohms`: of the leak of a unit, or of a conductance of 1. One unit of the state is a volt.

    Raises `InputError` for other systems, pooling, an activation or a cost without a formula, and more than one sample.
    """
    if couplings not in COUPLINGS:
        raise InputError(f"must be one of {', '.join(COUPLINGS)}", path="couplings", value=couplings)
    if not ohms > 0:
        raise InputError("must be above 0", path="ohms", value=ohms)
    if system.coding is not None:
        reason = "has complex states, of which no circuit is known here"
        raise InputError(reason, path="system", hint="give the system that is coded")
    inner = innermost(system)
    if not isinstance(inner, LayeredNetwork | ResistiveNetwork):
        reason = f"{type(inner).__name__} has no circuit that is known here"
        raise InputError(reason, path="system", hint="export a layered network or a resistive one")
    if trees.batch_size(system.initial_state(x)) != 1:
        raise InputError("must be one sample, as a circuit has one input", path="x")
    if isinstance(inner, ResistiveNetwork):
        system, x = _without_chip(system, x)
        if couplings != COUPLINGS[0]:
            raise InputError("is of layered networks; this one is of resistors", path="couplings", value=couplings)
        return of_resistive(system, x, target=target, nudge=nudge, ohms=ohms)
    return of_layered(system, x, target=target, nudge=nudge, couplings=couplings, ohms=ohms)


def _without_chip(system: System, x: Any) -> tuple[ResistiveNetwork, Any]:
    """The network with the conductances that its cells hold, and the inputs that reach it."""
    if isinstance(system, Chip):
        if not system.device.units.is_off:
            reason = "what is wrong with its units has no circuit in a resistive network"
            raise InputError(reason, path="system", hint="give a device that leaves units out")
        system, x = system.programmed, system.device.inputs.brought(x)
    assert isinstance(system, ResistiveNetwork)
    return system, x


def netlist(system: System, x: Any, analysis: str = ".op", **options: Any) -> str:
    """The text of the circuit of a system for one sample, which ngspice reads.

    **Arguments:**

    - `analysis`: `.op`, or `hardware.netlists.transient(end, step)`, in seconds.
    - `options`: of `circuit_of`.

    Raises `InputError` as that does, and for a transient of a circuit without capacitances.
    """
    circuit = circuit_of(system, x, **options)
    if analysis.startswith(".tran") and not circuit.initial:
        raise InputError("the circuit of a resistive network has no capacitances, and so no transient", path="analysis")
    return circuit.text(analysis)
