"""Damages valid files of every kind that the package reads, and demands that each is read, or refused by an `InputError`.

    python tools/fuzz.py                           # 100,000 files, in some minutes on two cores
    python tools/fuzz.py npz idx --count 5000      # of these readers alone, and so many of each
    python tools/fuzz.py npz --first 812 --count 1 # one again

What is done to a file follows from its reader and its number alone. A file that ends otherwise (in another exception, a
crash of the interpreter, more memory than `_MEMORY` or more time than `_SECONDS`) is printed with the command that repeats
it, and the exit code is 1. Warnings do not count. A new reader is one more line in `READERS`.
"""

import argparse
import functools
import gzip
import io
import json
import math
import multiprocessing
import pickle
import random
import resource
import shutil
import signal
import sqlite3
import struct
import sys
import tarfile
import tempfile
import threading
import tomllib
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from equiprop import data
from equiprop.data import _room
from equiprop.data._cifar import CIFAR10, read_cifar, read_cifar_folder
from equiprop.data._imagenet import read_imagenet
from equiprop.data._pickles import read_pickle_file
from equiprop.errors import InputError

_ROOM = 2**28
"""The memory that readers are told there is."""
_MEMORY = 2**30
"""What a process may take besides what it has at its start; it is killed by the limit of its address space."""
_SECONDS = 10
_SILENCE_SECONDS = 120
"""After which a process that waits, or cannot be interrupted, is ended."""
_AT_ONCE = 2

Files = dict[str, bytes]


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    **Arguments:**

    - `files`: makes valid files, by their names; each is damaged in its turn.
    - `read`: reads them in a folder.
    - `packed`: what is done to each file after that, so that what is damaged is within what compresses or wraps it.
    - `weight`: how many are tried beside those of other readers; less where one takes long.
    """

    name: str
    files: Callable[[], Files]
    read: Callable[[Path], Any]
    packed: Callable[[bytes], bytes] = bytes
    weight: float = 1.0

    @functools.cached_property
    def valid(self) -> Files:
        return self.files()

    def read_damaged(self, folder: Path, number: int | None) -> None:
        """Reads the files in a folder of its own, one of which has the damage of that number. The valid files stay there."""
        if not folder.is_dir():
            for name in self.valid:
                self._put(folder, name, self.valid[name])
        chosen = random.Random(f"{self.name} {number}")
        name = chosen.choice(sorted(self.valid))
        content = self.valid[name]
        self._put(folder, name, content if number is None else damaged(content, chosen))
        try:
            self.read(folder)
        finally:
            self._put(folder, name, content)

    def _put(self, folder: Path, name: str, content: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Anew: some file systems write a file that is emptied first to disk at once.
        path.unlink(missing_ok=True)
        path.write_bytes(self.packed(content))

    def fault(self, folder: Path, number: int | None) -> str:
        """What happens with the damage of that number, if it is neither success nor an `InputError` of one line."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with _in_time():
                    self.read_damaged(folder, number)
            except InputError as error:
                return f"more than one line: {str(error)!r}" if "\n" in str(error) else ""
            except (Exception, _TooLongError):  # noqa: BLE001 - to tell of it is what this is for
                return traceback.format_exc(limit=-3)
        return ""


class _TooLongError(BaseException):
    """Which no reader takes for a fault of its file."""


@contextmanager
def _in_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLongError(f"takes more than {_SECONDS} s")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Of the processor, so that it does not depend on what else the machine does.
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


_TOKENS = (
    *(b"9" * 400, b"-1", b"0", b"1e999", b"NaN", b"Infinity", b"null", b"true", b"[" * 3000, b"{" * 3000, b"(" * 3000),
    *(b"a." * 3000, b'"', b"'", b"\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[31m", b"{}", b"[]"),
)


