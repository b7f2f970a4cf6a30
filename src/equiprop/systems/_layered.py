"""Networks of populations on any directed graph: F = H(θ, r, x) − u."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from math import prod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PRNGKeyArray

from equiprop.errors import InputError
from equiprop.numerics import COSTS, AbstractCost, activation, real_dtype
from equiprop.systems._system import Block, System
from equiprop.systems._topology import INPUT, Connection, Topology
from equiprop.systems.connections import AbstractOperation, Identity


@dataclass(frozen=True)
class Edge:
    """One direction of a connection: which weight carries `source` to `target`, forwards or through its transpose.

    `parameter`: the name of the weight, or `None` where there is none.
    `factor`: on what arrives; other than 1 for feedback between populations of different mobility.
    """

    source: str
    target: str
    parameter: str | None
    transposed: bool
    operation: AbstractOperation
    factor: float = 1.0


class LayeredNetwork(System):
    """Populations with elementwise activations, connected by weights in any directed graph (arXiv 2309.02214, section 3).

    The force on population p is F_p = Σ_q W_qp·r_q + b_p + (input) − u_p with r = φ(u); what leads back along a connection from
    p to q is multiplied by μ_p/μ_q, the ratio of their mobilities, and so is what goes one way, to where the mobility is lower.
    A state is a dictionary from the name of each relaxing population to `[batch, size]` or `[batch, height, width, channels]`.

    **Fields:**

    - `weights`: by connection, `source->target`. The weight of an untied feedback direction `b->a` is stored in the shape of
      its forward partner `a->b` and applied through its transpose, so that a network is symmetric where the two are equal.
    - `biases`: by population, one a unit; one a channel where the population is an image.
    - `cost`: C(r_output, y), with its own parameters if any.
    - `topology`: the graph.
    """

    weights: dict[str, Float[Array, "..."]]
    biases: dict[str, Float[Array, " channels"]]
    cost: AbstractCost
    topology: Topology = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        topology: Topology,
        *,
        classes: int,
        key: PRNGKeyArray,
        cost: str = "softmax_readout",
        gain: float = 1.0,
        dtype: Any = None,
    ) -> "LayeredNetwork":
        """Random weights for `topology`, uniform in ±gain/√inputs; zero biases; feedback at the angles it asks for.

        **Arguments:**

        - `classes`: the number of classes of the targets.
        - `cost`: the kind of a cost: `softmax_readout`, `softmax_cross_entropy` or `squared_error`, or `file.py:Class`.
        - `dtype`: of all parameters; by default JAX's default float.

        Raises `InputError` for an unknown cost, or one that needs as many output units as there are classes.
        """
        dtype = jnp.dtype(dtype or jnp.result_type(float))
        cost_key, *keys = jax.random.split(key, 1 + len(topology.connections))
        weights: dict[str, Array] = {}
        for connection, weight_key in zip(topology.connections, keys, strict=True):
            weights |= _initial_weights(connection, topology.operation(connection), weight_key, dtype, gain)
        biases = {p.name: jnp.zeros(p.shape[-1], dtype) for p in topology.relaxing}
        n = topology.population(topology.output).units
        readout = COSTS.find(cost).create(n, classes, key=cost_key, dtype=dtype)  # pyright: ignore[reportAttributeAccessIssue]
        return cls(weights=weights, biases=biases, cost=readout, topology=topology)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Every direction of every connection between relaxing populations."""
        edges = []
        for connection in self.topology.connections:
            if connection.source != INPUT:
                edges += _edges(self.topology, connection)
        return tuple(edges)

    def weight_of(self, edge: Edge) -> Array | None:
        """The weight through which an edge acts; `None` if it has none."""
        return None if edge.parameter is None else self.weights[edge.parameter]

    @property
    def mobility(self) -> dict[str, float] | None:
        mobilities = {p.name: p.mobility for p in self.topology.relaxing}
        return None if all(mobility == 1 for mobility in mobilities.values()) else mobilities

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """For each untied pair, by its forward name, the names of the forward and of the feedback weight."""
        return self.topology.pairs

    @property
    def fully_paired(self) -> bool:
        return self.topology.paired

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.topology.in_turn()

    @property
    def holomorphic(self) -> bool | None:
        said = {activation(p.activation).holomorphic for p in self.topology.relaxing}
        return False if False in said else None if None in said else True

    def injection(self, x: Array) -> dict[str, Array]:
        """b + W_input·x for every population; `x` is `[batch, ...]` and takes the shape of the input population."""
        clamped = self._clamped(x)
        injection = {
            p.name: jnp.broadcast_to(self.biases[p.name], (x.shape[0], *p.shape)) for p in self.topology.relaxing
        }
        for connection in self.topology.connections:
            if connection.source == INPUT:
                for edge in _edges(self.topology, connection):
                    injection[edge.target] = injection[edge.target] + edge.operation.apply(
                        self.weight_of(edge), clamped
                    )
        return injection

    def _clamped(self, x: Array) -> Array:
        """The activity of the input population. Raises `InputError` for what has not its size."""
        shape = self.topology.population(INPUT).shape
        given = getattr(x, "shape", None)
        if not given or prod(given[1:]) != prod(shape):
            found = f"not {type(x).__name__}" if given is None else f"not {list(given)}"
            raise InputError(f"must be an array of shape [batch, {', '.join(map(str, shape))}], {found}", path="x")
        return x.reshape(given[0], *shape)

    def initial_state(self, x: Array) -> dict[str, Array]:
        """Zeros in the precision of the parameters."""
        batch = self._clamped(x).shape[0]
        return {p.name: jnp.zeros((batch, *p.shape), self.biases[p.name].dtype) for p in self.topology.relaxing}

    def activity(self, state: dict[str, Array]) -> dict[str, Array]:
        return {name: activation(self.topology.population(name).activation)(u) for name, u in state.items()}

    def output(self, activity: dict[str, Array]) -> Inexact[Array, "batch n"]:
        last = activity[self.topology.output]
        return last.reshape(last.shape[0], -1)

    def singularity_distance(self, state: dict[str, Array]) -> Float[Array, " batch"]:
        distances = [
            activation(self.topology.population(name).activation)
            .singularity_distance(u)
            .reshape(u.shape[0], -1)
            .min(axis=1)
            for name, u in state.items()
        ]
        return reduce(jnp.minimum, distances)

    def _carried(self, activity: dict[str, Array], only: Block) -> dict[str, Array | None]:
        """What arrives at each population; `None` where no edge leads."""

        def along(edge: Edge) -> Array:
            weight, r = self.weight_of(edge), activity[edge.source]
            if edge.transposed:
                return edge.operation.apply_transpose(weight, r, activity[edge.target])
            return edge.operation.apply(weight, r)

        return self._summed(along, only)

    def _summed(self, along: Callable[[Edge], Array], only: Block) -> dict[str, Array | None]:
        """Σ over the incoming edges of each population; `None` where there is none."""
        result: dict[str, Array | None] = dict.fromkeys(only or [p.name for p in self.topology.relaxing])
        for edge in self.edges:
            if edge.target in result:
                carried = along(edge)
                if edge.factor != 1:
                    carried = edge.factor * carried
                so_far = result[edge.target]
                result[edge.target] = carried if so_far is None else so_far + carried
        return result

    def force(self, state: dict[str, Array], injection: dict[str, Array], only: Block = None) -> dict[str, Array]:
        recurrent = self._carried(self.activity(state), only)
        force = {}
        for name, carried in recurrent.items():
            constant = injection[name].astype(state[name].dtype)
            force[name] = (constant if carried is None else constant + carried) - state[name]
        return force

    def measured_from(self, activity: dict[str, Array]) -> tuple[dict[str, Array], tuple[Any, ...]]:
        """The activity, and of every edge what its operation measures from."""

        def of(edge: Edge) -> Any:
            return edge.operation.measured_from(
                self.weight_of(edge), activity[edge.target if edge.transposed else edge.source]
            )

        return activity, tuple(map(of, self.edges))

    def force_difference(
        self,
        origin: tuple[dict[str, Array], tuple[Any, ...]],
        displacement: dict[str, Array],
        response: dict[str, Array],
        only: Block = None,
    ) -> dict[str, Array] | None:
        if not all(edge.operation.tells_differences for edge in self.edges):
            return None
        activity, origins = origin[0], dict(zip(self.edges, origin[1], strict=True))

        def along(edge: Edge) -> Array:
            weight, here, change = self.weight_of(edge), origins[edge], response[edge.source]
            if edge.transposed:
                return edge.operation.transpose_difference(
                    weight, here, activity[edge.source], change, response[edge.target]
                )
            return edge.operation.difference(weight, here, change)

        recurrent = self._summed(along, only)
        return {name: (0 if c is None else c) - displacement[name] for name, c in recurrent.items()}

    def leak(self, state: dict[str, Array]) -> dict[str, Array]:
        return state

    def recurrent_input(self, activity: dict[str, Array], injection: dict[str, Array]) -> dict[str, Array]:
        """H(r) without the input and the biases."""
        del injection
        carried = self._carried(activity, None)
        return {name: jnp.zeros_like(activity[name]) if c is None else c for name, c in carried.items()}


