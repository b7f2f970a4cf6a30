"""The graph of a layered network: populations, connections, and what may be wrong with them."""

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax

from equiprop.errors import InputError, suggest, unknown_key
from equiprop.numerics import ACTIVATIONS
from equiprop.systems._operations import OPERATIONS, Operation, Shape

INPUT = "input"
"""The name of the clamped population through which the input enters."""

FEEDBACK = ("untied", "tied", "none")

_OF_WINDOWS = {"kernel", "stride", "padding", "pool", "temperature"}


@dataclass(frozen=True)
class Population:
    """Units that share an activation. The input population is clamped and has none.

    **Fields:**

    - `size`: how many, or `(height, width, channels)` of an image.
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


@dataclass(frozen=True)
class Connection:
    """What leads from `source` to `target`, and what leads back.

    **Fields:**

    - `kind`: `dense` (every unit to every unit), `convolution`, `local` (as a convolution, with weights of its own at every
      place) or `identity` (no weights: a residual path).
    - `kernel`, `stride`, `padding`, `pool`, `temperature`: of a convolution or local connection, see `Windowed`.
    - `residual`: the activity itself is carried along with what the weights make of it, forwards and, where there is feedback,
      back. Needs two populations of the same shape.
    - `feedback`: `untied` (independent weights back), `tied` (the transpose of the same weights) or `none` (one-way).
    - `angle`: for `untied`, the initial angle α in degrees between the feedback and the forward weights:
      B ← sin α·B_random + cos α·W. 0 starts symmetric, 90 independent.

    A population may connect to itself (lateral): `tied` keeps those weights symmetric, `untied` starts them at `angle`
    between W and Wᵀ. With `none` they start independent of their transpose.
    """

    source: str
    target: str
    feedback: str = "untied"
    angle: float = 90.0
    kind: str = "dense"
    kernel: int = 3
    stride: int = 1
    padding: str = "same"
    pool: int = 1
    temperature: float = 1.0
    residual: bool = False

    @property
    def name(self) -> str:
        return f"{self.source}->{self.target}"

    @property
    def feedback_name(self) -> str:
        return f"{self.target}->{self.source}"

    @property
    def lateral(self) -> bool:
        return self.source == self.target


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
                raise InputError(f"populations: {name!r} is listed twice; names must differ")
        if INPUT not in names:
            raise InputError(f"populations: there must be one called {INPUT!r}, through which the data enters")
        if self.output not in names or self.output == INPUT:
            raise suggest("output", self.output, [n for n in names if n != INPUT])
        for population in self.populations:
            if min(population.shape) < 1:
                raise InputError(f"populations.{population.name}.size = {population.size}: must be at least 1")
            if not 0 < population.mobility < math.inf:
                raise InputError(
                    f"populations.{population.name}.mobility = {population.mobility}: must be a finite number above 0"
                )
            if population.name == self.output and population.mobility != 1:
                raise InputError(
                    f"populations.{population.name}.mobility = {population.mobility}: mobilities are relative to that of the "
                    "output, which is 1"
                )
            if population.name == INPUT:
                self._check_input(population)
            if population.activation not in ACTIVATIONS:
                raise suggest(f"populations.{population.name}.activation", population.activation, list(ACTIVATIONS))
        self._check_connections(names)
        self._check_reach(names)

    def _check_input(self, population: Population) -> None:
        for field in fields(Population)[2:]:
            if getattr(population, field.name) != field.default:
                raise InputError(
                    f"populations.{INPUT}.{field.name} = {getattr(population, field.name)!r}: the input is clamped and has none; "
                    "leave it out"
                )

    @property
    def reciprocal_pairs(self) -> dict[str, tuple[str, str]]:
        """For each connection with a feedback weight of its own, by its name, the names of the forward and of that weight."""
        return {c.name: (c.name, c.feedback_name) for c in self.connections if c.feedback == "untied" and not c.lateral}

    @property
    def paired(self) -> bool:
        """Whether there are such pairs and nothing else that could be asymmetric: no one-way and no untied lateral connection."""
        back = [c.feedback if not c.lateral else f"lateral {c.feedback}" for c in self.connections if c.source != INPUT]
        return "untied" in back and set(back) <= {"untied", "tied", "lateral tied"}

    def _check_connections(self, names: list[str]) -> None:
        seen: dict[str, str] = {}
        for connection in self.connections:
            where = f"connections.{connection.name}"
            for end, name in (("source", connection.source), ("target", connection.target)):
                if name not in names:
                    raise suggest(f"{where}.{end}", name, names)
            if connection.feedback not in FEEDBACK:
                raise suggest(f"{where}.feedback", connection.feedback, list(FEEDBACK))
            if not 0 <= connection.angle <= 180:
                raise InputError(f"{where}.angle = {connection.angle}: must be between 0 and 180 degrees")
            if connection.feedback != "untied" and connection.angle != Connection.angle:
                raise InputError(
                    f"{where}.angle = {connection.angle}: is not used by feedback = {connection.feedback!r}; leave it out"
                )
            if connection.target == INPUT:
                raise InputError(f"{where}: the input is clamped, nothing can lead to it")
            if connection.source == INPUT and connection.feedback != "none":
                raise InputError(f"{where}.feedback = {connection.feedback!r}: the input is clamped, write 'none'")
            self._check_kind(connection, where)
            directions = [connection.name]
            if connection.feedback != "none" and not connection.lateral:
                directions.append(connection.feedback_name)
            for direction in directions:
                if direction in seen:
                    raise InputError(f"{where}: {direction} exists already, made by connections.{seen[direction]}")
                seen[direction] = connection.name

    def _check_kind(self, connection: Connection, where: str) -> None:
        if connection.kind not in OPERATIONS:
            raise suggest(f"{where}.kind", connection.kind, list(OPERATIONS))
        takes = {f.name for f in fields(OPERATIONS[connection.kind])}
        for field in fields(Connection):
            if field.name in _OF_WINDOWS - takes and getattr(connection, field.name) != field.default:
                raise InputError(
                    f"{where}.{field.name} = {getattr(connection, field.name)!r}: is not used by kind = {connection.kind!r}; "
                    "leave it out"
                )
        if connection.kind == "identity" and connection.feedback == "untied":
            raise InputError(f"{where}.feedback = 'untied': kind = 'identity' has no weights; write 'tied' or 'none'")
        if connection.residual:
            shapes = [list(self.population(name).shape) for name in (connection.source, connection.target)]
            if connection.kind == "identity" or connection.lateral or shapes[0] != shapes[1]:
                raise InputError(
                    f"{where}.residual = true: goes with weights between two populations of the same shape, here kind = "
                    f"{connection.kind!r} from {shapes[0]} to {shapes[1]}"
                )
        try:
            operation = self.operation(connection)
        except InputError as error:
            raise InputError(f"{where}.{error}") from error
        if connection.lateral and connection.feedback == "untied":
            try:
                jax.eval_shape(operation.transposed_weight, jax.ShapeDtypeStruct(operation.weight_shape or (), float))
            except InputError as error:
                raise InputError(f"{where}.feedback = 'untied': {error}; write 'tied' or 'none'") from error

    def operation(self, connection: Connection) -> Operation:
        """What the connection does to the activity of its source."""
        kind = OPERATIONS[connection.kind]
        settings = {f.name: getattr(connection, f.name) for f in fields(kind) if f.name in _OF_WINDOWS}
        source, target = (self.population(name).shape for name in (connection.source, connection.target))
        return kind(source, target, **settings)

    def _check_reach(self, names: list[str]) -> None:
        forward, backward = self.neighbours(), self.neighbours(reverse=True)
        reach_output = _reachable(self.output, backward)
        lost = [n for n in names if n not in reach_output]
        if lost:
            raise InputError(
                f"populations: {', '.join(lost)} cannot reach the output {self.output!r}; add a connection that leads there"
            )
        if self.output not in _reachable(INPUT, forward):
            raise InputError(f"connections: no path leads from {INPUT!r} to the output {self.output!r}")

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

    def colouring(self) -> tuple[tuple[str, ...], ...]:
        """The relaxing populations in groups within which none acts on another, in the order of a sweep.

        Greedy in breadth-first order from the input, so that a chain gets two groups, the first of which sees the input.
        A lateral connection cannot be resolved by grouping: such a population sees its own previous activity.
        """
        forward, backward = self.neighbours(), self.neighbours(reverse=True)
        order = _breadth_first(INPUT, forward)
        order += [p.name for p in self.populations if p.name not in order]
        colours: dict[str, int] = {}
        for name in order:
            if name != INPUT:
                taken = {colours.get(other) for other in forward[name] | backward[name] if other != name}
                colours[name] = next(c for c in range(len(order)) if c not in taken)
        groups = range(max(colours.values()) + 1)
        return tuple(tuple(name for name in order if colours.get(name) == group) for group in groups)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], where: str = "topology") -> "Topology":
        """From the structure of a topology file: `output`, a table `populations` by name, a list `connections`.

        Raises `InputError` naming the key that is unknown, missing or of the wrong type.
        """
        for key in data:
            if key not in ("output", "populations", "connections"):
                raise unknown_key(where, key, ["output", "populations", "connections"])
        populations, connections = data.get("populations"), data.get("connections")
        if not isinstance(populations, Mapping) or not isinstance(connections, list):
            raise InputError(f"{where}: needs a table 'populations' and a list 'connections'")
        return cls(
            tuple(_record(Population, _table(p, f"{where}: populations.{n}"), f"{where}: populations.{n}", name=n)
                  for n, p in populations.items()),
            tuple(_record(Connection, _table(c, f"{where}: connections[{i}]"), f"{where}: connections[{i}]")
                  for i, c in enumerate(connections)),
            data.get("output", "output"),
        )  # fmt: skip

    @classmethod
    def from_file(cls, path: str | Path) -> "Topology":
        """From a TOML or JSON file. Raises `InputError` for a file that is missing or does not parse."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        except OSError as error:
            raise InputError(f"topology {path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise InputError(f"topology {path}: is not valid {path.suffix.lstrip('.') or 'TOML'}: {error}") from error
        return cls.from_mapping(_table(data, f"topology {path}"), f"topology {path}")


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where} = {value!r}: must be a table")
    return dict(value)


