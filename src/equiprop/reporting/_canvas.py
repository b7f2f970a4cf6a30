"""Panels of curves drawn into one picture: the same colour per run throughout, legible on light and on dark pages."""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

from equiprop.errors import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart with any colour vision, and by contrast at least 3:1 on white as on near-black.
PALETTE = ("#1a7cc4", "#d55e00", "#009e73", "#c0649f", "#9a7b00", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v")
_DASHES = ("-", (0, (5, 1.6)), (0, (1.4, 1.4)))

LIGHT, DARK = "#1b1f24", "#e5e8ec"
"""The ink of axes and text, on a light page and on a dark one."""

_PANEL_INCHES = (3.45, 2.1)


@dataclass(frozen=True)
class Curve:
    """The values of one run over its epochs, or over something else; `run` is its place among the runs, which sets its colour.

    - `places`: where on the horizontal axis.
    - `spreads`: of several seeds the standard deviation at each of the values, which is drawn as a band.
    """

    run: int
    places: Sequence[float]
    values: Sequence[float]
    spreads: Sequence[float] = ()

    @property
    def band(self) -> tuple[list[float], list[float]]:
        """Its lower and its upper edge; empty of one seed."""
        pairs = list(zip(self.values, self.spreads, strict=bool(self.spreads)))
        return [value - spread for value, spread in pairs], [value + spread for value, spread in pairs]

    @property
    def logarithmic_band(self) -> tuple[list[float], list[float]]:
        """As far down as up in ratios: the deviation of what spreads over powers of ten would reach below zero."""
        high = self.band[1]
        return [value * value / edge for value, edge in zip(self.values, high, strict=bool(high))], high

    @property
    def finite(self) -> list[float]:
        """Every number that is drawn."""
        low, high = self.band
        return [value for value in (*self.values, *low, *high) if math.isfinite(value)]


@dataclass(frozen=True)
class Panel:
    """One pair of axes: curves of one quantity, its `unit`, and horizontal lines to read it against.

    - `references`: (value, what it means); drawn where the vertical axis reaches them.
    - `include`: values the vertical axis must reach, beside the data.
    - `logarithmic`: a logarithmic vertical axis, where every value is positive.
    - `across`: what the horizontal axis is, and whether it is logarithmic.
    """

    title: str
    unit: str
    curves: list[Curve]
    references: tuple[tuple[float, str], ...] = ()
    include: tuple[float, ...] = ()
    logarithmic: bool = False
    across: str = "epoch"
    logarithmic_across: bool = False


@dataclass(frozen=True)
class Map:
    """Values between 0 and 1 over a plane, as colours.

    - `places`, `heights`: where on the horizontal and on the vertical axis, which `across` and `up` name.
    - `values`: a row for each of the heights.
    """

    title: str
    places: Sequence[float]
    heights: Sequence[float]
    values: Sequence[Sequence[float]]
    across: str
    up: str


def draw(
    panels: Sequence[Panel | Map],
    labels: Sequence[str],
    *,
    paper: str = "none",
    legend: bool = True,
) -> str:
    """The panels as one SVG; the same input gives the same text.

    **Arguments:**

    - `paper`: the colour of the background; by default there is none.
    - `legend`: whether what appears in the panels is named above them.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _house_style():
        _figure(panels, labels, legend=legend).savefig(buffer, format="svg", facecolor=paper, metadata=nothing)
    return buffer.getvalue()


def draw_png(panels: Sequence[Panel | Map], labels: Sequence[str], *, dpi: int = 160) -> bytes:
    """The same as a picture on white."""
    buffer = io.BytesIO()
    with _house_style():
        _figure(panels, labels).savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _figure(panels: Sequence[Panel | Map], labels: Sequence[str], *, legend: bool = True) -> "Figure":
    from matplotlib.figure import Figure

    columns = _columns(len(panels))
    rows = math.ceil(len(panels) / columns)
    # Four narrow panels or fewer wide ones fill the same width; one or two do not stretch.
    width = _PANEL_INCHES[0] * (0.75 if columns == 4 else 1.0)
    shown = (
        sorted({curve.run for panel in panels if isinstance(panel, Panel) for curve in panel.curves}) if legend else []
    )
    legend_columns = _legend_columns([labels[run] for run in shown], width * columns)
    legend_rows = math.ceil(len(shown) / legend_columns)
    figure = Figure(figsize=(width * columns, _PANEL_INCHES[1] * rows + 0.2 * legend_rows), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06, hspace=0.04, wspace=0.02)
    for position, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, position + 1)
        # About 0.085 inch a character, and the numbers beside the axis.
        axes.set_title(fill(printable(panel.title), int((width - 0.3) / 0.085)))
        if isinstance(panel, Map):
            _draw_map(axes, panel)
        else:
            _draw_panel(axes, panel, lowest=position + columns >= len(panels))
    if shown:
        _draw_legend(figure, shown, labels, legend_columns)
    return figure


@dataclass(frozen=True)
class Mark:
    """How a run is drawn: its colour, the dashes of its line, and the outline of its marker around (13, 6), as SVG has them."""

    colour: str
    dashes: str
    outline: str


def mark(run: int) -> Mark:
    """That of a run, for tables and lists beside the figures."""
    outline = {
        "o": "M13 2.4a3.6 3.6 0 1 0 .01 0z",
        "s": "M9.8 2.8h6.4v6.4H9.8z",
        "^": "M13 1.8l4.2 7.4H8.8z",
        "D": "M13 1.6L17.4 6 13 10.4 8.6 6z",
        "v": "M13 10.2L8.8 2.8h8.4z",
    }[MARKERS[run % len(MARKERS)]]
    return Mark(PALETTE[run % len(PALETTE)], ("none", "4.5 1.6", "1.6 1.6")[_dash_of(run)], outline)


def _columns(panels: int) -> int:
    return panels if panels <= 4 else 3 if panels in (5, 6, 9) else 4


def _legend_columns(labels: Sequence[str], inches: float) -> int:
    # About 0.075 inch a character, and the line with its marker before it.
    widest = 0.6 + 0.075 * max((len(label) for label in labels), default=0)
    return max(1, min(len(labels), int(inches / widest)))


def _dash_of(run: int) -> int:
    # Colour and marker together repeat only after 30 runs; the dashes help before, when the colour alone does.
    return run // len(PALETTE) % len(_DASHES)


@contextmanager
def _house_style() -> Iterator[None]:
    """Matplotlib's own defaults with ours on top, whatever the user has configured; put back afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Text stays text, set by the reader's fonts: a glyph matplotlib's font lacks is no loss.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "equiprop",
                "axes.facecolor": "none",
                "font.size": 8.5,
                "axes.titlesize": 9,
                "axes.titleweight": "bold",
                "axes.titlelocation": "left",
                "axes.titlepad": 7,
                "axes.labelsize": 8.5,
                "axes.edgecolor": LIGHT,
                "axes.labelcolor": LIGHT,
                "axes.linewidth": 0.6,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.axisbelow": True,
                "axes.grid": True,
                "axes.grid.axis": "y",
                "grid.color": LIGHT,
                "grid.alpha": 0.13,
                "grid.linewidth": 0.6,
                "text.color": LIGHT,
                "text.parse_math": False,
                "xtick.color": LIGHT,
                "ytick.color": LIGHT,
                "xtick.labelsize": 8,
                "ytick.labelsize": 8,
                "xtick.major.width": 0.6,
                "ytick.major.size": 0,
                "ytick.minor.size": 0,
                "xtick.major.size": 3,
                "lines.linewidth": 1.6,
                "lines.markersize": 3.6,
                "legend.frameon": False,
                "legend.fontsize": 8.5,
            }
        )
        yield


