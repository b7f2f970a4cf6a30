"""One self-contained HTML page about one or several runs."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from equiprop.errors import InputError
from equiprop.files import write_atomically
from equiprop.reporting._canvas import swatch
from equiprop.reporting._confusion import confusion_tables
from equiprop.reporting._describe import certificate, outcome_of_selection, sentence
from equiprop.reporting._differences import as_toml, differences
from equiprop.reporting._figures import pictures
from equiprop.reporting._markup import escaped
from equiprop.reporting._means import STD
from equiprop.reporting._run import REPORT, Run
from equiprop.reporting._style import CSS
from equiprop.reporting._table import COLUMNS, Cell, comparison_rows
from equiprop.reporting._values import epochs_done, labels, latest


def html_report(runs: Sequence[Run], title: str | None = None) -> str:
    """The page about `runs` as HTML: it loads nothing, runs no script, and is the same text for the same runs.

    **Raises** `InputError` where there is no run.
    """
    if not runs:
        raise InputError("is empty", path="runs", value=[], hint="give at least one run to report")
    names = labels(runs)
    sections = [
        ("comparison", "Comparison", _comparison(runs)),
        ("figures", "Figures", _figures(runs)),
        ("confusion", "Classes", _confusions(runs, names)),
        ("differences", "What differs", _differences(runs, names)),
        ("configurations", "Configurations", _configurations(runs, names)),
        ("origins", "Origins", _origins(runs, names)),
        ("citations", "Citations", _citations(runs)),
    ]
    filled = [(key, heading, body) for key, heading, body in sections if body]
    links = "\n".join(f'<a href="#{key}">{heading}</a>' for key, heading, _ in filled)
    bodies = "\n".join(f'<section id="{key}">\n<h2>{heading}</h2>\n{body}\n</section>' for key, heading, body in filled)
    text = escaped(title or _title(runs, names))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text}</title>
<style>{CSS}</style>
</head>
<body>
<main>
<header>
<p class="kicker">equiprop report</p>
<h1>{text}</h1>
<nav aria-label="Contents">
{links}
</nav>
</header>
{_headline(runs, names)}
{_warnings(runs, names)}
{bodies}
</main>
</body>
</html>
"""


def write_report(runs: Sequence[Run], path: str | os.PathLike[str], title: str | None = None) -> Path:
    """Write the page about `runs` to `path` and return where it lies; into a folder, as `report.html`.

    The file appears whole or not at all.

    **Raises** `InputError` where there is no run, or `path` cannot be written.
    """
    page = html_report(runs, title)
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


def _title(runs: Sequence[Run], names: Sequence[str]) -> str:
    if len(runs) == 1:
        return names[0]
    datasets = {str(run.config.get("dataset", "")) for run in runs} - {""}
    return f"{len(runs)} runs on {datasets.pop()}" if len(datasets) == 1 else f"{len(runs)} runs"


def _named(place: int, name: str) -> str:
    return f'<span class="named">{swatch(place)}<span>{escaped(name)}</span></span>'


def _headline(runs: Sequence[Run], names: Sequence[str]) -> str:
    items = []
    for place, (run, name) in enumerate(zip(runs, names, strict=True)):
        tag = "" if run.state == "finished" else f' <span class="tag">{run.state}</span>'
        selected, bound = outcome_of_selection(run), certificate(run)
        more = [f"Test error {selected}." if selected else "", f"Certificate: {bound}." if bound else ""]
        extra = f'<p class="reading">{escaped(" ".join(filter(None, more)))}</p>' if any(more) else ""
        text = f"<p><strong>{escaped(name)}</strong>{tag}: {escaped(sentence(run))}</p>{extra}"
        items.append(f"<li>{swatch(place)}<div>{text}</div></li>")
    return _element("ul", items, "runs")


def _warnings(runs: Sequence[Run], names: Sequence[str]) -> str:
    items = [
        f"<li><strong>{escaped(name)}</strong>: {escaped(warning)}.</li>"
        for run, name in zip(runs, names, strict=True)
        for warning in run.warnings
    ]
    if not items:
        return ""
    return f'<aside class="warnings" role="note">\n<h2>Read with care</h2>\n{_element("ul", items)}\n</aside>'


def _comparison(runs: Sequence[Run]) -> str:
    rows = comparison_rows(runs)
    head = [
        f'<th scope="col"{"" if not column.numeric else _NUMBER}>{escaped(column.title)}</th>' for column in COLUMNS
    ]
    body = []
    for place, row in enumerate(rows):
        cells = [_cell(cell, numeric=column.numeric) for column, cell in zip(COLUMNS[1:], row.cells[1:], strict=True)]
        body.append(f'<th scope="row">{_named(place, row.cells[0].text)}</th>{"".join(cells)}')
    return f"{_table(head, body, 'comparison')}\n{_notes(runs)}"


_NUMBER = ' class="number"'


def _cell(cell: Cell, *, numeric: bool) -> str:
    below = [f"± {cell.spread}"] if cell.spread else []
    lines = [escaped(text).replace("-&gt;", "-&gt;<br>") for text in [*below, cell.where] if text]
    where = "".join(f'<span class="where">{line}</span>' for line in lines)
    return f"<td{_NUMBER if numeric else ''}>{escaped(cell.value)}{where}</td>"