def _record(kind: type, values: dict[str, Any], where: str, **given: Any) -> Any:
    types = {f.name: f.type for f in fields(kind) if f.name not in given}
    for key, value in values.items():
        if key not in types:
            raise unknown_key(where, key, list(types))
        if types[key] is float and isinstance(value, int) and not isinstance(value, bool):
            values[key] = value = float(value)
        if key == "size":
            values[key] = _size(value, where)
        elif not isinstance(value, types[key]) or (isinstance(value, bool) and types[key] is not bool):  # pyright: ignore
            raise InputError(f"{where}.{key} = {value!r}: must be of type {types[key].__name__}")  # pyright: ignore
    try:
        return kind(**values, **given)
    except TypeError as error:
        raise InputError(f"{where}: {str(error).split(') ', 1)[-1]}") from error


def _size(value: Any, where: str) -> int | tuple[int, int, int]:
    match value:
        case bool():
            pass
        case int():
            return value
        case [int(), int(), int()]:
            height, width, channels = value
            return height, width, channels
    raise InputError(f"{where}.size = {value!r}: must be a whole number, or a list of height, width and channels")


def _breadth_first(start: str, neighbours: Mapping[str, Iterable[str]]) -> list[str]:
    order = [start]
    for name in order:
        order += [other for other in sorted(neighbours[name]) if other not in order]
    return order


