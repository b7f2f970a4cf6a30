"""Checkpoints, written atomically and read back bit for bit."""

import errno
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from equiprop.errors import InputError
from equiprop.experiment._config import MAY_CHANGE, Config, differences
from equiprop.systems import System
from equiprop.training import TrainState

T = TypeVar("T")

_ABOUT = "about.json"
_ARRAYS = "arrays"
_BEST = "best"
_WRITING, _REMOVED = ".writing-", ".removed-"


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
    """The checkpoints of one run, in a folder of their own: `epoch-0003-step-000000`, and `best-epoch-0002`.

    A checkpoint is written under a temporary name and renamed when it is complete, and the previous one is removed only after
    that: whatever happens while one is written, the last complete one survives.
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
        import orbax.checkpoint as ocp

        furthest = state if at is None else at
        assert isinstance(furthest, TrainState)
        epoch, step = int(furthest.epoch), int(furthest.step)
        name = f"{_BEST}-epoch-{epoch:04d}" if best else f"epoch-{epoch:04d}-step-{step:06d}"
        partial = self.folder / f"{_WRITING}{uuid.uuid4().hex[:8]}"
        arrays = _arrays(state)
        about = {
            "epoch": epoch,
            "step": step,
            "seconds": seconds,
            "config": self.config.to_mapping(),
            "digest": _digest(arrays),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.mkdir()
            with _quiet_absl(), _checkpointer() as writer:
                writer.save(partial.absolute() / _ARRAYS, args=ocp.args.StandardSave(arrays))
            with (partial / _ABOUT).open("w", encoding="utf-8") as file:
                json.dump(about, file)
                file.flush()
                os.fsync(file.fileno())
            target = self.folder / name
            if target.exists():
                self._remove(name)
            partial.rename(target)
        except (OSError, ValueError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            kept = self._names(best) or self._names(best=False)
            mend = (
                f"the checkpoint {kept[-1]} is intact: make room, and resume {self.folder.parent}"
                if kept
                else "no checkpoint was there before: make room, or choose another folder"
            )
            raise InputError(
                f"checkpoint {self.folder / name}: cannot be written ({_first_line(error)}); {mend}"
            ) from error
        for old in self._names(best):
            if old != name:
                self._remove(old)
        return target

    def _remove(self, name: str) -> None:
        """At once for who looks for it, however long its files take."""
        hidden = self.folder / f"{_REMOVED}{uuid.uuid4().hex[:8]}"
        with suppress(OSError):
            (self.folder / name).rename(hidden)
            shutil.rmtree(hidden)

    def tidy(self) -> None:
        """Removes what a killed process left half written or half removed. The caller must hold the run lock."""
        for left in self.folder.glob(".*"):
            if left.name.startswith((_WRITING, _REMOVED)):
                shutil.rmtree(left, ignore_errors=True)

    def newest(self, like: T, *, best: bool = False) -> tuple[CheckpointMetadata, T]:
        """The newest complete checkpoint, or the one with the lowest validation error: what it says of itself, and its state.

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
        wanted = _arrays(like)
        arrays = self._read(about)
        _require_like(about, arrays, wanted)
        return _from_arrays(arrays, like)

    def system(self, like: System, *, best: bool = False) -> tuple[CheckpointMetadata, System]:
        """The system alone of the newest complete checkpoint, or of the best one, in the structure of `like`; with its averaged
        parameters, where the run averages.

        Raises as `newest`.
        """

        def read(path: Path) -> tuple[CheckpointMetadata, System]:
            about = _about(path)
            arrays = self._read(about)
            # The system comes first in a state, the average of its parameters last.
            wanted = _arrays(like)
            _require_like(about, arrays, wanted)
            system = _from_arrays({name: arrays[name] for name in wanted}, like)
            if not self.config.training.get("average"):
                return about, system
            parameters = eqx.filter(system, eqx.is_inexact_array)
            names = sorted(arrays)[-len(jax.tree.leaves(parameters)) :]
            return about, eqx.combine(_from_arrays({name: arrays[name] for name in names}, parameters), system)

        return self._of_newest(best, read)

    def _read(self, about: CheckpointMetadata) -> dict[str, np.ndarray]:
        """All arrays of a checkpoint. Raises as `restore`, but for sizes."""
        import orbax.checkpoint as ocp

        changed = [key for key in differences(about.config, self.config) if key not in MAY_CHANGE]
        if changed:
            raise InputError(
                f"checkpoint {about.path}: belongs to another configuration, {', '.join(changed)} differ; "
                "restore config.toml as it was, or start a new run"
            )
        try:
            with _quiet_absl(), _checkpointer() as reader:
                place = about.path.absolute() / _ARRAYS
                there = reader.metadata(place).item_metadata
                template = {name: np.zeros(a.shape, a.dtype) for name, a in there.items()}
                arrays = reader.restore(place, args=ocp.args.StandardRestore(template))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"checkpoint {about.path}: cannot be read ({_first_line(error)})") from error
        if _digest(arrays) != about.digest:
            raise InputError(f"checkpoint {about.path}: is damaged, its arrays are not those that were written")
        return arrays

    def _names(self, best: bool) -> list[str]:
        """Complete checkpoints of one kind, oldest first."""
        if not self.folder.is_dir():
            return []
        prefix = f"{_BEST}-epoch-" if best else "epoch-"
        return sorted(p.name for p in self.folder.iterdir() if p.name.startswith(prefix))

    def about(self, *, best: bool = False) -> CheckpointMetadata:
        """What the newest complete checkpoint, or the best one, says of itself. Raises `InputError` if there is none."""
        return self._of_newest(best, _about)

    def _of_newest(self, best: bool, read: Callable[[Path], T]) -> T:
        """What `read` finds in the newest checkpoint; in the next one, where that was replaced meanwhile."""
        while True:
            name = self._newest_name(best)
            try:
                return read(self.folder / name)
            except InputError:
                if self._newest_name(best) == name:
                    raise

    def _newest_name(self, best: bool) -> str:
        names = self._names(best)
        if not names:
            raise InputError(f"{self.folder}: holds no checkpoint; start the run anew")
        return names[-1]


