"""The objects of one run, built from its configuration."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from equiprop.data import Dataset, DatasetInfo, Split
from equiprop.data import load as load_dataset
from equiprop.errors import EquipropError, InputError, suggest
from equiprop.experiment._config import Choice, Config
from equiprop.experiment._run_directory import CHECKPOINT_NAMES, RunDirectory
from equiprop.experiment._settings import PRECISIONS, TrainingSettings
from equiprop.numerics import trees
from equiprop.systems import AbstractRecipe, AbstractWrapper, System, correct, innermost
from equiprop.training import (
    AbstractFeed,
    AbstractTransform,
    Components,
    Crop,
    Cutout,
    Flip,
    LabelSmoothing,
    Mixup,
    Placement,
    Samples,
    ShardFeed,
    StepSpec,
    Training,
    WholeFeed,
    epochs_of,
    on_device,
)


class Trainer(Training):
    """A training built from a configuration. Raises `InputError` before anything is written.

    - `config`: says which homeostasis and how many epochs, where it was left open.
    - `dataset`: with its test split, too.
    """

    config: Config
    dataset: Dataset
    settings: TrainingSettings
    validation: Samples

    def __init__(
        self, config: Config, dataset: Dataset | None = None, *, resumed: bool = False, beside: "Trainer | None" = None
    ) -> None:
        """**Arguments:**

        - `dataset`: in place of the one that the configuration names.
        - `beside`: another of the same data, whose samples on the device serve this one, too.
        - `resumed`: the state comes from a checkpoint, and the run that the system started from is not read again.
        """
        training = _within("training", lambda: TrainingSettings(**config.training))
        dtype = _within("training", dtype_of, training.precision)
        placement = _within("training", Placement.over, training.devices, training.batch_size // training.micro_batches)
        dataset = load_dataset(config.dataset) if dataset is None else dataset
        _require_splits(dataset)
        feed = _within("training", _feed, dataset, training, dtype, placement) if beside is None else beside.feed
        epochs = _within("training", epochs_of, training.epochs, feed.steps_per_epoch)
        system_key, key = jax.random.split(jax.random.key(training.seed))
        system = make_system(config.system, dataset.info, key=system_key, dtype=dtype)
        if training.start and not resumed:
            system = _started(training.start, system, config, dataset.info)
        system = on_hardware(config, system, dataset.info)
        components = _components(config, system, training.average, dtype)
        decided = config.with_object("homeostasis", components.homeostasis)
        decided = replace(decided, training=config.training | {"epochs": epochs})
        for name, value in (("config", decided), ("dataset", dataset), ("settings", training)):
            object.__setattr__(self, name, value)
        super().__init__(
            system=system,
            components=components,
            spec=StepSpec(training.batch_size, training.micro_batches, feed.steps_per_epoch, epochs, placement),
            feed=feed,
            key=key,
            dtype=dtype,
            validation=on_device(self._looked_at(dataset.validation), dataset, dtype)
            if beside is None
            else beside.validation,
            transforms=_transforms(training, dataset.n_classes),
            diagnostic_samples=training.diagnostic_samples,
            audit_samples=training.audit_samples,
            gradient_tolerance=training.gradient_tolerance,
            seed=training.seed,
            warm_start=training.warm_start,
        )

    @property
    def test(self) -> Split:
        """What the trained system is evaluated on at the end."""
        return self._looked_at(self.dataset.test)

    def _looked_at(self, split: Split) -> Split:
        most = self.settings.evaluation_limit
        return split[:most] if 0 < most < len(split) else split

    @property
    def judged_by(self) -> str:
        """The metric that says how good a system is."""
        x, y = self.validation.batch(jnp.arange(1))
        decided = jax.eval_shape(lambda: correct(self.system, self.system.initial_state(x), y))
        return "validation_loss" if decided is None else "validation_error_percent"

    def _check_warm_start(self) -> None:
        _within("training", super()._check_warm_start)

    def _check_audit(self) -> None:
        _within("training", super()._check_audit)


def _started(start: str, like: System, config: Config, data: DatasetInfo) -> System:
    """The system of another run, in the structure of `like`; on a chip, if both runs are on the same.

    Raises `InputError` for one of another architecture.
    """
    path, _, checkpoint = start.partition("#")
    try:
        if checkpoint not in ("", *CHECKPOINT_NAMES):
            raise suggest("checkpoint", checkpoint, CHECKPOINT_NAMES)
        other = RunDirectory.open(path)
        built = on_hardware(other.resolved_config(), like, data)
        found = other.checkpoints.system(built, best=checkpoint == "best")[1]
    except InputError as error:
        raise InputError(f"cannot be gone on from: {error}", path=("training", "start"), value=start) from None
    same = other.resolved_config().hardware == config.hardware
    return found if same else innermost(found)


def on_hardware(config: Config, system: System, data: DatasetInfo) -> System:
    """The system on a chip of the configuration's device; by itself where that is perfect, and as it is if it is on one."""
    device = config.hardware.create()
    if device.is_perfect or isinstance(system, AbstractWrapper):
        return system
    drawn = getattr(device, "seed", "auto")
    dtype = trees.dtype_of(eqx.filter(system, eqx.is_inexact_array))
    one = jax.tree.map(lambda shape: jnp.zeros((1, *shape), dtype), data.input_shape, is_leaf=_is_shape)
    return device.instance(system, config.training["seed"] if drawn == "auto" else drawn, x=one)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(size, int) for size in value)


