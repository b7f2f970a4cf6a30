"""A system as it is on one chip."""

import dataclasses
import zlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, UInt

from equiprop.errors import InputError
from equiprop.hardware._cells import AbstractCells
from equiprop.hardware._levels import in_place_of
from equiprop.numerics import freeze, normal_like, thaw, trees
from equiprop.systems import INPUT, AbstractWrapper, Block, Dynamics, LayeredNetwork, System, innermost, only_block


class Chip(AbstractWrapper):
    """A system on a device that is not perfect: trained are the weights that are asked for, and what relaxes is what is there.

    Made by `Device.instance`. The same chip does the same every time, but for the noise of its readout; what chance decided when
    it was made, and what it decided when weights were last written, is part of it, and no training changes that. Its derivatives
    are true, but that levels have none; what is learnt from is `believed`.

    **Fields:**

    - `system`: as it is asked for.
    - `parts`: the device, the full scale of each of its weights, and what chance decided of weights and of units, frozen
      (`equiprop.numerics.Frozen`).
    - `key`: of everything that chance decides, as the numbers that it is made of.
    - `written`: how often the weights have been written.
    - `unknown`: the parts of the device that derivatives by the parameters know nothing of.
    - `held`: what its cells hold, where that has been worked out (`ready`).
    """

    system: System
    parts: PyTree
    key: UInt[Array, " words"]
    written: Int[Array, ""]
    unknown: tuple[str, ...] = eqx.field(default=(), static=True)
    held: list[Array] | None = None

    @classmethod
    def make(cls, device: Any, system: System, key: PRNGKeyArray, x: Any = None) -> "Chip":
        """**Arguments:**

        - `x`: a batch of inputs, from which follows how many units there are, where the system does not know that.
        """
        if system.coding is not None:
            raise InputError(
                "is coded: a chip is made first, and coded then", path="system", value=type(system).__name__
            )
        if _on_a_chip(system):
            reason = "is on a device already, and what is wrong with two of them does not add up"
            raise InputError(
                reason, path="system", hint="give the system itself, and one device with all that is wrong"
            )
        scales = [_full_scale(device, weight) for weight in _weights(system)]
        units = {}
        sizes = {"gain": device.units.gain, "offset": device.units.offset, "time_constant": device.timing.spread}
        for name, size in sizes.items():
            if size is not None:
                own = _chance(key, f"units.{name}")
                units[name] = jax.tree.map(lambda z, size=size: size * z, normal_like(_one_state(system, x), key=own))
        parts, written = freeze((device, scales, {}, units)), jnp.zeros((), jnp.int32)
        blank = cls(system=system, parts=parts, key=jax.random.key_data(key), written=written)  # pyright: ignore[reportCallIssue]
        return blank._drawn(everything=True)

    @property
    def device(self) -> Any:
        """The `Device` that it is one of."""
        return thaw(self.parts[0])

    @property
    def _cells(self) -> dict[str, AbstractCells]:
        """What is wrong with the cells, in the order in which it acts."""
        return {name: part for name, part in self.device.cells.items() if not part.is_off}

    def _drawn(self, *, everything: bool = False) -> "Chip":
        """With what chance decides anew when weights are written, or of `everything`."""
        device, scales, decided, units = self.parts
        decided = dict(decided)
        for name, part in self._cells.items():
            if everything or part.redrawn:
                own = _chance(jax.random.wrap_key_data(self.key), name)
                own = jax.random.fold_in(own, self.written) if part.redrawn else own
                decided[name] = freeze(
                    [part.draw(w, key=jax.random.fold_in(own, i)) for i, w in enumerate(_weights(self.system))]
                )
        return dataclasses.replace(self, parts=(device, scales, decided, units))

    @property
    def programmed(self) -> System:
        """The system with the weights that the cells hold, and with their derivatives by those that are asked for."""
        stored = self._stored if self.held is None else self.held
        return self.system if stored is None else _with_weights(self.system, stored)

    @property
    def believed(self) -> "Chip":
        return self._without(*self._cells, "units")

    @property
    def departures(self) -> dict[str, System]:
        if "drift" not in self._cells:
            return {"mismatch": self}
        return {"mismatch": self._without("drift"), "drift": self}

    @property
    def ready(self) -> "Chip":
        return self if self.held is not None else dataclasses.replace(self, held=self._stored)

    def _without(self, *unknown: str) -> "Chip":
        return dataclasses.replace(self, unknown=unknown, held=None)

    @property
    def _stored(self) -> list[Array] | None:
        """What the cells hold; `None` if that is what is asked for."""
        cells = self._cells
        if not cells:
            return None
        scales, decided = thaw(self.parts[1:3])
        stored = []
        for place, (weight, scale) in enumerate(zip(_weights(self.system), scales, strict=True)):
            scale = scale.astype(weight.dtype)
            found = weight / scale
            for name, part in cells.items():
                drawn = jax.tree.map(lambda a, w=weight: a.astype(w.dtype), decided[name][place])
                held = part.stored(found, drawn)
                found = in_place_of(found, held) if name in self.unknown else held
            stored.append(found * scale)
        return stored

    # When weights are written.

    def updated(self, updates: PyTree, *, key: PRNGKeyArray) -> "Chip":
        """With what cells make of the updates that are asked for; weights are written anew."""
        update = self.device.update
        if not update.is_off:
            cells = _chance(jax.random.wrap_key_data(self.key), "update")
            asked, weights, scales = _weights(updates.system), _weights(self.system), thaw(self.parts[1])
            made = []
            for place, (change, weight, scale) in enumerate(zip(asked, weights, scales, strict=True)):
                scale, own = scale.astype(weight.dtype), [jax.random.fold_in(k, place) for k in (cells, key)]
                made.append(scale * update.made_of(change / scale, weight / scale, cells=own[0], key=own[1]))
            updates = eqx.tree_at(lambda u: u.system, updates, _with_weights(updates.system, made))
        asked_for = self.system.updated(updates.system, key=key)
        return dataclasses.replace(self, system=asked_for, written=self.written + 1)._drawn()

    def aged(self, seconds: float) -> "Chip":
        """The same chip so many seconds after its weights were written. Raises `InputError` where its weights do not drift."""
        device = self.device
        if device.drift.is_off:
            raise InputError("its weights do not drift: its age makes no difference", path="drift")
        older = eqx.tree_at(lambda d: d.drift.time, device, jnp.asarray(seconds, device.drift.time.dtype))
        return eqx.tree_at(lambda c: c.parts, self, (freeze(older), *self.parts[1:]))

    # What relaxes.

    def _passed_on(self, state: PyTree) -> PyTree:
        """What units pass on of their states."""
        limit = self.device.units.saturation
        if limit is None:
            return state

        def one(u: Array) -> Array:
            s = jnp.asarray(limit, u.real.dtype)
            return s * jnp.tanh(u / s)

        return jax.tree.map(one, state)

    def _of_units(self, name: str, like: PyTree) -> PyTree:
        """What every unit has of its own, on a batch axis of one; `None` where all are alike."""
        drawn = self.parts[3].get(name)
        if drawn is None or "units" in self.unknown:
            return None
        return jax.tree.map(lambda z, a: z.astype(a.real.dtype), thaw(drawn), like)

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        passed = self._passed_on(state)
        force = self.programmed.force(passed, injection, only)
        if passed is not state:
            change = trees.subtract(self._leak_of(passed), self._leak_of(state))
            force = trees.add(force, only_block(change, only))
        return self._amplified(force, state, only)

    def _amplified(self, force: PyTree, state: PyTree, only: Block, *, offset: bool = True) -> PyTree:
        """(1 + ε)·H + o − ℓ(u) of H − ℓ(u)."""
        gains, offsets = (self._of_units(name, state) for name in ("gain", "offset"))
        if gains is not None:
            arriving = trees.add(force, only_block(self._leak_of(state), only))
            force = jax.tree.map(lambda f, g, h: f + g * h, force, only_block(gains, only), arriving)
        if offsets is not None and offset:
            force = trees.add(force, only_block(offsets, only))
        return force

    def _leak_of(self, state: PyTree) -> PyTree:
        leak = self.system.leak(state)
        if leak is None:
            reason = "the system does not say what its leak is, and only what is beside it is amplified and saturates"
            raise InputError(
                reason, path="units", hint="give from_force an activity and a leak, or units without either"
            )
        return leak

    def measured_from(self, activity: PyTree) -> PyTree:
        return self.programmed.measured_from(activity)

    def force_difference(
        self, origin: PyTree, displacement: PyTree, response: PyTree, only: Block = None
    ) -> PyTree | None:
        told = self.programmed.force_difference(origin, displacement, response, only)
        return None if told is None else self._amplified(told, displacement, only, offset=False)

    def recurrent_input(self, activity: PyTree, injection: Any) -> PyTree | None:
        arrives = self.programmed.recurrent_input(activity, injection)
        gains = None if arrives is None else self._of_units("gain", arrives)
        return arrives if gains is None else jax.tree.map(lambda a, g: a + g * a, arrives, gains)

    def activity(self, state: PyTree) -> PyTree:
        return self.system.activity(self._passed_on(state))

    def injection(self, x: Any) -> Any:
        return self.programmed.injection(self.device.inputs.brought(x))

    @property
    def dynamics(self) -> Dynamics | None:
        timing = self.device.timing
        return self.system.dynamics if timing.is_off else timing.dynamics(thaw(self.parts[3].get("time_constant")))

    def measured(self, activity: PyTree, *, key: PRNGKeyArray) -> PyTree | None:
        readout = self.device.readout
        return None if readout.is_off else readout.read(activity, key=key)

    @property
    def reading_error(self) -> Float[Array, ""] | None:
        readout = self.device.readout
        return None if readout.is_off else readout.error

    def backward(self, state: PyTree, x: Any, injection: Any) -> tuple[System, Any]:
        if self.device.backward == "device":
            return self, injection
        ideal = self.system.injection(x)
        owed = trees.subtract(self.force(state, injection), self.system.force(state, ideal))
        return Anchored(system=self.system), (ideal, owed)  # pyright: ignore[reportCallIssue]

    @property
    def weights(self) -> Any:
        """Those of the system, as they are asked for."""
        return self.system.weights  # pyright: ignore[reportAttributeAccessIssue]

    def singularity_distance(self, state: PyTree) -> Float[Array, " batch"]:
        return self.system.singularity_distance(self._passed_on(state))


