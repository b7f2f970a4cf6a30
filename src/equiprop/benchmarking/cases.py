"""The cases that `equiprop bench` times, for one network and one configuration."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from equiprop.benchmarking.baselines import feedforward, plain
from equiprop.benchmarking.timing import Case
from equiprop.estimators import AbstractEstimator, estimate
from equiprop.homeostasis import Batch
from equiprop.solvers import Equilibrium, relax
from equiprop.systems import LayeredNetwork
from equiprop.training.build import as_kind, build_treatment, estimator_family
from equiprop.training.config import Config, HomeostasisConfig
from equiprop.training.loop import Trainer

CASES = ("steps", "epoch", "parts", "estimators")
"""`steps`: whole training steps, beside the baselines; `epoch`: all of them, over the data; `parts`: what a step is made of;
`estimators`: each of them alone."""


def cases(
    trainer: Trainer, system: LayeredNetwork, which: tuple[str, ...] = ("steps", "parts"), steps: int = 20
) -> list[Case]:
    """**Arguments:**

    - `trainer`: of the configuration and its data.
    - `system`: the network whose costs are asked for; how long it relaxes depends on its weights.
    - `steps`: training steps in one call of the compiled loop.
    """
    makers: dict[str, Callable[[], Iterator[Case]]] = {
        "steps": lambda: _steps(trainer, system, steps),
        "epoch": lambda: _epoch(trainer, system),
        "parts": lambda: _parts(trainer, system),
        "estimators": lambda: _estimators(trainer, system),
    }
    return [case for name in which for case in makers[name]()]


def _steps(trainer: Trainer, system: LayeredNetwork, steps: int) -> Iterator[Case]:
    config, optimizer = trainer.config, trainer.optimizer
    batch, nudge = config.training.batch_size, config.estimator.nudge
    nudge = 0.5 if isinstance(nudge, str) else nudge
    state = optimizer.init(eqx.filter(system, eqx.is_inexact_array))
    given = (system, state, trainer.images)
    yield Case("step, feedforward", feedforward(optimizer, batch, steps), given, steps)
    for points in (2, 6):
        name = f"step, plain N = {points}"
        yield Case(name, plain(optimizer, batch, steps, points=points, nudge=nudge), given, steps)
    for name, kind, points in (("centered", "centered", {}), ("holomorphic N = 6", "holomorphic", {"points": 6})):
        chosen = dataclasses.replace(as_kind(config.estimator, kind), **points)
        for label, treatment in (("", HomeostasisConfig(kind="none")), (" + homeostasis", _homeostasis(config))):
            other = Trainer(dataclasses.replace(config, estimator=chosen, homeostasis=treatment), trainer.dataset)
            start = eqx.tree_at(lambda s: s.system, trainer.start(), system)
            yield Case(f"step, {name}{label}", other.plan.advance, (start, trainer.images, jnp.asarray(steps)), steps)


def _epoch(trainer: Trainer, system: LayeredNetwork) -> Iterator[Case]:
    start = eqx.tree_at(lambda s: s.system, trainer.start(), system)
    yield Case("epoch", trainer.plan.advance, (start, trainer.images, jnp.asarray(trainer.steps_per_epoch)))


def _homeostasis(config: Config) -> HomeostasisConfig:
    """The configuration's own, or the default if it has none."""
    return HomeostasisConfig() if config.homeostasis.kind == "none" else config.homeostasis


def _at_equilibrium(trainer: Trainer, system: LayeredNetwork) -> tuple[Array, Array, Equilibrium]:
    """Images, labels and free equilibrium of one batch."""
    x, labels = trainer.images.batch(jnp.arange(trainer.config.training.batch_size))
    return x, labels, jax.jit(lambda s: relax(s, x, trainer.parts.solver))(system)


def _estimate(name: str, trainer: Trainer, estimator: AbstractEstimator, given: tuple[Any, ...]) -> Case:
    solver, key = trainer.parts.solver, trainer.key
    return Case(
        name,
        lambda s, x, y, e: estimate(s, x, y, estimator, solver=solver, equilibrium=e, key=key).gradient,
        given,
    )


def _parts(trainer: Trainer, system: LayeredNetwork) -> Iterator[Case]:
    x, labels, free = _at_equilibrium(trainer, system)
    yield Case("free phase", lambda s, x: relax(s, x, trainer.parts.solver), (system, x))
    name = f"estimate at equilibrium, {trainer.config.estimator.kind}"
    yield _estimate(name, trainer, trainer.parts.estimator, (system, x, labels, free))
    homeostasis = _homeostasis(trainer.config)
    treatment = build_treatment(dataclasses.replace(trainer.config, homeostasis=homeostasis))
    zero = jax.tree.map(jnp.zeros_like, eqx.filter(system, eqx.is_inexact_array))
    yield Case(
        f"homeostasis, {homeostasis.probes} probes",
        lambda s, x, e: treatment.treat(zero, s, Batch(x, e.state, e.converged), key=trainer.key).gradient,
        (system, x, free),
    )


def _estimators(trainer: Trainer, system: LayeredNetwork) -> Iterator[Case]:
    given = (system, *_at_equilibrium(trainer, system))
    for kind, estimator in estimator_family(trainer.config.estimator).items():
        yield _estimate(f"estimate, {kind}", trainer, estimator, given)
