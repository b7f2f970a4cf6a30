"""Runs of several seeds: that each counts once, and many of them as one."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from equiprop.reporting._means import mean_of_summaries
from equiprop.reporting._run import Run
from equiprop.reporting._values import section

_GRAPH = "topology.toml"


def each_once(runs: Sequence[Run]) -> list[Run]:
    """Without the directories of several seeds whose runs are among them; those are called by both folders."""
    several = {run.path: run for run in runs if _seeds_in(run) > 1}
    found, inside = [], set()
    for run in runs:
        whole = several.get(run.path.parent) if run.path.name.startswith("seed-") else None
        if whole is not None:
            inside.add(whole.path)
            run = replace(run, name=f"{whole.name}/{run.name}")
        found.append(run)
    return [run for run in found if run.path not in inside]


def over_seeds(runs: Sequence[Run]) -> list[Run]:
    """Finished runs that differ in their seed alone as one each, in whose summary are the means and `seeds`.

    A seed that is there a second time is in another one, so that nothing counts twice. The runs are those of `each_once`.
    """
    groups: dict[Any, list[Run]] = {}
    times: Counter[Any] = Counter()
    # Those of one directory first, so that they stay together when one of them is there again.
    for run in sorted(runs, key=lambda run: not _directory(run)):
        rest, seed = _apart_from_seed(run)
        groups.setdefault((rest, times[rest, seed]), []).append(run)
        times[rest, seed] += 1
    at = {run.path: place for place, run in enumerate(runs)}
    return [_mean(group) for group in sorted(groups.values(), key=lambda group: at[group[0].path])]


def _seeds_in(run: Run) -> int:
    seeds = section(run, "training").get("seeds")
    return seeds if isinstance(seeds, int) else 1


def _directory(run: Run) -> str:
    """The name of the directory of several seeds that it is in; empty if it is in none."""
    return run.name.rpartition("/seed-")[0]


def _apart_from_seed(run: Run) -> tuple[Any, str]:
    """What makes a run another one, and its seed."""
    if run.summary is None or _seeds_in(run) > 1:
        return run.path, ""
    training = dict(section(run, "training"))
    seed = repr(training.pop("seed", None))
    graph = run.path / _GRAPH
    # The same names may stand for other data, other source or another graph.
    more = run.manifest.get("dataset_checksum"), run.manifest.get("sources")
    named = graph.read_bytes().hex() if section(run, "system").get("topology") and graph.is_file() else None
    return json.dumps([run.config | {"training": training}, *more, named], sort_keys=True, default=str), seed


def _mean(group: Sequence[Run]) -> Run:
    """Runs that differ in their seed as one, whose summary holds the means."""
    first = group[0]
    if first.summary is None or _seeds_in(first) > 1:
        return first
    seeds = [section(run, "training").get("seed") for run in group]
    several = len(group) > 1
    summary = (
        mean_of_summaries([run.summary or {} for run in group], seeds) if several else first.summary | {"seeds": seeds}
    )
    training = dict(section(first, "training"))
    training.pop("seed", None)
    directories = {_directory(run) for run in group}
    name = directories.pop() if len(directories) == 1 else ""
    return replace(
        first,
        path=Path(os.path.commonpath([run.path for run in group])),
        name=first.name if len(group) == 1 else name or f"{first.name} + {len(group) - 1}",
        config=first.config | {"training": training},
        summary=summary,
        warnings=tuple(dict.fromkeys(warning for run in group for warning in run.warnings)),
    )
