"""Whether all that a run directory holds is whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from equiprop.data import load
from equiprop.errors import InputError
from equiprop.experiment._checkpoint import moment_of
from equiprop.experiment._run_directory import RunDirectory, missing_epochs
from equiprop.experiment._seeds import seed_folders
from equiprop.files import read_json
from equiprop.reporting import CONFIG, CONFUSION, MANIFEST, METRICS, SUMMARY


@dataclass(frozen=True)
class Finding:
    """Of one part of a run directory: its path in it, what it holds, and what is wrong with it; empty where nothing is."""

    part: str
    holds: str
    fault: str = ""


def check_run(path: str | Path, *, data: bool = False) -> Iterator[Finding]:
    """Reads everything that a run directory holds, that of each seed, too, and says of each part whether it is whole.

    **Arguments:**

    - `data`: whether to load the data, too, and to compare them with those that the run was trained on.

    Raises `InputError` if `path` is no run directory, or its configuration, which says what the rest should be, cannot be read.
    """
    directory = RunDirectory.open(path)
    several = directory.config.training.get("seeds", 1) > 1
    yield Finding(CONFIG, f"{directory.config.system.label}, {directory.config.estimator.label}")
    yield _finding(MANIFEST, partial(_manifest, directory))
    yield _finding("sources", partial(_sources, directory))
    if data:
        yield _finding("data", partial(_data, directory))
    kept = directory.checkpoints.paths(best=False)
    if not kept and not several:
        yield Finding("checkpoints", "", "there is none")
    for checkpoint in [*kept, *directory.checkpoints.paths(best=True)]:
        name = str(checkpoint.relative_to(directory.path))
        yield _finding(name, partial(_checkpoint, directory, checkpoint))
    yield _finding(METRICS, partial(_metrics, directory))
    for name in (SUMMARY, CONFUSION):
        if (directory.path / name).exists():
            yield _finding(name, partial(_json, directory.path / name))
    for folder in seed_folders(path, directory.config) if several else ():
        for finding in check_run(folder):
            yield Finding(f"{folder.name}/{finding.part}", finding.holds, finding.fault)


def _finding(part: str, read: Callable[[], str]) -> Finding:
    try:
        return Finding(part, read())
    except InputError as error:
        return Finding(part, "", error.reason)


def _manifest(directory: RunDirectory) -> str:
    directory.data_info()
    return f"version {directory.said('versions').get('equiprop', 'unknown')}"


def _sources(directory: RunDirectory) -> str:
    directory.resolved_config()
    sources = directory.said("sources")
    return f"{len(sources)} files as they were" if sources else "none of the user's own"


def _data(directory: RunDirectory) -> str:
    dataset = load(directory.config.dataset)
    directory.require_data(dataset.info)
    return f"{directory.config.dataset} as it was"


def _checkpoint(directory: RunDirectory, path: Path) -> str:
    about = directory.checkpoints.check(path)
    size = "arrays of version 0.1, not compared" if path.is_dir() else f"{path.stat().st_size / 2**20:.1f} MiB"
    return f"epoch {about.epoch}, step {about.step}, {size}"


def _metrics(directory: RunDirectory) -> str:
    found = directory.metrics()
    checkpoints = directory.checkpoints.paths(best=False)
    epochs = max([*(line["epoch"] for line in found), *(moment_of(path)[0] for path in checkpoints)], default=0)
    missing = missing_epochs(found, epochs)
    if missing:
        raise InputError(missing)
    if directory.damaged_lines:
        raise InputError(f"line {directory.damaged_lines[0]} cannot be read, {len(directory.damaged_lines)} in all")
    return f"{epochs} epochs"


def _json(path: Path) -> str:
    return f"{len(read_json(path))} entries"
