"""Figures are well-formed, the same every time, and honest about what is missing or does not change."""

import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from reporting_runs import epoch_line, write_run_into

from equiprop.reporting import Chart, Curve, Map, Panel, Run, charts, read_run
from equiprop.reporting._canvas import DARK, LIGHT, PALETTE, _figure, _house_style
from equiprop.reporting._chart import spoken
from equiprop.reporting._page import _notes

WriteRun = Callable[..., Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    root = tmp_path_factory.mktemp("figures")
    return [
        read_run(write_run_into(root, name, homeostasis=kind))
        for name, kind in (("homeostasis", "jacobian"), ("plain", "none"))
    ]


def _named(runs: list[Run], name: str) -> Chart:
    (chart,) = [chart for chart in charts(runs) if chart.name == name]
    return chart


def test_every_figure_is_there_in_reading_order_and_lengths_come_last_and_folded(runs: list[Run]) -> None:
    found = charts(runs)
    assert [chart.name for chart in found] == [
        "training",
        "gradient",
        "cosine",
        "angle",
        "equilibrium",
        "cost",
        "length",
    ]
    assert [chart.folded for chart in found] == [False] * 6 + [True]
    assert all(chart.reading.endswith(".") for chart in found)


@pytest.mark.slow
def test_figures_are_well_formed_and_name_what_they_show(runs: list[Run]) -> None:
    for chart in charts(runs):
        if chart.panels:
            root = ElementTree.fromstring(chart.svg)
            text = " ".join(root.itertext())
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert all(panel.title in text for panel in chart.panels) and "epoch" in text
            assert LIGHT in chart.svg and DARK not in chart.svg


def test_a_long_title_stays_above_its_panel() -> None:
    title = "Error of the summed gradient to the exact response, of every sample and of every layer"
    with _house_style():
        figure = _figure([Panel(title, "", [Curve(0, [1, 2], [1.0, 2.0])])] * 4, ["a"], legend=True)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
    for axes in figure.axes:
        told = axes.get_title(loc="left")
        (drawn,) = [text for text in axes.findobj(Text) if text.get_text() == told]
        assert told.replace("\n", " ") == title
        assert drawn.get_window_extent(renderer).x1 < axes.get_window_extent(renderer).x1


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("crossing", [1.05, 0.96])
def test_what_a_line_means_stands_where_no_curve_is(crossing: float, logarithmic: bool) -> None:
    panel = Panel(
        "bar",
        "relative error",
        [Curve(0, range(30), [crossing] * 30), Curve(1, range(30), [0.5] * 10 + [math.nan] + [0.5] * 19)],
        references=((1.0, "need not point downhill"),),
        include=(1.5,),
        logarithmic=logarithmic,
    )
    with _house_style():
        figure = _figure([panel], ["a", "b"])
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
    (axes,) = figure.axes
    (words,) = [text for text in axes.findobj(Text) if text.get_text() == "need not point downhill"]
    box, curve = words.get_window_extent(renderer), axes.transData.transform((29, crossing))[1]
    assert not box.y0 < curve < box.y1
    assert (box.y1 < curve) == (crossing > 1)


def test_the_same_runs_give_the_same_bytes_whatever_the_user_has_set(runs: list[Run]) -> None:
    before = _named(runs, "training").svg
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "axes.grid": False}):
        assert _named(runs, "training").svg == before
        assert matplotlib.rcParams["font.size"] == 20


def test_what_does_not_change_is_said_and_not_drawn(runs: list[Run]) -> None:
    """Of the flags three are zero, one has no number, and one that is constant is said with its value."""
    chart = _named(runs, "equilibrium")
    assert list(chart.panels) == []
    assert chart.flat == [
        "converged 99.96 % of samples",
        "oscillating 0.04 % of samples",
        "clipped 3 % of samples",
        "nothing diverged",
    ]
    assert [panel.title for panel in _named(runs, "gradient").panels] == ["symmetry"]
    assert _named(runs, "gradient").flat == ["cosine to the exact gradient 0.9"]


def test_what_differs_between_runs_is_drawn_although_each_is_constant(write_run: WriteRun) -> None:
    first, second = read_run(write_run("a")), read_run(write_run("b"))
    other = [line | {"converged_fraction": 0.5} for line in second.metrics]
    second.metrics[:] = other
    assert [panel.title for panel in _named([first, second], "equilibrium").panels] == ["converged"]


def test_one_epoch_is_drawn_as_points(write_run: WriteRun) -> None:
    assert [panel.title for panel in _named([read_run(write_run(epochs=1))], "gradient").panels] == [
        "cosine to the exact gradient",
        "symmetry",
    ]