def _crowded_above(axes: "Axes", panel: Panel, value: float) -> bool:
    """Whether more of the right half of the curves is just above a height than just below it, where words may stand."""
    to_axes = axes.transData + axes.transAxes.inverted()
    points = [
        (place, height)
        for curve in panel.curves
        for place, height in zip(curve.places, curve.values, strict=True)
        if math.isfinite(height) and (height > 0 or axes.get_yscale() == "linear")
    ]
    if not points:
        return False
    (_, line), *seen = to_axes.transform([(points[0][0], value), *points]).tolist()
    off = [height - line for across, height in seen if across > 0.5]
    return line > 0.12 and sum(0 < each < 0.12 for each in off) > sum(-0.12 < each < 0 for each in off)


def _draw_panel(axes: "Axes", panel: Panel, *, lowest: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    drawn = [*(value for curve in panel.curves for value in curve.finite), *panel.include]
    values = [*(value for curve in panel.curves for value in curve.values if math.isfinite(value)), *panel.include]
    logarithmic = panel.logarithmic and min(values) > 0
    # A band may reach below zero, where a logarithmic axis ends.
    low, high = min(values if logarithmic else drawn), max(drawn)
    if logarithmic:
        axes.set_yscale("log")
        wide = high / low > 30
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 1000 else (1, 3) if wide else (1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(low / 1.15 ** (1 + wide), high * 1.15 ** (1 + wide))
    else:
        margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        steps = [1, 1.5, 3, 4.5, 9, 10] if panel.unit == "degrees" else [1, 2, 2.5, 5, 10]
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}".replace("-", "−")))
    places = [place for curve in panel.curves for place in curve.places]
    if panel.logarithmic_across:
        axes.set_xscale("log")
        axes.set_xlim(min(places) / 1.1, max(places) * 1.1)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        whole = panel.across == "epoch"
        margin = 0.5 if whole else 0.03 * (max(places) - min(places))
        axes.set_xlim(min(places) - margin, max(places) + margin)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=whole, min_n_ticks=1))
    bottom, top = axes.get_ylim()
    for value, meaning in panel.references:
        if bottom <= value <= top:
            axes.axhline(value, color=LIGHT, alpha=0.55, linewidth=0.8, dashes=(4, 3), zorder=1.5)
            below = _crowded_above(axes, panel, value)
            axes.annotate(
                printable(meaning),
                (1, value),
                xycoords=("axes fraction", "data"),
                xytext=(0, -2 if below else 2),
                textcoords="offset points",
                ha="right",
                va="top" if below else "bottom",
                fontsize=7,
                alpha=0.75,
            )
    for curve in panel.curves:
        # Markers at most every tenth of the way, each run's shifted so that coinciding curves both show.
        # A curve with breaks shows every marker: a point between two breaks has no line.
        broken = not all(map(math.isfinite, curve.values))
        every = 1 if broken else max(1, math.ceil(len(curve.values) / 10))
        colour = PALETTE[curve.run % len(PALETTE)]
        if curve.spreads:
            axes.fill_between(
                curve.places,
                *(curve.logarithmic_band if logarithmic else curve.band),
                color=colour,
                alpha=0.16,
                linewidth=0,
            )
        axes.plot(
            curve.places,
            curve.values,
            color=colour,
            linestyle=_DASHES[_dash_of(curve.run)],
            marker=MARKERS[curve.run % len(MARKERS)],
            markevery=(curve.run % every, every),
            markeredgewidth=0,
            clip_on=False,
        )
    axes.set_ylabel(printable(panel.unit))
    if lowest:
        axes.set_xlabel(printable(panel.across))


def _draw_map(axes: "Axes", panel: Map) -> None:
    mesh = axes.pcolormesh(panel.places, panel.heights, panel.values, vmin=0, vmax=1, cmap="viridis", shading="nearest")
    axes.grid(visible=False)
    axes.set_aspect("equal")
    axes.set_xlabel(printable(panel.across))
    axes.set_ylabel(printable(panel.up))
    assert axes.figure is not None
    axes.figure.colorbar(mesh, ax=axes, ticks=[0, 0.5, 1], shrink=0.8)


def _draw_legend(figure: "Figure", shown: Sequence[int], labels: Sequence[str], columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=PALETTE[run % len(PALETTE)],
            linestyle=_DASHES[_dash_of(run)],
            marker=MARKERS[run % len(MARKERS)],
            markeredgewidth=0,
        )
        for run in shown
    ]
    # Matplotlib refuses legend entries that start with an underscore; a folder may.
    legend = figure.legend(
        handles, [f"run {run}" for run in shown], loc="outside upper left", ncols=columns, borderaxespad=0.2
    )
    for text, run in zip(legend.get_texts(), shown, strict=True):
        text.set_text(printable(labels[run]))
