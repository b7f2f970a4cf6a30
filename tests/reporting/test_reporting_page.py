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
from reporting_runs import MANIFEST, SUMMARY, epoch_line, write_run_into

from equiprop.errors import InputError
from equiprop.reporting import (
    comparison_rows,
    html_report,
    mean_of_summaries,
    means_of,
    pictures,
    read_run,
    training_figure,
    write_report,
)
from equiprop.reporting._canvas import Curve
from equiprop.reporting._values import series

WriteRun = Callable[..., Path]
_VOID = {"meta", "br", "hr", "img", "link", "input"}


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
        "homeostasis.kind",
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
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    for key, value in parsed.attributes:
        assert not key.startswith("on")
        if key in ("src", "href", "xlink:href", "data", "action"):
            assert value.startswith("#")
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
    assert '5.00<span class="where">± 1.00</span>' in page and "means over seeds" in page and "one seed: small" in page
    assert "5.00 ± 1.00" in comparison_rows([seeds, one])[0].texts
    assert "one seed: small" not in html_report([seeds]) and "means over seeds" not in html_report([one])
    assert series(seeds, "train_loss") == ([1, 2, 3], [3.0] * 3, [1.0] * 3) and series(one, "train_loss")[2] == []
    assert Curve(0, [1, 2], [3.0, 4.0], [1.0, 0.5]).band == ([2.0, 3.5], [4.0, 4.5])
    drawn = [training_figure(runs) or "" for runs in ([seeds], [one])]
    assert [svg.count("opacity: 0.16") for svg in drawn] == [3, 0]


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
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", page)
    for picture in pictures([run]):
        ElementTree.fromstring(picture.svg)
