"""`equiprop report`."""

import os
from dataclasses import dataclass
from pathlib import Path

import tyro

from equiprop.cli._console import print_json, print_side_by_side, say, warn
from equiprop.cli._options import Output, parse, write_text
from equiprop.errors import InputError
from equiprop.reporting import (
    COLUMNS,
    REPORT,
    Chart,
    charts,
    comparison_rows,
    is_study,
    read_runs,
    read_study,
    write_report,
)


@dataclass(frozen=True)
class Options(Output):
    runs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Run directories, side by side on one page, and folders of studies, with what was trained for them."""
    out: str | None = None
    """Folder or .html file to write; by default report.html in the run or study, or in the folder that holds them all."""
    figures: bool = False
    """Write every figure of the runs as an SVG file of its own, too, beside the page."""


def run(arguments: list[str]) -> None:
    options = parse(Options, "report", arguments, "Runs and studies: a table and one self-contained HTML page.")
    if not options.runs:
        raise InputError("report: name at least one run or study; 'equiprop runs' lists the runs there are")
    studies = [read_study(path) for path in options.runs if is_study(path)]
    alone = [path for path in options.runs if not is_study(path)]
    runs = read_runs([*alone, *(str(arm) for study in studies for arm in study.arms)])
    for each in runs:
        if not each.config:
            warn(f"{each.path}: {'; '.join(each.warnings)}")
    page = write_report(runs, _target(options), studies=studies)
    figures = [_write_figure(chart, page.parent) for chart in charts(runs) if chart.panels] if options.figures else []
    rows = comparison_rows(runs)
    if options.json:
        written = {"report": str(page), "figures": [str(f) for f in figures]}
        print_json(written | {"runs": [{"path": str(r.run.path), **r.values} for r in rows]})
    elif not options.quiet:
        print_side_by_side([c.title for c in COLUMNS[1:]], [r.texts[0] for r in rows], [r.texts[1:] for r in rows])
        say(f"report: {page}")
        for figure in figures:
            say(f"figure: {figure}")


def _write_figure(chart: Chart, folder: Path) -> Path:
    path = folder / f"{chart.name}.svg"
    write_text(path, chart.svg)
    return path


def _target(options: Options) -> Path:
    if options.out is None:
        if len(options.runs) == 1:
            return Path(options.runs[0]) / REPORT
        # Not in one of them, where it would take the place of that one's own.
        common = Path(os.path.commonpath([Path(run).resolve() for run in options.runs]))
        return (common.relative_to(Path.cwd()) if common.is_relative_to(Path.cwd()) else common) / REPORT
    out = Path(options.out)
    return out if out.suffix == ".html" else out / REPORT
