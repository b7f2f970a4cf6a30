"""The documentation as a site: it builds without a warning, its reference has what is used, and no entry of it is empty."""

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

import equiprop as ep
from equiprop.hardware import DEVICES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FAMILIES = (ep.ESTIMATORS, ep.SOLVERS, ep.HOMEOSTASES, ep.RECIPES, ep.COSTS, ep.OPTIMIZERS, DEVICES)


def entries():
    """The names that the reference documents."""
    found = [
        n
        for page in (DOCS / "reference").glob("*.md")
        for n in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.M)
    ]
    assert len(found) == len(set(found)) > 100
    return found


def named(name):
    package, _, last = name.rpartition(".")
    return getattr(importlib.import_module(package), last)


def pages(nav):
    for each in nav:
        (where,) = each.values()
        yield from [where] if isinstance(where, str) else pages(where)


def test_every_page_can_be_found():
    site = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    found = sorted(pages(site["project"]["nav"]))
    assert found == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_the_reference_has_every_kind():
    documented = {id(named(name)) for name in entries()}
    for family in FAMILIES:
        missing = {kind for kind, cls in family.members().items() if id(cls) not in documented}
        assert not missing, missing


def test_the_reference_has_what_the_library_offers_and_nothing_else():
    documented = entries()
    packages = {name.split(".")[1] for name in documented if name.count(".") > 1}
    assert packages <= set(ep._PACKAGES)
    assert {n for n in dir(ep) if n not in ep._PACKAGES and not n.startswith("__")} == {
        name.removeprefix("equiprop.") for name in documented if name.count(".") == 1
    }


def test_the_reference_has_every_name_that_pages_use():
    documented = {name.rpartition(".")[2] for name in entries()} | set(ep._PACKAGES)
    for page in (*DOCS.glob("*.md"), *DOCS.glob("extending/*.md"), ROOT / "README.md"):
        used = set(re.findall(r"\bep\.([A-Za-z_]+)", page.read_text("utf-8")))
        assert used - documented == set(), page.name


class Entries(HTMLParser):
    """What a page says between one heading of the reference and the next."""

    def __init__(self):
        super().__init__()
        self.said = {}
        self.at = None

    def handle_starttag(self, tag, attrs):
        name = dict(attrs).get("id") or ""
        if tag in ("h2", "h3", "h4"):
            self.at = name if name.startswith("equiprop.") else None
            if self.at:
                self.said[self.at] = ""

    def handle_data(self, data):
        if self.at:
            self.said[self.at] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    for name in ("docs", "src", "tools"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "zensical.toml", root)
    zensical = Path(sys.executable).with_name("zensical")
    answer = subprocess.run([zensical, "build", "--strict"], cwd=root, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return root / "site"


@pytest.mark.slow
def test_no_entry_of_the_reference_is_empty(site):
    said = {}
    for page in (site / "reference").glob("*.html"):
        parser = Entries()
        parser.feed(page.read_text("utf-8"))
        said |= parser.said
    assert set(entries()) <= said.keys()
    empty = [name for name in entries() if len(re.sub(r"\W", "", said[name])) < 30]
    assert not empty, empty


@pytest.mark.slow
def test_the_reference_tells_settings_that_a_class_has_from_another(site):
    page = (site / "reference/estimators.html").read_text("utf-8")
    centered = page[page.index('id="equiprop.Centered"') : page.index('id="equiprop.Holomorphic"')]
    assert "divide_by" in centered and "0.05" in centered


@pytest.mark.slow
def test_formulas_are_not_taken_for_markup(site):
    """Not `(r)` for a trademark, nor carets and asterisks for raised and slanted text; and nothing is fetched elsewhere."""
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        assert not re.search("®|<su[bp]>", text), page.name
        slanted = re.findall(r"<em>([^<]*)</em>", text)
        assert not [words for words in slanted if re.search(r"[‖(){}|=−·]", words)], (page.name, slanted)
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"?https?:|unpkg", text), page.name