def damaged(content: bytes, chosen: random.Random) -> bytes:
    """A valid file with one to a few faults."""
    found = bytearray(content)
    for _ in range(chosen.choice((1, 1, 1, 2, 3, 8))):
        # The beginning says what the rest is: half of all faults are there.
        place = chosen.randrange(min(len(found), chosen.choice((128, len(found)))) or 1)
        length = chosen.choice((1, 2, 4, 8, chosen.randrange(1, 200)))
        match chosen.randrange(8):
            case 0 if found:
                found[place % len(found)] ^= 1 << chosen.randrange(8)
            case 1:
                found[place : place + 1] = bytes([chosen.choice((0, 1, 127, 128, 255, chosen.randrange(256)))])
            case 2:
                size, order = chosen.choice((2, 4, 8)), chosen.choice(("little", "big"))
                value = chosen.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1))
                found[place : place + size] = (value % 256**size).to_bytes(size, order)
            case 3:
                del found[place : place + length]
            case 4:
                found[place:place] = found[place : place + length] * chosen.choice((1, 2, 100))
            case 5:
                other = chosen.randrange(len(found) or 1)
                found[place : place + length] = found[other : other + length]
            case 6:
                found[place : place + chosen.choice((0, length))] = chosen.choice(_TOKENS)
            case _:
                del found[chosen.choice((place, chosen.randrange(len(found) or 1))) :]
    return bytes(found)


# Valid files

_RNG = np.random.default_rng(0)
_IMAGES = _RNG.integers(0, 256, (20, 4, 4), dtype=np.uint8)
_LABELS = np.arange(20, dtype=np.uint8) % 3
_ROWS = _RNG.integers(0, 256, (20, 3072), dtype=np.uint8)