def _within(section: str, job: Any, *given: Any) -> Any:
    try:
        return job(*given)
    except InputError as error:
        raise error.within(section) from None


def _feed(dataset: Dataset, training: TrainingSettings, dtype: Any, placement: Placement) -> AbstractFeed:
    limit, size = training.limit, training.batch_size
    if limit > len(dataset.train):
        raise InputError(f"{dataset.name} has {len(dataset.train)} training samples", path="limit", value=limit)
    if limit and not isinstance(dataset.train, Split):
        reason = f"{dataset.name} is read from disk file by file"
        raise InputError(reason, path="limit", value=limit, hint="leave it out")
    return feed_of(dataset, limit, batch_size=size, seed=training.seed, dtype=dtype, placement=placement)


def feed_of(
    dataset: Dataset, limit: int = 0, *, batch_size: int, seed: int, dtype: Any, placement: Placement
) -> AbstractFeed:
    """The training samples of a data set: on the device, or file by file in an order that follows from the seed.

    **Arguments:**

    - `limit`: only the first so many; 0 for all.
    """
    if isinstance(dataset.train, Split):
        train = dataset.train[:limit] if limit else dataset.train
        return WholeFeed(on_device(train, dataset, dtype), batch_size=batch_size, placement=placement)
    return ShardFeed(dataset, batch_size=batch_size, seed=seed, dtype=dtype, placement=placement)


def _transforms(training: TrainingSettings, classes: int) -> tuple[AbstractTransform, ...]:
    chosen: list[tuple[object, Callable[[], AbstractTransform]]] = [
        (training.flip, Flip),
        (training.crop, lambda: Crop(training.crop)),
        (training.cutout, lambda: Cutout(training.cutout)),
        (training.mixup, lambda: Mixup(training.mixup, classes)),
        (training.label_smoothing, lambda: LabelSmoothing(training.label_smoothing, classes)),
    ]
    return tuple(make() for asked, make in chosen if asked)


def _require_splits(dataset: Dataset) -> None:
    for name in ("validation", "test"):
        if not len(dataset.split(name)):
            raise InputError(
                f"its {name} split is empty, and every run reports on it", path="dataset", value=dataset.name
            )


def _components(config: Config, system: System, average: float, dtype: Any) -> Components:
    return Components(
        config.solver.create(),
        config.estimator.create(),
        config.reference.create(),
        config.homeostasis.create().decide(system),
        config.optimizer.create(),
        jnp.asarray(average, dtype) if average else None,
    )


def make_system(choice: Choice, data: DatasetInfo, *, key: jax.Array, dtype: Any) -> System:
    """A system with random parameters of type `dtype` for such inputs and as many outputs as there are classes, or targets.

    Raises `InputError` where sizes do not fit, or a function of the user's own makes no system.
    """
    inputs, outputs = data.input_shape, data.outputs
    if inspect.isclass(choice.member) and issubclass(choice.member, AbstractRecipe):
        recipe = choice.create()
        return _within("system", lambda: recipe.create(inputs, outputs, key=key, dtype=dtype))
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
