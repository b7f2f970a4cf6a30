"""A circuit as text that SPICE simulators read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

from equiprop.errors import printable

RELATIVE = 1e-9
"""Relative tolerance of the simulator for voltages and currents; absolute ones are 10⁻¹⁵ of a volt and an ampere."""

_OPTIONS = (
    f".options reltol={RELATIVE:g} abstol=1e-15 vntol=1e-15 chgtol=1e-20 gmin=1e-18 method=gear itl1=1000 itl4=100"
)
_WIDTH = 120


def number(value: float) -> str:
    """To all digits."""
    return format(float(value), ".17g")


@dataclass
class Circuit:
    """Elements between nodes. Node `0` is ground.

    - `title`: what it is of.
    - `units`: the node of each unit of the state, in the order of its flattened leaves.
    - `reads`: the node of the activity of each.
    - `elements`: lines of the netlist.
    - `initial`: voltages with which a transient begins.
    """

    title: str
    units: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    initial: dict[str, float] = field(default_factory=dict)

    def comment(self, text: str) -> None:
        self.elements += [f"* {line}" for line in wrap(printable(text), _WIDTH)]

    def add(self, name: str, nodes: Sequence[str], value: str) -> None:
        self.elements.append(f"{name} {' '.join(nodes)} {value}")

    def resistor(self, name: str, a: str, b: str, ohms: float) -> None:
        self.add(f"R{name}", (a, b), number(ohms))

    def capacitor(self, name: str, a: str, farads: float) -> None:
        self.add(f"C{name}", (a, "0"), number(farads))

    def current(self, name: str, into: str, amperes: float) -> None:
        """A constant current into a node."""
        self.add(f"I{name}", ("0", into), f"DC {number(amperes)}")

    def transconductance(self, name: str, into: str, sensed: str, siemens: float) -> None:
        """A current into a node in proportion to the voltage of another, which it does not load."""
        self.add(f"G{name}", ("0", into, sensed, "0"), number(siemens))

    def voltage(self, name: str, node: str, formula: str) -> None:
        """A node held at what a formula of other voltages says."""
        self.add(f"B{name}", (node, "0"), f"V={{{formula}}}")

    def driven(self, name: str, into: str, formula: str) -> None:
        """A current into a node that a formula of voltages says."""
        self.add(f"B{name}", ("0", into), f"I={{{formula}}}")

    def text(self, analysis: str = ".op") -> str:
        """The netlist with one analysis, ASCII, and a line break at its end.

        **Arguments:**

        - `analysis`: such as `.op`, or `transient(...)`.
        """
        lines = [f"* {printable(self.title)}", *self.elements, _OPTIONS]
        if analysis.startswith(".tran"):
            lines += [f".ic v({node})={number(volts)}" for node, volts in self.initial.items()]
        whole = "\n".join(_folded([*lines, analysis, ".end"])) + "\n"
        return whole.encode("ascii", "backslashreplace").decode()


def transient(end: float, step: float) -> str:
    """The analysis of a transient from the initial voltages on, in steps of at most `step`."""
    return f".tran {number(step)} {number(end)} 0 {number(step)} uic"


def _folded(lines: Iterable[str]) -> Iterable[str]:
    """Long lines go on behind a `+`."""
    for line in lines:
        if line.startswith("*") or len(line) <= _WIDTH:
            yield line
        else:
            first, *rest = wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False)
            yield first
            yield from (f"+ {part}" for part in rest)
