"""A run directory as data: what is in it, and what is wrong with it."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from equiprop.errors import InputError, printable
from equiprop.files import parse_json, read_bytes, read_json, read_toml
from equiprop.reporting._confusion import Confusion, read_confusion
from equiprop.reporting._numbers import is_unbounded

CONFIG = "config.toml"
MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
CHECKPOINTS = "checkpoints"
REPORT = "report.html"


_RENAMED = {
    "settled_fraction": "converged_fraction",
    "out_of_steps_fraction": "max_steps_fraction",
    "unsettled_fraction": "unconverged_fraction",
    "bounded_fraction": "clipped_fraction",
    "jumped_fraction": "branch_switch_fraction",
    "left_out_fraction": "excluded_fraction",
}
"""The fractions of samples by their names in version 0.1."""


def in_todays_names(record: dict[str, Any]) -> dict[str, Any]:
    """An epoch or a summary with the fractions of version 0.1 under the names that they have now."""
    if _RENAMED.keys().isdisjoint(record):
        return record
    return {_RENAMED.get(key, key): value for key, value in record.items()}


@dataclass(frozen=True)
class Run:
    """What one run directory holds.

    - `path`: the directory; `name`: its last part.
    - `config`: the complete configuration, tables as dicts.
    - `manifest`: versions, device, dataset checksum, seed, command, citations; empty where it is missing.
    - `metrics`: one dict per epoch, in order; any key may be missing or None.
    - `summary`: the final numbers, None until the run has ended.
    - `warnings`: what a reader of the numbers has to know, a sentence each.
    - `confusion`: by split, how its classes are confused; empty where that is not kept. Of several seeds the sum over them.
    """

    path: Path
    name: str
    config: dict[str, Any]
    manifest: dict[str, Any]
    metrics: list[dict[str, Any]]
    summary: dict[str, Any] | None
    warnings: tuple[str, ...] = ()
    confusion: dict[str, Confusion] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`"finished"` once the summary is there, else `"unfinished"` (still running, or interrupted)."""
        return "unfinished" if self.summary is None else "finished"


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read the run directory at `path`.

    A last line of the metrics that was cut off (the process was killed while writing) is ignored and said in
    `Run.warnings`. Where a resumed run goes back to an earlier epoch, the later lines replace those they repeat.

    **Raises** `InputError` where `path` is not a run directory, or a file in it is not valid TOML or JSON.
    """
    folder = _run_folder(path)
    config = read_toml(folder / CONFIG, _MEND)
    manifest = _read_json(folder / MANIFEST)
    metrics, warnings = _read_metrics(folder / METRICS)
    summary = _read_json(folder / SUMMARY)
    confusion, more = read_confusion(folder)
    run = _run(folder, folder.resolve().name, config, manifest, metrics, summary, warnings)
    return replace(run, warnings=(*run.warnings, *more), confusion=confusion)


def read_runs(paths: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """The run directories at `paths`. Of several, one that is damaged comes back empty, with the reason in its `warnings`.

    **Raises** `InputError` where one is not a run directory, or all of them are damaged.
    """
    found: list[Run] = []
    damages: list[InputError] = []
    for folder in map(_run_folder, paths):
        try:
            found.append(read_run(folder))
        except InputError as error:
            damages.append(error)
            found.append(_explained(folder, error))
    if found and len(damages) == len(found):
        raise damages[0]
    return found


def _run_folder(path: str | os.PathLike[str]) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        reason = "is a file" if folder.exists() else "does not exist"
        hint = f"give the folder of a run, the one with {CONFIG} in it"
        raise InputError(reason, path="run", value=str(folder), hint=hint)
    if not (folder / CONFIG).is_file():
        reason = f"is not a run, it has no {CONFIG}"
        raise InputError(reason, path="run", value=str(folder), hint="give one that `equiprop train` wrote")
    return folder


def _run(
    folder: Path,
    name: str,
    config: dict[str, Any],
    manifest: dict[str, Any] | None,
    metrics: list[dict[str, Any]],
    summary: dict[str, Any] | None,
    warnings: list[str],
) -> Run:
    if manifest is None:
        warnings.insert(0, f"{MANIFEST} is missing: device, versions and data set of this run are not known")
    if summary is None:
        warnings.insert(0, f"not finished: {_progress(config, metrics)} recorded and no {SUMMARY}")
    return Run(
        path=folder,
        name=printable(name),
        config=config,
        manifest=manifest or {},
        metrics=[in_todays_names(epoch) for epoch in metrics],
        summary=None if summary is None else in_todays_names(summary),
        warnings=tuple(warnings),
    )


def find_runs(root: str | os.PathLike[str]) -> list[Run]:
    """Every run directory at or below `root`, by path with numbers in their order; other folders are passed over.

    A run that cannot be read does not stop the listing: it comes back empty, with the reason in its `warnings`.

    **Raises** `InputError` where `root` is not a folder.
    """
    return _found(root, read_run)


def scan_runs(root: str | os.PathLike[str]) -> list[Run]:
    """As `find_runs`, in a tenth of the time: without the epochs of runs that have a summary, and what is to be said of them.

    The configuration is that in the manifest, where it is there.
    """
    return _found(root, _scan)


def _found(root: str | os.PathLike[str], read: Callable[[Path], Run]) -> list[Run]:
    folder = Path(root)
    if not folder.is_dir():
        raise InputError("is not a folder", path="runs", value=str(folder), hint="give the folder that holds your runs")
    return [_read_or_explain(Path(found), read) for found in sorted(_run_folders(str(folder)), key=_by_number)]


def _scan(folder: Path) -> Run:
    manifest = _read_json(folder / MANIFEST)
    config = None if manifest is None else manifest.get("config")
    # The manifest of a run that went on for more epochs says how it was begun.
    if not isinstance(config, dict) or "extended" in (manifest or {}):
        config = read_toml(folder / CONFIG, _MEND)
    summary = _read_json(folder / SUMMARY)
    metrics, warnings = _read_metrics(folder / METRICS) if summary is None else ([], [])
    name = folder.name if folder.name.strip(".") else folder.resolve().name
    return _run(folder, name, config, manifest, metrics, summary, warnings)


def _by_number(folder: str) -> list[tuple[int, int, str]]:
    # Every second piece is a number; as such, so that run-2 comes before run-10.
    pieces = enumerate(re.split(r"([0-9]+)", folder))
    return [(place % 2, int(piece), piece) if place % 2 else (0, 0, piece) for place, piece in pieces]


def _run_folders(root: str) -> Iterator[str]:
    pending = [root]
    while pending:
        folder, below, files = pending.pop(), [], set()
        try:
            # os.walk takes twice as long.
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        files.add(entry.name)
                    elif entry.name != CHECKPOINTS and not entry.name.startswith("."):
                        below.append(entry.path)
        except OSError:
            continue
        pending += below
        # A configuration alone is common outside of runs; one beside any record of a run is a run.
        if CONFIG in files and not {MANIFEST, METRICS, SUMMARY}.isdisjoint(files):
            yield folder


def _read_or_explain(folder: Path, read: Callable[[Path], Run]) -> Run:
    try:
        return read(folder)
    except InputError as error:
        return _explained(folder, error)


def _explained(folder: Path, error: InputError) -> Run:
    return Run(folder, printable(folder.resolve().name), {}, {}, [], None, warnings=(f"cannot be read: {error}",))


_MEND = "restore it, or train the run again"


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        return read_json(file, _MEND)
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def _read_metrics(file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The epochs of `file` and warnings about it."""
    if not file.exists():
        return [], []
    metrics: list[dict[str, Any]] = []
    warnings: list[str] = []
    lines = [(at, line) for at, line in enumerate(read_bytes(file).split(b"\n"), start=1) if line.strip()]
    for position, (at, line) in enumerate(lines):
        try:
            epoch = parse_json(line)
        except ValueError as error:
            if position < len(lines) - 1:
                raise InputError(f"is not valid JSON on line {at} ({error})", path=str(file), hint=_MEND) from error
            warnings.append(f"the last line of {METRICS} (line {at}) is cut off and ignored")
            break
        repeated = _from_epoch(metrics, epoch)
        if repeated:
            warnings.append(f"line {at} of {METRICS} goes back to epoch {epoch['epoch']}: {repeated} earlier replaced")
            del metrics[-repeated:]
        metrics.append(epoch)
    warnings.extend(_unbounded(metrics))
    return metrics, warnings


