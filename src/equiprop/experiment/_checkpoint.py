"""Checkpoints, written atomically and read back bit for bit."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from equiprop.errors import CheckpointWarning, InputError, warn
from equiprop.experiment import _legacy_checkpoint
from equiprop.experiment._config import MAY_CHANGE, Config, differences
from equiprop.files import is_unfinished, make_folder, no_file, parse_json, replaced_by, why_not_written
from equiprop.numerics import trees
from equiprop.systems import System
from equiprop.training import TrainState

T = TypeVar("T")

_FORMAT = "equiprop checkpoint, version 1"
_SUFFIX = ".safetensors"
_ASIDE = ".aside"
# Of each kind, the last and the best: the newest, and the one to read where that is damaged.
_GENERATIONS = 2
# Without its ending, the folder that version 0.1 wrote.
_NAMED = re.compile(rf"(?P<best>best-)?epoch-(?P<epoch>\d+)(-step-(?P<step>\d+))?({re.escape(_SUFFIX)})?")


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a checkpoint says of itself besides its arrays."""

    path: Path
    epoch: int
    step: int
    seconds: float
    config: Config
    digest: str


class Checkpoints:
    """The checkpoints of one run, in a folder of their own: `epoch-0003-step-000000.safetensors`, `best-epoch-0002.safetensors`.

    Each is one file: the arrays of the state by their paths in it, such as `system.weights.input->hidden_1`, and in the header's
    `__metadata__` how far the run is, its configuration, and the sha256 of all of that. It appears whole or not at all. The one
    before is kept beside it, and is read, with a `CheckpointWarning`, where the newest turns out to be damaged.
    """

    def __init__(self, folder: str | Path, config: Config) -> None:
        self.folder = Path(folder)
        self.config = config

    def save(
        self,
        state: TrainState | tuple[list[TrainState], ...],
        *,
        seconds: float,
        at: TrainState | None = None,
        best: bool = False,
    ) -> Path:
        """Writes `state`, or several; `at` is the one that says how far they are, if that is not `state` itself.

        Raises `InputError` where the disk is full or cannot be written to; nothing is lost then.
        """
        furthest = state if at is None else at
        assert isinstance(furthest, TrainState)
        epoch, step = int(furthest.epoch), int(furthest.step)
        target = self.folder / (f"best-epoch-{epoch:04d}" if best else f"epoch-{epoch:04d}-step-{step:06d}")
        target = target.with_name(target.name + _SUFFIX)
        arrays = _arrays(state)
        about = {
            "format": _FORMAT,
            "epoch": str(epoch),
            "step": str(step),
            "seconds": repr(seconds),
            "config": json.dumps(self.config.to_mapping()),
        }
        about["digest"] = _digest(arrays, about)
        try:
            # Not its parents: a run directory that was removed meanwhile is not made anew.
            make_folder(self.folder)
            with replaced_by(target) as partial:
                save_file(arrays, partial, about)
        except (OSError, SafetensorError) as error:
            kept = self.paths(best) or self.paths(best=False)
            mend = (
                f"the checkpoint {kept[-1].stem} is intact: make room, and resume {self.folder.parent}"
                if kept
                else "no checkpoint was there before: make room, or choose another folder"
            )
            raise InputError(f"checkpoint {target}: cannot be written ({why_not_written(error)}); {mend}") from error
        for old in self.paths(best)[:-_GENERATIONS]:
            old.unlink(missing_ok=True)
        return target

    def tidy(self) -> None:
        """Removes what a killed process left half written. The caller must hold the run lock."""
        for left in filter(is_unfinished, self.folder.glob("*")):
            left.unlink(missing_ok=True)

    def rewind(self, about: CheckpointMetadata) -> None:
        """Back to a checkpoint that the run goes on from: later ones, and best ones that are damaged, are put aside.

        The caller must hold the run lock. A best one that is damaged is said in a `CheckpointWarning`.
        """
        for best in (False, True):
            for path in self.paths(best):
                if moment_of(path) > ((about.epoch, 0) if best else moment_of(about.path)):
                    path.replace(path.with_suffix(_ASIDE))
        damaged = []
        for path in self.paths(best=True):
            try:
                self.check(path)
            except _Damaged as error:
                path.replace(path.with_suffix(_ASIDE))
                damaged.append(error)
        left = self.paths(best=True)
        then = f"{left[-1].stem} is the best in its place" if left else "the best system is lost"
        for error in damaged:
            warn(f"{error}; it is put aside, and {then}", CheckpointWarning)

    def newest(self, like: T, *, best: bool = False) -> tuple[CheckpointMetadata, T]:
        """The newest whole checkpoint, or the one with the lowest validation error: what it says of itself, and its state.

        A run that is still being trained may remove it meanwhile for a newer one, which is then read in its place. Raises
        `InputError` if there is none, or for what `restore` raises.
        """

        def read(path: Path) -> tuple[CheckpointMetadata, T]:
            about = _about(path)
            return about, self.restore(about, like)

        return self._of_newest(best, read)

    def restore(self, about: CheckpointMetadata, like: T) -> T:
        """The state in `about`, in the structure of `like`.

        Raises `InputError` for a checkpoint of another configuration, one whose arrays are not those that were written, or one of
        other sizes than those of `like`.
        """
        return _from_arrays(about, self._read(about), like)

    def system(self, like: System, *, best: bool = False) -> tuple[CheckpointMetadata, System]:
        """The system alone of the newest complete checkpoint, or of the best one, in the structure of `like`; with its averaged
        parameters, where the run averages.

        Raises as `newest`.
        """

        def read(path: Path) -> tuple[CheckpointMetadata, System]:
            about = _about(path)
            if path.is_dir():
                self._require_same_config(about)
                return about, _from_arrays(about, _legacy_checkpoint.arrays_like(path, like, about.digest), like)
            arrays = self._read(about)
            system = _from_arrays(about, _below("system", arrays), like)
            averaged = _below("average", arrays)
            if not averaged:
                return about, system
            parameters = eqx.filter(system, eqx.is_inexact_array)
            return about, eqx.combine(_from_arrays(about, averaged, parameters), system)

        return self._of_newest(best, read)

    def _read(self, about: CheckpointMetadata) -> dict[str, np.ndarray]:
        """All arrays of a checkpoint. Raises as `restore`, but for sizes."""
        self._require_same_config(about)
        if about.path.is_dir():
            hint = "train its system further in a new run, by --from"
            raise InputError(f"checkpoint {about.path}: was written by version 0.1, and does not go on", hint=hint)
        try:
            with safe_open(about.path, "numpy") as file:
                said = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, AttributeError, TypeError, ValueError) as error:
            # The last three for what NumPy makes of a header that names numbers it does not have.
            raise _Damaged(f"cannot be read ({error})", path=f"checkpoint {about.path}") from error
        if said.pop("digest", "") != about.digest or _digest(arrays, said) != about.digest:
            raise _Damaged("is damaged, it does not hold what was written", path=f"checkpoint {about.path}")
        return arrays

    def _require_same_config(self, about: CheckpointMetadata) -> None:
        changed = [key for key in differences(about.config, self.config) if key not in MAY_CHANGE]
        if changed:
            raise InputError(
                f"checkpoint {about.path}: belongs to another configuration, {', '.join(changed)} differ; "
                "restore config.toml as it was, or start a new run"
            )

    def paths(self, best: bool) -> list[Path]:
        """Checkpoints of one kind, oldest first."""
        found = [(_NAMED.fullmatch(path.name), path) for path in self.folder.glob("*epoch-*")]
        return sorted((path for m, path in found if m and bool(m["best"]) == best), key=moment_of)

    def check(self, path: Path) -> CheckpointMetadata:
        """What one of them says of itself, if all of it is as it was written; of version 0.1, if that can be read.

        Raises `InputError` as `restore`.
        """
        about = _about(path)
        if path.is_file():
            self._read(about)
        return about

    def about(self, *, best: bool = False) -> CheckpointMetadata:
        """What the newest complete checkpoint, or the best one, says of itself. Raises `InputError` if there is none.

        One whose header is damaged is passed over without a word: `newest` warns, when it is read.
        """
        return self._of_newest(best, _about, warns=False)

    def _of_newest(self, best: bool, read: Callable[[Path], T], *, warns: bool = True) -> T:
        """What `read` finds in the newest checkpoint; in the one before, where that is damaged."""
        damaged: dict[Path, _Damaged] = {}
        while True:
            left = [path for path in self.paths(best) if path not in damaged]
            if not left:
                kind = "best checkpoint" if best else "checkpoint"
                nothing = InputError(f"{self.folder}: holds no {kind}", hint="start the run anew")
                raise next(iter(damaged.values()), nothing)
            path = left[-1]
            try:
                found = read(path)
            except _Damaged as error:
                # One that was replaced meanwhile is not damaged.
                if path.exists():
                    damaged[path] = error
                continue
            for error in damaged.values() if warns else ():
                warn(f"{error}; {path.stem} is read in its place", CheckpointWarning)
            return found


