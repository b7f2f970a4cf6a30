"""A circuit simulator beside what is computed here."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from equiprop.errors import InputError
from equiprop.hardware._transient import transient as move
from equiprop.hardware.netlists._circuit import RELATIVE, Circuit, transient
from equiprop.hardware.netlists._netlist import circuit_of
from equiprop.hardware.netlists._ngspice import simulate, version
from equiprop.numerics import Figures
from equiprop.solvers import AbstractSolver, NewtonGMRES, relax_field
from equiprop.systems import Dynamics, Free, Nudged, System

_POINTS = 50

LIMITS = {"operating_point": 1e-4, "nudged_point": 1e-4, "error_vector": 1e-3, "transient": 1e-2}
"""The largest differences at which a circuit and this library agree."""


class CircuitCheck(Figures):
    """How far a simulated circuit and this library are from each other, on the worst of some samples.

    **Fields:**

    - `operating_point`, `nudged_point`: the largest difference of a state, without a nudge and with ±β.
    - `error_vector`: of (r₋ − r₊)/2β, the length of the difference relative to it; `None` without a nudge.
    - `transient`: the largest difference of a state on its way from rest, relative to how far states swing; `None` if not asked
      for.
    - `samples`: how many.
    - `program`: which simulator.
    """

    operating_point: float
    nudged_point: float | None
    error_vector: float | None
    transient: float | None
    samples: int
    program: str = eqx.field(static=True)

    @property
    def found(self) -> dict[str, float]:
        """What was compared, by name."""
        compared = {name: getattr(self, name) for name in LIMITS}
        return {name: value for name, value in compared.items() if value is not None}

    @property
    def beyond(self) -> list[str]:
        """Those differences that exceed their limits, or are no numbers."""
        return [name for name, value in self.found.items() if not value <= LIMITS[name]]

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for JSON: what was found, and at which limits and tolerance of the simulator."""
        about = {"samples": self.samples, "program": self.program, "agrees": not self.beyond}
        return {**self.found, **about, "limits": {name: LIMITS[name] for name in self.found}, "reltol": RELATIVE}

    def rows(self) -> Iterator[tuple[str, str]]:
        for name, value in self.found.items():
            yield f"{name.replace('_', ' ')} (at most {LIMITS[name]:g})", f"{value:.2g}"
        yield "relative tolerance of the simulator", f"{RELATIVE:g}"


def check_circuit(
    system: System,
    x: Any,
    target: Any = None,
    *,
    nudge: float = 0.0,
    until: float | None = None,
    solver: AbstractSolver | None = None,
    **options: Any,
) -> CircuitCheck:
    """Simulates the circuit of every sample by ngspice, and compares.

    What is compared is found here from rest, too; a network with several equilibria may be found in another one, which is then
    a large difference.

    **Arguments:**

    - `target`: where there is a nudge.
    - `until`: how long a transient is to be, in the unit of the time constants; none by default.
    - `solver`: `NewtonGMRES(tolerance=1e-9)` by default.
    - `options`: of `netlist`.

    Raises as `netlist` and `simulate` do.
    """
    solver = NewtonGMRES(tolerance=1e-9, max_steps=500, dimension=40) if solver is None else solver
    samples = len(jax.tree.leaves(x)[0])
    found = []
    for i in range(samples):
        one, wanted = jax.tree.map(lambda a, i=i: jnp.asarray(a)[i : i + 1], (x, target))
        found.append(_of_one(system, one, wanted, nudge, until, solver, options))
    worst: Any = {name: None if found[0][name] is None else max(row[name] for row in found) for name in found[0]}
    return CircuitCheck(**worst, samples=samples, program=version())


def _of_one(
    system: System, x: Any, target: Any, nudge: float, until: float | None, solver: AbstractSolver, options: Any
) -> dict[str, Any]:
    free = Free(system, system.injection(x))
    start = system.initial_state(x)

    def ours(beta: float) -> tuple[np.ndarray, np.ndarray]:
        field = Nudged(free, system, target, jnp.full(1, beta)) if beta else free
        end = relax_field(field, start, solver)
        if not bool(end.converged.all()):
            raise InputError(
                "a sample does not converge here, so there is nothing to compare", path="solver", hint="more steps"
            )
        return _flat(end.state), _flat(system.activity(end.state))

    def theirs(beta: float) -> tuple[np.ndarray, np.ndarray]:
        circuit = circuit_of(system, x, target=target, nudge=beta, **options)
        values = simulate(circuit.text(".op"))
        return _voltages(values, circuit.units)[:, 0], _voltages(values, circuit.reads)[:, 0]

    at_rest = float(np.abs(ours(0.0)[0] - theirs(0.0)[0]).max())
    nudged = error = None
    if nudge:
        pairs = [(ours(beta), theirs(beta)) for beta in (nudge, -nudge)]
        nudged = max(float(np.abs(a[0] - b[0]).max()) for a, b in pairs)
        mine, other = ((pairs[1][k][1] - pairs[0][k][1]) / (2 * nudge) for k in (0, 1))
        error = float(np.linalg.norm(mine - other) / np.linalg.norm(mine))
    return {
        "operating_point": at_rest,
        "nudged_point": nudged,
        "error_vector": error,
        "transient": None if until is None else _on_the_way(system, x, until, options),
    }


def _on_the_way(system: System, x: Any, until: float, options: Any) -> float:
    circuit: Circuit = circuit_of(system, x, **options)
    if not circuit.initial:
        raise InputError("the circuit of a resistive network has no capacitances, and so no transient", path="until")
    dynamics = Dynamics() if system.dynamics is None else system.dynamics
    fastest = min(map(float, (dynamics.fastest, *dynamics.poles)))
    values = simulate(circuit.text(transient(until, min(until / _POINTS, fastest / 20))))
    asked = np.linspace(0, until, _POINTS + 1)[1:]
    theirs = np.array([np.interp(asked, values["time"], row) for row in _voltages(values, circuit.units)]).T
    found = move(system, x, asked, accuracy=1e-7)
    ours = np.array([_flat(jax.tree.map(lambda a, k=k: a[k], found.state)) for k in range(len(asked))])
    swing = np.ptp(np.vstack([ours, _flat(system.initial_state(x))]), axis=0).max()
    return float(np.abs(ours - theirs).max() / swing)


def _flat(tree: Any) -> np.ndarray:
    return np.asarray(ravel_pytree(tree)[0], float)


def _voltages(values: dict[str, np.ndarray], nodes: list[str]) -> np.ndarray:
    return np.array([values[f"v({node})"] for node in nodes])
