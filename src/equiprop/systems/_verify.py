"""What a system promises, tested by numbers when it is first used: nothing else would notice that it is broken.

The tests run on up to seven samples, once for every system of the same structure, with its parameters and with others beside
them: what is nothing at the start may grow. Inside of compiled functions, where parameters and inputs have no values yet, random
ones take their place: what is tested are properties of the functions. What samples do to each other by less than a
ten-thousandth is not told from rounding.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

from equiprop.errors import InputError
from equiprop.numerics import AbstractCost, activation, require_numbers, trees
from equiprop.systems._layered import LayeredNetwork
from equiprop.systems._linearise import correct, leak_slope, membrane_jacobian, predict, slope
from equiprop.systems._system import System
from equiprop.systems._wrapper import innermost

# Rows that are moved along a batch by so many are where they were.
_TRIED = 7
# What single precision leaves in doubt where sums are long.
_ROUNDING = 1e-4

_verified: dict[Any, bool] = {}
"""What has been found of systems by their structure and the shapes that they met."""


def verify(system: System, x: Any, target: Any = None) -> None:
    """Raises `InputError` for what is no system, one whose parameters are complex, whose samples act on each other, or whose leak
    is not what it says; and for inputs that are no arrays of numbers with at least one sample.

    **Arguments:**

    - `target`: what the cost compares with, to check the cost too: see `verify_cost`.
    """
    if not isinstance(system, System):
        raise InputError(f"must be a system such as ep.mlp(...) or ep.from_force(...), not {system!r}", path="system")
    parameters = eqx.filter(system, eqx.is_inexact_array)
    for name, leaf in zip(trees.paths(parameters), jax.tree.leaves(parameters), strict=True):
        if jnp.iscomplexobj(leaf):
            hint = "hold its real and its imaginary part as two arrays"
            raise InputError("is complex, and a parameter must be real", path=name, hint=hint)
    require_numbers(x, "x", may_be_empty=True)
    if not _is_made_of_ours(innermost(system)):
        _once("force", system, x, _verify_force)
    if target is not None:
        verify_cost(system, x, target)


def verify_cost(system: System, x: Any, target: Any) -> None:
    """Raises `InputError` for inputs and targets that are no real numbers, and for a cost that does not give one number a sample,
    of that sample alone.
    """
    ours = _is_ours(getattr(system, "cost", None))
    require_numbers(x, "x", real=True, may_be_empty=True)
    # A cost of a user's own may compare with nothing.
    require_numbers(target, "target", real=True, may_be_empty=not ours)
    if ours:
        verify_labels(system, x, target)
    else:
        _once("cost", system, (x, target), lambda s, given: _verify_cost(s, *given))


def verify_labels(system: System, x: Any, labels: Any, path: str | tuple[str, ...] = "target") -> None:
    """Raises `InputError` for labels that are no classes of the cost. Inside of compiled functions they have no values."""
    if not isinstance(getattr(system, "cost", None), AbstractCost) or isinstance(labels, Tracer):
        return
    if getattr(labels, "ndim", 0) != 1 or not len(labels) or not jnp.issubdtype(labels.dtype, jnp.integer):
        return

    def looked_at(x: Any, labels: Any) -> tuple[Any, Any]:
        state = system.initial_state(x)
        return correct(system, state, labels), predict(system, state)

    first = jax.tree.map(lambda a: a[:1] if jnp.ndim(a) else a, (x, labels))

    try:
        decided, scores = jax.eval_shape(looked_at, *first)
    except InputError:
        return  # Of something else, and said where it is used.
    if decided is None:
        return
    values, classes = np.asarray(labels), scores.shape[-1]
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= classes:
        hint = (
            f"the cost tells {classes} classes apart: give labels from 0 to {classes - 1}, or real numbers as targets"
        )
        raise InputError(f"labels go from {low} to {high}", path=path, hint=hint)


def verify_state(system: System, x: Any, state: Any, path: str = "state") -> None:
    """Raises `InputError` for inputs that are no arrays of samples, and a state that is not of these samples of the system."""
    require_numbers(x, "x", may_be_empty=True)
    expected = jax.eval_shape(system.initial_state, x)
    found, wanted = (jax.tree.map(jnp.shape, tree) for tree in (state, expected))
    if found != wanted:
        hint = "give that of this system and this batch"
        raise InputError(f"is of shapes {found}, where the states have {wanted}", path=path, hint=hint)


def _is_made_of_ours(system: System) -> bool:
    """Whether it is a layered network of activations and connections that leave samples apart, and tell their leak."""
    if not isinstance(system, LayeredNetwork):
        return False
    parts = [activation(population.activation) for population in system.topology.relaxing]
    parts += [edge.operation for edge in system.edges]
    return all(type(part).__module__.startswith("equiprop.") for part in parts)


def _is_ours(cost: Any) -> bool:
    """Whether a cost has tests of its own; where its target does not fit it says so itself."""
    return isinstance(cost, AbstractCost) and type(cost).__module__.startswith("equiprop.")


def is_holomorphic(system: System, x: Any) -> bool:
    """Whether F and φ continue analytically to complex states: as the system says, or as tested where it does not."""
    if system.coding is not None:
        system = system.coding.system
    if system.holomorphic is not None:
        return system.holomorphic
    return _once("holomorphic", system, x, _looks_holomorphic)


def _once(what: str, system: System, given: Any, test: Callable[[System, Any], bool | None]) -> bool:
    arrays, static = eqx.partition((system, given), eqx.is_array)
    leaves, structure = jax.tree.flatten(static)
    shapes = tuple((a.shape, str(a.dtype)) for a in jax.tree.leaves(arrays))
    key = (what, type(system), tuple(leaves), structure, jax.tree.structure(arrays), shapes)
    if key not in _verified:
        with jax.ensure_compile_time_eval():
            arrays = jax.tree.map(_value, arrays)
            # A graphics card multiplies in ten bits of precision unless it is told not to.
            with jax.default_matmul_precision("highest"):
                _verified[key] = test(*eqx.combine(arrays, static)) is not False
    return _verified[key]


def _value(array: Any) -> Array:
    if not isinstance(array, Tracer) and getattr(array, "is_fully_addressable", True):
        return jnp.asarray(array)
    drawn = np.random.default_rng(array.size).normal(size=array.shape)
    return jnp.asarray(0.3 * drawn if jnp.issubdtype(array.dtype, jnp.inexact) else np.zeros(array.shape), array.dtype)


# What is asked of a system is compiled, a program a question, and the answers are compared by NumPy: operation by operation JAX
# would compile a hundred programs.


@eqx.filter_jit
def _initial_state(system: System, x: Any) -> PyTree:
    return system.initial_state(x)


@eqx.filter_jit
def _force(system: System, state: PyTree, x: Any) -> PyTree:
    return system.force(state, system.injection(x))


@eqx.filter_jit
def _output(system: System, state: PyTree) -> PyTree:
    return system.output(system.activity(state))


@eqx.filter_jit
def _cost(system: System, output: Any, target: Any) -> Array:
    return system.cost(output, target)


def _numbers(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: np.asarray(a) if _is_number(a) else a, tree)


def _is_number(array: Any) -> bool:
    return not jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def _some(x: Any, samples: int, first: int = 0) -> Any:
    return jax.tree.map(lambda a: a[first : first + samples], x)


def _drawn_like(state: PyTree, size: float, seed: int) -> PyTree:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda u: (size * rng.normal(size=u.shape)).astype(u.dtype), state)


def _verify_force(system: System, x: Any) -> None:
    # Of the whole batch: what a system finds wrong with its inputs it says of those that were given.
    x, state = _numbers((x, _initial_state(system, x)))
    few = min(_TRIED, trees.batch_size(state))
    inputs, state = _some(x, few), _some(state, few)
    for size, it in ((0.1, system), (1.0, system), (1.0, _elsewhere(system))) if few > 1 else ():
        here = jax.tree.map(np.add, state, _drawn_like(state, size, 0))
        _verify_alone("force on", few, lambda u, given, it=it: _force(it, u, given), here, inputs)
        _verify_alone("output of", few, lambda u, _, it=it: _output(it, u), here, inputs)
    _verify_leak(system, _some(x, 1))


def _elsewhere(system: System) -> System:
    """The system with parameters as a training may find them."""
    parameters, rest = eqx.partition(system, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(np.add, _numbers(parameters), _drawn_like(parameters, 0.3, 3)), rest)


def _verify_alone(what: str, samples: int, function: Callable[[PyTree, Any], PyTree], *given: Any) -> None:
    """That each sample gets by itself what it gets among others."""
    together = _numbers(function(*given))
    for row in range(samples):
        try:
            alone = function(*(_some(each, 1, row) for each in given))
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            reason = f"the {what} one sample cannot be computed by itself ({error})"
            hint = "let the leading axis be the samples, and each row stand alone"
            raise InputError(reason, path=what.split()[0], hint=hint) from error
        if not _agree(_some(together, 1, row), _numbers(alone), _ROUNDING):
            raise InputError(
                f"the {what} a sample depends on the other samples of its batch",
                path=what.split()[0],
                hint="let each row stand alone",
            )


def _agree(a: PyTree, b: PyTree, precision: float) -> bool:
    """Whether two pytrees are equal but for rounding; yes where they are no numbers, of which other checks tell."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    with np.errstate(invalid="ignore", over="ignore"):
        return all(
            p.shape == q.shape and bool(np.all(~(np.abs(p - q) > precision * (1 + np.abs(p) + np.abs(q)))))
            for p, q in pairs
        )


