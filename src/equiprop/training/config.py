"""The one configuration type: dataclasses that read and write TOML and make the command line's options. No JAX here."""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import tomli_w

from equiprop.errors import InputError, unknown_key


@dataclass(frozen=True)
class SystemConfig:
    kind: str = "mlp"
    """mlp (a chain of layers), loop (a cycle without reciprocal pairs), cnn (a chain of convolutions and pooling) or network
    (any graph, from a topology file)."""
    hidden: tuple[int, ...] = (256, 256)
    """Units of each hidden population (mlp, loop)."""
    activation: str = "shifted_sigmoid"
    """shifted_sigmoid, dsilu, tanh, identity, relu or hard_sigmoid (mlp, loop, cnn)."""
    preset: str = "published"
    """published (128, 256, 512 and 512 channels), small (16, 32, 64 and 64), or deep_10, deep_15 and deep_20 (as many layers, all
    but the first residual; they converge with activation tanh, gain 0.5 and feedback_gain 0.15, in float64) (cnn)."""
    feedback: str = "untied"
    """untied, tied or none (mlp, cnn)."""
    weight_angle: float = 90.0
    """Initial angle in degrees between feedback and forward weights where untied (mlp, cnn)."""
    feedback_gain: float = 0.05
    """Factor on all feedback, against which homeostasis and estimators are balanced: below 1 the network is nearer to feedforward
    and keeps away from the critical gain (mlp, cnn)."""
    topology: str = ""
    """TOML or JSON file with the populations and connections (network); relative to the configuration file."""
    cost: str = "softmax_readout"
    """softmax_readout (trainable), softmax_cross_entropy or squared_error."""
    gain: float = 1.0
    """Weights start uniform in ±gain/√inputs."""


@dataclass(frozen=True)
class SolverConfig:
    kind: str = "gauss_seidel"
    """alternating (block after block), anderson (the same, extrapolated), newton (the same, with Newton steps between),
    synchronous, or fixed_iterations (synchronous, whatever the residual)."""
    tolerance: float = 1e-4
    """A sample has converged when no unit feels a force above this."""
    max_steps: int = 200
    """Sweeps of the free phase at most; exactly, for fixed_iterations."""
    nudged_max_steps: int = 100
    """Sweeps of a nudged phase at most; exactly, for fixed_iterations."""
    damping: float | Literal["auto"] = "auto"
    """Share of the old state that a sweep keeps, from 0 to below 1 (gauss_seidel, jacobi, fixed_iterations); auto: gauss_seidel
    takes longer or shorter steps sample by sample, synchronous shorter ones where a sample oscillates, fixed_iterations none."""
    depth: int = 3
    """Sweeps that are remembered (anderson)."""
    dimension: int = 10
    """Jacobian products for a Newton step (newton)."""
    coarse: str = "none"
    """none, or the half precision in which a relaxation begins before it goes on in that of training: bfloat16 or float16
    (alternating, synchronous). Complex phases do without."""


@dataclass(frozen=True)
class KrylovConfig:
    tolerance: float = 1e-4
    """Relative residual of the linear solve: of exact_response, of adjoint, and of the exact gradient that every run is compared
    with."""
    restart: int = 20
    """Dimension of the Krylov space."""
    max_restarts: int = 5
    """Restarts before a sample is reported as not converged."""


@dataclass(frozen=True)
class EstimatorConfig:
    kind: str = "centered"
    """one_sided, centered, holomorphic, continuous_time, exact_response, adjoint, recurrent_backprop, neumann, unrolled,
    corrected or dyadic."""
    nudge: float | Literal["auto"] = 0.05
    """The size |β| of the nudge (one_sided, centered, holomorphic, continuous_time, corrected, dyadic); auto finds one that
    reaches the tolerance (holomorphic, corrected)."""
    points: int | Literal["auto"] = 6
    """Nudges on the circle, N (holomorphic, continuous_time, corrected); auto chooses from 2, 4 and 8 (holomorphic,
    corrected)."""
    allow_non_holomorphic: bool = False
    """Serve activations with kinks although N > 2 (holomorphic, continuous_time, corrected)."""
    error_bar: str = "auto"
    """How the error of a sample is told: residual, aliasing or companion (one_sided, centered, holomorphic, corrected), residual
    or periods (continuous_time), or auto."""
    tolerance: float = math.inf
    """Largest error bar of a sample that is good enough; inf for any."""
    retries: int = 2
    """Further tries, at smaller nudges, for samples above the tolerance (one_sided, centered, holomorphic, corrected)."""
    shrink: float = 0.25
    """Factor on the nudge from one try to the next (one_sided, centered, holomorphic, corrected)."""
    steps_per_point: int = 30
    """Sweeps at each position of the nudge (continuous_time)."""
    periods: int = 4
    """Turns of the nudge that are averaged (continuous_time)."""
    warmup: int = 1
    """Turns before them that are not (continuous_time)."""
    dead_time: float = 0.5
    """Share of the sweeps at each position before reading begins (continuous_time)."""
    noise: float = 0.0
    """Standard deviation of the noise on every unit in every sweep (continuous_time)."""
    accuracy: float = 1e-4
    """Relative residual at which the adjoint system has relaxed (recurrent_backprop)."""
    terms: int = 20
    """Terms of the series (neumann)."""
    steps: int = 20
    """Sweeps that are differentiated (unrolled)."""
    whole: bool = False
    """Unroll from the initial state instead of the equilibrium (unrolled)."""
    clip: float = 2.0
    """Longest error vector of a sample, in units of the norm of its cost gradient; inf for off."""
    unconverged: str = "drop"
    """What the gradient does with samples that did not converge: drop or keep."""
    clipped: str = "keep"
    """What the gradient does with samples that clip shortened: drop or keep."""
    branch_switch: str = "drop"
    """What the gradient does with samples that the nudge carried to another branch: drop or keep."""
    inaccurate: str = "drop"
    """What the gradient does with samples whose error bar exceeds the tolerance: drop or keep."""
    branch_switch_threshold: float = 0.5
    """Even part of the response, in units of its odd part, above which a sample has switched branch; inf for off."""
    krylov: KrylovConfig = field(default_factory=KrylovConfig)


