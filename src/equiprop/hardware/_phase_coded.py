"""Systems whose complex states are held in real numbers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.numerics import filtered, thaw
from equiprop.systems import (
    AbstractCoding,
    AbstractWrapper,
    Block,
    Dynamics,
    System,
    cost_gradient,
    only_block,
)


class PhaseCoded(AbstractWrapper, AbstractCoding):
    """A system with two real numbers, its channels, for every complex one. Made by `PhaseCoding.of`.

    Every leaf of its state has two more axes, `[..., 2, M]`: real and imaginary part of z, that is A·cos θ and A·sin θ, and M
    instants of a period of 2Ω, one where there is no carrier. On a carrier it is at rest where it is periodic: its force is that
    on the states at all instants, less what they move, by harmonics k of ω = 2Ω as `equiprop.HarmonicBalance` has them,
    (f − ikωτ·s)_k/(1 + ikωτ). What is read is the mean over the period.

    **Fields:**

    - `system`: what is coded.
    - `sizes`: the numbers of `PhaseCoding` that have an effect, frozen.
    - `harmonics`: 0 where there is no carrier.
    """

    system: System
    sizes: PyTree
    harmonics: int = eqx.field(static=True)

    @classmethod
    def make(cls, system: System, sizes: PyTree, harmonics: int) -> "PhaseCoded":
        if system.coding is not None:
            raise InputError("is coded already", path="system", value=type(system).__name__)
        dynamics = system.dynamics
        if harmonics and dynamics is not None and (dynamics.slew, dynamics.noise, *dynamics.poles) != (None, None):
            reason = "what lags or limits units beside their time constants is not modelled on a carrier"
            raise InputError(reason, path="timing", hint="give time constants alone, or code numbers as two units")
        return cls(system=system, sizes=sizes, harmonics=harmonics)  # pyright: ignore[reportCallIssue]

    def size(self, name: str, like: Array) -> Float[Array, ""] | None:
        """One of the numbers of `PhaseCoding`; `None` where it has no effect."""
        held = thaw(self.sizes).get(name)
        return None if held is None else held.astype(like.real.dtype)

    @property
    def instants(self) -> int:
        return 2 * self.harmonics + 1

    @property
    def _mixes(self) -> bool:
        """Whether what arrives comes through mixers that are not perfect."""
        return not set(self.sizes) <= {"floor"}

    @property
    def _by_parts(self) -> bool:
        """Whether the force is that of the system and nothing else."""
        return not self.sizes

    # What relaxes.

    def initial_state(self, x: Any) -> PyTree:
        """Real, and at all instants alike."""

        def one(u: Array) -> Array:
            return jnp.broadcast_to(jnp.stack([u, jnp.zeros_like(u)], axis=-1)[..., None], (*u.shape, 2, self.instants))

        return jax.tree.map(one, self.system.initial_state(x))

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        numbers = _numbers(state)
        force = jax.vmap(lambda z: self.system.force(z, injection, only))(numbers)
        if self._mixes:
            leak = only_block(jax.vmap(self._leak_of)(numbers), only)
            force = jax.tree.map(lambda f, k: self._arriving(f + k) - k, force, leak)
        force = _channels(self._detected(force, only_block(numbers, only)))
        if not self.harmonics:
            return force
        state = only_block(state, only)
        tau = self._time_constants(state)
        left = jax.tree.map(lambda f, u, t: f - t * self._filtered(lambda s: s, u), force, state, tau)
        return self._averaged(left)

    def _leak_of(self, numbers: PyTree) -> PyTree:
        leak = self.system.leak(numbers)
        if leak is None:
            reason = "the system does not say what its leak is, and only what is beside it comes through mixers"
            hint = "give from_force an activity and a leak, or code numbers as two units without errors"
            raise InputError(reason, path="coding", hint=hint)
        return leak

    def _arriving(self, sent: Inexact[Array, "instants ..."]) -> Inexact[Array, "instants ..."]:
        """What mixers make of what is on a wire: h + h̄·e^(−2iΩt), in two channels that need not be alike."""
        mixed = sent
        if self.harmonics:
            turn = np.exp(-2j * np.pi * np.arange(self.instants) / self.instants)
            turn = jnp.asarray(turn, sent.dtype).reshape(-1, *(1,) * (sent.ndim - 1))
            mixed = sent + turn * sent.conj()
        second, gain, angle = mixed, self.size("gain_error", sent), self.size("angle_error", sent)
        if angle is not None:
            second = second * jnp.exp(-1j * angle).astype(sent.dtype)
        second = second.imag if gain is None else (1 + gain) * second.imag
        return jax.lax.complex(mixed.real, second)

    def _detected(self, force: PyTree, numbers: PyTree) -> PyTree:
        """What of a force moves amplitudes and phases: of that across z the part A²/(A² + A₀²)."""

        def one(f: Array, z: Array) -> Array:
            floor, square = self.size("floor", z), z.real**2 + z.imag**2
            assert floor is not None
            across = (f * z.conj()).imag / jnp.where(square > 0, square, 1)
            return f - 1j * z * across * floor**2 / (square + floor**2)

        return jax.tree.map(one, force, numbers) if "floor" in self.sizes else force

    def _averaged(self, pushed: PyTree) -> PyTree:
        """What units average out of a force: f_k/(1 + ikωτ) of harmonic k."""
        if not self.harmonics:
            return pushed
        tau = self._time_constants(pushed)
        return jax.tree.map(lambda f, t: self._filtered(lambda s: 1 / (1 + s * t), f), pushed, tau)

    def _filtered(self, response: Callable[[Array], Array], signal: Array) -> Array:
        carrier = self.size("carrier", signal)
        assert carrier is not None
        return filtered(response, signal, 4 * jnp.pi * carrier, axis=-1)

    def _time_constants(self, like: PyTree) -> PyTree:
        """τ of every unit, as it broadcasts."""
        tau = Dynamics().time_constants if self.system.dynamics is None else self.system.dynamics.time_constants
        return _beside(tau, like)

    def activity(self, state: PyTree) -> PyTree:
        numbers = _numbers(state)
        one = jax.tree.map(lambda z: z[0], numbers)
        # Where r = u, that is to be seen: they are the same object.
        return state if self.system.activity(one) is one else _channels(jax.vmap(self.system.activity)(numbers))

    def output(self, activity: PyTree) -> PyTree[Inexact[Array, "batch ..."]]:
        return self.system.output(jax.tree.map(lambda r: r[..., 0, :].mean(axis=-1), activity))

    def leak(self, state: PyTree) -> PyTree | None:
        return self._in_parts(self.system.leak, state)

    def recurrent_input(self, activity: PyTree, injection: Any) -> PyTree | None:
        return self._in_parts(lambda r: self.system.recurrent_input(r, injection), activity)

    def measured_from(self, activity: PyTree) -> PyTree:
        return activity

    def force_difference(
        self, origin: PyTree, displacement: PyTree, response: PyTree, only: Block = None
    ) -> PyTree | None:
        def told(activity: PyTree, moved: PyTree, response: PyTree) -> PyTree | None:
            return self.system.force_difference(self.system.measured_from(activity), moved, response, only)

        return self._in_parts(told, origin, displacement, response)

    def _in_parts(self, function: Callable[..., PyTree | None], *held: PyTree) -> PyTree | None:
        """What a function of complex numbers gives; `None` where it says nothing of the force."""
        if not self._by_parts:
            return None
        numbers = [_numbers(tree) for tree in held]
        one = jax.eval_shape(lambda trees: function(*jax.tree.map(lambda z: z[0], trees)), numbers)
        return None if one is None else _channels(jax.vmap(function)(*numbers))

    @property
    def mobility(self) -> PyTree | None:
        return None if self.system.mobility is None else jax.tree.map(_with_channels, self.system.mobility)

    @property
    def dynamics(self) -> Dynamics | None:
        dynamics = self.system.dynamics
        if self.harmonics or dynamics is None:
            return None
        tau = jax.tree.map(_with_channels, dynamics.time_constants)
        return dataclasses.replace(dynamics, time_constants=tau)

    def singularity_distance(self, state: PyTree) -> Float[Array, " batch"]:
        return self.system.singularity_distance(self.in_phase(state))

    # Complex nudges.

    @property
    def coding(self) -> AbstractCoding:
        return self

    def nudging(self, state: PyTree, activity: PyTree, target: PyTree, nudge: Inexact[Array, " batch"]) -> PyTree:
        def one(r: PyTree) -> PyTree:
            gradient = cost_gradient(self.system, r, target)
            return jax.tree.map(lambda g: nudge.reshape(-1, *(1,) * (g.ndim - 1)) * g, gradient)

        pushed = jax.vmap(one)(_numbers(activity))
        if self._mixes:
            pushed = jax.tree.map(self._arriving, pushed)
        return self._averaged(_channels(self._detected(pushed, _numbers(state))))

    def phasors(self, activity: PyTree) -> PyTree:
        """The mean over the period, in the first channel and spread over the instants, as a sum over them is to give it."""

        def one(r: Array) -> Array:
            mean = r.mean(axis=-1) / self.instants
            read = jax.lax.complex(mean[..., 0], mean[..., 1])
            both = jnp.stack([read, jnp.zeros_like(read)], axis=-1)[..., None]
            return jnp.broadcast_to(both, (*r.shape[:-1], self.instants))

        return jax.tree.map(one, activity)

    def in_phase(self, state: PyTree) -> PyTree:
        return jax.tree.map(lambda u: u[..., 0, :].mean(axis=-1), state)

    # What it is on.

    def _with(self, system: System) -> "PhaseCoded":
        return dataclasses.replace(self, system=system)

    @property
    def ready(self) -> "PhaseCoded":
        return self._with(self.system.ready)

    @property
    def believed(self) -> "PhaseCoded":
        return self._with(self.system.believed)

    @property
    def departures(self) -> dict[str, System]:
        return {name: self._with(system) for name, system in self.system.departures.items()}

    def updated(self, updates: PyTree, *, key: PRNGKeyArray) -> "PhaseCoded":
        return self._with(self.system.updated(updates.system, key=key))

    def measured(self, activity: PyTree, *, key: PRNGKeyArray) -> PyTree | None:
        read = self.system.measured(jax.tree.map(lambda z: z.mean(axis=0), _numbers(activity)), key=key)
        if read is None:
            return None
        return jax.tree.map(lambda z, r: jnp.broadcast_to(_pair(z), r.shape), read, activity)

    @property
    def reading_error(self) -> Float[Array, ""] | None:
        return self.system.reading_error

    @property
    def weights(self) -> Any:
        """Those of the system."""
        return self.system.weights  # pyright: ignore[reportAttributeAccessIssue]


def _numbers(tree: PyTree) -> PyTree:
    """The complex numbers of two channels, the instants on a leading axis."""
    return jax.tree.map(lambda a: jnp.moveaxis(jax.lax.complex(a[..., 0, :], a[..., 1, :]), -1, 0), tree)


def _channels(tree: PyTree) -> PyTree:
    """The inverse of `_numbers`."""
    return jax.tree.map(lambda z: jnp.moveaxis(jnp.stack([z.real, z.imag], axis=-1), 0, -1), tree)


def _pair(number: Array) -> Array:
    """The two channels of a complex number, at one instant."""
    return jnp.stack([number.real, number.imag], axis=-1)[..., None]


def _with_channels(per_unit: Any) -> Any:
    """Numbers of units as they broadcast against what has channels and instants."""
    return per_unit if jnp.ndim(per_unit) == 0 else jnp.asarray(per_unit)[..., None, None]


def _beside(per_unit: PyTree, like: PyTree) -> PyTree:
    """Numbers of units, or one for all, for each leaf of a state or of some of its populations."""
    leaves = jax.tree.leaves(per_unit)
    if len(leaves) == 1 and jnp.ndim(leaves[0]) == 0:
        return jax.tree.map(lambda a: jnp.asarray(leaves[0], a.dtype), like)
    chosen = {name: per_unit[name] for name in like} if isinstance(like, dict) else per_unit
    return jax.tree.map(lambda t, a: _with_channels(t).astype(a.dtype), chosen, like)