# Where an activation is this flat, what the force still owes to the state is the leak.
_FLAT = 1e-7


_SIZES = np.outer([0.3, 1.0, 3.0, 10.0, 30.0, 100.0], [1, -1]).reshape(-1)
"""Of states at which units may be flat: below a threshold, or saturated."""


def _verify_leak(system: System, x: Any) -> None:
    """Where the activity is flat, as where it saturates, ∂F/∂u must be −ℓ′: what else depends on u is not of this form."""
    found = _where_flat(system, x)
    if found is None:
        return
    flat, said, met = (jax.tree.leaves(_numbers(tree)) for tree in found)
    if not _agree(met, [-k * f.astype(k.dtype) for f, k in zip(flat, said, strict=True)], 1e-3):
        rates = np.concatenate([-m[f] for f, m in zip(flat, met, strict=True)])
        told = np.concatenate([k[f] for f, k in zip(flat, said, strict=True)])
        raise InputError(
            f"where the activity is flat the force falls by {_spread(rates)} for each unit of the state, and the leak says "
            f"{_spread(told)}",
            path="leak",
            hint="give the one that was found, or leak=None if the force is not H(φ(u)) − leak·u",
        )


@eqx.filter_jit
def _where_flat(system: System, x: Any) -> tuple[PyTree, PyTree, PyTree] | None:
    """Which units are flat at some states, ℓ′ there, and ∂F/∂u along all flat units; `None` of a system without a leak."""
    x = jax.tree.map(lambda a: jnp.repeat(a, len(_SIZES), axis=0), x)
    state = system.initial_state(x)
    if system.activity(state) is state or system.leak(state) is None:
        return None
    signs = jax.tree.map(lambda u: np.sign(u[:1]), _drawn_like(state, 1.0, 1))
    here = jax.tree.map(lambda u, s: jnp.asarray(trees.per_sample(jnp.asarray(_SIZES), u) * s, u.dtype), state, signs)
    flat = jax.tree.map(lambda d: jnp.abs(d) < _FLAT, slope(system, here))
    v = jax.tree.map(lambda f, u: f.astype(u.dtype), flat, here)
    return flat, leak_slope(system, here), membrane_jacobian(system, here, system.injection(x))(v)


