"""A figure as data: what it shows, how to read it, and what it says to somebody who cannot see it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from equiprop.reporting._canvas import Curve, Map, Panel, draw
from equiprop.reporting._numbers import plain

_MOST_SPOKEN = 8


@dataclass(frozen=True)
class Chart:
    """A figure: its file's name, its title, how to read it, and its panels, whose curves are named by `labels`.

    - `flat`: what has nothing to show, in words and in the place of a panel.
    - `folded`: whether a page shows it only when asked.
    """

    name: str
    title: str
    reading: str
    panels: Sequence[Panel | Map]
    labels: Sequence[str]
    flat: Sequence[str] = field(default=())
    folded: bool = False

    @property
    def legend(self) -> dict[int, str]:
        """What appears in the panels, by its place among the labels."""
        shown = {curve.run for panel in self.panels if isinstance(panel, Panel) for curve in panel.curves}
        return {run: self.labels[run] for run in sorted(shown)}

    @property
    def svg(self) -> str:
        """All panels with their legend, on white."""
        return draw(self.panels, self.labels, paper="white")

    def to_json(self) -> dict[str, Any]:
        """As values of JSON but for numbers that are none."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Chart":
        """What `to_json` gave, numbers that are none as `None`. Raises `KeyError`, `TypeError`, `ValueError`."""
        labels = [str(label) for label in kept["labels"]]
        panels = [_map(each) if "heights" in each else _panel(each, len(labels)) for each in kept["panels"]]
        flat = [str(each) for each in kept["flat"]]
        return cls(str(kept["name"]), str(kept["title"]), str(kept["reading"]), panels, labels, flat)


def spoken(panel: Panel | Map, labels: Sequence[str]) -> str:
    """What a panel shows, in words: where each of its curves begins and ends."""
    if isinstance(panel, Map):
        values = [value for row in panel.values for value in row if math.isfinite(value)]
        share = f"mean {plain(_short(sum(values) / len(values)))}" if values else "no values"
        return f"{panel.title}: a map over {panel.across} and {panel.up}, from 0 to 1, {share}."
    said = []
    for curve in panel.curves[:_MOST_SPOKEN]:
        known = [
            (place, value) for place, value in zip(curve.places, curve.values, strict=True) if math.isfinite(value)
        ]
        if known:
            (start, first), (end, last) = known[0], known[-1]
            at = f"{plain(_short(last))} at {panel.across} {plain(_short(end))}"
            whence = f"{plain(_short(first))} at {panel.across} {plain(_short(start))}, " if len(known) > 1 else ""
            said.append(f"{labels[curve.run]}: {whence}{at}")
    more = len(panel.curves) - _MOST_SPOKEN
    if more > 0:
        said.append(f"{more} more")
    unit = f" ({panel.unit})" if panel.unit else ""
    return f"{panel.title}{unit}. {'; '.join(said)}."


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _numbers(kept: Any) -> list[float]:
    return [math.nan if each is None else float(each) for each in kept]


def _panel(kept: Mapping[str, Any], labels: int) -> Panel:
    curves = [
        Curve(int(each["run"]), *(_numbers(each[name]) for name in ("places", "values", "spreads")))
        for each in kept["curves"]
    ]
    for curve in curves:
        if not 0 <= curve.run < labels or len(curve.places) != len(curve.values):
            raise ValueError("a curve without a label, or of other places than values")
    if not any(map(math.isfinite, (value for curve in curves for value in curve.values))):
        raise ValueError("a panel of nothing")
    references = tuple((float(value), str(meaning)) for value, meaning in kept["references"])
    return Panel(
        str(kept["title"]),
        str(kept["unit"]),
        curves,
        references,
        tuple(_numbers(kept["include"])),
        bool(kept["logarithmic"]),
        str(kept["across"]),
        bool(kept["logarithmic_across"]),
    )


def _map(kept: Mapping[str, Any]) -> Map:
    places, heights = _numbers(kept["places"]), _numbers(kept["heights"])
    values = [_numbers(row) for row in kept["values"]]
    if [len(row) for row in values] != [len(places)] * len(heights):
        raise ValueError("a map of other values than places")
    return Map(str(kept["title"]), places, heights, values, str(kept["across"]), str(kept["up"]))
