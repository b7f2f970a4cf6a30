"""One self-contained HTML page about runs and studies."""

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equiprop.errors import InputError, printable
from equiprop.files import write_atomically
from equiprop.reporting._canvas import DARK, LIGHT, Map, Panel, draw, mark
from equiprop.reporting._chart import Chart, spoken
from equiprop.reporting._charts import MOST_IN_PARTS, charts
from equiprop.reporting._describe import certificate, outcome_of_selection, sentence, trust
from equiprop.reporting._differences import as_toml, differences
from equiprop.reporting._means import STD
from equiprop.reporting._numbers import MISSING
from equiprop.reporting._run import REPORT, Run
from equiprop.reporting._study import Study
from equiprop.reporting._table import Cell, comparison_rows
from equiprop.reporting._values import epochs_done, labels, latest

if TYPE_CHECKING:
    from jinja2 import Environment

_MOST_CLASSES = 20
_MOST_PAIRS = 15

_COLUMNS = (
    # Title, whether it holds numbers, the column of the table, and what stands below its values: a word and a column.
    ("estimator", False, "estimator", ()),
    ("homeostasis", False, "homeostasis", ()),
    ("epochs", True, "epochs", ()),
    ("test error, %", True, "test_error_percent", (("loss", "test_loss"),)),
    ("test loss", True, "test_loss", ()),
    ("validation error, %", True, "validation_error_percent", ()),
    ("cosine", True, "cosine_total", (("worst", "cosine_smallest"),)),
    ("gradient bar, %", True, "gradient_bar_percent", ()),
    ("symmetry", True, "symmetry", ()),
    ("weight angle, °", True, "weight_angle_deg", ()),
    ("converged, %", True, "converged_percent", (("excluded", "excluded_percent"),)),
    ("seconds", True, "seconds", ()),
)


def html_report(runs: Sequence[Run], title: str | None = None, *, studies: Sequence[Study] = ()) -> str:
    """The page about `runs` and `studies` as HTML: it loads nothing, and is the same text for the same runs.

    Its one script moves the circles of nudges of a study; a page without them has none.

    **Raises** `InputError` where there is neither run nor study.
    """
    if not runs and not studies:
        raise InputError("is empty", path="runs", value=[], hint="give at least one run or study to report")
    names = labels(runs)
    script = _asset("walk.js") if any(study.walks for study in studies) else ""
    return _environment().get_template("page.html").render(
        title=title or _title(runs, names, studies),
        css=_asset("page.css"),
        script=script,
        policy=f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" if script else "'none'",
        studies=[_StudyView(study, list(map(_view, study.charts))) for study in studies],
        runs=[_RunView(run, name, place) for place, (run, name) in enumerate(zip(runs, names, strict=True))],
        columns=_columns(runs) if runs else [],
        notes=_notes(runs),
        charts=[_view(chart) for chart in charts(runs)],
        differences=differences(runs) if len(runs) > 1 else [],
        citations=list(dict.fromkeys(text for run in runs for text in _citations(run))),
        most_told=MOST_IN_PARTS,
        most_classes=_MOST_CLASSES,
        most_pairs=_MOST_PAIRS,
        mark=mark,
    )  # fmt: skip


