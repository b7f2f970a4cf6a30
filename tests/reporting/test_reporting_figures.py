"""Figures are well-formed, the same every time, free of clashes, and honest about what is missing."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest

from equiprop.reporting import Run, converged_figure, cosine_figure, cost_figure, pictures, read_run, training_figure
from equiprop.reporting._canvas import PALETTE

WriteRun = Callable[..., Path]


@pytest.fixture
def runs(write_run: WriteRun) -> list[Run]:
    return [read_run(write_run("homeostasis")), read_run(write_run("plain", homeostasis="none"))]


@pytest.mark.slow
def test_every_figure_is_drawn_and_well_formed(runs: list[Run]) -> None:
    drawn = pictures(runs)
    assert [picture.key for picture in drawn] == ["training", "cosine", "norm-ratio", "symmetry", "converged", "cost"]
    for picture in drawn:
        root = ElementTree.fromstring(picture.svg)
        text = " ".join(root.itertext())
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "homeostasis" in text
        assert "plain" in text
        assert "epoch" in text
        assert picture.reading.endswith(".")


@pytest.mark.slow
def test_ids_are_unique_over_all_figures_and_every_reference_is_met(runs: list[Run]) -> None:
    page = "".join(picture.svg for picture in pictures(runs))
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', page)) <= set(ids)


def test_the_same_runs_give_the_same_bytes_whatever_the_user_has_set(runs: list[Run]) -> None:
    before = training_figure(runs)
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "axes.grid": False}):
        assert training_figure(runs) == before
        assert matplotlib.rcParams["font.size"] == 20


def test_a_run_keeps_its_colour_where_another_has_no_data(write_run: WriteRun) -> None:
    runs = [read_run(write_run("empty", epochs=0)), read_run(write_run("full"))]
    svg = training_figure(runs)
    assert svg is not None
    assert PALETTE[1] in svg
    assert PALETTE[0] not in svg
    assert "empty" not in svg


def test_no_data_no_figure(write_run: WriteRun) -> None:
    runs = [read_run(write_run(epochs=0))]
    assert training_figure(runs) is None
    assert pictures(runs) == []


def test_panels_of_the_quantities_that_were_recorded(runs: list[Run]) -> None:
    svg = converged_figure(runs)
    assert svg is not None
    assert "oscillating" in svg
    assert "branch_switch" not in svg
    svg = cosine_figure(runs)
    assert svg is not None
    assert svg.index("total (summed gradient)") < svg.index("population h1")


def test_values_that_are_not_finite_break_the_curve(write_run: WriteRun) -> None:
    tail = '{"epoch": 4, "error_bar": NaN}\n{"epoch": 5, "error_bar": 0.02}\n'
    assert cost_figure([read_run(write_run(tail=tail))]) is not None


def test_names_are_text_and_nothing_else(write_run: WriteRun) -> None:
    name = "_$a$ <b> id='x' 日本"
    svg = training_figure([read_run(write_run(name))])
    assert svg is not None
    assert name in "".join(ElementTree.fromstring(svg).itertext())


def test_many_runs(write_run: WriteRun) -> None:
    runs = [read_run(write_run(f"a_rather_long_name_for_seed_{seed}", epochs=1, seed=seed)) for seed in range(8)]
    svg = training_figure(runs)
    assert svg is not None
    assert "seed_7" in svg


@pytest.mark.parametrize("page", ["#ffffff", "#14171b"])
@pytest.mark.parametrize("colour", PALETTE)
def test_colours_stand_out_on_light_and_dark_pages(colour: str, page: str) -> None:
    bright, dim = sorted((_luminance(colour), _luminance(page)), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 3


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