def _require_like(
    about: CheckpointMetadata, arrays: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]
) -> None:
    for name, expected in wanted.items():
        found = arrays.get(name, np.zeros(0))
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise InputError(
                f"checkpoint {about.path}: holds an array of {found.dtype}{list(found.shape)} where the "
                f"network has {expected.dtype}{list(expected.shape)}; are these the data that the run was trained on?"
            )


def _about(path: Path) -> CheckpointMetadata:
    try:
        data = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
        config = Config.from_mapping(data["config"], complete=True)
        return CheckpointMetadata(path, data["epoch"], data["step"], data["seconds"], config, data["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"checkpoint {path}: cannot be read ({_first_line(error)})") from error


def _checkpointer() -> Any:
    """Orbax's, for this process alone: which process writes or reads is decided here, not there."""
    import orbax.checkpoint as ocp

    if jax.process_count() == 1:
        return ocp.Checkpointer(ocp.StandardCheckpointHandler())
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process-{me}"
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _arrays(state: Any) -> dict[str, Any]:
    """The leaves of the state by position; a typed key as its numbers, which is what can be stored."""
    leaves = jax.tree.leaves(state)
    data = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in leaves]
    return {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(data)}


def _from_arrays(arrays: Mapping[str, Any], like: T) -> T:
    leaves, structure = jax.tree.flatten(like)
    restored = []
    for leaf, array in zip(leaves, (arrays[name] for name in sorted(arrays)), strict=True):
        value = jnp.asarray(array)
        restored.append(jax.random.wrap_key_data(value) if _is_key(leaf) else value)
    return jax.tree.unflatten(structure, restored)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def digest_of(tree: Any) -> str:
    """The sha256 (hex) of the arrays of a tree."""
    return _digest(_arrays(tree))


def _digest(arrays: dict[str, Any]) -> str:
    hasher = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hasher.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()


@contextmanager
def _quiet_absl() -> Iterator[None]:
    """Orbax logs a failed write as tracebacks of its threads; the exception says it all, and is one line here."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    full = os.strerror(errno.ENOSPC)
    if full in str(error):
        return full
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]
