"""The comparison table as data, so that the command line and the page print the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from equiprop.reporting._describe import estimator_label, homeostasis_label
from equiprop.reporting._numbers import MISSING, fixed, number, percent, plain
from equiprop.reporting._run import Run
from equiprop.reporting._values import TOTAL, deviation, epochs_done, extreme, labels, latest, seconds, section


@dataclass(frozen=True)
class Cell:
    """What is printed, the finite number behind it (None where there is none), what it is more closely: the settings of a
    method, the population of a cosine, the connection of an angle; and of several seeds the standard deviation."""

    value: str
    number: float | None = None
    where: str = ""
    spread: str = ""

    @property
    def text(self) -> str:
        """The cell as printed: the value, ± its standard deviation, and what it is more closely in brackets."""
        value = f"{self.value} ± {self.spread}" if self.spread else self.value
        return f"{value} ({self.where})" if self.where else value


@dataclass(frozen=True)
class Column:
    """A column: its `key` for machines, its `title` with the unit for people, whether it holds numbers, and which `of` a run."""

    key: str
    title: str
    of: Callable[[Run], Cell]
    numeric: bool = True

    def value(self, cell: Cell) -> str | float | None:
        """A cell of it for machines: a number where the column is numeric, else text."""
        return cell.number if self.numeric else cell.text


@dataclass(frozen=True)
class Row:
    """One run and its cells, in the order of `COLUMNS`."""

    run: Run
    cells: tuple[Cell, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The cells as printed."""
        return tuple(cell.text for cell in self.cells)

    @property
    def by_key(self) -> dict[str, Cell]:
        """The cells under the keys of the columns."""
        return {column.key: cell for column, cell in zip(COLUMNS, self.cells, strict=True)}

    @property
    def values(self) -> dict[str, str | float | None]:
        """The cells for machines, under the keys of the columns."""
        return {column.key: column.value(cell) for column, cell in zip(COLUMNS, self.cells, strict=True)}


def comparison_rows(runs: Sequence[Run]) -> list[Row]:
    """A row per run under `COLUMNS`, in the order given; what a run does not record is `–`.

    Cosines are between the estimated and the exact gradient: the total is that of the parameter gradient summed over
    samples, the smallest that of the worst population. The bar is how far that gradient may be from the exact one, with the
    largest cause. The weight angle is that of the most misaligned pair.
    Numbers are those of the summary; of a run without one, those of the last epoch that recorded them. Of several seeds they
    are means, ± the standard deviation over them.
    """
    named = zip(runs, labels(runs), strict=True)
    return [Row(run, (Cell(label), *(column.of(run) for column in COLUMNS[1:]))) for run, label in named]


def _cell(value: Any, digits: int, spread: float | None = None) -> Cell:
    return Cell(fixed(value, digits), number(value), spread="" if spread is None else fixed(spread, digits))


def _percent(value: Any) -> Cell:
    fraction = number(value)
    return Cell(percent(value, 1), None if fraction is None else 100 * fraction)


def _extreme(value: Any, digits: int, *, smallest: bool) -> Cell:
    found = extreme(value, smallest=smallest)
    if found is None:
        return Cell(MISSING)
    name, worst = found
    return Cell(fixed(worst, digits), number(worst), name)


def _epochs(run: Run) -> Cell:
    done = epochs_done(run)
    planned = section(run, "training").get("epochs")
    if run.state == "unfinished" and number(planned) is not None:
        return Cell(f"{done} of {plain(planned)}", float(done))
    return Cell(str(done), float(done))


def _estimator(run: Run) -> Cell:
    name, settings = estimator_label(run)
    return Cell(name, where=settings)


def _homeostasis(run: Run) -> Cell:
    name, strength = homeostasis_label(run)
    return Cell(name, where=strength)


def _measured(key: str, digits: int) -> Callable[[Run], Cell]:
    return lambda run: _cell(latest(run, key), digits, deviation(run, key))


def _cosine(run: Run) -> Cell:
    cosines = latest(run, "cosine_to_adjoint")
    total = cosines.get(TOTAL) if isinstance(cosines, dict) else None
    return _cell(total, 3, deviation(run, "cosine_to_adjoint", TOTAL))


def _gradient_bar(run: Run) -> Cell:
    bar, cause = number(latest(run, "gradient_bar")), extreme(latest(run, "gradient_bar_causes"), smallest=False)
    if bar is None:
        return Cell(MISSING)
    spread = deviation(run, "gradient_bar")
    percents = _cell(100 * bar, 1, None if spread is None else 100 * spread)
    return replace(percents, where=cause[0] if cause else "")


COLUMNS = (
    Column("run", "run", lambda run: Cell(run.name), numeric=False),
    Column("estimator", "estimator", _estimator, numeric=False),
    Column("homeostasis", "homeostasis", _homeostasis, numeric=False),
    Column("epochs", "epochs", _epochs),
    Column("test_error_percent", "test error (%)", _measured("test_error_percent", 2)),
    Column("test_loss", "test loss", _measured("test_loss", 3)),
    Column("validation_error_percent", "validation error (%)", _measured("validation_error_percent", 2)),
    Column("cosine_total", "cosine, gradient", _cosine),
    Column(
        "cosine_smallest",
        "cosine, mean sample",
        lambda run: _extreme(latest(run, "cosine_to_adjoint"), 3, smallest=True),
    ),
    Column("gradient_bar_percent", "gradient bar (%)", _gradient_bar),
    Column("symmetry", "symmetry", _measured("symmetry", 3)),
    Column(
        "weight_angle_deg", "weight angle (°)", lambda run: _extreme(latest(run, "weight_angle_deg"), 1, smallest=False)
    ),
    Column("converged_percent", "converged (%)", lambda run: _percent(latest(run, "converged_fraction"))),
    Column("excluded_percent", "excluded (%)", lambda run: _percent(latest(run, "excluded_fraction"))),
    Column("seconds", "seconds", lambda run: _cell(seconds(run), 1)),
)