def write_report(
    runs: Sequence[Run], path: str | os.PathLike[str], title: str | None = None, *, studies: Sequence[Study] = ()
) -> Path:
    """Write the page about `runs` and `studies` to `path` and return where it lies; into a folder, as `report.html`.

    The file appears whole or not at all.

    **Raises** `InputError` where there is neither run nor study, or `path` cannot be written.
    """
    page = html_report(runs, title, studies=studies)
    target = Path(path)
    if target.is_dir():
        target /= REPORT
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, page)
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        raise InputError(reason, path="report", value=str(target), hint="give another path") from error
    return target


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("equiprop.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # What others have named holds no control characters; what the templates make is left as it is.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )


def _asset(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")


@dataclass(frozen=True)
class _PanelView:
    """A picture for light pages and one for dark ones, as base64, and what it says in words."""

    light: str
    dark: str
    alternative: str


@dataclass(frozen=True)
class _ChartView:
    chart: Chart
    panels: Sequence[_PanelView]


@dataclass(frozen=True)
class _StudyView:
    study: Study
    charts: Sequence[_ChartView]

    @property
    def walks(self) -> list[dict[str, Any]]:
        """What the script of the page reads."""
        return [walk.to_json() for walk in self.study.walks]


def _view(chart: Chart) -> _ChartView:
    return _ChartView(chart, [_panel(panel, chart.labels) for panel in chart.panels])


def _panel(panel: Panel | Map, labels: Sequence[str]) -> _PanelView:
    light = draw([panel], labels, legend=False)
    # Nothing else has the colour of ink, and to draw again takes longer than all the rest of the page.
    dark = light.replace(LIGHT, DARK)
    return _PanelView(_base64(light), _base64(dark), spoken(panel, labels))


def _base64(svg: str) -> str:
    return base64.b64encode(svg.encode()).decode()


@dataclass(frozen=True)
class _RunView:
    """A run under its name on the page."""

    run: Run
    name: str
    place: int

    @property
    def sentence(self) -> str:
        return sentence(self.run)

    @property
    def facts(self) -> list[str]:
        """What follows the sentence about it."""
        selected, bound, right = outcome_of_selection(self.run), certificate(self.run), trust(self.run)
        said = [
            f"{right[:1].upper()}{right[1:]}." if right else "",
            f"Test error {selected}." if selected else "",
            f"Certificate: {bound}." if bound else "",
        ]
        return [fact for fact in said if fact]

    @property
    def settings(self) -> list[tuple[str, list[str]]]:
        """The configuration: each table by its name, the settings outside of all first."""
        config = self.run.config
        alone = {key: value for key, value in config.items() if not isinstance(value, dict)}
        tables = [("", alone), *((f"[{key}]", value) for key, value in config.items() if isinstance(value, dict))]
        return [
            (name, [f"{key} = {as_toml(value)}" for key, value in table.items()]) for name, table in tables if table
        ]

    @property
    def origin(self) -> list[tuple[str, str, bool]]:
        """What it was made with: a fact, and whether it is code."""
        manifest = self.run.manifest
        versions = manifest.get("versions")
        if isinstance(versions, dict):
            versions = ", ".join(f"{package} {version}" for package, version in versions.items())
        facts = {
            "state": (self.run.state, False),
            "started": (manifest.get("started"), False),
            "command": (manifest.get("command"), True),
            "seed": (manifest.get("seed"), False),
            "device": (manifest.get("device"), False),
            "data set checksum": (manifest.get("dataset_checksum"), True),
            "versions": (versions, False),
        }
        return [(key, str(value), code) for key, (value, code) in facts.items() if value not in (None, "")]


@dataclass(frozen=True)
class _Column:
    """A column of the comparison: of each run the value, and the lines below it."""

    title: str
    numeric: bool
    cells: Sequence[tuple[str, Sequence[str]]]


def _columns(runs: Sequence[Run]) -> list[_Column]:
    """The comparison, without what no run has; the loss has a column of its own where there is no error."""
    rows = [row.by_key for row in comparison_rows(runs)]
    found: list[_Column] = []
    for title, numeric, key, below in _COLUMNS:
        known = any(row[key].value != MISSING for row in rows)
        if known and not (key == "test_loss" and any(column.title == "test error, %" for column in found)):
            found.append(
                _Column(title, numeric, [(row[key].value, list(_below(row, row[key], below))) for row in rows])
            )
    return found


def _below(row: dict[str, Cell], cell: Cell, more: Sequence[tuple[str, str]]) -> Iterator[str]:
    if cell.spread:
        yield f"± {cell.spread}"
    if cell.where:
        yield cell.where
    for word, key in more:
        other = row[key]
        # Nothing excluded is as it should be.
        if other.value != MISSING and not (key == "excluded_percent" and other.number == 0):
            yield f"{word} {other.value}"


def _title(runs: Sequence[Run], names: Sequence[str], studies: Sequence[Study]) -> str:
    if studies:
        return f"Study: {', '.join(study.name for study in studies)}"
    if len(runs) == 1:
        return names[0]
    datasets = {str(run.config.get("dataset", "")) for run in runs} - {""}
    return f"{len(runs)} runs on {datasets.pop()}" if len(datasets) == 1 else f"{len(runs)} runs"


def _citations(run: Run) -> list[str]:
    citations = run.manifest.get("citations")
    return list(map(str, citations)) if isinstance(citations, list) else []


def _notes(runs: Sequence[Run]) -> list[str]:
    """How to read the table, and what keeps these runs from being compared."""
    notes = [
        "Errors are those of the last epoch; the weight angle is that of the most misaligned pair.",
        "Cosines are between the estimated and the exact gradient. The total is that of the parameter gradient summed "
        "over samples; the worst is that of one population, a mean over samples, which flatters.",
        "Converged samples are rounded down: 100.0 means every one.",
    ]
    several = [isinstance(latest(run, STD), dict) for run in runs]
    if any(several):
        notes.append(
            "Figures with ± are means over seeds, with the standard deviation over them, which is the band of a curve."
        )
    if len(runs) > 1 and not all(several):
        notes.append("A run of one seed: small differences may be chance. Repeat with other seeds before concluding.")
    if len(runs) > MOST_IN_PARTS:
        notes.append(
            f"Of more than {MOST_IN_PARTS} runs the causes of a bar, and what single populations and connections do, are not "
            "drawn: report fewer runs to see them."
        )
    if len({epochs_done(run) for run in runs}) > 1:
        notes.append("The runs have not trained for the same number of epochs.")
    if len({(str(run.config.get("dataset")), str(run.manifest.get("dataset_checksum"))) for run in runs}) > 1:
        notes.append("The runs were not trained on the same data: their errors do not compare.")
    if len({(str(run.manifest.get("device")), str(run.manifest.get("versions"))) for run in runs}) > 1:
        notes.append("The runs differ in device or versions: their seconds do not compare.")
    return notes
