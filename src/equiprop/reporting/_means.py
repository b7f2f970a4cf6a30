"""Means and standard deviations over runs that differ in their seed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

STD = "std"
"""The key under which the standard deviations of a record of means lie."""


def mean_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The means of all numbers in records of equal keys, also in tables within; under `std` their standard deviations.

    What is not a number is that of the first. A number that some have not (`None`) is the mean over the others.
    """
    means: dict[str, Any] = {}
    spreads: dict[str, Any] = {}
    for key, first in records[0].items():
        values = [record.get(key) for record in records]
        mean, spread = _mean(values, first)
        means[key] = mean
        if spread is not None:
            spreads[key] = spread
    return {**means, STD: spreads}


def mean_of_summaries(summaries: Sequence[Mapping[str, Any]], seeds: Sequence[Any]) -> dict[str, Any]:
    """The means of the summaries of several seeds, and the seeds.

    No certificate where one of them has none: a mean over the others would hide that.
    """
    keys = dict.fromkeys(key for each in summaries for key in each)
    means = mean_of([{key: each.get(key) for key in keys} for each in summaries])
    without = next((at for at, each in enumerate(summaries) if each.get("certificate_angle_deg") is None), None)
    if without is not None:
        reason = f"seed {seeds[without]}: {summaries[without].get('certificate_reason')}"
        means |= {"certificate_angle_deg": None, "certificate_reason": reason}
    return means | {"seeds": list(seeds)}


def means_of(histories: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Of every epoch the means over those that have come as far."""
    epochs = max(map(len, histories), default=0)
    return [mean_of([lines[i] for lines in histories if i < len(lines)]) for i in range(epochs)]


def _mean(values: Sequence[Any], first: Any) -> tuple[Any, Any]:
    if isinstance(first, Mapping):
        found = mean_of([value for value in values if isinstance(value, Mapping)])
        spread = found.pop(STD)
        return found, spread
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if not numbers:
        return first, None
    mean = _sum(numbers) / len(numbers)
    exact = all(isinstance(number, int) for number in numbers) and len(set(numbers)) == 1
    squares = _sum((number - mean) * (number - mean) for number in numbers)
    return (numbers[0] if exact else mean), math.sqrt(squares / max(len(numbers) - 1, 1))


def _sum(numbers: Iterable[float]) -> float:
    try:
        return math.fsum(numbers)
    except (ValueError, OverflowError):
        # ∞ − ∞, or an integer beyond all floats.
        return math.nan