def _idx(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def _mnist() -> Files:
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    return dict(zip(names, map(_idx, (_IMAGES, _LABELS, _IMAGES, _LABELS)), strict=True))


def _zipped(content: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in content.items():
            archive.writestr(f"{name}.npy", each)
    return file.getvalue()


def _npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def _npz(**arrays: Any) -> bytes:
    return _zipped({name: _npy(values) for name, values in arrays.items()})


def _batch(protocol: int) -> bytes:
    return pickle.dumps({"data": _ROWS, "labels": (_LABELS + 1).tolist(), "names": ["a"] * 20}, protocol)


def _cifar() -> Files:
    batches = {name: _batch(2) for name in CIFAR10.batches}
    return batches | {CIFAR10.meta: pickle.dumps({"label_names": list("abcdefghij")}, 2)}


def _tar(files: Files) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{CIFAR10.folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _image(form: str, image: np.ndarray = _IMAGES[0]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


def _image_folder(form: str) -> Files:
    names = [f"{split}/{label}/{i}.png" for split in ("train", "test") for label in "ab" for i in range(5)]
    return {name: _image(form) for name in names}


def _parquet(columns: str, more: str = "") -> bytes:
    import duckdb

    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as database:
        path = Path(folder) / "t.parquet"
        database.execute(f"copy (select {columns} from range(40) t(i)) to '{path}' (format parquet{more})")
        return path.read_bytes()


def _image_parquet() -> Files:
    about = json.dumps({"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}})
    encoded = _image("PNG").hex()
    columns = f"{{'bytes': unhex('{encoded}'), 'path': 'x'}} as image, i % 2 as label"
    content = _parquet(columns, f", kv_metadata {{huggingface: '{about}'}}")
    return {"data/train-0.parquet": content, "data/test-0.parquet": content}


def _sql(text: bytes) -> str:
    return "'" + text.decode("latin1").replace("'", "''").replace("\0", "") + "'"


def _csv() -> bytes:
    return b"a,b,label\n" + b"".join(b"%d,%d.5,%s\n" % (i, i, b"xyz"[i % 3 : i % 3 + 1]) for i in range(40))


_ROOT = Path(__file__).parents[1]
_CONFIG = (_ROOT / "experiments" / "digits_homeostasis.toml").read_bytes()
_TOPOLOGY = b"""output = "out"

[populations]
input = {size = [8, 8, 1]}
hidden = {size = 16, activation = "tanh"}
out = {size = 10}

[[connections]]
source = "input"
target = "hidden"
feedback = "none"

[[connections]]
source = "hidden"
target = "out"
feedback = "untied"
angle = 30.0
"""
_SWEEP = b"""sampler = "random"
out = "s"

[config.system]
hidden = [16]

[parameters]
"estimator.nudge" = [0.1, 0.2]
"optimizer.learning_rate" = {from = 0.01, to = 0.1, log = true}
"""


def _run() -> Files:
    lines = [
        {
            "epoch": e,
            "epoch_seconds": 1.5,
            "train_loss": 1.0 / e,
            "validation_error_percent": 24.0 / e,
            "symmetry": None,
        }
        for e in (1, 2, 3)
    ]
    summary = {"test_error_percent": 8.25, "epochs": 3, "seconds": 4.5, "dataset": "digits", "estimator": "holomorphic"}
    manifest = {"version": "0.2.0", "command": "train", "parameters": 100, "dataset": {"name": "digits"}, "sources": {}}
    return {
        "config.toml": _CONFIG,
        "metrics.jsonl": "".join(json.dumps(line) + "\n" for line in lines).encode(),
        "summary.json": json.dumps(summary).encode(),
        "manifest.json": json.dumps(manifest).encode(),
        "confusion.json": json.dumps({"test": _CONFUSED}).encode(),
    }


_CONFUSED = {
    "epoch": 3,
    "classes": ["a", "b"],
    "confusion": [[5, 1], [0, 4]],
    "mistakes": [{"sample": 2, "class": 0, "taken_for": 1, "margin": 0.5, "pixels": [[0, 255], [7, 9]]}],
}


def _study() -> Files:
    from equiprop.reporting import Chart, Curve, Map, Panel, Walk

    panels = [Panel("p", "%", [Curve(0, [1, 2], [0.5, 0.25], [0.1, 0.1])]), Map("m", [0, 1], [0], [[0, 1]], "x", "y")]
    unit = {"name": "u", "exact": 0.5, "real": [[0.05, -0.05]], "imaginary": [[0.0, 0.0]]}
    walk = {
        "title": "w",
        "sizes": [0.1],
        "units": [unit],
        "rests": [[True, True]],
        "errors": {"2": [0.1]},
        "bars": {"2": [0.2]},
    }
    found = {
        "study": "mine",
        "preset": "quick",
        "seeds": 1,
        "version": "0.2.0",
        "date": "2026-01-01",
        "question": "Why?",
        "verdict": ["So."],
        "failed": {"a": "b"},
        "printed": [{"title": "t", "columns": ["a"], "cells": [["1"]]}],
        "charts": [Chart("c", "Title", "Reading.", panels, ["a"]).to_json()],
        "walks": [Walk.from_json(walk).to_json()],
        "trained": [{"arm": "a"}],
    }
    return {"study.json": json.dumps(found).encode()}


_STATE = {"average": np.ones(2, np.float32), "system": {"weight": np.ones((3, 2), np.float32)}, "step": np.int32(0)}


def _checkpoint() -> Files:
    from safetensors.numpy import save

    from equiprop.experiment import Config
    from equiprop.experiment import _checkpoint as of

    arrays = of._arrays(_STATE)
    config = json.dumps(Config.from_mapping({}).to_mapping())
    about = {"format": of._FORMAT, "epoch": "1", "step": "0", "seconds": "1.5", "config": config}
    return {"epoch-0001-step-000000.safetensors": save(arrays, about | {"digest": of._digest(arrays, about)})}


_DEVICE = b"""kind = "device"
seed = 3
full_scale = 1.5

[quantisation]
bits = 6

[mismatch]
gain = 0.1
offset = 0.02

[timing]
spread = 0.2
delay = 0.1
delay_stages = 2
"""

_RAW = b"""Title: a circuit
Plotname: Transient Analysis
Flags: real
No. Variables: 3
No. Points: 2
Variables:
\t0\ttime\ttime
\t1\tv(x1)\tvoltage
\t2\ti(v1)\tcurrent
Values:
 0\t0.000000000000000e+00
\t1.000000000000000e+00
\t-2.500000000000000e-03

 1\t1.000000000000000e-03
\t9.000000000000000e-01
\t-2.250000000000000e-03

"""
_TRACKED = {"MLflow('equiprop')": "0a1b2c", "TensorBoard": "tensorboard"}


def _stored(name: str) -> Files:
    """The files of a folder that the tests keep."""
    folder = _ROOT / "tests" / "experiment" / name
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _several() -> Files:
    """The directory of two seeds."""
    files = _stored("stored_run")
    config, manifest = files["config.toml"].decode(), files["manifest.json"]
    whole = config.replace("\nseeds = 1\n", "\nseeds = 2\n")
    assert whole != config
    found = {"config.toml": whole.encode(), "manifest.json": manifest}
    for seed in (0, 1):
        own = files | {"config.toml": config.replace("\nseed = 0\n", f"\nseed = {seed}\n").encode()}
        found |= {f"seed-{seed}/{name}": content for name, content in own.items() if "checkpoints" not in name}
    return found | {name: files[name] for name in ("metrics.jsonl", "summary.json")}


_STUDY = """
[config]
dataset = "digits"
system = {hidden = [4]}
training = {epochs = 1, diagnostic_samples = 0}

[arms.plain]

[presets.quick]
seeds = 2
"""


def _small_settings() -> Any:
    from equiprop.studies import StudySettings

    return StudySettings._of_tables("small", "quick", tomllib.loads(_STUDY), _ROOT, None)


def _small_study() -> Any:
    from equiprop.studies import AbstractStudy, Outcome, Table

    class Small(AbstractStudy):
        kind = "small"
        question = "Why?"

        def conclude(self, trained: Any, measured: Any, settings: Any) -> Any:
            del settings
            sizes = measured.over_seeds(("size",), ("norm",))
            apart = trained.difference("test_error_percent", "plain", "plain")
            largest = max(row["size"] + row["norm"] for row in measured.rows)
            return Outcome(
                [f"{apart} {largest:.3g}"], [trained.over_seeds(("arm",), ("seconds",)), Table("s", sizes.rows)]
            )

    return Small()


def _going_study() -> Files:
    """The folder of a study that is trained, and measured, and has no end yet."""
    from safetensors.numpy import save

    from equiprop.experiment import _checkpoint as of
    from equiprop.experiment._seeds import of_each_seed
    from equiprop.studies import _work

    settings = _small_settings()
    config = settings.config_of(settings.arms["plain"])
    arrays = of._arrays(_STATE)
    about = {
        "format": of._FORMAT,
        "epoch": "1",
        "step": "0",
        "seconds": "1.5",
        "config": json.dumps(config.to_mapping()),
    }
    summary = {"test_error_percent": 8.25, "seconds": 4.5, "cosine_to_adjoint": {"total": 0.9}, "relaxation": [1, 2]}
    found = {
        "study.toml": settings.to_toml().encode(),
        "plain/config.toml": config.to_toml().encode(),
        "plain/summary.json": json.dumps(summary | {"failed_seeds": {"3": "why"}}).encode(),
        "plain/checkpoints/epoch-0001-step-000000.safetensors": save(
            arrays, about | {"digest": of._digest(arrays, about)}
        ),
    }
    for seed, each in enumerate(of_each_seed(config)):
        rows = [{"arm": "plain", "seed": seed, "size": size, "norm": 0.5 * size, "by": "x"} for size in (1, 2)]
        found[f"plain/seed-{seed}/config.toml"] = each.to_toml().encode()
        found[f"plain/seed-{seed}/summary.json"] = json.dumps(summary).encode()
        kept = {"digest": _work._digest(rows), "rows": rows}
        found[f"measured/plain-seed-{seed}.json"] = json.dumps(kept, indent=1).encode()
    return found


def _swept(out: Path, storage: str = "journal") -> Any:
    from equiprop.experiment import Sweep
    from equiprop.experiment.sweeps._space import Range, Values

    space = {"estimator.nudge": Values((0.1, 0.2)), "optimizer.learning_rate": Range(0.01, 0.1, log=True)}
    return Sweep({}, space, out, sampler="random", trials=5, storage=storage)


def _going_sweep(storage: str) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        sweep = _swept(Path(folder), storage)
        trials = sweep.open()
        for end in ("complete", "fail", "", ""):
            claim = trials.claim(sweep.trials)
            claim.report(0.5, 1)
            if end == "complete":
                claim.complete("validation_loss", 0.5)
            elif end == "fail":
                claim.fail("why")
            claim.release()
        return {path.name: path.read_bytes() for path in Path(folder).glob("study.*")}


def _sqlite_dump() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "study.db")
        file.write_bytes(_going_sweep("sqlite")[file.name])
        with closing(sqlite3.connect(file)) as database:
            return {file.name: "\n".join(database.iterdump()).encode()}


def _sqlite(statements: bytes) -> bytes:
    """A database, as far as what is to make it can be understood."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "study.db")
        with closing(sqlite3.connect(file)) as database:
            database.execute("pragma synchronous = off")
            for statement in statements.decode(errors="replace").split(";\n"):
                with suppress(sqlite3.Error, ValueError):
                    database.executescript(statement + ";")
            with suppress(sqlite3.Error):
                database.commit()
        return file.read_bytes()


# Readers


def _load(name: str) -> Callable[[Path], Any]:
    return lambda folder: data.load(str(folder / name))


def _inputs(name: str, shape: Any) -> Callable[[Path], Any]:
    return lambda folder: data.read_inputs([folder / name], shape)


def _read_config(folder: Path) -> Any:
    from equiprop.experiment import Config

    return Config.from_file(folder / "config.toml")


def _read_topology(folder: Path) -> Any:
    from equiprop.systems import read_topology

    return read_topology(next(folder.glob("graph.*")))


def _read_sweep(folder: Path) -> Any:
    from equiprop.experiment import Sweep

    return Sweep.from_file(folder / "sweep.toml")._trials


def _read_report(folder: Path) -> Any:
    from equiprop.reporting import comparison_rows, find_runs, read_run

    find_runs(folder)
    run = read_run(folder)
    return comparison_rows([run]), [each.png for kept in run.confusion.values() for each in kept.mistakes]


def _read_study(folder: Path) -> Any:
    from equiprop.reporting import read_study

    study = read_study(folder)
    return study.arms, [walk.best for walk in study.walks]


def _read_run_directory(folder: Path) -> Any:
    from equiprop.experiment import RunDirectory

    run = RunDirectory.open(folder)
    return run.manifest(), run.data_info(), run.metrics(), run.is_finished


def _read_checkpoint(folder: Path) -> Any:
    from equiprop.experiment import Config
    from equiprop.experiment._checkpoint import Checkpoints

    checkpoints = Checkpoints(folder, Config.from_mapping({}))
    checkpoints.about()
    return checkpoints.newest(_STATE)


def _read_device(folder: Path) -> Any:
    from equiprop.cli._options import parse_config
    from equiprop.cli.train import Options
    from equiprop.experiment import Config, overlaid

    _, given = parse_config(Options, "train", ["--hardware", str(folder / "device.toml")], "", {})
    return Config.from_mapping(overlaid({}, given)).hardware.create()


def _read_first_version(folder: Path) -> Any:
    """A checkpoint of `mlp(2, (3,), 2)` as version 0.1 wrote it, by TensorStore; kept in tests/experiment/stored_first."""
    import jax

    from equiprop import mlp
    from equiprop.experiment import Config
    from equiprop.experiment._checkpoint import Checkpoints

    checkpoints = Checkpoints(folder, Config.from_mapping({}))
    for path in checkpoints.paths(best=False):
        checkpoints.check(path)
    return checkpoints.system(mlp(2, (3,), 2, key=jax.random.key(0), dtype="float32"))


def _read_raw(folder: Path) -> Any:
    from equiprop.hardware.netlists import read_raw

    return read_raw((folder / "circuit.raw").read_text(encoding="ascii", errors="replace"))


def _read_tracked(folder: Path) -> Any:
    from equiprop.training.callbacks import _tracker

    return _tracker._read(str(folder))


def _verify(folder: Path) -> Any:
    from equiprop.experiment import check_run

    for finding in check_run(folder):
        assert "\n" not in finding.fault, finding


def _read_several(folder: Path) -> Any:
    from equiprop.experiment._seeds import SeedsDirectory

    several = SeedsDirectory.open(folder)
    return [run.metrics_until(3) for run in several.runs]


def _load_run(folder: Path) -> Any:
    from equiprop import load

    run = load(folder)
    return run.solver, run.adjustment


def _query(folder: Path) -> Any:
    from equiprop.reporting import query_runs

    table = query_runs(folder, where="test_error_percent < 50", sort="estimator.nudge", over_seeds=True)
    return table.sql("select * from runs").rows(), table.columns().rows()


def _read_page(folder: Path) -> Any:
    from equiprop.reporting import find_runs, html_report

    return html_report(find_runs(folder))


def _go_on_with_study(folder: Path) -> Any:
    from equiprop.studies import run_study

    return run_study(_small_study(), _small_settings(), folder)


def _go_on_with_sweep(folder: Path) -> Any:
    """In a copy: who claims a trial writes to the storage."""
    from equiprop.experiment.sweeps._trials import STORAGES

    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        kept = [storage for storage, name in STORAGES.items() if (folder / name).is_file()]
        sweep = _swept(Path(copy), *kept)
        if kept:
            (sweep.out / "sweep.toml").write_text(sweep.to_toml(), encoding="utf-8")
        trials = sweep.open()
        for _ in range(2):
            claim = trials.claim(sweep.trials)
            if claim is not None:
                claim.report(0.5, 2)
                claim.complete("validation_loss", 0.25)
        return sweep.ranked(sweep.results(trials))


def _imagenet(suffix: str) -> Callable[[Path], Any]:
    return lambda folder: read_imagenet((folder / f"train{suffix}", folder / f"val{suffix}"))


def _read_archive(folder: Path) -> Any:
    return read_cifar(CIFAR10, 10, (folder / "cifar.tar",))


def _read_pickle(folder: Path) -> Any:
    return read_pickle_file(folder / "d")


def _gz(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


_WORDS = np.array(["pear", "fig"])[np.arange(20) % 2]
_XY = {"x": _npy(_IMAGES / 255), "y": _npy(_LABELS)}
_PICKLED = {"x": np.arange(6.0).reshape(2, 3), "y": [1, 2], "z": np.arange(3, dtype=">i4"), "t": ["a", 0.5, True, None]}
_ABOUT_COLUMNS = json.dumps({"info": {"features": {"label": {"names": ["a", "b", "c"]}}}})

READERS = (
    Reader("idx", _mnist, _load("")),
    Reader("idx-gz", lambda: {f"{name}.gz": _gz(content) for name, content in _mnist().items()}, _load("")),
    Reader("idx-in-gz", _mnist, _load(""), _gz),
    Reader("npz", lambda: {"d.npz": _npz(x=_IMAGES / 255, y=_LABELS)}, _load("d.npz")),
    Reader("npz-words", lambda: {"d.npz": _npz(x=_IMAGES, y=_WORDS)}, _load("d.npz")),
    Reader("npz-in-zip", lambda: {"d.npz": _XY["x"]}, _load("d.npz"), lambda x: _zipped(_XY | {"x": x})),
    Reader("npz-words-in-zip", lambda: {"d.npz": _npy(_WORDS)}, _load("d.npz"), lambda y: _zipped(_XY | {"y": y})),
    Reader("npz-inputs", lambda: {"d.npz": _npz(x=_IMAGES)}, _inputs("d.npz", (4, 4))),
    Reader("npy-inputs", lambda: {"d.npy": _npy(_IMAGES)}, _inputs("d.npy", (4, 4))),
    *(
        Reader(f"pickle-{protocol}", lambda p=protocol: {"d": pickle.dumps(_PICKLED, p)}, _read_pickle)
        for protocol in range(6)
    ),
    Reader("cifar", _cifar, lambda folder: read_cifar_folder(CIFAR10, folder), weight=0.5),
    Reader("cifar-tar", lambda: {"cifar.tar": _tar(_cifar())}, _read_archive, weight=0.3),
    Reader("cifar-tar-gz", lambda: {"cifar.tar": _gz(_tar(_cifar()))}, _read_archive, weight=0.3),
    Reader("cifar-in-tar-gz", lambda: {"cifar.tar": _tar(_cifar())}, _read_archive, _gz, weight=0.05),
    Reader("imagenet", lambda: {"train": _batch(3), "val": _batch(4)}, _imagenet("")),
    Reader(
        "imagenet-npz",
        lambda: dict.fromkeys(("train.npz", "val.npz"), _npz(data=_ROWS, labels=_LABELS + 1)),
        _imagenet(".npz"),
    ),
    *(
        Reader(f"images-{form.lower()}", lambda f=form: _image_folder(f), _load(""))
        for form in ("PNG", "JPEG", "WEBP", "BMP")
    ),
    Reader("image-inputs", lambda: {"d.png": _image("PNG")}, _inputs("d.png", (4, 4))),
    Reader("csv", lambda: {"d.csv": _csv()}, _load("d.csv"), weight=0.05),
    Reader("csv-inputs", lambda: {"d.csv": _csv()}, _inputs("d.csv", (2,)), weight=0.05),
    Reader("parquet", lambda: {"d.parquet": _parquet("i + 0.5 as a, i % 3 as label")}, _load("d.parquet"), weight=0.05),
    Reader("parquet-inputs", lambda: {"d.parquet": _parquet("i + 0.5 as a")}, _inputs("d.parquet", (1,)), weight=0.05),
    Reader("parquet-images", _image_parquet, _load(""), weight=0.05),
    Reader(
        "parquet-about",
        lambda: {"d.parquet": _ABOUT_COLUMNS.encode()},
        _load("d.parquet"),
        lambda about: _parquet("i + 0.5 as a, i % 3 as label", f", kv_metadata {{huggingface: {_sql(about)}}}"),
        weight=0.05,
    ),
    Reader("config", lambda: {"config.toml": _CONFIG}, _read_config, weight=0.3),
    Reader("topology", lambda: {"graph.toml": _TOPOLOGY}, _read_topology),
    Reader(
        "topology-json", lambda: {"graph.json": json.dumps(tomllib.loads(_TOPOLOGY.decode())).encode()}, _read_topology
    ),
    Reader("sweep", lambda: {"sweep.toml": _SWEEP}, _read_sweep, weight=0.2),
    Reader(
        "sweep-grid",
        lambda: {"sweep.toml": _SWEEP.replace(b"random", b"grid").replace(b"log = true", b"step = 0.01")},
        _read_sweep,
        weight=0.2,
    ),
    Reader("report", _run, _read_report),
    Reader("study", _study, _read_study, weight=0.5),
    Reader("run", _run, _read_run_directory, weight=0.5),
    Reader("checkpoint", _checkpoint, _read_checkpoint),
    Reader("device", lambda: {"device.toml": _DEVICE}, _read_device),
    Reader("checkpoint-0.1", lambda: _stored("stored_first"), _read_first_version),
    Reader("ngspice", lambda: {"circuit.raw": _RAW}, _read_raw),
    Reader("tracked", lambda: {"trackers.json": json.dumps(_TRACKED).encode()}, _read_tracked),
    Reader("verify", lambda: _stored("stored_run"), _verify, weight=0.2),
    Reader("verify-seeds", _several, _verify, weight=0.2),
    Reader("seeds", _several, _read_several, weight=0.2),
    Reader("load", lambda: _stored("stored_run"), _load_run, weight=0.2),
    Reader("query", _several, _query, weight=0.2),
    Reader("page", _several, _read_page, weight=0.05),
    Reader("study-going", _going_study, _go_on_with_study, weight=0.05),
    Reader(
        "sweep-going", lambda: {"sweep.toml": _swept(Path("out")).to_toml().encode()}, _go_on_with_sweep, weight=0.05
    ),
    Reader("sweep-sqlite", lambda: _going_sweep("sqlite"), _go_on_with_sweep, weight=0.05),
    Reader("sweep-in-sqlite", _sqlite_dump, _go_on_with_sweep, _sqlite, weight=0.05),
    Reader("sweep-journal", lambda: _going_sweep("journal"), _go_on_with_sweep, weight=0.05),
)


# Processes


def _work(names: list[str], told: Any) -> None:
    """What a process does: for each reader and number that it is sent, the fault that there is."""
    readers = {reader.name: reader for reader in READERS if reader.name in names}
    with tempfile.TemporaryDirectory() as folder:
        places = {name: Path(folder, name) for name in names}
        for name, reader in readers.items():
            reader.fault(places[name], None)  # Imports, and whatever else takes memory once.
        _room._room = lambda: _ROOM
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + _MEMORY, resource.RLIM_INFINITY))
        told.send("ready")
        while (job := told.recv()) is not None:
            name, number = job
            told.send(readers[name].fault(places[name], number))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


@dataclass
class Process:
    """A process that reads, and another in its place when it dies."""

    names: list[str]

    def __post_init__(self) -> None:
        self._process = None

    def fault(self, name: str, number: int) -> str:
        if self._process is None:
            self._start()
        self._told.send((name, number))
        return self._answer()

    def _start(self) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._told, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_work, args=(self.names, theirs), daemon=True)
        self._process.start()
        theirs.close()
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self._process is not None
        try:
            if self._told.poll(_SILENCE_SECONDS):
                return self._told.recv()
            fault = f"does not end in {_SILENCE_SECONDS} s"
        except (EOFError, ConnectionError):
            self._process.join()
            fault = f"the process died of {self._process.exitcode}"
        self.end()
        return fault

    def end(self) -> None:
        if self._process is not None:
            with suppress(OSError):
                self._told.send(None)
            self._process.join(_SECONDS)
            self._process.kill()
            self._process.join()
        self._process = None


def fuzz(readers: Sequence[Reader], counts: Mapping[str, range]) -> int:
    """Prints what is neither read nor refused. **Returns:** how many there are."""
    jobs = iter([(name, number) for name, numbers in counts.items() for number in numbers])
    lock, faults = threading.Lock(), Counter()

    def work() -> None:
        process = Process([reader.name for reader in readers])
        while True:
            with lock:
                job = next(jobs, None)
            if job is None:
                return process.end()
            name, number = job
            fault = process.fault(name, number)
            with lock:
                if number == counts[name][-1]:
                    print(f"{name}: {len(counts[name])} files", flush=True)
                if fault:
                    kind = (name, fault.strip().splitlines()[-1][:60])
                    faults[kind] += 1
                    if faults[kind] == 1:
                        print(
                            f"{name}: {fault.strip()}\n    python tools/fuzz.py {name} --first {number} --count 1",
                            flush=True,
                        )

    threads = [threading.Thread(target=work, daemon=True) for _ in range(_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (name, fault), count in faults.items():
        print(f"{count:6} {name}: {fault}")
    return sum(faults.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", help=f"by default all: {', '.join(reader.name for reader in READERS)}")
    parser.add_argument("--count", type=int, help="of each reader; by default 100,000 together")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    given = parser.parse_args()
    chosen = [reader for reader in READERS if not given.readers or reader.name in given.readers]
    if unknown := {*given.readers} - {reader.name for reader in chosen}:
        parser.error(f"there is no reader {', '.join(sorted(unknown))}")
    share = 100_000 / sum(reader.weight for reader in chosen)
    counts = {r.name: range(given.first, given.first + (given.count or math.ceil(share * r.weight))) for r in chosen}
    found = fuzz(chosen, counts)
    print(f"{sum(map(len, counts.values()))} damaged files, {found} neither read nor refused")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