def test_a_run_keeps_its_colour_where_another_has_no_data(write_run: WriteRun) -> None:
    runs = [read_run(write_run("empty", epochs=0)), read_run(write_run("full"))]
    svg = _named(runs, "training").svg
    assert PALETTE[1] in svg and PALETTE[0] not in svg and "empty" not in svg


def test_no_data_no_figure(write_run: WriteRun) -> None:
    assert charts([read_run(write_run(epochs=0))]) == []


def test_parts_of_a_run_are_curves_of_one_panel_on_one_axis(runs: list[Run]) -> None:
    chart = _named(runs, "cosine")
    assert [panel.title for panel in chart.panels] == ["homeostasis", "plain"] and chart.labels == ["h1", "out"]
    assert [[curve.run for curve in panel.curves] for panel in chart.panels] == [[0, 1], [0, 1]]
    assert chart.panels[0].include == chart.panels[1].include == (0.81, 1.0)


def test_of_many_runs_their_parts_are_not_drawn_and_the_page_says_so(runs: list[Run]) -> None:
    names = [chart.name for chart in charts(runs[:1] * 9)]
    assert names == ["training", "gradient", "equilibrium", "cost"]
    assert any("Of more than 8 runs" in note for note in _notes(runs[:1] * 9)) and len(_notes(runs)) < len(
        _notes(runs[:1] * 9)
    )


def test_causes_that_are_as_good_as_nothing_are_left_out(write_run: WriteRun) -> None:
    folder = write_run()
    run = read_run(folder)
    run.metrics[:] = [
        epoch_line(n) | {"gradient_bar_causes": {"nudge": 0.1 * n, "lag": 0.0, "rounding": 9e-5}} for n in (1, 2, 3)
    ]
    chart = _named([run], "causes")
    assert chart.labels == ["nudge"] and list(chart.panels[0].curves[0].values) == [0.1, 0.2, 0.1 * 3]


def test_values_that_are_not_finite_break_the_curve(write_run: WriteRun) -> None:
    tail = '{"epoch": 4, "error_bar": NaN}\n{"epoch": 5, "error_bar": 0.02}\n'
    (panel,) = [p for p in _named([read_run(write_run(tail=tail))], "cost").panels if p.title == "error bar, median"]
    assert math.isnan(panel.curves[0].values[3]) and panel.curves[0].values[4] == 0.02


def test_names_are_text_and_nothing_else(write_run: WriteRun) -> None:
    name = "_$a$ <b> id='x' 日本"
    svg = _named([read_run(write_run(name))], "training").svg
    assert name in "".join(ElementTree.fromstring(svg).itertext())


def test_many_runs(write_run: WriteRun) -> None:
    runs = [read_run(write_run(f"a_rather_long_name_for_seed_{seed}", epochs=1, seed=seed)) for seed in range(8)]
    assert "seed_7" in _named(runs, "training").svg


def test_a_band_on_a_logarithmic_axis_reaches_as_far_down_as_up() -> None:
    curve = Curve(0, [1, 2], [1.0, 2.0], [1.0, 6.0])
    assert curve.band == ([0.0, -4.0], [2.0, 8.0]) and curve.logarithmic_band == ([0.5, 0.5], [2.0, 8.0])


def test_a_figure_says_in_words_where_its_curves_begin_and_end() -> None:
    panel = Panel("error", "%", [Curve(1, [1, 2, 3], [math.nan, 20.0, 3.14159]), Curve(0, [5], [1.0])])
    assert spoken(panel, ["a", "b"]) == "error (%). b: 20 at epoch 2, 3.14 at epoch 3; a: 1 at epoch 5."
    assert "mean 0.75" in spoken(Map("rest", [0, 1], [0], [[0.5, 1.0]], across="x", up="y"), [])


def test_a_figure_is_the_same_after_json() -> None:
    curves = [Curve(0, [1.0, 2.0], [0.5, 2.0], [0.1, 0.2])]
    panels = [
        Panel("p", "%", curves, ((1.0, "one"),), (0.0,), logarithmic=True, across="x", logarithmic_across=True),
        Map("m", [0.0, 1.0], [0.0], [[0.5, 1.0]], across="x", up="y"),
    ]
    chart = Chart("name", "Title", "Reading.", panels, ["a"], ["flat"])
    kept = chart.to_json()
    again = Chart.from_json(kept)
    assert again.to_json() == kept and again.svg == chart.svg
    for damage in ({"panels": [{"title": "p"}]}, {"labels": []}, {"labels": None}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Chart.from_json(kept | damage)


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