def _notes(runs: Sequence[Run]) -> str:
    """How to read the table, and what keeps these runs from being compared."""
    notes = [
        "Errors are those of the last epoch; the weight angle is that of the most misaligned pair.",
        "Cosines are between the estimated and the exact gradient. The total is that of the parameter gradient summed "
        "over samples; the smallest is that of the worst population, a mean over samples, which flatters.",
        "Converged samples are rounded down: 100.0 means every one.",
    ]
    several = [isinstance(latest(run, STD), dict) for run in runs]
    if any(several):
        notes.append(
            "Figures with ± are means over seeds, with the standard deviation over them, which is the band of a curve."
        )
    if len(runs) > 1 and not all(several):
        notes.append("A run of one seed: small differences may be chance. Repeat with other seeds before concluding.")
    if len({epochs_done(run) for run in runs}) > 1:
        notes.append("The runs have not trained for the same number of epochs.")
    if len({(str(run.config.get("dataset")), str(run.manifest.get("dataset_checksum"))) for run in runs}) > 1:
        notes.append("The runs were not trained on the same data: their errors do not compare.")
    if len({(str(run.manifest.get("device")), str(run.manifest.get("versions"))) for run in runs}) > 1:
        notes.append("The runs differ in device or versions: their seconds do not compare.")
    return _element("ul", [f"<li>{escaped(note)}</li>" for note in notes], "notes")


def _figures(runs: Sequence[Run]) -> str:
    return "\n".join(
        f'<h3>{escaped(picture.title)}</h3>\n<p class="reading">{escaped(picture.reading)}</p>\n'
        f"<figure>{picture.svg}</figure>"
        for picture in pictures(runs)
    )


def _confusions(runs: Sequence[Run], names: Sequence[str]) -> str:
    parts = [(place, name, confusion_tables(run)) for place, (run, name) in enumerate(zip(runs, names, strict=True))]
    found = [f"<h3>{_named(place, name)}</h3>\n{tables}" for place, name, tables in parts if tables]
    reading = (
        "How many samples of each class, a row each, were taken for each class. Those that diverged are in no column."
    )
    return f'<p class="reading">{reading}</p>\n' + "\n".join(found) if found else ""


def _differences(runs: Sequence[Run], names: Sequence[str]) -> str:
    if len(runs) == 1:
        return ""
    found = differences(runs)
    if not found:
        return '<p class="reading">Nothing: every run has the same configuration.</p>'
    head = ['<th scope="col">setting</th>']
    head += [f'<th scope="col">{_named(place, name)}</th>' for place, name in enumerate(names)]
    body = [
        f'<th scope="row" class="key">{escaped(difference.key)}</th>'
        + "".join(f'<td class="setting">{escaped(value)}</td>' for value in difference.values)
        for difference in found
    ]
    return _table(head, body, "differences")


def _configurations(runs: Sequence[Run], names: Sequence[str]) -> str:
    parts = []
    for place, (run, name) in enumerate(zip(runs, names, strict=True)):
        tables = {key: value for key, value in run.config.items() if isinstance(value, dict)}
        alone = {key: value for key, value in run.config.items() if key not in tables}
        blocks = [_settings("", alone)] if alone else []
        blocks += [_settings(f"[{key}]", table) for key, table in tables.items()]
        parts.append(
            f"<details><summary>{swatch(place)}{escaped(name)}</summary>\n"
            f"{_element('div', blocks, 'configuration')}\n</details>"
        )
    return "\n".join(parts)


def _settings(heading: str, settings: dict[str, object]) -> str:
    lines = "".join(f"<p>{escaped(key)} = {escaped(as_toml(value))}</p>" for key, value in settings.items())
    return f"<section>{f'<h4>{escaped(heading)}</h4>' if heading else ''}{lines}</section>"


def _origins(runs: Sequence[Run], names: Sequence[str]) -> str:
    parts = []
    for place, (run, name) in enumerate(zip(runs, names, strict=True)):
        manifest = run.manifest
        versions = manifest.get("versions")
        if isinstance(versions, dict):
            versions = ", ".join(f"{package} {version}" for package, version in versions.items())
        facts = {
            "state": run.state,
            "started": manifest.get("started"),
            "command": manifest.get("command"),
            "seed": manifest.get("seed"),
            "device": manifest.get("device"),
            "data set checksum": manifest.get("dataset_checksum"),
            "versions": versions,
        }
        lines = [
            f"<dt>{key}</dt><dd{_SETTING if key in _CODE else ''}>{escaped(str(value))}</dd>"
            for key, value in facts.items()
            if value not in (None, "")
        ]
        parts.append(f"<h3>{_named(place, name)}</h3>\n{_element('dl', lines, 'provenance')}")
    return "\n".join(parts)


_CODE = ("command", "data set checksum")
_SETTING = ' class="setting"'


def _citations(runs: Sequence[Run]) -> str:
    found: dict[str, None] = {}
    for run in runs:
        citations = run.manifest.get("citations")
        found.update(dict.fromkeys(map(str, citations)) if isinstance(citations, list) else {})
    return _element("ul", [f"<li>{escaped(text)}</li>" for text in found], "citations") if found else ""


def _table(head: Iterable[str], rows: Iterable[str], name: str) -> str:
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll">\n<table class="{name}">\n<thead>\n<tr>{"".join(head)}</tr>\n</thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _element(tag: str, children: Iterable[str], name: str = "") -> str:
    attribute = f' class="{name}"' if name else ""
    inside = "\n".join(children)
    return f"<{tag}{attribute}>\n{inside}\n</{tag}>"
