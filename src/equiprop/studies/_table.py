"""Tables of what was found: rows of named values, means over seeds, differences between arms."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from equiprop.reporting import Curve

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Mean:
    """Of some seeds the mean and the standard deviation, not a number of one seed."""

    mean: float
    deviation: float
    seeds: int

    def __str__(self) -> str:
        if self.seeds < 2:
            return f"{self.mean:.4g}"
        return f"{self.mean:.4g} ± {self.deviation:.2g}"


@dataclass(frozen=True)
class Difference:
    """Of two arms over the seeds that both have: mean and standard deviation of the differences, and Student's paired test.

    - `p`: the probability of a difference as large by chance alone; not a number of fewer than two seeds.
    - `effect`: the mean in units of the deviation (Cohen's d of pairs).
    """

    mean: float
    deviation: float
    seeds: int
    p: float

    @property
    def effect(self) -> float:
        return self.mean / self.deviation if self.deviation > 0 else math.nan

    def __str__(self) -> str:
        if self.seeds < 2:
            return f"{self.mean:+.3g} (one seed)"
        test = f"paired t test over {self.seeds} seeds, p = {self.p:.2g}, d = {self.effect:.2g}"
        return f"{self.mean:+.3g} ± {self.deviation:.2g} ({test})"


@dataclass(frozen=True)
class Table:
    """Rows of named values under a title. A row need not have every column."""

    title: str
    rows: Sequence[Row]

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def where(self, **values: Any) -> "Table":
        """The rows that have these values."""
        return Table(self.title, [row for row in self.rows if all(row.get(k) == v for k, v in values.items())])

    def values(self, name: str) -> list[Any]:
        """Of one column, each once, in the order of the rows."""
        return list(dict.fromkeys(row[name] for row in self.rows if name in row))

    def only(self, name: str) -> Any:
        """What a column says that says one thing; `None` where there is nothing."""
        return next(iter(self.values(name)), None)

    def mean(self, name: str) -> Mean:
        """Of a column over the rows that have a number there."""
        found = np.asarray([row[name] for row in self.rows if isinstance(row.get(name), int | float)], float)
        deviation = float(found.std(ddof=1)) if found.size > 1 else math.nan
        if found.size and np.ptp(found) == 0:
            # Equal numbers, as the seconds of seeds that are trained together, whose mean is rounded.
            deviation = 0.0 * deviation
        return Mean(float(found.mean()) if found.size else math.nan, deviation, found.size)

    def difference(self, name: str, arm: str, other: str) -> Difference:
        """Of a column, `arm` less `other`, seed by seed, over the rows that have a number there."""
        from scipy.stats import ttest_rel

        by_seed = [
            {row["seed"]: row[name] for row in self.where(arm=each).rows if isinstance(row.get(name), int | float)}
            for each in (arm, other)
        ]
        seeds = [seed for seed in by_seed[0] if seed in by_seed[1]]
        first, second = (np.asarray([each[seed] for seed in seeds], float) for each in by_seed)
        apart = first - second
        if len(seeds) < 2:
            return Difference(float(apart.mean()) if seeds else math.nan, math.nan, len(seeds), math.nan)
        p, mean = float(ttest_rel(first, second).pvalue), float(apart.mean())
        if abs(mean) <= 1e-12 * max(np.abs(first).max(), np.abs(second).max()):
            # What is left of differences that cancel is rounding.
            mean = 0.0
        return Difference(mean, float(apart.std(ddof=1)), len(seeds), p)

    def over_seeds(self, by: Sequence[str], of: Sequence[str]) -> "Table":
        """Means over the rows that agree in the columns `by`, of the columns `of`."""
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.rows:
            groups.setdefault(tuple(row.get(name) for name in by), []).append(row)
        return Table(
            self.title,
            [
                {**dict(zip(by, key, strict=True)), **{name: Table("", rows).mean(name) for name in of}}
                for key, rows in groups.items()
            ],
        )

    def curve(self, run: int, across: str, of: str) -> Curve:
        """The means in a column over the numbers in another, with a band where there are several seeds."""
        means = [row[of] for row in self.rows]
        spreads = [mean.deviation for mean in means]
        band = spreads if all(map(math.isfinite, spreads)) else []
        return Curve(run, [row[across] for row in self.rows], [mean.mean for mean in means], band)

    def csv(self) -> str:
        buffer = io.StringIO()
        rows = self.plain()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()

    def plain(self) -> list[dict[str, Any]]:
        """Rows of plain values: of a mean its deviation and the number of seeds, too; of a difference also p."""
        return [dict(_plain(row)) for row in self.rows]

    def printed(self) -> dict[str, Any]:
        """The title, the columns and the cells as a person reads them."""
        cells = [[as_text(row.get(name)) for name in self.columns] for row in self.rows]
        return {"title": self.title, "columns": self.columns, "cells": cells}

    def markdown(self) -> str:
        rows = [[cell.replace("|", r"\|") for cell in line] for line in (self.columns, *self.printed()["cells"])]
        lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def power_law(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """c and p of y = c·x^p, by least squares of the logarithms; not numbers of fewer than two points."""
    if len(x) < 2:
        return math.nan, math.nan
    power, constant = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(constant)), float(power)


def _plain(row: Row) -> Any:
    for name, value in row.items():
        if isinstance(value, Mean | Difference):
            yield name, value.mean
            yield f"{name}_std", value.deviation
            yield f"{name}_seeds", value.seeds
            if isinstance(value, Difference):
                yield f"{name}_p", value.p
        else:
            yield name, value


def as_text(value: Any) -> str:
    """As a person reads it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def capital(text: str) -> str:
    """As a sentence begins."""
    return text[:1].upper() + text[1:]


def median_of(values: Any, kept: Any) -> float:
    """Over the samples that are kept; not a number where there are none."""
    found = np.asarray(values)[np.asarray(kept)]
    return float(np.nanmedian(found)) if np.isfinite(found).any() else math.nan