def _reachable(start: str, neighbours: Mapping[str, Iterable[str]]) -> set[str]:
    return set(_breadth_first(start, neighbours))


def chain(
    sizes: Iterable[int | tuple[int, int, int]],
    *,
    activation: str,
    feedback: str = "untied",
    angle: float = 90.0,
    feedback_gain: float = 1.0,
) -> Topology:
    """input – hidden_1 – … – output, each pair of neighbours connected both ways.

    **Arguments:**

    - `angle`: where untied.
    - `feedback_gain`: γ, the factor on everything that leads back; the mobility of a layer is γ to the power of its distance
      from the output.
    """
    sizes = tuple(sizes)
    if feedback == "none" and feedback_gain != 1:
        raise InputError(f"feedback_gain = {feedback_gain}: is not used by feedback = 'none'; leave it out")
    if not 0 < feedback_gain < math.inf:
        raise InputError(f"feedback_gain = {feedback_gain}: must be a finite number above 0")
    names = [INPUT, *(f"hidden_{i}" for i in range(1, len(sizes) - 1)), "output"]
    distances = range(len(sizes) - 1, -1, -1)
    return Topology(
        tuple(
            Population(name, size) if name == INPUT else Population(name, size, activation, feedback_gain**distance)
            for name, size, distance in zip(names, sizes, distances, strict=True)
        ),
        tuple(
            Connection(a, b, "none") if a == INPUT else Connection(a, b, feedback, angle) for a, b in pairwise(names)
        ),
    )


