"""The comparison table as data, so that the command line and the page print the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from equiprop.reporting._describe import estimator_label, homeostasis_label
from equiprop.reporting._numbers import MISSING, fixed, number, percent, plain
from equiprop.reporting._run import Run
from equiprop.reporting._values import TOTAL, deviation, epochs_done, extreme, labels, latest, seconds, section


@dataclass(frozen=True)
class Column:
    """A column: its `key` for machines, its `title` with the unit for people, and whether it holds numbers."""

    key: str
    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """What is printed, the finite number behind it (None where there is none), and what it is more closely:
    the settings of a method, the population of a cosine, the connection of an angle."""

    value: str
    number: float | None = None
    where: str = ""

    @property
    def text(self) -> str:
        """The cell as printed: the value, and what it is more closely in brackets."""
        return f"{self.value} ({self.where})" if self.where else self.value


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
    def values(self) -> dict[str, str | float | None]:
        """The cells for machines, under the keys of the columns: numbers where the column is numeric, else text."""
        pairs = zip(COLUMNS, self.cells, strict=True)
        return {column.key: cell.number if column.numeric else cell.text for column, cell in pairs}


COLUMNS = (
    Column("run", "run", numeric=False),
    Column("estimator", "estimator", numeric=False),
    Column("homeostasis", "homeostasis", numeric=False),
    Column("epochs", "epochs"),
    Column("test_error_percent", "test error (%)"),
    Column("test_loss", "test loss"),
    Column("validation_error_percent", "validation error (%)"),
    Column("cosine_total", "cosine, total"),
    Column("cosine_smallest", "cosine, smallest"),
    Column("symmetry", "symmetry"),
    Column("weight_angle_deg", "weight angle (°)"),
    Column("converged_percent", "converged (%)"),
    Column("excluded_percent", "excluded (%)"),
    Column("seconds", "seconds"),
)


def comparison_rows(runs: Sequence[Run]) -> list[Row]:
    """A row per run under `COLUMNS`, in the order given; what a run does not record is `–`.

    Cosines are between the estimated and the exact gradient: the total is that of the parameter gradient summed over
    samples, the smallest that of the worst population. The weight angle is that of the most misaligned pair.
    Numbers are those of the summary; of a run without one, those of the last epoch that recorded them. Of several seeds they
    are means, ± the standard deviation over them.
    """
    return [_row(run, label) for run, label in zip(runs, labels(runs), strict=True)]


def _row(run: Run, label: str) -> Row:
    cosines = latest(run, "cosine_to_adjoint")
    total = cosines.get(TOTAL) if isinstance(cosines, dict) else None
    estimator, settings = estimator_label(run)
    homeostasis, strength = homeostasis_label(run)
    cells = (
        Cell(label),
        Cell(estimator, where=settings),
        Cell(homeostasis, where=strength),
        _epochs(run),
        _cell(latest(run, "test_error_percent"), 2, deviation(run, "test_error_percent")),
        _cell(latest(run, "test_loss"), 3, deviation(run, "test_loss")),
        _cell(latest(run, "validation_error_percent"), 2, deviation(run, "validation_error_percent")),
        _cell(total, 3, deviation(run, "cosine_to_adjoint", TOTAL)),
        _extreme(cosines, 3, smallest=True),
        _cell(latest(run, "symmetry"), 3, deviation(run, "symmetry")),
        _extreme(latest(run, "weight_angle_deg"), 1, smallest=False),
        _percent(latest(run, "converged_fraction")),
        _percent(latest(run, "excluded_fraction")),
        _cell(seconds(run), 1),
    )
    return Row(run, cells)


def _cell(value: Any, digits: int, spread: float | None = None) -> Cell:
    return Cell(
        fixed(value, digits) if spread is None else f"{fixed(value, digits)} ± {fixed(spread, digits)}", number(value)
    )


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
