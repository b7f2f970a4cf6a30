"""The run directory as it is written; `equiprop.reporting` reads it back."""

import dataclasses
import importlib.metadata
import itertools
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import tomli_w
from filelock import FileLock, Timeout

from equiprop.data import DatasetInfo, names
from equiprop.errors import InputError
from equiprop.experiment._checkpoint import CheckpointMetadata, Checkpoints
from equiprop.experiment._config import SECTIONS, Config, anchored
from equiprop.experiment._pixels import pixels_of
from equiprop.files import make_folder, parse_json, read_bytes, read_json, read_toml, write_atomically
from equiprop.kinds import is_reference, load_reference, references, source_digest
from equiprop.reporting import CHECKPOINTS, CONFIG, CONFUSION, MANIFEST, METRICS, SUMMARY, in_todays_names
from equiprop.systems import read_topology_tables
from equiprop.training import AbstractRecord, TrainState

CHECKPOINT_NAMES = ("last", "best")

_LOCK = ".lock"
_CUT = "metrics-cut.jsonl"
_TOPOLOGY = "topology.toml"
_LIBRARIES = ("equiprop", "jax", "jaxlib", "equinox", "optax", "lineax", "numpy")


class RunDirectory(AbstractRecord):
    """`config.toml`, `manifest.json`, `metrics.jsonl`, `checkpoints/` and, at the end, `summary.json`.

    And `.lock`, which one process at a time holds while it trains.
    """

    def __init__(self, path: Path, config: Config) -> None:
        self.path = path
        self.config = config
        self.checkpoints = Checkpoints(path / CHECKPOINTS, config)
        self._lock = FileLock(path / _LOCK)
        self._locked: os.stat_result | None = None

    @classmethod
    def create(
        cls, path: str | Path, config: Config, data: DatasetInfo, command: str, more: Mapping[str, Any] | None = None
    ) -> "RunDirectory":
        """A new one, locked. Raises `InputError` if something is there already, or it cannot be written to.

        **Arguments:**

        - `command`: that which is under way by default.
        - `more`: further entries of the manifest.
        """
        path = Path(path)
        cls.require_new(path)
        stored = config = _absolute(config)
        graph = _graph(config)
        if graph:
            # The graph is part of the run: a copy keeps the run replayable when the original changes.
            stored = stored.changed({"system.topology": _TOPOLOGY})
        directory = cls(path, stored)
        try:
            make_folder(path, parents=True)
            # Before anything is written: another process may have chosen the same folder at the same time.
            directory.lock()
            if graph:
                write_atomically(path / _TOPOLOGY, tomli_w.dumps(graph))
            write_atomically(path / CONFIG, stored.to_toml())
            write_atomically(
                path / MANIFEST,
                json.dumps(manifest_of(config, data, command, graph) | dict(more or {}), indent=2) + "\n",
            )
            write_atomically(path / METRICS, "")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from error
        return directory

    @staticmethod
    def require_new(path: str | Path) -> None:
        """Raises `InputError` if something is there already, or it cannot be looked at."""
        path = Path(path)
        try:
            taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from error
        if taken:
            raise InputError(f"{path}: exists already", hint="give a new folder, or continue that run with --resume")

    @classmethod
    def open(cls, path: str | Path) -> "RunDirectory":
        """An existing one. Raises `InputError` if `path` is not a run directory."""
        path = Path(path)
        if not (path / CONFIG).is_file():
            raise InputError(
                f"run {path}: is not a run directory (it has no {CONFIG}); 'equiprop runs' lists those there are"
            )
        tables = read_toml(path / CONFIG)
        try:
            return cls(path, Config.from_mapping(tables, complete=True))
        except InputError as error:
            raise InputError(f"{path / CONFIG}: {error}") from None

    def resolved_config(self) -> Config:
        """The configuration with the files that it names made usable from anywhere.

        Raises `InputError` if the source of a class or function of the user's own is not what it was when the run began.
        """
        self._require_sources()
        return Config.from_mapping(anchored(self.config.to_mapping(), self.path), complete=True)

    def _require_sources(self) -> None:
        for reference, digest in self.said("sources").items():
            if not is_reference(reference):
                raise InputError(f"{self.path / MANIFEST}: 'sources' holds {reference!r}, which is no module:name")
            if source_digest(reference) != digest:
                raise InputError(
                    f"{reference}: its source has changed since the run in {self.path} began",
                    hint="put it back as it was, or start a new run",
                )

    def manifest(self) -> dict[str, Any]:
        """Raises `InputError` if it cannot be read."""
        return read_json(self.path / MANIFEST)

    def said(self, name: str) -> dict[str, Any]:
        """A table of the manifest, empty where there is none. Raises `InputError` for anything else, as `manifest` does."""
        found = self.manifest().get(name, {})
        if not isinstance(found, dict):
            raise InputError(f"{self.path / MANIFEST}: '{name}' is no table", hint="restore it, or train the run again")
        return found

    def data_info(self) -> DatasetInfo | None:
        """What is known of the data without them; `None` in a run of version 0.1."""
        recorded = self.manifest().get("data")
        try:
            return None if recorded is None else DatasetInfo.from_mapping(recorded)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise InputError(f"{self.path / MANIFEST}: 'data' cannot be read ({error})") from error

    def require_data(self, data: DatasetInfo) -> None:
        """Raises `InputError` if these are not what the run began with."""
        recorded = self.manifest().get("dataset_checksum")
        if recorded != data.checksum:
            raise InputError(
                f"dataset = {self.config.dataset!r}: has checksum {data.checksum[:12]}, the run began with "
                f"{str(recorded)[:12]}; put the original data back"
            )

    def lock(self) -> None:
        """Keeps other processes from training here, until `unlock` or the end of this one, however it ends."""
        try:
            self._lock.acquire(timeout=0)
            self._locked = (self.path / _LOCK).stat()
        except Timeout as error:
            raise InputError(f"run {self.path}: another process is training it; wait for its end or stop it") from error
        except OSError as error:
            raise InputError(f"run {self.path}: cannot be written ({error.strerror})") from error

    def unlock(self) -> None:
        self._lock.release()
        self._locked = None

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Raises `InputError` if what this process has locked is no longer there: the block would write to what is another's."""
        self._require_own()
        try:
            yield
        except InputError:
            # What cannot be written has no better reason than that.
            self._require_own()
            raise

    def _require_own(self) -> None:
        if self._locked is None:
            return
        try:
            same = os.path.samestat(self._locked, (self.path / _LOCK).stat())
        except OSError:
            same = False
        if not same:
            hint = "nothing more is written there; train anew"
            raise InputError(f"run {self.path}: was removed or replaced while it was trained", hint=hint)

    @property
    def place(self) -> str:
        return str(self.path)

    @property
    def is_finished(self) -> bool:
        """Whether there is a summary."""
        return (self.path / SUMMARY).is_file()

    def save(self, states: Sequence[TrainState], *, seconds: float) -> None:
        with self.owned():
            self.checkpoints.save(states[0], seconds=seconds)

    def save_best(self, state: TrainState, lane: int = 0) -> None:
        del lane
        with self.owned():
            self.checkpoints.save(state, seconds=0.0, best=True)

    def best(self, like: TrainState, lane: int = 0) -> TrainState:
        del lane
        return self.checkpoints.newest(like, best=True)[1]

    def append(self, metrics: Mapping[str, Any], lane: int = 0) -> None:
        del lane
        with self._writing(METRICS), (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of all epochs so far, as far as they can be read."""
        return list(self._lines()[0].values())

    @property
    def damaged_lines(self) -> list[int]:
        """Which lines of the metrics, from 1, cannot be read."""
        return self._lines()[1]

    def _lines(self) -> tuple[dict[int, dict[str, Any]], list[int]]:
        """What is told of each epoch, and the numbers of the lines that cannot be read."""
        found, damaged = {}, []
        for number, line in enumerate(self._metrics_file().split(b"\n"), start=1):
            if not line:
                continue
            try:
                values = in_todays_names(parse_json(line))
            except ValueError:
                values = {}
            if isinstance(values.get("epoch"), int):
                found[values["epoch"]] = values
            else:
                damaged.append(number)
        return found, damaged

    def _metrics_file(self) -> bytes:
        path = self.path / METRICS
        return read_bytes(path) if path.is_file() else b""

    def rewind(self, about: CheckpointMetadata) -> list[dict[str, Any]]:
        """Back to the moment of a checkpoint: **returns** the lines of the epochs before it. The caller must hold the run lock.

        What is of later ones is put aside: lines of metrics, also one that a kill has cut off, in `metrics-cut.jsonl`. Raises as
        `metrics_until`.
        """
        lines = self.metrics_until(about.epoch)
        self.checkpoints.rewind(about)
        return lines

    def metrics_until(self, epoch: int) -> list[dict[str, Any]]:
        """The lines of the epochs up to `epoch`; what else the file holds goes to `metrics-cut.jsonl`.

        Raises `InputError` where one is missing or cannot be read: each was written before the checkpoint that follows it.
        """
        path = self.path / METRICS
        kept = {number: values for number, values in self._lines()[0].items() if number <= epoch}
        missing = missing_epochs(list(kept.values()), epoch)
        if missing:
            raise InputError(f"{path}: {missing}", hint="put the file back as it was, or train anew")
        before, after = self._metrics_file().decode("utf-8", "replace"), _jsonl(kept.values())
        if before != after:
            known = set(after.splitlines())
            with self._writing(_CUT), (self.path / _CUT).open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in before.splitlines() if line not in known)
            self.write_metrics(list(kept.values()))
        return list(kept.values())

    def write_metrics(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the lines of all epochs."""
        with self._writing(METRICS):
            write_atomically(self.path / METRICS, _jsonl(lines))

    def extend(self, config: Config, histories: Sequence[list[dict[str, Any]]]) -> None:
        """Lets the run go on with other epochs: the configuration says so, the manifest keeps how it was begun."""
        (history,) = histories
        before = {key: self.config.training[key] for key in ("epochs", "patience")}
        self.config = dataclasses.replace(self.config, training=self.config.training | {
            key: config.training[key] for key in before
        })  # fmt: skip
        manifest = self.manifest()
        manifest.setdefault("extended", []).append({"after_epoch": len(history), **before})
        self.checkpoints = Checkpoints(self.path / CHECKPOINTS, self.config)
        self.write_metrics(history)
        with self._writing(CONFIG):
            write_atomically(self.path / MANIFEST, json.dumps(manifest, indent=2) + "\n")
            write_atomically(self.path / CONFIG, self.config.to_toml())
            (self.path / SUMMARY).unlink(missing_ok=True)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        with self._writing(SUMMARY):
            write_atomically(self.path / SUMMARY, json.dumps(summary, indent=2) + "\n")

    def write_confusion(
        self, split: str, epoch: int, classes: tuple[str, ...], found: Mapping[str, Any], stored: Any
    ) -> None:
        """Keeps, for the report, how the classes of a split were confused after so many epochs; nothing where there are none.

        **Arguments:**

        - `stored`: the inputs of the split as they are stored, of which the most confident mistakes are shown.
        """
        if "confusion" not in found:
            return
        path = self.path / CONFUSION
        try:
            kept = read_json(path)
        except InputError:
            kept = {}
        named = list(classes) or list(map(str, range(len(found["confusion"]))))
        mistakes = [about | pixels_of(stored, about["sample"]) for about in found["mistakes"]]
        kept[split] = {"epoch": epoch, "classes": named, "confusion": found["confusion"], "mistakes": mistakes}
        with self._writing(CONFUSION):
            write_atomically(path, json.dumps(kept) + "\n")

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        with self.owned(), _FullDisk(self.path / name):
            yield


def _jsonl(lines: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(values) + "\n" for values in lines)


class _FullDisk:
    """Turns a failed write into one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); the last checkpoint is intact, make room and resume"
            ) from error


def _absolute(config: Config) -> Config:
    """The configuration in which the user's own files and folders are named so that they are found again from anywhere."""
    found = Config.from_mapping(anchored(config.to_mapping(), Path.cwd()), complete=True)
    if found.dataset not in names() and Path(found.dataset).is_dir():
        found = dataclasses.replace(found, dataset=str(Path(found.dataset).absolute()))
    return found


def missing_epochs(lines: Sequence[Mapping[str, Any]], epochs: int) -> str:
    """What is to be said where not each of so many epochs has its line; empty where each has. They may be any number."""
    there = {line["epoch"] for line in lines if 1 <= line["epoch"] <= epochs}
    missing = epochs - len(there)
    if not missing:
        return ""
    first = next(epoch for epoch in itertools.count(1) if epoch not in there)
    return f"the line of epoch {first} is missing or damaged, {missing} of {epochs} in all"


def _graph(config: Config) -> dict[str, Any]:
    """The tables of the topology file; empty where there is none."""
    path = config.system.values.get("topology")
    return read_topology_tables(path) if path else {}


def manifest_of(
    config: Config, data: DatasetInfo, command: str = "", graph: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Where a run comes from: versions, device, data, command, papers, the sources of what is the user's own.

    And the configuration that it begins with, since many are read faster as JSON than as TOML.
    """
    device = jax.devices()[0]
    chosen = {section: getattr(config, section) for section in SECTIONS if section != "reference"}
    return {
        "versions": {"python": platform.python_version(), **{n: importlib.metadata.version(n) for n in _LIBRARIES}},
        "device": f"{device.platform}: {device.device_kind} ({os.cpu_count()} CPU cores, {platform.machine()})",
        "dataset_checksum": data.checksum,
        "data": data.to_mapping(),
        "seed": config.training["seed"],
        "command": command or " ".join(sys.argv),
        "labels": {section: choice.label for section, choice in chosen.items()},
        "citations": list(dict.fromkeys(paper for choice in chosen.values() for paper in choice.cited())),
        "sources": _sources([config.to_mapping(), dict(graph or {})]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.to_mapping(),
    }


def _sources(tables: list[dict[str, Any]]) -> dict[str, str]:
    """The digests of the files behind what is named by `module:name` or `file.py:name`."""
    found = {}
    for reference in references(tables):
        load_reference(reference)
        found[reference] = source_digest(reference)
    return found