def _from_epoch(metrics: list[dict[str, Any]], epoch: dict[str, Any]) -> int:
    """How many of the last `metrics` are of the same epoch as `epoch` or a later one."""
    now = epoch.get("epoch")
    count = 0
    for earlier in reversed(metrics):
        then = earlier.get("epoch")
        if not (isinstance(now, int) and isinstance(then, int) and then >= now):
            break
        count += 1
    return count


def _unbounded(metrics: list[dict[str, Any]]) -> Iterator[str]:
    """A sentence for each quantity that left the numbers (infinite, or not a number)."""
    first: dict[str, int] = {}
    for index, epoch in enumerate(metrics, start=1):
        for key, value in epoch.items():
            values = value.values() if isinstance(value, dict) else [value]
            if any(is_unbounded(each) for each in values):
                first.setdefault(key, epoch.get("epoch", index))
    for key, epoch in first.items():
        yield f"{key} is not finite from epoch {epoch}: the run diverged there, or the quantity does not exist"


def _progress(config: dict[str, Any], metrics: list[dict[str, Any]]) -> str:
    training = config.get("training")
    planned = training.get("epochs") if isinstance(training, dict) else None
    done = len(metrics)
    of = f"{done} of {planned}" if isinstance(planned, int) else f"{done}"
    return f"{of} epoch{'' if of == '1' else 's'}"
