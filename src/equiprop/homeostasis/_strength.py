"""How strong a homeostasis is, from step to step: a number, a schedule, or controlled by what it shall achieve."""

from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.homeostasis._batch import Batch
from equiprop.numerics import (
    AbstractSchedule,
    Number,
    Settings,
    choice,
    count,
    number,
    probe_moments,
    rotation,
    symmetric_antisymmetric_norms,
    trees,
)
from equiprop.numerics.schedules import as_schedule
from equiprop.numerics.settings import build, decode, encode
from equiprop.systems import System, coupling, in_metric, symmetric_parts


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


class Controlled(Settings, AbstractSchedule):
    """Grows while the Jacobian is less symmetric than asked for, and shrinks while it is more: log-integral control.

    strength ← strength·exp(±`gain`·(target − measured)), kept within a factor of a thousand of where it started. What is measured
    is the symmetry ‖S‖/(‖S‖ + ‖A‖) of the Jacobian without its diagonal, by four probes a sample; or the certificate angle
    2·arctan σ by Arnoldi's iteration, the median over the samples whose S is negative definite. If there is none the strength
    stays.
    """

    stateful: ClassVar[bool] = True

    hold: str = choice("symmetry", "What is held: symmetry, or angle.", "symmetry", "angle")
    target: Number = number(
        0.95, "Symmetry of the Jacobian to hold, from 0 to 1; or largest rotation, in degrees.", above=0, below=180
    )
    start: Number = number(1.0, "The strength at the first step.", above=0)
    gain: Number = number(0.5, "Of the control, per unit of symmetry, or per 90 degrees.", above=0)
    samples: int = count(4, "Samples of the batch that are measured.")
    every: int = count(10, "Measure once in so many steps.")

    def __check_init__(self) -> None:
        if self.hold == "symmetry" and not isinstance(self.target, Tracer | AbstractSchedule) and self.target > 1:
            raise InputError("must be at most 1, as symmetries are", path="target", value=float(self.target))

    def __call__(self, progress: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.asarray(self.start, progress.dtype)

    def table(self) -> dict[str, Any]:
        return encode(self)

    def init(self, dtype: Any) -> PyTree:
        """What is remembered before the first step."""
        return {"strength": jnp.asarray(self.start, dtype), "steps": jnp.zeros((), jnp.int32)}

    def step(self, memory: PyTree, context: StepContext) -> tuple[Float[Array, ""], PyTree]:
        """The factor for this step, and what to remember."""
        seen = context.batch.first(self.samples)
        x, state = seen.sound()
        dtype = memory["strength"].dtype
        due = (memory["steps"] % self.every == 0) & jnp.any(seen.usable)
        shortfall = self._symmetry if self.hold == "symmetry" else self._angle
        missing = jax.lax.cond(
            due,
            lambda: shortfall(context.system, x, state, context.key).astype(dtype),
            lambda: jnp.zeros((), dtype),
        )
        start, gain = jnp.asarray(self.start, dtype), jnp.asarray(self.gain, dtype)
        strength = jnp.clip(memory["strength"] * jnp.exp(gain * missing), start / 1000, start * 1000)
        return strength, {"strength": strength, "steps": memory["steps"] + 1}

    def _symmetry(self, system: System, x: Any, state: PyTree, key: PRNGKeyArray) -> Float[Array, ""]:
        operator = in_metric(system, coupling(system, state, system.injection(x)))
        moments = probe_moments(operator, state, probes=4, key=key, diagonal=False)
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


def as_strength(table: Mapping[str, Any]) -> AbstractSchedule:
    """From a table: `{schedule = "cosine", from = 1.0, to = 0.0}`, or `{hold = "symmetry", target = 0.95, start = 1.0}`."""
    return build(Controlled, decode(Controlled, table)) if "hold" in table else as_schedule(table)


def strength_setting(default: float | str, doc: str) -> Any:
    """The field of a homeostasis's strength: a number, a schedule or `Controlled`; `"auto"` if that is the default."""
    rules: dict[str, Any] = {"word": "auto"} if default == "auto" else {}
    return number(default, doc, at_least=0, schedule=as_strength, **rules)
