"""What a system does in time."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from equiprop.errors import InputError, suggest
from equiprop.hardware._phase_coded import PhaseCoded
from equiprop.numerics import Figures, trees
from equiprop.solvers import METHODS, controller, diffrax, method_of
from equiprop.systems import Dynamics, Free, Motion, Nudged, System, in_parts, of_parts, verify, verify_cost


class Transient(Figures):
    """How a batch moved.

    **Fields:**

    - `times`: in the unit of the time constants.
    - `state`, `activity`: u and r at those times, `[times, batch, ...]`.
    - `wires`: what was on the wires, pole after pole, in the structure of the activity; empty where none lag.
    - `residual`: the largest force on any unit, `[times, batch]`, at the nudge of that time: how far from equilibrium it was.
    - `finished`: whether the method got to the end; what it did not reach is infinite.
    - `dense`: where it was in between: `at(t)`.
    """

    times: Float[Array, " times"]
    state: PyTree
    activity: PyTree
    wires: tuple[PyTree, ...]
    residual: Float[Array, "times batch"]
    finished: Bool[Array, ""]
    dense: Any = None

    def at(self, time: float) -> PyTree:
        """The state at any time, by the polynomials of the method. Raises `InputError` unless `dense` was asked for."""
        if self.dense is None:
            raise InputError("was not asked for", path="dense", hint="give transient(..., dense=True)")
        moving = of_parts(self.dense.evaluate(time), (jax.tree.map(lambda a: a[0], self.state), self.wires))
        return moving[0]

    def rows(self) -> Iterator[tuple[str, str]]:
        yield "times", f"{len(self.times)}, {float(self.times[0]):.4g} to {float(self.times[-1]):.4g}"
        yield "largest force at the end", f"{float(self.residual[-1].max()):.4g}"
        yield "finished", "yes" if bool(self.finished) else "no"


def transient(
    system: System,
    x: Any,
    times: Any,
    *,
    target: Any = None,
    nudge: complex | Callable[[Array], Array] = 0.0,
    state: PyTree | None = None,
    method: str = "auto",
    step: float | None = None,
    accuracy: float = 1e-6,
    dense: bool = False,
    key: PRNGKeyArray | None = None,
) -> Transient:
    """How a batch moves from where it starts, under a nudge that may change in time. Compiled when first called.

    It moves as the system's `dynamics` say, u̇ = F for one without: with time constants, slew and lagging wires, and where these
    are noisy by a stochastic differential equation whose noise does not depend on the state. Integrated by diffrax.

    **Arguments:**

    - `times`: at which the state is wanted, ascending; a transient starts at 0.
    - `target`: what the cost compares with, where there is a nudge.
    - `nudge`: β, or β as a function of time. A complex one has complex states.
    - `state`: where it starts, with wires at rest; by default where the system does.
    - `method`: `euler`, `heun`, `tsit5`, `dopri8`, or `kvaerno5`, which is implicit, for wires much faster than units. By default
      `tsit5`, or `heun` where there is noise, which takes that or `euler`.
    - `step`: of fixed length; by default as `accuracy` needs, the error of a step relative to how large a sample is and how far
      it may go in a time constant, and where there is noise a fiftieth of the fastest time constant.
    - `dense`: whether the states in between are wanted: `Transient.at`.
    - `key`: for noise.

    Raises `InputError` where diffrax is not installed, for times that do not ascend from 0, a nudge without a target, noise
    without a key, an unknown method or one that takes no noise, and what `estimate` raises for systems and targets.
    """
    diffrax()
    if isinstance(system, PhaseCoded) and system.harmonics:
        reason = "is on a carrier: its states are those of a whole period, and move in no time"
        raise InputError(reason, path="system", hint="give the system that is coded, or one coded as two units")
    verify(system, x)
    nudged = callable(nudge) or nudge != 0
    if nudged:
        if target is None:
            raise InputError("is needed, as there is a nudge", path="target")
        verify_cost(system, x, target)
        target = jax.tree.map(jnp.asarray, target)
    wanted = np.asarray(times, float)
    if (
        wanted.ndim != 1
        or not wanted.size
        or not np.all(np.isfinite(wanted))
        or wanted[0] < 0
        or wanted[-1] == 0
        or np.any(np.diff(wanted) <= 0)
    ):
        raise InputError("must be finite numbers that ascend, from 0 or later on", path="times")
    dynamics = Dynamics() if system.dynamics is None else system.dynamics
    noisy = dynamics.noise is not None
    if noisy and key is None:
        raise InputError("needs a key to draw it with", path="noise", hint="give transient(..., key=...)")
    if method == "auto":
        method = "heun" if noisy else "tsit5"
    if method not in METHODS:
        raise suggest("method", method, METHODS)
    if noisy and method not in _OF_NOISE:
        raise InputError("takes no noise", path="method", value=method, hint=f"use {' or '.join(_OF_NOISE)}")
    if step is not None and not step > 0:
        raise InputError("must be above 0", path="step", value=step)
    if noisy and step is None:
        fastest = dynamics.fastest
        if isinstance(fastest, Tracer):
            raise InputError(
                "has no value inside of a compiled function", path="step", hint="give transient(..., step=...)"
            )
        step = float(fastest) / _STEPS_OF_NOISE
    grid = None if step is None else jnp.asarray(_grid(wanted, step))
    beta = None if not nudged else nudge if callable(nudge) else jnp.asarray(nudge)
    return _moved(system, x, jnp.asarray(wanted), grid, target, beta, state, method, accuracy, dense, key)


_OF_NOISE = ("euler", "heun")
_STEPS_OF_NOISE = 50
_MOST_STEPS = 10_000_000


def _grid(times: np.ndarray, step: float) -> np.ndarray:
    """Times to step to, of which those wanted are some: between two steps a noisy state would be less so than it is."""
    ends = times if times[0] > 0 else times[1:]
    begins = np.concatenate([[0.0], ends[:-1]])
    pieces = [
        np.linspace(a, b, max(int(np.ceil((b - a) / step)), 1) + 1)[1:] for a, b in zip(begins, ends, strict=True)
    ]
    return np.concatenate([[0.0], *pieces])


@eqx.filter_jit
def _moved(
    system: System,
    x: Any,
    times: Float[Array, " times"],
    grid: Float[Array, " steps"] | None,
    target: PyTree,
    nudge: Any,
    state: PyTree | None,
    method: str,
    accuracy: float,
    dense: bool,
    key: PRNGKeyArray | None,
) -> Transient:
    library, free = diffrax(), Free(system.ready, system.injection(x))
    start = system.initial_state(x) if state is None else state

    def at(t: Array) -> Motion:
        if nudge is None:
            return Motion(free)
        beta = jnp.asarray(nudge(t) if callable(nudge) else nudge)
        return Motion(Nudged(free, system, target, jnp.broadcast_to(beta, trees.batch_size(start))))

    pushed = at(times[0]).field.force(start)
    start = jax.tree.map(lambda u, f: u.astype(f.dtype), start, pushed)
    moving = start, at(times[0]).wires_at_rest(start)
    parts = in_parts(moving)

    def velocity(t: Array, y: list[Array], args: None) -> list[Array]:
        del args
        return in_parts(at(t).velocity(of_parts(y, moving)))

    dynamics = Motion(free).dynamics
    terms = library.ODETerm(velocity)
    if dynamics.noise is not None:
        sigma = dynamics.noise
        spread = jax.tree.map(lambda t: sigma * jnp.sqrt(2 / t), dynamics.of_units(start))
        sizes = _for_parts(spread, moving)
        assert grid is not None
        shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in parts]
        path = library.VirtualBrownianTree(jnp.zeros(()), times[-1], jnp.min(jnp.diff(grid)) / 4, shapes, key)
        terms = library.MultiTerm(terms, library.ControlTerm(lambda *_: lx.DiagonalLinearOperator(sizes), path))
    if grid is None:
        reach = trees.max_abs(velocity(times[0], parts, None)) * dynamics.slowest
        stepping = controller(jnp.asarray(accuracy), trees.max_abs(parts) + reach)
    else:
        stepping = library.StepTo(ts=grid)
    found = library.diffeqsolve(
        terms,
        method_of(method),
        jnp.zeros_like(times[0]),
        times[-1],
        None,
        parts,
        saveat=library.SaveAt(ts=times, dense=dense),
        stepsize_controller=stepping,
        max_steps=4096 if dense else _MOST_STEPS,
        adjoint=library.DirectAdjoint() if dense else library.ForwardMode(),
        throw=False,
    )
    states, wires = jax.vmap(lambda y: of_parts(y, moving))(found.ys)
    return Transient(
        times=times,
        state=states,
        activity=jax.vmap(system.activity)(states),
        wires=wires,
        residual=jax.vmap(lambda t, u: trees.max_abs(at(t).field.force(u)))(times, states),
        finished=found.result == library.RESULTS.successful,
        dense=found.interpolation if dense else None,
    )


def _for_parts(spread: PyTree, moving: Any) -> list[Array]:
    """Of each real part of what moves how noisy it is: units are, wires are not."""
    state, wires = moving
    of_units = jax.tree.map(lambda s, u: jnp.broadcast_to(s, u.shape).astype(u.dtype), spread, state)
    both = jax.tree.map(lambda a: jax.lax.complex(a.real, a.real) if jnp.iscomplexobj(a) else a, of_units)
    return in_parts((both, jax.tree.map(jnp.zeros_like, wires)))