@dataclass(frozen=True)
class HomeostasisConfig:
    kind: str = "auto"
    """jacobian, antisymmetric, rotation, local, kolen_pollack, weight_mirror or none; auto: antisymmetric where untied pairs
    of forward and feedback weights are all that could be asymmetric, jacobian elsewhere."""
    strength: float | Literal["auto"] = "auto"
    """Factor on the treatment's own gradient; the first one where it is controlled. auto: 100 where feedback weights alone are
    moved, 0.3 elsewhere."""
    schedule: str = "constant"
    """Of the strength: constant, linear or cosine (falling to 0), warmup (over the first tenth), hold_symmetry or hold_angle
    (raised and lowered to hold the target)."""
    target: float = 0.95
    """Symmetry of the Jacobian to hold, from 0 to 1 (hold_symmetry), or largest rotation in degrees (hold_angle)."""
    probes: int = 5
    """Random vectors per sample (jacobian, antisymmetric, rotation, local), or per step (weight_mirror)."""
    samples: int = 5
    """Samples of a batch that are probed; 0 for all (jacobian, antisymmetric, rotation, local)."""
    shared_updates: bool | Literal["auto"] = "auto"
    """Both weights of every untied pair learn from the sum of their two gradients, so that feedback does not lag behind; only the
    treatment acts on their difference (jacobian, antisymmetric, rotation, local). auto: where there are such pairs."""
    feedback_only: bool | Literal["auto"] = "auto"
    """The treatment moves the feedback weights of untied pairs and nothing else (jacobian, antisymmetric, rotation, local).
    auto: antisymmetric, where nothing else could be asymmetric."""
    balanced: bool | Literal["auto"] = "auto"
    """Every population counts alike in the loss, instead of every unit (antisymmetric, whose auto is true)."""
    step: float = 0.1
    """How far activities are clamped from equilibrium (local)."""
    decay: float = 1e-3
    """Of both weights of every pair (kolen_pollack)."""
    norm_term: bool = True
    """Whether the term |Jε|² counts (jacobian)."""
    square_term: bool = True
    """Whether the term −εᵀJ²ε counts (jacobian)."""


@dataclass(frozen=True)
class OptimizerConfig:
    kind: str = "sgd"
    """sgd or adamw."""
    learning_rate: float = 0.03
    """Of every parameter that learning_rates does not name."""
    momentum: float = 0.9
    """Of sgd; the first moment's decay of adamw."""
    weight_decay: float = 0.0
    """Decay of weights (not of biases): added to the gradient before the momentum (sgd), or decoupled, times the learning rate
    (adamw)."""
    schedule: str = "cosine"
    """constant or cosine (to 0 at the last step)."""
    learning_rates: dict[str, float] = field(default_factory=dict)
    """Learning rate by connection (such as input->hidden_1), by population for biases, or readout."""

    def __hash__(self) -> int:
        """A dictionary has no hash; compiled programs are kept by the configuration that they are of."""
        return hash((self.kind, self.learning_rate, tuple(sorted(self.learning_rates.items()))))