def loop(sizes: Iterable[int], *, activation: str) -> Topology:
    """input → hidden_1 → … → output → hidden_1: a cycle in which no connection has a partner (arXiv 2309.02214, fig. 3)."""
    line = chain(sizes, activation=activation, feedback="none")
    relaxing = [p.name for p in line.relaxing]
    if len(relaxing) < 3:
        raise InputError(
            f"hidden = {[p.units for p in line.relaxing[:-1]]}: a loop needs at least two hidden populations"
        )
    return Topology(line.populations, (*line.connections, Connection(relaxing[-1], relaxing[0], "none")))


@dataclass(frozen=True)
class Stage:
    """A layer of a convolutional chain: its channels, and how it looks at the layer before (see `Connection`)."""

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: str = "same"
    pool: int = 1
    temperature: float = 1.0
    residual: bool = False


def convolutional(
    image: tuple[int, int, int],
    stages: Iterable[Stage],
    *,
    activation: str,
    feedback: str = "untied",
    angle: float = 90.0,
    feedback_gain: float = 1.0,
) -> Topology:
    """A chain of images, each a convolution and pooling of the one before; feedback is their transpose.

    **Arguments:**

    - `image`: height, width and channels of the input.
    - `feedback_gain`: as of `chain`.
    """
    stages = tuple(stages)
    shapes = [image]
    for number, stage in enumerate(stages, 1):
        reach = 0 if stage.padding == "same" else stage.kernel - 1
        sides = [-(-(side - reach) // stage.stride) for side in shapes[-1][:2]]
        if min(sides) < 1 or any(side % stage.pool for side in sides):
            raise InputError(
                f"images of {list(image)}: layer {number} would pool {sides} in windows of {stage.pool}; images of 32 by 32 fit "
                "every preset"
            )
        shapes.append((sides[0] // stage.pool, sides[1] // stage.pool, stage.channels))
    line = chain(shapes, activation=activation, feedback=feedback, angle=angle, feedback_gain=feedback_gain)
    connections = tuple(
        replace(
            connection,
            kind="convolution",
            kernel=stage.kernel,
            stride=stage.stride,
            padding=stage.padding,
            pool=stage.pool,
            temperature=stage.temperature,
            residual=stage.residual,
        )
        for connection, stage in zip(line.connections, stages, strict=True)
    )
    return Topology(line.populations, connections)