def _spread(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.3g}" if abs(high - low) <= 1e-3 * (1 + abs(high)) else f"{low:.3g} to {high:.3g}"


def _verify_cost(system: System, x: Any, target: Any) -> None:
    if not isinstance(system.cost, AbstractCost):
        raise InputError("must be a cost object such as ep.SquaredError()", path="cost", value=system.cost)
    state = _initial_state(system, x)
    few = min(2, trees.batch_size(state))
    state, target = _some(_numbers((state, target)), few)
    output = _output(system, state)
    output = np.random.default_rng(2).uniform(0.1, 0.9, output.shape).astype(output.dtype)
    cost = np.asarray(_cost(system, output, target))
    if cost.shape != (few,):
        raise InputError(
            f"gives an array of shape {list(cost.shape)} for {few} samples: must give one number a sample, not their mean",
            path="cost",
        )
    if few > 1:
        alone = np.asarray(_cost(system, output[:1], _some(target, 1)))
        if not _agree(cost[:1], alone, _ROUNDING):
            raise InputError("that of a sample depends on the other samples of its batch", path="cost")


_CIRCLE = 16
_RADIUS = 0.02
_PRECISION = 1e-4
_TRIALS = 2**13
"""So many units at random states: some of them are within a circle of any kink between −8 and 8."""


