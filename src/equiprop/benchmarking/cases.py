"""The cases that `equiprop bench` times, for one network and one configuration."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from equiprop.benchmarking.baselines import feedforward, plain
from equiprop.benchmarking.timing import Case
from equiprop.errors import InputError
from equiprop.estimators import ESTIMATORS, AbstractEstimator, estimate
from equiprop.experiment import Choice, Config, Trainer
from equiprop.homeostasis import AbstractHomeostasis, Batch
from equiprop.solvers import Equilibrium, relax
from equiprop.systems import LayeredNetwork, System
from equiprop.training import Job, TrainState

CASES = ("steps", "epoch", "parts", "estimators")
"""`steps`: whole training steps, beside the baselines; `epoch`: all of them, over the data; `parts`: what a step is made of;
`estimators`: each of those that the system allows, alone. What is scheduled is as at the start of training."""


def cases(trainer: Trainer, system: System, which: tuple[str, ...] = ("steps", "parts"), steps: int = 20) -> list[Case]:
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


def _advance(job: Job, state: TrainState, count: Array) -> TrainState:
    return job.steps(state, count)


def _steps(trainer: Trainer, system: System, steps: int) -> Iterator[Case]:
    optimizer = trainer.components.optimizer.transformation(system, trainer.spec.total_steps)
    batch, nudge = trainer.spec.batch_size, getattr(trainer.at_epoch(trainer.components.estimator, 0), "nudge", None)
    nudge = 0.5 if nudge is None else float(nudge)
    if isinstance(system, LayeredNetwork):
        state = optimizer.init(eqx.filter(system, eqx.is_inexact_array))
        given = (system, state, trainer.samples)
        yield Case("step, feedforward", feedforward(optimizer, batch, steps), given, steps)
        for points in (2, 6):
            name = f"step, plain N = {points}"
            yield Case(name, plain(optimizer, batch, steps, points=points, nudge=nudge), given, steps)
    for name, kind, points in (("centered", "centered", {}), ("holomorphic N = 6", "holomorphic", {"points": 6})):
        chosen = trainer.config.estimator.switched(kind)
        estimator = Choice.of("estimator", chosen.to_mapping() | points).create()
        for label, homeostasis in (("", _none()), (" + homeostasis", _homeostasis(trainer.config, system))):
            components = trainer.components.replace(estimator=estimator, homeostasis=homeostasis)
            started = _start(trainer, system)
            order = trainer.order(trainer.samples, started)
            job = Job(trainer.spec, components, trainer.samples, trainer.transforms, order)
            yield Case(f"step, {name}{label}", _advance, (job, started, jnp.asarray(steps)), steps)


def _start(trainer: Trainer, system: System) -> TrainState:
    return eqx.tree_at(lambda s: s.system, trainer.initial_train_state(), system)


def _epoch(trainer: Trainer, system: System) -> Iterator[Case]:
    state = _start(trainer, system)
    given = (trainer.job(trainer.samples, state), state, jnp.asarray(trainer.steps_per_epoch))
    yield Case("epoch", _advance, given)


def _none() -> AbstractHomeostasis:
    return Choice.of("homeostasis", {"kind": "none"}).create()


def _homeostasis(config: Config, system: System) -> AbstractHomeostasis:
    """The configuration's own, or the default if it has none."""
    chosen = Choice.of("homeostasis", {}) if config.homeostasis.kind == "none" else config.homeostasis
    return chosen.create().decide(system)


def _at_equilibrium(trainer: Trainer, system: System) -> tuple[Array, Array, Equilibrium]:
    """Images, labels and free equilibrium of one batch."""
    x, labels = trainer.samples.batch(jnp.arange(trainer.spec.batch_size))
    return x, labels, relax(system, x, trainer.at_epoch(trainer.components.solver, 0))


def _estimate(name: str, trainer: Trainer, estimator: AbstractEstimator, given: tuple[Any, ...]) -> Case:
    (solver, estimator), key = trainer.at_epoch((trainer.components.solver, estimator), 0), trainer.key
    return Case(
        name,
        lambda s, x, y, e: estimate(s, x, y, estimator, solver=solver, equilibrium=e, key=key).gradient,
        given,
    )


def _parts(trainer: Trainer, system: System) -> Iterator[Case]:
    x, labels, free = _at_equilibrium(trainer, system)
    yield Case("free phase", lambda s, x: relax(s, x, trainer.at_epoch(trainer.components.solver, 0)), (system, x))
    name = f"estimate at equilibrium, {trainer.config.estimator.kind}"
    yield _estimate(name, trainer, trainer.components.estimator, (system, x, labels, free))
    homeostasis = _homeostasis(trainer.config, system)
    zero = jax.tree.map(jnp.zeros_like, eqx.filter(system, eqx.is_inexact_array))
    yield Case(
        f"homeostasis, {getattr(homeostasis, 'probes', 0)} probes",
        lambda s, x, e: homeostasis.regularise(zero, s, Batch(x, e.state, e.converged), key=trainer.key).gradient,
        (system, x, free),
    )


def _estimators(trainer: Trainer, system: System) -> Iterator[Case]:
    given = (system, *_at_equilibrium(trainer, system))
    for kind in ESTIMATORS.members():
        estimator = trainer.config.estimator.switched(kind).create()
        if _allows(system, given[1], estimator):
            yield _estimate(f"estimate, {kind}", trainer, estimator, given)


def _allows(system: System, x: Array, estimator: AbstractEstimator) -> bool:
    try:
        estimator.check(system, x)
    except InputError:
        return False
    return True
