"""From a configuration to the objects it names. The only place that knows both."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from equiprop.data import Dataset
from equiprop.data.augment import Augmentation
from equiprop.errors import InputError, suggest, unknown_key
from equiprop.estimators import ESTIMATORS, GMRES, AbstractCircle, AbstractEstimator, Adjoint
from equiprop.homeostasis import TREATMENTS, AbstractStrength, AbstractTreatment, Constant, Controlled, Scheduled
from equiprop.solvers import SOLVERS, AbstractSolver
from equiprop.systems import LayeredNetwork, System, Topology, chain, cnn_topology, loop
from equiprop.training.config import (
    Config,
    EstimatorConfig,
    HomeostasisConfig,
    OptimizerConfig,
    SolverConfig,
    SystemConfig,
)

_OF_EVERY_ESTIMATOR = ("krylov",)
"""Settings that serve the exact gradient which every run is compared with, whatever its own estimator takes."""

PRECISIONS = ("float32", "tensorfloat32", "float64")


def _from_section(section: str, config: Any, family: Mapping[str, Callable[..., Any]], **built: Any) -> Any:
    """The member of `family` that `config.kind` names, with those of the section's keys that it takes.

    A key that this kind does not take must be left at its default: no option is silently ignored.
    """
    if config.kind not in family:
        raise suggest(f"{section}.kind", config.kind, list(family))
    constructor = family[config.kind]
    takes = _takes(constructor)
    default = type(config)()
    arguments = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in takes:
            arguments[field.name] = built.get(field.name, value)
        elif field.name not in ("kind", *_OF_EVERY_ESTIMATOR) and value != getattr(default, field.name):
            used = ", ".join(sorted(takes & {f.name for f in dataclasses.fields(config)}))
            raise InputError(
                f"{section}.{field.name} = {value!r}: is not used by {section}.kind = {config.kind!r}; leave it at "
                f"{getattr(default, field.name)!r} (it takes {used})"
            )
    try:
        return constructor(**arguments)
    except InputError as error:
        raise InputError(f"{section}.{error}") from error


def _takes(constructor: Callable[..., Any]) -> set[str]:
    return {f.name for f in dataclasses.fields(constructor) if f.init}  # pyright: ignore[reportArgumentType]


def fit_to_kinds(config: Config, base: Config) -> Config:
    """`config` without what only the other kinds of `base` had a use for.

    Who asks for another estimator than that of a file does not ask for the file's settings of the estimator there. What
    differs from `base` was asked for, and is kept: to be refused, if the new kind does not take it.
    """
    ours, theirs, default = config.system, base.system, SystemConfig()
    unused = set(unused_by(ours)) - set(unused_by(theirs))
    left = {n: getattr(default, n) for n in unused if getattr(ours, n) == getattr(theirs, n)}
    config = dataclasses.replace(config, system=dataclasses.replace(ours, **left))
    for section, family in (("solver", SOLVERS), ("estimator", ESTIMATORS), ("homeostasis", TREATMENTS)):
        ours, theirs = getattr(config, section), getattr(base, section)
        if ours.kind == theirs.kind or ours.kind not in family:
            continue
        takes = _takes(family[ours.kind]) | {"kind", *_OF_EVERY_ESTIMATOR}
        if "strength" in takes:
            takes |= {"schedule", "target"}
        default, names = type(ours)(), [f.name for f in dataclasses.fields(ours)]
        left = {n: getattr(default, n) for n in names if n not in takes and getattr(ours, n) == getattr(theirs, n)}
        config = dataclasses.replace(config, **{section: dataclasses.replace(ours, **left)})
    return config


def build_solver(config: SolverConfig) -> AbstractSolver:
    if config.kind == "fixed_iterations" and config.damping == "auto":
        config = dataclasses.replace(config, damping=0.0)
    return _from_section("solver", config, SOLVERS)


def build_estimator(config: EstimatorConfig) -> AbstractEstimator:
    return _from_section("estimator", config, ESTIMATORS, krylov=_krylov(config))


def _krylov(config: EstimatorConfig) -> GMRES:
    try:
        return GMRES(**dataclasses.asdict(config.krylov))
    except InputError as error:
        raise InputError(f"estimator.krylov.{error}") from error


def estimator_family(config: EstimatorConfig) -> dict[str, AbstractEstimator]:
    """Every estimator there is, each with those settings of `config` that it takes."""
    return {kind: build_estimator(as_kind(config, kind)) for kind in ESTIMATORS}


def as_kind(config: EstimatorConfig, kind: str) -> EstimatorConfig:
    """The configuration of another estimator, with those settings of `config` that it takes."""
    takes = _takes(ESTIMATORS[kind]) | set(_OF_EVERY_ESTIMATOR)
    given = {name: getattr(config, name) for name in takes if hasattr(config, name)}
    if not issubclass(ESTIMATORS[kind], AbstractCircle):
        given = {name: value for name, value in given.items() if value != "auto"}
    if kind != config.kind:
        # Words that one estimator knows, another may not.
        given.pop("error_bar", None)
    return dataclasses.replace(EstimatorConfig(), **given, kind=kind)


def decide(config: Config) -> Config:
    """`config` with what `auto` stands for in the homeostasis of its network.

    Raises `InputError` for an unknown kind, or a wrong topology file.

    What is decided is what `docs/closing-the-gap.md` found best: where all is in pairs, to let feedback weights alone follow, and
    fast, which holds nothing back; elsewhere a light hand, since there every treatment pulls at weights that learn.
    """
    ours = config.homeostasis
    paired = _is_paired(config.system)
    kind = ("antisymmetric" if paired else "jacobian") if ours.kind == "auto" else ours.kind
    if kind not in TREATMENTS:
        raise suggest("homeostasis.kind", kind, ["auto", *TREATMENTS])
    takes = _takes(TREATMENTS[kind])
    found: dict[str, Any] = {
        "feedback_only": kind == "antisymmetric" and paired if ours.feedback_only == "auto" else ours.feedback_only,
        "balanced": kind == "antisymmetric",
    }
    found["strength"] = 100.0 if found["feedback_only"] else 0.3
    decided = {n: value for n, value in found.items() if n in takes and getattr(ours, n) == "auto"}
    return dataclasses.replace(config, homeostasis=dataclasses.replace(ours, kind=kind, **decided))


def _is_paired(config: SystemConfig) -> bool:
    """`Topology.paired` of the network."""
    if config.kind == "network":
        return bool(config.topology and Topology.from_file(config.topology).paired)
    return config.feedback == "untied" and (config.kind == "cnn" or (config.kind == "mlp" and bool(config.hidden)))


def build_treatment(whole: Config) -> AbstractTreatment:
    """The treatment of the network of a configuration."""
    config, default = decide(whole).homeostasis, HomeostasisConfig()
    if config.kind == "none" and config.schedule != default.schedule:
        raise InputError(f"homeostasis.schedule = {config.schedule!r}: there is nothing to schedule with kind = 'none'")
    if not config.schedule.startswith("hold_") and config.target != default.target:
        raise InputError(
            f"homeostasis.target = {config.target}: is only held by schedule = 'hold_symmetry' or 'hold_angle'; leave it out"
        )
    plain = dataclasses.replace(config, schedule=default.schedule, target=default.target)
    if config.strength == "auto":
        return _from_section("homeostasis", plain, TREATMENTS)
    try:
        strength = _strength(config)
    except InputError as error:
        raise InputError(f"homeostasis.{error}") from error
    return _from_section("homeostasis", plain, TREATMENTS, strength=strength)


def _strength(config: HomeostasisConfig) -> AbstractStrength:
    assert config.strength != "auto"
    match config.schedule:
        case "constant":
            return Constant(config.strength)
        case "linear" | "cosine" | "warmup":
            return Scheduled(config.strength, config.schedule)
        case "hold_symmetry" | "hold_angle":
            return Controlled(config.target, config.schedule.removeprefix("hold_"), config.strength)
    raise suggest(
        "schedule", config.schedule, ["constant", "linear", "cosine", "warmup", "hold_symmetry", "hold_angle"]
    )


_UNUSED = {
    "mlp": ("topology", "preset"),
    "loop": ("topology", "preset", "feedback", "weight_angle", "feedback_gain"),
    "cnn": ("topology", "hidden"),
    "network": ("hidden", "preset", "activation", "feedback", "weight_angle", "feedback_gain"),
}
"""Settings that a kind of system has no use for."""


def unused_by(config: SystemConfig) -> tuple[str, ...]:
    """The settings that a system of this kind, with this feedback, has no use for."""
    without = {"tied": ("weight_angle",), "none": ("weight_angle", "feedback_gain")}.get(config.feedback, ())
    return _UNUSED.get(config.kind, ()) + tuple(n for n in without if n not in _UNUSED.get(config.kind, ()))


def build_topology(config: SystemConfig, dataset: Dataset) -> Topology:
    """The graph for images and classes of `dataset`. Raises `InputError` where sizes do not fit."""
    inputs, classes = math.prod(dataset.image_shape), len(dataset.classes)
    default = SystemConfig()
    for name in unused_by(config):
        if getattr(config, name) != getattr(default, name):
            by_kind = name in _UNUSED.get(config.kind, ())
            by = f"system.kind = {config.kind!r}" if by_kind else f"system.feedback = {config.feedback!r}"
            raise InputError(f"system.{name} = {getattr(config, name)!r}: is not used by {by}; leave it out")
    for size in config.hidden:
        if size < 1:
            raise InputError(f"system.hidden = {list(config.hidden)}: every population needs at least 1 unit")
    sizes = (inputs, *config.hidden, classes)
    feedback_gain = 1.0 if config.feedback == "none" else config.feedback_gain
    try:
        match config.kind:
            case "mlp":
                return chain(
                    sizes,
                    activation=config.activation,
                    feedback=config.feedback,
                    angle=config.weight_angle,
                    feedback_gain=feedback_gain,
                )
            case "loop":
                return loop(sizes, activation=config.activation)
            case "cnn":
                return cnn_topology(
                    _as_image(dataset),
                    preset=config.preset,
                    activation=config.activation,
                    feedback=config.feedback,
                    weight_angle=config.weight_angle,
                    feedback_gain=feedback_gain,
                )
    except InputError as error:
        raise InputError(_in_terms_of_section(str(error), config)) from error
    if config.kind != "network":
        raise suggest("system.kind", config.kind, ["mlp", "loop", "cnn", "network"])
    if not config.topology:
        raise InputError("system.topology = '': system.kind = 'network' needs a topology file")
    topology = Topology.from_file(config.topology)
    size = topology.population("input").size
    if isinstance(size, int) and size != inputs:
        raise InputError(f"populations.input.size = {size}: images of {dataset.name} have {inputs} pixels")
    if isinstance(size, tuple) and size != _as_image(dataset):
        raise InputError(
            f"populations.input.size = {list(size)}: images of {dataset.name} are {list(_as_image(dataset))}, height, width and "
            "channels"
        )
    return topology


def _as_image(dataset: Dataset) -> tuple[int, int, int]:
    """Height, width and channels of the images; without channels they have one."""
    height, width, *channels = dataset.image_shape
    return height, width, math.prod(channels)


def _in_terms_of_section(message: str, config: SystemConfig) -> str:
    """What the topology says of each population was said once in the section."""
    for name in ("activation", "feedback"):
        value = getattr(config, name)
        if f".{name} = {value!r}" in message:
            return f"system.{name} = {value!r}" + message.split(f"{value!r}", 1)[1]
    if ".angle = " in message:
        return "system.weight_angle = " + message.split(".angle = ", 1)[1]
    if message.startswith("image"):
        return f"system.preset = {config.preset!r}: {message}"
    return f"system.{message}"


def build_system(config: SystemConfig, dataset: Dataset, *, key: PRNGKeyArray, dtype: Any) -> LayeredNetwork:
    """A network with random weights for `dataset`. Raises `InputError` for a cost that the output does not fit."""
    topology = build_topology(config, dataset)
    classes = len(dataset.classes)
    if not config.gain > 0:
        raise InputError(f"system.gain = {config.gain}: must be above 0")
    try:
        return LayeredNetwork.create(
            topology, classes=classes, key=key, cost=config.cost, gain=config.gain, dtype=dtype
        )
    except InputError as error:
        raise InputError(f"system.{error}") from error


def learning_rate_schedule(config: OptimizerConfig, peak: float, total_steps: int) -> optax.Schedule:
    if config.schedule == "constant":
        return optax.constant_schedule(peak)
    if config.schedule == "cosine":
        return optax.cosine_decay_schedule(peak, total_steps)
    raise suggest("optimizer.schedule", config.schedule, ["constant", "cosine"])


def build_optimizer(config: OptimizerConfig, system: System, total_steps: int) -> optax.GradientTransformation:
    """Optax's optimizer with one learning rate a parameter group.

    Weight decay acts on weights, not on biases. SGD adds it to the gradient before the momentum, AdamW after it
    (Loshchilov & Hutter 2019, arXiv 1711.05101).
    """
    if not 0 < config.learning_rate < math.inf:
        raise InputError(f"optimizer.learning_rate = {config.learning_rate}: must be a finite number above 0")
    if not 0 <= config.weight_decay < math.inf:
        raise InputError(f"optimizer.weight_decay = {config.weight_decay}: must be a finite number, at least 0")
    if not 0 <= config.momentum < 1:
        raise InputError(f"optimizer.momentum = {config.momentum}: must be at least 0 and below 1")
    groups = parameter_groups(system)
    known = sorted(set(jax.tree.leaves(groups)))
    for name, rate in config.learning_rates.items():
        if name not in known:
            raise unknown_key("optimizer.learning_rates", name, known)
        if not 0 <= rate < math.inf:
            raise InputError(f"optimizer.learning_rates.{name} = {rate}: must be a finite number, at least 0")

    def transform(peak: float) -> optax.GradientTransformation:
        decay = [optax.add_decayed_weights(config.weight_decay, mask=_is_weight)] if config.weight_decay else []
        rate = optax.scale_by_learning_rate(learning_rate_schedule(config, peak, total_steps))
        if config.kind == "sgd":
            return optax.chain(*decay, *([optax.trace(config.momentum)] if config.momentum else []), rate)
        return optax.chain(optax.scale_by_adam(b1=config.momentum), *decay, rate)

    if config.kind not in ("sgd", "adamw"):
        raise suggest("optimizer.kind", config.kind, ["sgd", "adamw"])
    if not config.learning_rates:
        return transform(config.learning_rate)
    rates = {name: config.learning_rates.get(name, config.learning_rate) for name in known}
    return optax.partition({name: transform(rate) for name, rate in rates.items()}, parameter_groups)


def _is_weight(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def parameter_groups(system: Any) -> Any:
    """For every parameter the name under which `learning_rates` knows it: its connection, its population, or `readout`."""

    def name(path: tuple[Any, ...], leaf: Any) -> str:
        del leaf
        keys = [str(getattr(k, "key", getattr(k, "name", k))) for k in path]
        return "readout" if keys[0] == "cost" else keys[-1]

    return jax.tree_util.tree_map_with_path(name, eqx.filter(system, eqx.is_inexact_array))


def dtype_of(precision: str) -> Any:
    """Raises `InputError` for a precision that does not exist, or that JAX is not set up for."""
    if precision not in PRECISIONS:
        raise suggest("training.precision", precision, list(PRECISIONS))
    if precision == "float64" and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise InputError(
            "training.precision = 'float64': enable it in JAX first, jax.config.update('jax_enable_x64', True)"
        )
    if precision != "float64" and jax.default_backend() != "cpu":
        rounds = jax.config.jax_default_matmul_precision not in ("highest", "float32")  # pyright: ignore[reportAttributeAccessIssue]
        if rounds != (precision == "tensorfloat32"):
            does, wanted = ("rounds", "highest") if rounds else ("does not round", "default")
            raise InputError(
                f"training.precision = {precision!r}: as JAX is set up it {does} the factors of products on this device; set it "
                f"up first, jax.config.update('jax_default_matmul_precision', {wanted!r})"
            )
    return jnp.dtype("float32" if precision == "tensorfloat32" else precision)


@dataclasses.dataclass(frozen=True)
class Components:
    """The objects of a run that do not change while it trains.

    - `reference`: the exact, unclipped gradient that the estimator is compared with.
    """

    solver: AbstractSolver
    estimator: AbstractEstimator
    reference: Adjoint
    treatment: AbstractTreatment
    augmentation: Augmentation


def build_parts(config: Config) -> Components:
    try:
        augmentation = Augmentation(config.training.flip, config.training.crop)
    except InputError as error:
        raise InputError(f"training.{error}") from error
    return Components(
        build_solver(config.solver),
        build_estimator(config.estimator),
        Adjoint(krylov=_krylov(config.estimator), clip=math.inf),
        build_treatment(config),
        augmentation,
    )
