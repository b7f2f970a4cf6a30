"""How strong a treatment is, from step to step: constant, scheduled, or controlled by what it shall achieve."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from equiprop.errors import InputError, suggest
from equiprop.homeostasis._batch import Batch
from equiprop.numerics import probe_moments, rotation, symmetric_antisymmetric_norms, trees
from equiprop.systems import System, symmetric_parts


class StepContext(eqx.Module):
    """What a strength may look at, at one step of training.

    - `progress`: how much of training is done, from 0 to 1.
    - `system`: as it is before the step.
    - `batch`: of the step, at its free equilibria.
    - `key`: for whatever is measured by chance.
    """

    progress: Float[Array, ""]
    system: System
    batch: Batch
    key: PRNGKeyArray


class AbstractStrength(eqx.Module):
    """Makes the factor of a treatment, once a step."""

    def start(self, dtype: Any) -> PyTree:
        """What is remembered before the first step."""
        del dtype
        return ()

    @abc.abstractmethod
    def step(self, memory: PyTree, context: StepContext) -> tuple[Float[Array, ""], PyTree]:
        """The factor for this step, and what to remember."""


class Constant(AbstractStrength):
    """The same at every step."""

    value: float = eqx.field(default=1.0, static=True)

    def __check_init__(self) -> None:
        if not 0 <= self.value < float("inf"):
            raise InputError(f"strength = {self.value}: must be a finite number, at least 0")

    def step(self, memory: PyTree, context: StepContext) -> tuple[Float[Array, ""], PyTree]:
        return jnp.full_like(context.progress, self.value), memory


class Scheduled(AbstractStrength):
    """`peak` times a shape over the whole of training, by Optax.

    - `shape`: `"linear"` or `"cosine"`, falling from one to zero; `"warmup"`, rising linearly to one over the first tenth.
    """

    peak: float = eqx.field(static=True)
    shape: str = eqx.field(default="cosine", static=True)

    def __check_init__(self) -> None:
        Constant(self.peak)
        if self.shape not in ("linear", "cosine", "warmup"):
            raise suggest("shape", self.shape, ["linear", "cosine", "warmup"])

    def step(self, memory: PyTree, context: StepContext) -> tuple[Float[Array, ""], PyTree]:
        progress = context.progress
        schedule = {
            "linear": optax.linear_schedule(self.peak, 0.0, 1),
            "cosine": optax.cosine_decay_schedule(self.peak, 1),
            "warmup": optax.linear_schedule(0.0, self.peak, 1),
        }[self.shape]
        return jnp.asarray(schedule(10 * progress if self.shape == "warmup" else progress), progress.dtype), memory


class Controlled(AbstractStrength):
    """Grows while the Jacobian is less symmetric than asked for, and shrinks while it is more: log-integral control.

    strength ← strength·exp(±`gain`·(target − measured)), kept within a factor of a thousand of where it started.

    - `start_value`: the strength at the first step.
    - `target`: the symmetry ‖S‖/(‖S‖ + ‖A‖) to hold, between 0 and 1; or the certificate angle, in degrees.
    - `measure`: `"symmetry"`, by four probes a sample; or `"angle"`, 2·arctan σ by Arnoldi's iteration, the median over the
      samples whose S is negative definite. If there is none the strength stays.
    - `gain`: per unit of symmetry, or per 90 degrees.
    - `samples`: of the batch, that are measured.
    - `every`: measure once in so many steps.
    """

    target: float = eqx.field(static=True)
    measure: str = eqx.field(default="symmetry", static=True)
    start_value: float = eqx.field(default=1.0, static=True)
    gain: float = eqx.field(default=0.5, static=True)
    samples: int = eqx.field(default=4, static=True)
    every: int = eqx.field(default=10, static=True)

    def __check_init__(self) -> None:
        if self.measure not in ("symmetry", "angle"):
            raise suggest("measure", self.measure, ["symmetry", "angle"])
        most = 1 if self.measure == "symmetry" else 180
        if not 0 < self.target < most:
            raise InputError(f"target = {self.target}: must be between 0 and {most} for measure = {self.measure!r}")
        if not 0 < self.start_value < float("inf"):
            raise InputError(f"strength = {self.start_value}: must be a finite number above 0 to be controlled")
        for name, least in (("samples", 1), ("every", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)}: must be at least {least}")
        if not self.gain > 0:
            raise InputError(f"gain = {self.gain}: must be above 0")

    def start(self, dtype: Any) -> PyTree:
        return {"strength": jnp.asarray(self.start_value, dtype), "steps": jnp.zeros((), jnp.int32)}

    def step(self, memory: PyTree, context: StepContext) -> tuple[Float[Array, ""], PyTree]:
        seen = context.batch.first(self.samples)
        x, state = seen.sound()
        due = (memory["steps"] % self.every == 0) & jnp.any(seen.usable)
        shortfall = self._symmetry if self.measure == "symmetry" else self._angle
        missing = jax.lax.cond(
            due,
            lambda: shortfall(context.system, x, state, context.key).astype(memory["strength"].dtype),
            lambda: jnp.zeros_like(memory["strength"]),
        )
        strength = jnp.clip(
            memory["strength"] * jnp.exp(self.gain * missing), self.start_value / 1000, self.start_value * 1000
        )
        return strength, {"strength": strength, "steps": memory["steps"] + 1}

    def _symmetry(self, system: System, x: Any, state: PyTree, key: PRNGKeyArray) -> Float[Array, ""]:
        coupling = system.in_metric(system.coupling(state, system.injection(x)))
        moments = probe_moments(coupling, state, probes=4, key=key)
        s, a = (jnp.sqrt(jnp.maximum(part.mean(), 0)) for part in symmetric_antisymmetric_norms(moments))
        return self.target - s / jnp.maximum(s + a, jnp.finfo(s.dtype).tiny)

    def _angle(self, system: System, x: Any, state: PyTree, key: PRNGKeyArray) -> Float[Array, ""]:
        def single(sample: tuple[PyTree, Any, PRNGKeyArray]) -> Array:
            u, d, sample_key = sample
            minus_s, a = symmetric_parts(system, u, d)
            flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(u)])
            found = rotation(
                minus_s,
                a,
                flat,
                key=sample_key,
                steps=12,
                solver=lx.CG(rtol=0.0, atol=1e-3 * flat.size**-0.5, max_steps=30),
            )
            return jnp.where(found.smallest > 0, jnp.rad2deg(2 * jnp.arctan(found.sigma)), jnp.nan)

        keys = jax.random.split(key, trees.batch_size(state))
        angle = jnp.nanmedian(jax.vmap(lambda *s: single(s))(state, system.injection(x), keys))
        return jnp.where(jnp.isnan(angle), 0, (angle - self.target) / 90)