class _Damaged(InputError):
    """This checkpoint cannot be read; another may be."""


def moment_of(path: Path) -> tuple[int, int]:
    """Epoch and step of a checkpoint, as its name says."""
    named = _NAMED.fullmatch(path.name)
    assert named is not None
    return int(named["epoch"]), int(named["step"] or 0)


def _about(path: Path) -> CheckpointMetadata:
    try:
        if path.is_dir():
            data = _legacy_checkpoint.about(path)
            config = Config.from_mapping(data["config"], complete=True)
        elif no_file(path):
            raise ValueError(f"it is {no_file(path)}")
        else:
            with safe_open(path, "numpy") as file:
                data = file.metadata() or {}
            if data.get("format") != _FORMAT:
                raise ValueError(f"its format is {data.get('format')!r}, not {_FORMAT!r}")
            config = Config.from_mapping(parse_json(data["config"]), complete=True)
        epoch, step, seconds = int(data["epoch"]), int(data["step"]), float(data["seconds"])
        found = CheckpointMetadata(path, epoch, step, seconds, config, data["digest"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _Damaged(f"cannot be read ({error})", path=f"checkpoint {path}") from error
    if moment_of(path) != (epoch, step if "-step-" in path.name else 0):
        said = f"is damaged, it is of epoch {epoch}, step {step}, and not what its name says"
        raise _Damaged(said, path=f"checkpoint {path}")
    return found


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by their paths; a typed key as its numbers, which is what can be stored."""
    tree = eqx.filter(tree, _is_array)
    leaves = jax.tree.leaves(tree)
    data = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in leaves]
    return {path: np.asarray(a, order="C") for path, a in zip(trees.paths(tree), data, strict=True)}


def _from_arrays(about: CheckpointMetadata, arrays: Mapping[str, np.ndarray], like: T) -> T:
    """The tree in the structure of `like`. Raises `InputError` where that has other arrays."""
    like, rest = eqx.partition(like, _is_array)
    leaves, structure = jax.tree.flatten(like)
    stored = [jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf for leaf in leaves]
    wanted = dict(zip(trees.paths(like), stored, strict=True))
    for name in {**wanted, **arrays}:
        there, expected = (
            "no array" if a is None else f"an array of {a.dtype}{list(a.shape)}"
            for a in (arrays.get(name), wanted.get(name))
        )
        if there != expected:
            raise InputError(
                f"checkpoint {about.path}: holds {there} as {name} where the network has {expected}; are these the data that the "
                "run was trained on?"
            )
    found = [jnp.asarray(arrays[path]) for path in wanted]
    restored = [jax.random.wrap_key_data(a) if _is_key(leaf) else a for leaf, a in zip(leaves, found, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, restored), rest)


def _is_array(leaf: Any) -> bool:
    """An array, or what is known of one: a system may hold functions, too, which code tells and no file."""
    return eqx.is_array(leaf) or isinstance(leaf, np.ndarray | jax.ShapeDtypeStruct)


def _below(part: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of one part of a state, by their paths in that."""
    return {name.removeprefix(f"{part}."): array for name, array in arrays.items() if name.startswith(f"{part}.")}


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def digest_of(tree: Any) -> str:
    """The sha256 (hex) of the arrays of a tree."""
    return _digest(_arrays(tree), {})


def _digest(arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> str:
    hasher = hashlib.sha256(json.dumps(dict(about), sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        hasher.update(f"\n{json.dumps(name)} {array.dtype.str} {array.shape}\n".encode())
        hasher.update(array.reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()