class Anchored(AbstractWrapper):
    """The system itself, with a force of its own for each sample, which makes an equilibrium elsewhere one of this system.

    Its injection is that of the system and that force; of inputs alone, none.
    """

    system: System

    def injection(self, x: Any) -> tuple[Any, PyTree]:
        return self.system.injection(x), jax.tree.map(jnp.zeros_like, self.system.initial_state(x))

    def force(self, state: PyTree, injection: Any, only: Block = None) -> PyTree:
        own, owed = injection
        return trees.add(self.system.force(state, own, only), only_block(owed, only))

    def recurrent_input(self, activity: PyTree, injection: Any) -> PyTree | None:
        return self.system.recurrent_input(activity, injection[0])


def _chance(key: PRNGKeyArray, name: str) -> PRNGKeyArray:
    """Of one part of a chip, whatever other parts there are."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _weights(system: System) -> list[Array]:
    """The arrays that cells hold: those of two axes or more but for the parameters of the cost, which is computed elsewhere."""
    return jax.tree.leaves(_only_weights(system))


def _only_weights(system: System) -> System:
    held = eqx.tree_at(lambda s: s.cost, system, None, is_leaf=lambda leaf: leaf is None)
    return jax.tree.map(lambda a: a if eqx.is_inexact_array(a) and a.ndim > 1 else None, held)


def _with_weights(system: System, weights: list[Array]) -> System:
    structure = jax.tree.structure(_only_weights(system))
    return eqx.combine(jax.tree.unflatten(structure, weights), system)


def _one_state(system: System, x: Any) -> PyTree:
    """Of one sample, on a batch axis of one, in single precision: what chance decides is the same in every precision."""
    inner = innermost(system)
    if x is None and isinstance(inner, LayeredNetwork):
        x = jnp.zeros((1, *inner.topology.population(INPUT).shape))
    if x is None:
        reason = "follow from the inputs of this system, and they differ from each other"
        raise InputError(f"its units {reason}", path="units", hint="give instance(..., x=...), a batch of inputs")
    state = jax.eval_shape(system.initial_state, x)
    return jax.tree.map(lambda a: jnp.zeros((1, *a.shape[1:]), jnp.float32), state)


def _full_scale(device: Any, weight: Array) -> Array:
    if device.full_scale is not None:
        return jnp.asarray(device.full_scale, weight.dtype)
    largest = jnp.max(jnp.abs(weight), initial=0)
    return jnp.where(largest > 0, jnp.asarray(device.headroom, weight.dtype) * largest, 1)


def _on_a_chip(system: System) -> bool:
    while isinstance(system, AbstractWrapper):
        if isinstance(system, Chip):
            return True
        system = system.system
    return False
