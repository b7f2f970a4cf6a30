"""The objects of one run, built from its configuration."""

import inspect
import math
from dataclasses import replace
from typing import Any, Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from equiprop.data import Dataset, Shards
from equiprop.data import load as load_dataset
from equiprop.errors import EquipropError, InputError, suggest
from equiprop.experiment._config import Choice, Config
from equiprop.experiment._feed import Feed
from equiprop.experiment._settings import PRECISIONS, TrainingSettings
from equiprop.numerics import resolve
from equiprop.systems import AbstractRecipe, System
from equiprop.training import (
    AbstractTransform,
    Components,
    Crop,
    Flip,
    Job,
    Placement,
    Samples,
    StepSpec,
    TrainState,
    advance,
    init_train_state,
    on_device,
)

T = TypeVar("T")


class Trainer:
    """The objects of one run, built from its configuration. Raises `InputError` before anything is written.

    `config` says which homeostasis and how many epochs, where it was left open.
    """

    def __init__(self, config: Config, dataset: Dataset | None = None) -> None:
        self.settings = training = _training_settings(config)
        self.placement = _within(
            "training", Placement.over, training.devices, training.batch_size // training.micro_batches
        )
        self.dtype = _within("training", dtype_of, training.precision)
        self.dataset = load_dataset(config.dataset) if dataset is None else dataset
        _require_splits(self.dataset)
        self.feed = Feed(
            self.dataset,
            batch_size=training.batch_size,
            limit=training.limit,
            seed=training.seed,
            dtype=self.dtype,
            placement=self.placement,
        )
        self.steps_per_epoch = self.feed.steps_per_epoch
        self.epochs = _epochs(training.epochs, self.steps_per_epoch)
        self.validation = on_device(self.dataset.validation, self.dataset, self.dtype)
        system_key, self.key = jax.random.split(jax.random.key(training.seed))
        self.system = make_system(config.system, self.dataset, key=system_key, dtype=self.dtype)
        self.components = _components(config, self.system)
        self.config = replace(
            config.with_object("homeostasis", self.components.homeostasis),
            training=config.training | {"epochs": self.epochs},
        )
        self.spec = StepSpec(
            training.batch_size,
            training.micro_batches,
            self.steps_per_epoch,
            self.epochs,
            self.placement,
        )
        self.transforms = _transforms(training)
        self._check()

    def _check(self) -> None:
        """Raises `InputError` where the parts do not fit each other."""
        x, _ = self.validation.batch(jnp.arange(1))
        _within("estimator", self.components.estimator.check, self.system, x)
        _within("homeostasis", self.components.homeostasis.check, self.system)
        _within("optimizer", self.components.optimizer.transformation, self.system, self.spec.total_steps)
        warm = ("training", "warm_start")
        if self.settings.warm_start and isinstance(self.dataset.train, Shards):
            raise InputError(
                f"{self.dataset.name} is read from disk file by file", path=warm, value=True, hint="leave it out"
            )
        if self.settings.warm_start and not self.components.estimator.needs_free_phase:
            raise InputError(
                f"{self.config.estimator.kind} has no free phase to start", path=warm, value=True, hint="leave it out"
            )

    @property
    def images(self) -> Samples:
        """The training images on the device; the first shard in the order of the first epoch, where there are several."""
        return self.feed.at(0, 0)[0]

    def job(self, images: Samples) -> Job:
        return Job(self.spec, self.components, images, self.transforms)

    def at_epoch(self, tree: T, epoch: int) -> T:
        """`tree`, such as the components, with the numbers that its schedules give after so many epochs."""
        return resolve(tree, epoch / self.epochs)

    def advance(self, state: TrainState, images: Samples, steps: int) -> TrainState:
        """`steps` more steps of the current epoch. The buffers of `state` are used up."""
        return advance(self.job(images), state, steps)

    def initial_train_state(self) -> TrainState:
        """The state before the first step, in buffers of its own: a step overwrites those of the state that it is given."""
        job = self.job(self.images)
        state = init_train_state(job, self.system, self.key, self.dtype, warm=self.settings.warm_start)
        return self.placement.everywhere(jax.tree.map(jnp.copy, state))


def _within(section: str, job: Any, *given: Any) -> Any:
    try:
        return job(*given)
    except InputError as error:
        raise error.within(section) from None


def _training_settings(config: Config) -> TrainingSettings:
    return _within("training", lambda: TrainingSettings(**config.training))


def _transforms(training: TrainingSettings) -> tuple[AbstractTransform, ...]:
    found: list[AbstractTransform] = [Flip()] if training.flip else []
    return (*found, Crop(training.crop)) if training.crop else tuple(found)


def _require_splits(dataset: Dataset) -> None:
    for name in ("validation", "test"):
        if not len(dataset.split(name)):
            raise InputError(
                f"its {name} split is empty, and every run reports on it", path="dataset", value=dataset.name
            )


def _components(config: Config, system: System) -> Components:
    return Components(
        config.solver.create(),
        config.estimator.create(),
        config.reference.create(),
        config.homeostasis.create().decide(system),
        config.optimizer.create(),
    )


def make_system(choice: Choice, dataset: Dataset, *, key: jax.Array, dtype: Any) -> System:
    """A system with random parameters of type `dtype` for the images and classes of `dataset`.

    Raises `InputError` where sizes do not fit, or a function of the user's own makes no system.
    """
    inputs, outputs = dataset.image_shape, len(dataset.classes)
    if inspect.isclass(choice.member) and issubclass(choice.member, AbstractRecipe):
        return _within("system", lambda: choice.create().create(inputs, outputs, key=key, dtype=dtype))
    try:
        make: Any = choice.member
        system = make(inputs, outputs, key=key, **choice.values)
    except EquipropError:
        raise
    except Exception as error:
        # Whatever a user's function does, the user has to hear of it in one line.
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"makes no system ({reason})", path=("system", "kind"), value=choice.kind) from error
    if not isinstance(system, System):
        raise InputError(f"gives {system!r}, which is no system", path=("system", "kind"), value=choice.kind)
    return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, system)


def _epochs(asked: int | str | Literal["auto"], steps_per_epoch: int) -> int:
    """`asked`, or enough to train a small network on few samples, and not too many on the fewest."""
    return min(100, max(10, math.ceil(2000 / steps_per_epoch))) if asked == "auto" else int(asked)


def dtype_of(precision: str) -> Any:
    """Raises `InputError` for a precision that does not exist, or that JAX is not set up for."""
    if precision not in PRECISIONS:
        raise suggest("precision", precision, PRECISIONS)
    if precision == "float64" and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        hint = "enable it in JAX first, jax.config.update('jax_enable_x64', True)"
        raise InputError("is not enabled", path="precision", value=precision, hint=hint)
    if precision != "float64" and jax.default_backend() != "cpu":
        rounds = jax.config.jax_default_matmul_precision not in ("highest", "float32")  # pyright: ignore[reportAttributeAccessIssue]
        if rounds != (precision == "tensorfloat32"):
            does, wanted = ("rounds", "highest") if rounds else ("does not round", "default")
            raise InputError(
                f"as JAX is set up it {does} the factors of products on this device",
                path="precision",
                value=precision,
                hint=f"set it up first, jax.config.update('jax_default_matmul_precision', {wanted!r})",
            )
    return jnp.dtype("float32" if precision == "tensorfloat32" else precision)