def _looks_holomorphic(system: System, x: Any) -> bool:
    """Cauchy's mean value property and the Cauchy–Riemann equations of F and φ at random states.

    On small circles around real states the mean of a holomorphic function is its value at the centre; around a kink it is not,
    and of many units at states of several sizes some are near one. Conjugates and absolute values break i·f′(z) = ∂f/∂(iz).
    """
    real = _some(_numbers(_initial_state(system, x)), 1)
    units = sum(leaf.size for leaf in jax.tree.leaves(real))
    rows = max(_TRIALS // units, 24)
    sizes = jnp.asarray(np.random.default_rng(0).choice([0.3, 1.0, 3.0, 8.0], rows))
    try:
        found = _near_real_states(system, _some(_numbers(x), 1), real, sizes)
    except InputError:
        raise
    except (TypeError, ValueError):
        # A function that does not take complex numbers at all.
        return False
    mean, here, turned, across = _numbers(found)
    return _agree(mean, here, _PRECISION) and _agree(turned, across, _PRECISION)


@eqx.filter_jit
def _near_real_states(system: System, x: Any, real: PyTree, sizes: Array) -> tuple[PyTree, PyTree, PyTree, PyTree]:
    """F and φ: their means over small circles, values at the centres, i times a derivative beside, and that along i."""
    x, real = (jax.tree.map(lambda a: jnp.repeat(a, len(sizes), axis=0), tree) for tree in (x, real))
    dtype = jnp.result_type(trees.dtype_of(real), jnp.complex64)
    centre, v = (
        jax.tree.map(lambda a: jnp.asarray(trees.per_sample(sizes, a) * a, dtype), _spread_like(real, seed))
        for seed in (1, 2)
    )
    turn = _RADIUS * np.exp(2j * np.pi * np.arange(_CIRCLE) / _CIRCLE)

    def both(u: PyTree, inputs: Any) -> tuple[PyTree, PyTree]:
        return system.force(u, system.injection(inputs)), system.activity(u)

    circle = jax.tree.map(lambda u: jnp.concatenate([u + jnp.asarray(t, dtype) for t in turn]), centre)
    around = both(circle, jax.tree.map(lambda a: jnp.tile(a, (_CIRCLE, *(1,) * (a.ndim - 1))), x))
    mean = jax.tree.map(lambda a: a.reshape(_CIRCLE, len(sizes), *a.shape[1:]).mean(axis=0), around)
    beside = jax.tree.map(lambda u, w: u + 0.1j * jnp.sign(w.real), centre, v)
    _, product = jax.linearize(lambda u: both(u, x), beside)
    turned = jax.tree.map(lambda a: 1j * a, product(v))
    return mean, both(centre, x), turned, product(jax.tree.map(lambda a: 1j * a, v))


def _spread_like(state: PyTree, seed: int) -> PyTree:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda u: jnp.asarray(rng.uniform(-1, 1, size=u.shape), u.dtype), state)