def _edges(topology: Topology, connection: Connection) -> list[Edge]:
    """Both directions of a connection, or one; and again without weights where it is residual."""
    operation = topology.operation(connection)
    weighted = operation.weight_shape is not None
    source, target = (topology.population(name) for name in (connection.source, connection.target))
    forward = Edge(source.name, target.name, connection.name if weighted else None, False, operation)
    backward = replace(
        forward, source=target.name, target=source.name, transposed=True, factor=source.mobility / target.mobility
    )
    # A tied lateral connection acts through W + Wᵀ, whatever W is; an untied one through W alone.
    match connection.feedback:
        case "tied":
            edges = [forward, backward]
        case "untied" if not connection.lateral:
            edges = [forward, replace(backward, parameter=connection.feedback_name)]
        case _:
            # One way: what comes from where the cost reads to where it does not is feedback, whatever it passes.
            relaxing = connection.source != INPUT
            edges = [replace(forward, factor=min(1.0, target.mobility / source.mobility)) if relaxing else forward]
    if connection.residual:
        carry = Identity(source.shape, target.shape)
        edges += [replace(edge, parameter=None, operation=carry) for edge in edges]
    return edges


def _initial_weights(
    connection: Connection, operation: AbstractOperation, key: PRNGKeyArray, dtype: jnp.dtype, gain: float
) -> dict[str, Array]:
    if operation.weight_shape is None:
        return {}
    forward_key, feedback_key = jax.random.split(key)
    forward = operation.initial_weight(forward_key, dtype, gain)
    if connection.lateral:
        return {connection.name: _lateral_weight(connection, operation, forward, dtype)}
    if connection.feedback != "untied":
        return {connection.name: forward}
    angle = jnp.deg2rad(jnp.asarray(connection.angle, dtype))
    random = operation.initial_weight(feedback_key, dtype, gain)
    return {connection.name: forward, connection.feedback_name: jnp.sin(angle) * random + jnp.cos(angle) * forward}


def _lateral_weight(connection: Connection, operation: AbstractOperation, weight: Array, dtype: jnp.dtype) -> Array:
    """The random `weight` turned until the angle between it and its transpose is the one asked for, at the same norm."""
    if connection.feedback == "tied":
        return weight / 2**0.5
    if connection.feedback == "none":
        return weight
    transposed = operation.transposed_weight(weight)
    symmetric, antisymmetric = (weight + transposed) / 2, (weight - transposed) / 2
    half = jnp.deg2rad(jnp.asarray(connection.angle / 2, dtype))
    norms = [
        jnp.maximum(jnp.linalg.norm(part), jnp.finfo(real_dtype(dtype)).tiny) for part in (symmetric, antisymmetric)
    ]
    unit = jnp.cos(half) * symmetric / norms[0] + jnp.sin(half) * antisymmetric / norms[1]
    return unit * jnp.linalg.norm(weight)
