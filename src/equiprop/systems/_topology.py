"""The graph of a layered network: populations, connections, and what may be wrong with them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import jax

from equiprop.errors import InputError, suggest
from equiprop.numerics import activation
from equiprop.numerics.settings import decode
from equiprop.systems.connections import CONNECTIONS, AbstractOperation, Shape

INPUT = "input"
"""The name of the clamped population through which the input enters."""

FEEDBACK = ("untied", "tied", "none")


@dataclass(frozen=True)
class Population:
    """Units that share an activation. The input population is clamped and has none.

    **Fields:**

    - `size`: how many, or `(height, width, channels)` of an image.
    - `activation`: its kind, or `file.py:Class` for one of your own.
    - `mobility`: μ in F = −μ·∂E/∂r, how easily the population gives way, relative to the output, whose mobility is 1. Feedback
      from b to a acts with the factor μ_a/μ_b, so that a network with small mobilities far from the output is nearly
      feedforward, and symmetric all the same: see `System.mobility`.
    """

    name: str
    size: int | tuple[int, int, int]
    activation: str = "shifted_sigmoid"
    mobility: float = 1.0

    @property
    def shape(self) -> Shape:
        """Of the activity of one sample."""
        return (self.size,) if isinstance(self.size, int) else self.size

    @property
    def units(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, init=False)
class Connection:
    """What leads from `source` to `target`, and what leads back.

    **Fields:**

    - `feedback`: `untied` (independent weights back), `tied` (the transpose of the same weights) or `none` (one-way).
    - `angle`: for `untied`, the initial angle α in degrees between the feedback and the forward weights:
      B ← sin α·B_random + cos α·W. 0 starts symmetric, 90 independent.
    - `kind`: `dense` (every unit to every unit), `convolution`, `local` (as a convolution, with weights of its own at every
      place) or `identity` (no weights: a residual path); or `file.py:Class` for one of your own.
    - `residual`: the activity itself is carried along with what the weights make of it, forwards and, where there is feedback,
      back. Needs two populations of the same shape.
    - `settings`: those of the kind, given by name: for a convolution `kernel`, `stride`, `padding`, `pool`, `temperature`.

    A population may connect to itself (lateral): `tied` keeps those weights symmetric, `untied` starts them at `angle`
    between W and Wᵀ. With `none` they start independent of their transpose.
    """

    source: str
    target: str
    feedback: str = "untied"
    angle: float = 90.0
    kind: str = "dense"
    residual: bool = False
    settings: tuple[tuple[str, Any], ...] = field(default=())

    def __init__(
        self,
        source: str,
        target: str,
        feedback: str = "untied",
        angle: float = 90.0,
        kind: str = "dense",
        residual: bool = False,
        **settings: Any,
    ) -> None:
        values = (source, target, feedback, angle, kind, residual, tuple(sorted(settings.items())))
        for each, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, each.name, value)

    @property
    def name(self) -> str:
        return f"{self.source}->{self.target}"

    @property
    def feedback_name(self) -> str:
        return f"{self.target}->{self.source}"

    @property
    def lateral(self) -> bool:
        return self.source == self.target

    def check(self) -> None:
        """Raises `InputError` for what is wrong with it whatever it connects."""
        if self.feedback not in FEEDBACK:
            raise suggest("feedback", self.feedback, FEEDBACK)
        if not 0 <= self.angle <= 180:
            raise InputError("must be between 0 and 180 degrees", path="angle", value=self.angle)
        if self.feedback != "untied" and self.angle != Connection.angle:
            reason = f"is not used by feedback = {self.feedback!r}"
            raise InputError(reason, path="angle", value=self.angle, hint="leave it out")
        if self.target == INPUT:
            raise InputError("the input is clamped, nothing can lead to it", path="target", value=INPUT)
        if self.source == INPUT and self.feedback != "none":
            raise InputError("the input is clamped, write 'none'", path="feedback", value=self.feedback)
        if self.kind == "identity" and self.feedback == "untied":
            reason = "kind = 'identity' has no weights, write 'tied' or 'none'"
            raise InputError(reason, path="feedback", value=self.feedback)


@dataclass(frozen=True)
class Topology:
    """Populations and connections with the name of the output population. Checked on creation.

    Raises `InputError` for an unknown or doubled name, a size below 1, a connection given twice, feedback to the input, a
    population whose activity cannot reach the output, or an output that the input does not reach.
    """

    populations: tuple[Population, ...]
    connections: tuple[Connection, ...]
    output: str = "output"

    def __post_init__(self) -> None:
        names = [p.name for p in self.populations]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"{name!r} is listed twice, names must differ", path="populations")
        if INPUT not in names:
            raise InputError(f"there must be one called {INPUT!r}, through which the data enters", path="populations")
        if self.output not in names or self.output == INPUT:
            raise suggest("output", self.output, [n for n in names if n != INPUT])
        for population in self.populations:
            try:
                self._check_population(population)
            except InputError as error:
                raise error.within("populations", population.name) from None
        self._check_connections(names)
        self._check_reach(names)

    def _check_population(self, population: Population) -> None:
        if min(population.shape) < 1:
            raise InputError("must be at least 1", path="size", value=population.size)
        if not 0 < population.mobility < math.inf:
            raise InputError("must be a finite number above 0", path="mobility", value=population.mobility)
        if population.name == self.output and population.mobility != 1:
            reason = "mobilities are relative to that of the output, which is 1"
            raise InputError(reason, path="mobility", value=population.mobility)
        if population.name != INPUT:
            activation(population.activation)
            return
        for each in fields(Population)[2:]:
            value = getattr(population, each.name)
            if value != each.default:
                raise InputError("the input is clamped and has none", path=each.name, value=value, hint="leave it out")

    def _check_connections(self, names: list[str]) -> None:
        seen: dict[str, str] = {}
        for connection in self.connections:
            try:
                for end, name in (("source", connection.source), ("target", connection.target)):
                    if name not in names:
                        raise suggest(end, name, names)
                connection.check()
                self._check_operation(connection)
                for direction in self._directions(connection):
                    if direction in seen:
                        raise InputError(f"{direction} exists already, made by connections.{seen[direction]}")
                    seen[direction] = connection.name
            except InputError as error:
                raise error.within("connections", connection.name) from None

    @staticmethod
    def _directions(connection: Connection) -> list[str]:
        if connection.feedback == "none" or connection.lateral:
            return [connection.name]
        return [connection.name, connection.feedback_name]

    def _check_operation(self, connection: Connection) -> None:
        if connection.residual:
            shapes = [list(self.population(name).shape) for name in (connection.source, connection.target)]
            if connection.kind == "identity" or connection.lateral or shapes[0] != shapes[1]:
                reason = (
                    f"goes with weights between two populations of the same shape, here kind = {connection.kind!r} from "
                    f"{shapes[0]} to {shapes[1]}"
                )
                raise InputError(reason, path="residual", value=True)
        operation = self.operation(connection)
        if connection.lateral and connection.feedback == "untied":
            try:
                jax.eval_shape(operation.transposed_weight, jax.ShapeDtypeStruct(operation.weight_shape or (), float))
            except InputError as error:
                hint = "write 'tied' or 'none'"
                raise InputError(error.reason, path="feedback", value="untied", hint=hint) from error

    def operation(self, connection: Connection) -> AbstractOperation:
        """What the connection does to the activity of its source."""
        kind = CONNECTIONS.find(connection.kind)
        source, target = (self.population(name).shape for name in (connection.source, connection.target))
        return kind(source, target, **decode(kind, dict(connection.settings)))

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """For each connection with a feedback weight of its own, by its name, the names of the forward and of that weight."""
        return {c.name: (c.name, c.feedback_name) for c in self.connections if c.feedback == "untied" and not c.lateral}

    @property
    def paired(self) -> bool:
        """Whether nothing but such pairs could be asymmetric: there is no one-way and no untied lateral connection."""
        back = {c.feedback if not c.lateral else f"lateral {c.feedback}" for c in self.connections if c.source != INPUT}
        return back <= {"untied", "tied", "lateral tied"}

    def _check_reach(self, names: list[str]) -> None:
        forward, backward = self.neighbours(), self.neighbours(reverse=True)
        reach_output = _reachable(self.output, backward)
        lost = [n for n in names if n not in reach_output]
        if lost:
            reason = f"{', '.join(lost)} cannot reach the output {self.output!r}"
            raise InputError(reason, path="populations", hint="add a connection that leads there")
        if self.output not in _reachable(INPUT, forward):
            raise InputError(f"no path leads from {INPUT!r} to the output {self.output!r}", path="connections")

    def neighbours(self, reverse: bool = False) -> dict[str, set[str]]:
        """For every population those it acts on, or (`reverse`) those that act on it."""
        result: dict[str, set[str]] = {p.name: set() for p in self.populations}
        for connection in self.connections:
            pairs = [(connection.source, connection.target)]
            if connection.feedback != "none":
                pairs.append((connection.target, connection.source))
            for a, b in pairs:
                result[b if reverse else a].add(a if reverse else b)
        return result

    @property
    def relaxing(self) -> tuple[Population, ...]:
        """All populations but the clamped input."""
        return tuple(p for p in self.populations if p.name != INPUT)

    def population(self, name: str) -> Population:
        return next(p for p in self.populations if p.name == name)

    def in_turn(self) -> tuple[tuple[str, ...], ...]:
        """The relaxing populations in groups within which none acts on another, in the order in which an input reaches them.

        That is breadth first from the input; those that follow each other and do not act on each other are one group. A
        lateral connection cannot be resolved by grouping: such a population sees its own previous activity.
        """
        forward, backward = self.neighbours(), self.neighbours(reverse=True)
        order = _breadth_first(INPUT, forward)
        order += [p.name for p in self.populations if p.name not in order]
        groups: list[list[str]] = []
        for name in order[1:]:
            if groups and not (forward[name] | backward[name]).intersection(groups[-1]):
                groups[-1].append(name)
            else:
                groups.append([name])
        return tuple(map(tuple, groups))


def _breadth_first(start: str, neighbours: Mapping[str, Iterable[str]]) -> list[str]:
    order = [start]
    for name in order:
        order += [other for other in sorted(neighbours[name]) if other not in order]
    return order


def _reachable(start: str, neighbours: Mapping[str, Iterable[str]]) -> set[str]:
    return set(_breadth_first(start, neighbours))
