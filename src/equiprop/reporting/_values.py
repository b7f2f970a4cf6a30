"""The values of a run, without trusting that they are there."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from equiprop.reporting._means import STD
from equiprop.reporting._numbers import is_unbounded, number
from equiprop.reporting._run import Run

TOTAL = "total"


def section(run: Run, name: str) -> dict[str, Any]:
    """A table of the configuration, empty where it is missing."""
    table = run.config.get(name)
    return table if isinstance(table, dict) else {}


def latest(run: Run, key: str) -> Any:
    """The value of `key` in the summary, else the last one recorded in an epoch, else None."""
    records = [run.summary or {}, *reversed(run.metrics)]
    return next((record[key] for record in records if record.get(key) is not None), None)


def deviation(run: Run, key: str, member: str | None = None) -> float | None:
    """The standard deviation over seeds of what `latest` gives (of its entry `member`, where it is a dict); None of one seed."""
    spreads = latest(run, STD)
    spread = spreads.get(key) if isinstance(spreads, dict) else None
    if member is not None:
        spread = spread.get(member) if isinstance(spread, dict) else None
    return number(spread)


def epochs_done(run: Run) -> int:
    """How many epochs the run has recorded; 0 where it has none."""
    recorded = number((run.summary or {}).get("epochs"))
    if recorded is not None:
        return int(recorded)
    return _epoch_of(run.metrics[-1], len(run.metrics)) if run.metrics else 0


def seconds(run: Run) -> float | None:
    """Seconds the run took: its summary's, or the sum over the recorded epochs."""
    recorded = number((run.summary or {}).get("seconds"))
    if recorded is not None:
        return recorded
    spent = [spent for epoch in run.metrics if (spent := number(epoch.get("epoch_seconds"))) is not None]
    return sum(spent) if spent else None


def series(run: Run, key: str, member: str | None = None) -> tuple[list[int], list[float]]:
    """Epochs and values of `key` (of its entry `member`, where it is a dict).

    Epochs that did not record it are skipped; a value that is not finite is NaN, so that a curve breaks there.
    """
    epochs: list[int] = []
    values: list[float] = []
    for index, record in enumerate(run.metrics, start=1):
        value = record.get(key)
        if member is not None:
            value = value.get(member) if isinstance(value, dict) else None
        known = math.nan if is_unbounded(value) else number(value)
        if known is not None:
            epochs.append(_epoch_of(record, index))
            values.append(known)
    return epochs, values


def members(runs: Iterable[Run], key: str) -> list[str]:
    """The entries `key` has in any epoch of any run, in order of appearance, the total first."""
    found: dict[str, None] = {}
    for run in runs:
        for record in run.metrics:
            value = record.get(key)
            if isinstance(value, dict):
                found.update(dict.fromkeys(value))
    return sorted(found, key=lambda member: member != TOTAL)


def extreme(value: object, *, smallest: bool) -> tuple[str, float] | None:
    """The smallest or largest entry of a dict of numbers, with its name; the total does not take part.

    An entry that is not finite is the worst there is and comes before all others.
    """
    if not isinstance(value, dict):
        return None
    lost = [(name, entry) for name, entry in value.items() if name != TOTAL and is_unbounded(entry)]
    if lost:
        return lost[0]
    known = [(name, each) for name, entry in value.items() if name != TOTAL and (each := number(entry)) is not None]
    if not known:
        return None
    return (min if smallest else max)(known, key=lambda pair: pair[1])


def labels(runs: Sequence[Run]) -> list[str]:
    """A name per run, told apart by as much of the path as it takes."""
    names = [run.name for run in runs]
    depth = 1
    longest = max((len(run.path.resolve().parts) for run in runs), default=1)
    while len(set(names)) < len(names) and depth < longest:
        depth += 1
        names = [
            name if names.count(name) == 1 else str(Path(*run.path.resolve().parts[-depth:]))
            for name, run in zip(names, runs, strict=True)
        ]
    # The same folder given twice has no path to tell it by.
    return [
        name if names.count(name) == 1 else f"{name} ({names[: at + 1].count(name)})" for at, name in enumerate(names)
    ]


def _epoch_of(record: dict[str, Any], index: int) -> int:
    epoch = number(record.get("epoch"))
    return index if epoch is None else int(epoch)
