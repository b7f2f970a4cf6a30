"""The values of a run, without trusting that they are there."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from equiprop.errors import printable
from equiprop.reporting._means import STD
from equiprop.reporting._numbers import is_unbounded, number
from equiprop.reporting._run import Run

TOTAL = "total"
_LARGEST = 1e100


def section(run: Run, name: str) -> dict[str, Any]:
    """A table of the configuration, empty where it is missing."""
    table = run.config.get(name)
    return table if isinstance(table, dict) else {}


def flatten(table: dict[str, Any]) -> dict[str, Any]:
    """What is in nested tables under dotted names."""
    flat: dict[str, Any] = {}
    _flatten("", table, flat)
    return flat


def _flatten(prefix: str, table: dict[str, Any], flat: dict[str, Any]) -> None:
    for key, value in table.items():
        if isinstance(value, dict):
            _flatten(f"{prefix}{key}.", value, flat)
        else:
            flat[prefix + key] = value


def latest(run: Run, key: str) -> Any:
    """The value of `key` in the summary, else the last one recorded in an epoch, else None."""
    if run.summary is not None and run.summary.get(key) is not None:
        return run.summary[key]
    return next((record[key] for record in reversed(run.metrics) if record.get(key) is not None), None)


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


def series(run: Run, key: str, member: str | None = None) -> tuple[list[int], list[float], list[float]]:
    """Epochs and values of `key` (of its entry `member`, where it is a dict), and of several seeds their standard deviations.

    Epochs that did not record it are skipped; a value that no axis can show is NaN, so that a curve breaks there.
    """
    epochs: list[int] = []
    values: list[float] = []
    spreads: list[float] = []
    for index, record in enumerate(run.metrics, start=1):
        value = _entry(record, key, member)
        known = math.nan if is_unbounded(value) else number(value)
        if known is not None:
            known = known if abs(known) < _LARGEST else math.nan
            epochs.append(_epoch_of(record, index))
            values.append(known)
            spread = number(_entry(record.get(STD), key, member))
            spreads.append(math.nan if spread is None else spread)
    return epochs, values, spreads if any(map(math.isfinite, spreads)) else []


def _entry(record: Any, key: str, member: str | None) -> Any:
    value = record.get(key) if isinstance(record, dict) else None
    return value if member is None or not isinstance(value, dict) else value.get(member)


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
    longest = max((len(runs[at].path.absolute().parts) for at in _repeated(names)), default=1)
    for depth in range(2, longest + 1):
        repeated = _repeated(names)
        if not repeated:
            return names
        for at in repeated:
            names[at] = printable(str(Path(*runs[at].path.absolute().parts[-depth:])))
    # The same folder given twice has no path to tell it by.
    times: Counter[str] = Counter()
    for at in _repeated(names):
        times[names[at]] += 1
        names[at] += f" ({times[names[at]]})"
    return names


def _repeated(names: Sequence[str]) -> list[int]:
    """Where those stand that are there more than once."""
    counts = Counter(names)
    return [at for at, name in enumerate(names) if counts[name] > 1]


def _epoch_of(record: dict[str, Any], index: int) -> int:
    epoch = number(record.get("epoch"))
    return index if epoch is None else int(epoch)