@dataclass(frozen=True)
class TrainingConfig:
    epochs: int | Literal["auto"] = "auto"
    """Passes through the training set. auto: 10, or as many as make 2,000 steps, but at most 100."""
    batch_size: int = 50
    """Samples a step."""
    micro_batches: int = 1
    """Components that a batch is computed in, one after the other, to save memory; the gradient is the same."""
    devices: int = 0
    """Devices that a batch is spread over; 0 for all there are."""
    seed: int = 0
    """Of the weights, the order of samples and the probes."""
    precision: str = "float32"
    """float32, float64, or tensorfloat32: float32 in which products round their factors to ten bits where the device can, several
    times as fast there. A tolerance of 1e-4 is then out of reach; docs/benchmarks.md has what is not."""
    warm_start: bool = False
    """Start the free phase of a sample where its last one ended, kept in half precision: 2 bytes a unit and training sample, in
    every checkpoint."""
    flip: bool = False
    """Mirror half of the training images, left to right, each time anew."""
    crop: int = 0
    """Shift each training image by up to so many pixels in either direction, each time anew."""
    limit: int = 0
    """Use only the first so many training samples; 0 for all."""
    diagnostic_samples: int = 200
    """Validation samples on which the gradient is compared with the exact one after every epoch; 0 for never."""


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on. Replayable: the same configuration and versions give the same weights."""

    dataset: str = "digits"
    """digits (built in), mnist, fashion_mnist, cifar10, cifar100, imagenet32, or a folder of images."""
    system: SystemConfig = field(default_factory=SystemConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    homeostasis: HomeostasisConfig = field(default_factory=HomeostasisConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], where: str = "configuration") -> "Config":
        """From nested tables. Raises `InputError` naming the key that is unknown or of the wrong type."""
        return _decode(cls, data, where, "")

    @classmethod
    def from_file(cls, path: str | Path) -> "Config":
        """From a TOML file; a relative `system.topology` is taken from its folder. Raises `InputError`."""
        path = Path(path)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise InputError(f"{path}: is not valid TOML: {error}") from error
        config = cls.from_mapping(data, str(path))
        topology = config.system.topology
        if topology and not Path(topology).is_absolute():
            system = dataclasses.replace(config.system, topology=str(path.parent / topology))
            config = dataclasses.replace(config, system=system)
        return config

    def to_mapping(self) -> dict[str, Any]:
        """Nested tables of plain values."""
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """Complete TOML, every key with its value; `from_mapping(tomllib.loads(...))` gives the same configuration."""
        return tomli_w.dumps(self.to_mapping())


@dataclass(frozen=True)
class ProcessConfig:
    """Which process of how many this one is. No part of a run's configuration: the weights are the same for any number."""

    coordinator: str = ""
    """HOST:PORT at which process 0 listens for the others, the same for all."""
    count: int = 1
    """Processes of the job; all are started with the same options but for their index."""
    index: int = 0
    """Of this process, from 0; process 0 writes the run directory."""
    timeout: int = 60
    """Seconds to wait for the others to start."""


WHERE = ("training.devices", "training.micro_batches")
"""The keys that say where and in what pieces a run is computed, and not what: they may change when it goes on."""


def differences(a: Config, b: Config) -> list[str]:
    """The dotted keys in which two configurations differ."""
    flat_a, flat_b = _flat(a.to_mapping()), _flat(b.to_mapping())
    return [key for key in flat_a | flat_b if flat_a.get(key) != flat_b.get(key)]


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in table.items():
        result |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return result


def _decode(kind: type, data: Mapping[str, Any], where: str, prefix: str) -> Any:
    hints = get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    values = {}
    for key, value in data.items():
        if key not in names:
            raise unknown_key(where, prefix + key, [prefix + n for n in names])
        values[key] = _decode_value(hints[key], value, where, prefix + key)
    return kind(**values)


def _decode_value(hint: Any, value: Any, where: str, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: {key} = {value!r}: must be a table [{key}]")
        return _decode(hint, value, where, f"{key}.")  # pyright: ignore[reportArgumentType]
    if get_origin(hint) is tuple:
        element = get_args(hint)[0]
        if isinstance(value, list | tuple) and all(_is(element, v) for v in value):
            return tuple(value)
        raise InputError(f"{where}: {key} = {value!r}: must be a list of {_NAMES[element]}s")
    if get_origin(hint) is dict:
        if isinstance(value, Mapping) and all(_is(float, v) for v in value.values()):
            return {str(name): float(v) for name, v in value.items()}
        raise InputError(f"{where}: {key} = {value!r}: must be a table of numbers")
    if get_origin(hint) in (UnionType, Union):
        kind, word = get_args(hint)
        if value in get_args(word):
            return value
        if not _is(kind, value):
            raise InputError(f"{where}: {key} = {value!r}: must be {_ARTICLES[kind]} or {get_args(word)[0]!r}")
        return kind(value)
    if not _is(hint, value):
        raise InputError(f"{where}: {key} = {value!r}: must be {_ARTICLES[hint]}")
    return hint(value)


_NAMES = {int: "whole number", float: "number", str: "text", bool: "truth value"}
_ARTICLES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _is(hint: type, value: object) -> bool:
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


__all__ = [
    "WHERE",
    "Config",
    "EstimatorConfig",
    "HomeostasisConfig",
    "KrylovConfig",
    "OptimizerConfig",
    "ProcessConfig",
    "SolverConfig",
    "SystemConfig",
    "TrainingConfig",
    "differences",
]
