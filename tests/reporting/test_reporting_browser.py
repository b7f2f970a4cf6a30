"""The page in a browser: nothing overflows, nothing fails, the circles move, and it can be used without eyes or mouse."""

import json
import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from reporting_runs import epoch_line, write_run_into, write_study_into

from equiprop.reporting import read_run, read_study, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None and "EQUIPROP_CHROMIUM" not in os.environ,
        reason="Chromium is not installed (with EQUIPROP_CHROMIUM=1 that fails, as in .ci/run)",
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "install Chromium, such as Debian's package"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one of them with a long name, mistakes and causes, and a study."""
    root = tmp_path_factory.mktemp("browser")
    runs = []
    for name in ("homeostasis", "a_name_without_a_break_that_is_longer_than_a_telephone_is_wide"):
        folder = write_run_into(root, name)
        mistake = {"sample": 7, "class": 0, "taken_for": 1, "margin": 2.0, "pixels": [[0, 255], [9, 8]]}
        classes = [f"class {place}" for place in range(10)]
        kept = {"epoch": 3, "classes": classes, "confusion": [[9] * 10] * 10, "mistakes": [mistake] * 12}
        (folder / "confusion.json").write_text(json.dumps({"test": kept}))
        run = read_run(folder)
        causes = {"gradient_bar": 0.3, "gradient_bar_causes": {"asymmetry": 0.3, "nudge": 0.01}}
        run.metrics[:] = [epoch_line(epoch) | causes for epoch in (1, 2, 3)]
        runs.append(run)
    return write_report(runs, root / "report.html", studies=[read_study(write_study_into(root))])


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Any]:
    """Opens the page in a window of some width and scheme; what the console says of faults fails the test."""
    faults: list[str] = []
    contexts = []

    def open_page(width: int = 1200, scheme: str = "light", scripts: bool = True) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=scripts, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.append(request.url) if request.url.startswith("http") else None)
        page.goto(page_file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1200])
def test_nothing_is_wider_than_the_window(opened: Any, width: int, scheme: str) -> None:
    page = opened(width, scheme)
    for details in page.locator("details").all():
        details.evaluate("each => each.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wide = "[...document.querySelectorAll('.cards')].filter(each => each.scrollWidth > each.parentElement.clientWidth).length"
    assert page.evaluate(wide) == 0


def test_the_comparison_is_a_table_on_a_desk_and_cards_on_a_telephone(opened: Any) -> None:
    display = "getComputedStyle(document.querySelector('#comparison tbody tr')).display"
    assert opened(1200).evaluate(display) == "table-row"
    telephone = opened(400)
    assert telephone.evaluate(display) == "block"
    assert (
        telephone.evaluate("getComputedStyle(document.querySelector('#comparison td'), '::before').content")
        == '"estimator"'
    )


def test_the_pictures_of_a_dark_page_are_drawn_for_it(opened: Any) -> None:
    shown = "[...document.querySelectorAll('picture img')].map(each => atob(each.currentSrc.split(',')[1]))"
    for scheme, ink in (("light", "#1b1f24"), ("dark", "#e5e8ec")):
        drawn = opened(1200, scheme).evaluate(shown)
        assert drawn and all(ink in svg for svg in drawn)


def test_sliders_move_the_circles_by_the_keyboard(opened: Any) -> None:
    """The sum is that of the numbers in the page: (0.05 + 0.05)/(2·0.1) of two nudges, and none where one never comes to rest."""
    page = opened()
    says, size, points = page.locator(".says"), page.locator("input.size"), page.locator("input.points")
    for slider in (size, points):
        slider.focus()
        page.keyboard.press("Home")
    assert says.inner_text().startswith("N = 1 at |β| = 0.1: unit[3] responds by 0.5 where the exact response is 0.5.")
    page.keyboard.press("ArrowRight")
    assert "N = 2 at |β| = 0.1: unit[3] responds by 0.5 " in says.inner_text()
    assert "off by 1 %, and its bar says 2 %" in says.inner_text()
    assert page.locator(".plane .hot").count() == 2 and page.locator(".sum .hot").count() == 2
    size.focus()
    page.keyboard.press("End")
    assert "N = 2 at |β| = 1: unit[3] responds by 0.45 " in says.inner_text()
    assert size.get_attribute("aria-valuetext") == "1"
    points.focus()
    page.keyboard.press("End")
    assert "does not come to rest under every nudge: there is no estimate" in says.inner_text()
    page.locator("select.unit").select_option(label="out[0]")
    size.focus()
    page.keyboard.press("Home")
    assert "N = 4 at |β| = 0.1: out[0] responds by −1 where the exact response is −1." in says.inner_text()


def test_a_walk_adds_one_nudge_after_the_other(opened: Any) -> None:
    page = opened()
    for name in ("input.size", "input.points"):
        page.locator(name).focus()
        page.keyboard.press("Home")
    page.keyboard.press("End")
    page.locator("button.play").click()
    for reached in (1, 2, 3, 4):
        page.locator(".sum .hot").nth(reached - 1).wait_for()
        assert page.locator(".plane .hot").count() >= reached
    assert "N = 4 at |β| = 0.1: unit[3] responds by 0.5 " in page.locator(".says").inner_text()


def test_it_can_be_read_without_seeing_it(opened: Any) -> None:
    """Every picture has words, every control a name, tables keep their roles as cards, and headings skip no level."""
    page = opened(400)
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert all(
        name
        for name in page.eval_on_selector_all("input, select", "found => found.map(each => each.labels[0]?.innerText)")
    )
    assert page.locator("table.cards:not([role=table]), table.cards td:not([role=cell])").count() == 0
    levels = page.eval_on_selector_all("h1, h2, h3, h4", "found => found.map(each => Number(each.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.locator("html[lang=en]").count() == 1


def test_without_scripts_the_page_still_says_what_was_found(opened: Any) -> None:
    page = opened(scripts=False)
    assert page.locator(".walk-live").is_hidden() and page.locator("noscript").count() == 1
    assert page.get_by_text("the error is least for N = 2 at |β| = 0.1").is_visible()


def test_it_prints_without_its_controls(opened: Any) -> None:
    page = opened(1200, "dark")
    page.emulate_media(media="print", color_scheme="light")
    assert page.locator("nav").is_hidden() and page.locator(".controls").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf()[:5] == b"%PDF-"
