"""The page stands alone, says everything, and lets nothing of a run become markup."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from reporting_runs import MANIFEST, SUMMARY, epoch_line, write_run_into, write_study_into

from equiprop.errors import InputError
from equiprop.reporting import (
    Curve,
    Difference,
    Walk,
    charts,
    comparison_rows,
    differences,
    html_report,
    is_study,
    mean_of_summaries,
    means_of,
    read_run,
    read_study,
    write_report,
)
from equiprop.reporting._values import series

WriteRun = Callable[..., Path]
_VOID = {"meta", "br", "hr", "img", "link", "input", "source", "wbr"}


class _Page(HTMLParser):
    """Checks that elements nest, and collects elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(key, value or "") for key, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.slow
def test_the_page_says_what_was_run_and_what_came_out(write_run: WriteRun) -> None:
    names = ["homeostasis", "plain"]
    runs = [read_run(write_run(name, homeostasis=kind)) for name, kind in zip(names, ("jacobian", "none"), strict=True)]
    text = _Page(html_report(runs)).text
    for expected in (
        *names,
        "2 runs on digits",
        "holomorphic equilibrium propagation (N=4, |β|=0.5) with jacobian homeostasis of strength 0.1",
        "without homeostasis",
        "8.25 % test error after 3 epochs",
        "8.10 % at epoch 2, chosen on the validation split",
        "S is not negative definite",
        "jacobian, strength = 0.1",
        "weight_angle = 90.0",
        "equiprop train --config digits.toml",
        "jax 0.10.0",
        "Laborieux & Zenke 2024",
        "small differences may be chance",
    ):
        assert expected in text


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of one run; drawing it takes a second."""
    return html_report([read_run(write_run_into(tmp_path_factory.mktemp("page")))])


@pytest.mark.slow
def test_the_page_of_one_run_has_its_name_and_no_differences(page: str) -> None:
    text = _Page(page).text
    assert "What differs" not in text
    assert "may be chance" not in text
    assert "Read with care" not in page


@pytest.mark.slow
def test_a_title_of_ones_own(write_run: WriteRun) -> None:
    assert "<title>Mine &amp; yours</title>" in html_report([read_run(write_run())], title="Mine & yours")


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    parsed = _Page(page)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert "default-src 'none'" in page and "script-src 'none'" in page
    for key, value in parsed.attributes:
        assert not key.startswith("on")
        if key in ("src", "srcset", "href", "xlink:href", "data", "action"):
            assert value.startswith(("#", "data:image/"))
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    parsed = _Page(page)
    ids = [value for key, value in parsed.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for key, value in parsed.attributes if key == "href"} <= set(ids)


@pytest.mark.slow
def test_nothing_of_a_run_becomes_markup(write_run: WriteRun) -> None:
    evil = "<script>alert('1')<!-- \" -->"
    folder = write_run(
        evil,
        summary={"certificate_reason": evil, "weight_angle_deg": {evil: 1.0}, "cosine_to_adjoint": {evil: 0.5}},
        manifest={"citations": [evil], "command": evil, "device": evil, "versions": {evil: evil}, "seed": evil},
        tail=f'{{"epoch": 4, "symmetry": 0.5, "gradient_norm_ratio": {{"<script>x": 1.0}}}}\n{{"{evil}',
    )
    quoted = evil.replace('"', '\\"')
    (folder / "config.toml").write_text(f'dataset = "{quoted}"\n["{quoted}"]\n"{quoted}" = ["{quoted}"]\n')
    other = write_run("other")
    for page in (html_report([read_run(folder)]), html_report([read_run(folder), read_run(other)], title=evil)):
        assert "script" not in _Page(page).tags
        assert evil in _Page(page).text
        assert "<script" not in page
        assert "alert('1')<!--" not in page


@pytest.mark.slow
def test_warnings_and_what_keeps_runs_from_comparing_are_said(write_run: WriteRun) -> None:
    finished = read_run(write_run("finished"))
    cut = read_run(write_run("cut", epochs=1, summary=None, manifest={"dataset_checksum": "other"}, tail='{"epo'))
    text = _Page(html_report([finished, cut])).text
    for expected in (
        "unfinished",
        "1 of 3 epochs",
        "is cut off",
        "same number of epochs",
        "not trained on the same data",
        "device or versions",
    ):
        assert expected in text


def test_a_run_with_nothing_in_it_still_gives_a_page(write_run: WriteRun) -> None:
    folder = write_run(epochs=0, summary=None, manifest=None)
    (folder / "config.toml").write_text("")
    text = _Page(html_report([read_run(folder)])).text
    assert "no epoch has ended yet" in text


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(write_run: WriteRun, tmp_path: Path) -> None:
    runs = [read_run(write_run("a")), read_run(write_run("b"))]
    first = write_report(runs, tmp_path / "first.html")
    second = write_report(runs, tmp_path / "second.html")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_the_report_is_written_whole_where_it_was_asked_for(write_run: WriteRun, tmp_path: Path) -> None:
    runs = [read_run(write_run())]
    target = tmp_path / "new" / "page.html"
    assert write_report(runs, target) == target
    assert write_report(runs, tmp_path / "new") == tmp_path / "new" / "report.html"
    assert sorted(path.name for path in target.parent.iterdir()) == ["page.html", "report.html"]
    assert target.read_text("utf-8").endswith("</html>\n")


@pytest.mark.slow
def test_a_report_that_cannot_be_written_is_refused_and_leaves_nothing(write_run: WriteRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="cannot be written"):
        write_report([read_run(write_run())], tmp_path / "file" / "page.html")
    assert (tmp_path / "file").read_text() == "kept"


def test_no_runs_no_report() -> None:
    with pytest.raises(InputError, match="at least one run"):
        html_report([])


def test_the_room_needs_no_jax_and_draws_nothing_on_import() -> None:
    code = (
        "import sys, equiprop.reporting\n"
        "loaded = {'jax', 'equinox', 'optax', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_report_needs_no_jax_and_no_global_plotting_state(write_run: WriteRun) -> None:
    code = (
        "import sys\n"
        "from equiprop.reporting import html_report, read_run\n"
        "html_report([read_run(sys.argv[1])])\n"
        "loaded = {'jax', 'equinox', 'optax', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code, str(write_run())], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_several_seeds_are_told_with_their_spread(write_run: WriteRun) -> None:
    """In the table, in the notes, and as a band around each curve; a run of one seed beside them has none."""
    histories = [[epoch_line(epoch) | {"train_loss": 2.0 + seed} for epoch in (1, 2, 3)] for seed in (0, 1, 2)]
    summaries = [SUMMARY | {"test_error_percent": error} for error in (4.0, 5.0, 6.0)]
    path = write_run("seeds", summary=mean_of_summaries(summaries, [0, 1, 2]))
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in means_of(histories)))
    seeds, one = read_run(path), read_run(write_run("one"))
    page = html_report([seeds, one])
    assert (
        '<span>5.00</span><span class="below">± 1.00</span>' in page
        and "means over seeds" in page
        and "one seed: small" in page
    )
    assert "5.00 ± 1.00" in comparison_rows([seeds, one])[0].texts
    assert "one seed: small" not in html_report([seeds]) and "means over seeds" not in html_report([one])
    assert series(seeds, "train_loss") == ([1, 2, 3], [3.0] * 3, [1.0] * 3) and series(one, "train_loss")[2] == []
    assert Curve(0, [1, 2], [3.0, 4.0], [1.0, 0.5]).band == ([2.0, 3.5], [4.0, 4.5])
    drawn = [charts(runs)[0].svg for runs in ([seeds], [one])]
    assert [svg.count("opacity: 0.16") for svg in drawn] == [2, 0]


@pytest.mark.slow
def test_what_others_wrote_is_text_in_pages_and_figures(write_run: WriteRun) -> None:
    """Names of runs, classes, parts and settings hold neither tags nor control characters, and numbers are never too large."""
    hostile = "<script>alert('1')</script>\x1b[31m\n\""
    lines = [
        {"epoch": epoch, "train_loss": loss, "cosine_to_adjoint": {hostile: 0.5, "total": loss}}
        for epoch, loss in ((1, 1e308), (2, -1e308), (3, 1.0))
    ]
    folder = write_run("a<b>\x1b\n'\"", summary=None)
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    kept = {"epoch": hostile, "classes": [hostile, "b"], "confusion": [[1, 2], [3, 4]]}
    (folder / "confusion.json").write_text(json.dumps({hostile: kept}))
    manifest = MANIFEST | {
        "versions": {hostile: 1},
        "command": hostile,
        "citations": [hostile],
        "labels": {"system": hostile},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    run = read_run(folder)
    page = html_report([run, replace(run, config=run.config | {hostile: {hostile: hostile}})])
    assert "<script" not in page and "&lt;script&gt;" in page and "&lt;b&gt;" in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", page)
    for chart in charts([run]):
        if chart.panels:
            ElementTree.fromstring(chart.svg)


def test_a_bar_is_told_by_what_it_means(write_run: WriteRun) -> None:
    """An error shorter than the gradient leaves it within 90° of the exact one, a longer one need not."""
    causes = {"asymmetry": 0.01, "nudge": 0.03}
    for bar, said in (
        (0.04, "is right to within 4.0 %, mostly by nudge."),
        (0.5, "may be off by 50.0 % of its length, mostly by nudge, and still points downhill."),
        (1.5, "may be off by 150.0 % of its length, mostly by nudge: it need not point downhill."),
    ):
        summary = SUMMARY | {"gradient_bar": bar, "gradient_bar_causes": causes}
        run = replace(read_run(write_run(f"bar-{bar}", epochs=0)), summary=summary)
        assert f"The gradient of a training batch {said}" in _Page(html_report([run])).text


def test_mistakes_are_shown_as_pictures_and_damaged_ones_are_said(write_run: WriteRun) -> None:
    mistake = {"sample": 7, "class": 0, "taken_for": 1, "margin": 2.0, "pixels": [[0, 255], [9, 8]]}
    kept = {"epoch": 3, "classes": ["<a>", "b"], "confusion": [[1, 1], [0, 2]], "mistakes": [mistake]}
    folder = write_run(epochs=0)
    (folder / "confusion.json").write_text(json.dumps({"test": kept}))
    page = html_report([read_run(folder)])
    assert 'alt="sample 7"' in page and "data:image/png;base64,iVBOR" in page and "&lt;a&gt;" in page
    for pixels in ([[0, 256]], [[0, 1], [2]], [[[0, 1, 2], [0, 1]]], [["x"]], [[0] * 300], "ab", [[0.5]]):
        damaged = kept | {"mistakes": [mistake | {"pixels": pixels}]}
        (folder / "confusion.json").write_text(json.dumps({"test": damaged}))
        run = read_run(folder)
        assert run.confusion == {} and "damaged" in run.warnings[-1]
    coloured = kept | {"mistakes": [mistake | {"pixels": [[[0, 1, 255], [2, 3, 4]]]}, mistake | {"pixels": []}]}
    (folder / "confusion.json").write_text(json.dumps({"test": coloured}))
    shown = read_run(folder).confusion["test"].mistakes
    assert shown[0].png.startswith("iVBOR") and shown[1].png == ""


def test_confusions_of_several_seeds_are_added(write_run: WriteRun) -> None:
    folder = write_run("seeds", epochs=0)
    for seed in (0, 1):
        (folder / f"seed-{seed}").mkdir()
        kept = {"epoch": 3, "classes": ["a", "b"], "confusion": [[1, seed], [0, 2]]}
        (folder / f"seed-{seed}" / "confusion.json").write_text(json.dumps({"test": kept}))
    found = read_run(folder).confusion["test"]
    assert found.counts == ((2, 1), (0, 4)) and found.pairs(9) == [("a", "b", 1, 3)]


def test_settings_that_nothing_reads_are_no_difference(write_run: WriteRun) -> None:
    """`retries` is read only where a bar has a tolerance; a homeostasis of strength 0 is none; another kind is one difference."""
    run = read_run(write_run(epochs=0))
    estimator = {"kind": "centered", "tolerance": float("inf"), "nudge": 0.5, "retries": 2}
    first = replace(run, config={"estimator": estimator, "homeostasis": {"kind": "none"}})
    quiet = {"estimator": estimator | {"retries": 5}, "homeostasis": {"kind": "jacobian", "strength": 0.0, "probes": 9}}
    assert differences([first, replace(run, config=quiet)]) == []
    loud = {
        "estimator": estimator | {"retries": 5, "tolerance": 0.1},
        "homeostasis": {"kind": "jacobian", "strength": 1.0},
    }
    assert differences([first, replace(run, config=loud)]) == [
        Difference("estimator.tolerance", ("inf", "0.1")),
        Difference("homeostasis", ("none", "jacobian, strength = 1.0")),
        Difference("estimator.retries", ("–", "5")),
    ]


def test_a_study_is_told_with_its_verdict_tables_figures_and_circles(tmp_path: Path) -> None:
    study = read_study(write_study_into(tmp_path))
    page = html_report([], studies=[study])
    text = _Page(page).text
    for expected in (
        "Does it work?",
        "It does.",
        "Not well.",
        "equiprop study mine --preset quick --seeds 2",
        "0.5 ± 0.1",
        "a chain",
    ):
        assert expected in text
    assert "it burned" in text and page.count("data:image/svg+xml") == 2
    assert "script-src 'sha256-" in page and "N = 2 at |β| = 0.1" in text
    assert html_report([], studies=[study]) == page


@pytest.mark.parametrize(
    "damage",
    [
        {"verdict": None},
        {"printed": [{"title": "t", "columns": ["a"], "cells": [["1", "2"]]}]},
        {"charts": [{}]}, {"walks": [{}]},
        {"seeds": "x"}, {"trained": [1]}, {"failed": []},
    ],
)  # fmt: skip
def test_a_damaged_study_is_refused_in_one_line(tmp_path: Path, damage: dict[str, object]) -> None:
    folder = write_study_into(tmp_path)
    kept = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(kept | damage))
    with pytest.raises(InputError, match="goes on where it stopped"):
        read_study(folder)


@pytest.mark.parametrize(
    "damage",
    [
        {"sizes": [0.1]}, {"rests": [[True], [True, True]]}, {"units": []}, {"errors": {"2": [0.1, 0.2]}}, {"bars": {"2": [0.1]}},
        {"errors": {"x": [0.1, 0.2]}, "bars": {"x": [0.1, 0.2]}}, {"sizes": [0.1, float("inf")]},
    ],
)  # fmt: skip
def test_damaged_circles_are_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    kept = read_study(write_study_into(tmp_path)).walks[0].to_json()
    assert Walk.from_json(kept).to_json() == kept
    with pytest.raises((KeyError, TypeError, ValueError)):
        Walk.from_json(kept | damage)


def test_a_study_that_has_not_ended_is_told_from_a_folder_that_is_none(tmp_path: Path) -> None:
    assert not is_study(tmp_path) and not is_study(tmp_path / ("y" * 300))
    (tmp_path / "study.toml").touch()
    assert is_study(tmp_path)
    with pytest.raises(InputError, match="has not ended"):
        read_study(tmp_path)


def test_nothing_of_a_study_becomes_markup(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>\x1b"
    folder = write_study_into(tmp_path)
    text = (folder / "study.json").read_text()
    for harmless in ("It does.", "a chain", "unit[3]", "Does it work?", "it burned", "Sizes"):
        text = text.replace(json.dumps(harmless), json.dumps(evil))
    (folder / "study.json").write_text(text)
    page = html_report([], studies=[read_study(folder)])
    assert "<script>alert" not in page and page.count("</script>") == 2 and "\x1b" not in page
