"""Panels of curves drawn into one SVG: the same colour per run throughout, legible on light and dark pages."""

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from equiprop.errors import printable
from equiprop.reporting._markup import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart with any colour vision, and by contrast at least 3:1 on white as on near-black.
PALETTE = ("#1a7cc4", "#d55e00", "#009e73", "#c0649f", "#9a7b00", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v")
_DASHES = ("-", (0, (5, 1.6)), (0, (1.4, 1.4)))

# A colour no curve has; in the finished SVG it becomes the colour of the text around the figure.
_INK = "#010203"
_PANEL_INCHES = (3.45, 2.1)
_POINTS_TO_PIXELS = 1.4
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


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


def draw(panels: Sequence[Panel | Map], labels: Sequence[str], *, key: str, title: str) -> str:
    """The panels as one SVG with a legend of the runs that appear in them; the same input gives the same text.

    Every id inside starts with `key`, so that several figures share a page.
    """
    with _house_style(key):
        return _as_svg(_figure(panels, labels), key, title)


def draw_png(panels: Sequence[Panel | Map], labels: Sequence[str], *, dpi: int = 160) -> bytes:
    """The same as a picture on white."""
    buffer = io.BytesIO()
    with _house_style(""):
        _figure(panels, labels).savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _figure(panels: Sequence[Panel | Map], labels: Sequence[str]) -> "Figure":
    from matplotlib.figure import Figure

    columns = _columns(len(panels))
    rows = math.ceil(len(panels) / columns)
    # Four narrow panels or fewer wide ones fill the same width; one or two do not stretch.
    width = _PANEL_INCHES[0] * (0.75 if columns == 4 else 1.0)
    shown = sorted({curve.run for panel in panels if isinstance(panel, Panel) for curve in panel.curves})
    legend_columns = _legend_columns([labels[run] for run in shown], width * columns)
    legend_rows = math.ceil(len(shown) / legend_columns)
    figure = Figure(figsize=(width * columns, _PANEL_INCHES[1] * rows + 0.2 * legend_rows), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06, hspace=0.04, wspace=0.02)
    for position, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, position + 1)
        if isinstance(panel, Map):
            _draw_map(axes, panel)
        else:
            _draw_panel(axes, panel, lowest=position + columns >= len(panels))
    if shown:
        _draw_legend(figure, shown, labels, legend_columns)
    return figure


def swatch(run: int) -> str:
    """The line and marker of a run as a small inline SVG, for tables and lists beside the figures."""
    colour = PALETTE[run % len(PALETTE)]
    shape = {
        "o": '<circle cx="13" cy="6" r="3.6"/>',
        "s": '<path d="M9.8 2.8h6.4v6.4H9.8z"/>',
        "^": '<path d="M13 1.8l4.2 7.4H8.8z"/>',
        "D": '<path d="M13 1.6L17.4 6 13 10.4 8.6 6z"/>',
        "v": '<path d="M13 10.2L8.8 2.8h8.4z"/>',
    }[MARKERS[run % len(MARKERS)]]
    dash = ("", ' stroke-dasharray="4.5 1.6"', ' stroke-dasharray="1.6 1.6"')[_dash_of(run)]
    return (
        f'<svg class="swatch" viewBox="0 0 26 12" width="26" height="12" aria-hidden="true" fill="{colour}">'
        f'<path d="M1 6h24" stroke="{colour}" stroke-width="2"{dash}/>{shape}</svg>'
    )


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
def _house_style(salt: str) -> Iterator[None]:
    """Matplotlib's own defaults with ours on top, whatever the user has configured; put back afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Text stays text, set by the reader's fonts: a glyph matplotlib's font lacks is no loss.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": salt,
                "font.size": 8.5,
                "axes.titlesize": 9,
                "axes.titleweight": "bold",
                "axes.titlelocation": "left",
                "axes.titlepad": 7,
                "axes.labelsize": 8.5,
                "axes.edgecolor": _INK,
                "axes.labelcolor": _INK,
                "axes.linewidth": 0.6,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.axisbelow": True,
                "axes.grid": True,
                "axes.grid.axis": "y",
                "grid.color": _INK,
                "grid.alpha": 0.13,
                "grid.linewidth": 0.6,
                "text.color": _INK,
                "text.parse_math": False,
                "xtick.color": _INK,
                "ytick.color": _INK,
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
            axes.axhline(value, color=_INK, alpha=0.55, linewidth=0.8, dashes=(4, 3), zorder=1.5)
            axes.annotate(
                meaning,
                (1, value),
                xycoords=("axes fraction", "data"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="right",
                va="bottom",
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
            axes.fill_between(curve.places, *curve.band, color=colour, alpha=0.16, linewidth=0)
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
    axes.set_title(printable(panel.title))
    axes.set_ylabel(panel.unit)
    if lowest:
        axes.set_xlabel(panel.across)


def _draw_map(axes: "Axes", panel: Map) -> None:
    mesh = axes.pcolormesh(panel.places, panel.heights, panel.values, vmin=0, vmax=1, cmap="viridis", shading="nearest")
    axes.grid(visible=False)
    axes.set_aspect("equal")
    axes.set_title(printable(panel.title))
    axes.set_xlabel(panel.across)
    axes.set_ylabel(panel.up)
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
        text.set_text(labels[run])


def _as_svg(figure: "Figure", key: str, title: str) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # Its style sheet speaks of every element, of the page around it too; as attributes of the root it does not.
    svg = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>\s*", "", svg, count=1, flags=re.DOTALL)
    # Only inside of tags, so that no name of a run is taken for markup.
    svg = re.sub(r"<[^>]*>", lambda tag: _own_tag(tag[0], key), svg)

    width, height = (72 * float(inches) for inches in figure.get_size_inches())
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.6g} {height:.6g}"'
        f' width="{_POINTS_TO_PIXELS * width:.0f}" height="{_POINTS_TO_PIXELS * height:.0f}"'
        f' role="img" aria-labelledby="{key}-title" font-family="{_FONTS}"'
        f' stroke-linejoin="round" stroke-linecap="butt">\n'
        f'<title id="{key}-title">{escaped(title)}</title>'
    )
    return re.sub(r"<svg[^>]*>", lambda _: root, svg, count=1).strip() + "\n"


def _own_tag(tag: str, key: str) -> str:
    """A tag with ids that belong to this figure, the reader's fonts, and ink in the colour of the text around it."""
    if tag.startswith("<g "):
        return re.sub(r' id="[^"]*"', "", tag)
    tag = re.sub(r'(\bid="|\burl\(#|\bhref="#)', rf"\g<1>{key}-", tag).replace("xlink:href", "href")
    # The family is that of the root. Matplotlib before 3.11 writes weight, size and family in one property.
    tag = re.sub(r"font-family: [^;\"]*; ", "", tag)
    tag = re.sub(r"font: (?:([a-z0-9]+) )?([0-9.]+px) [^;\"]*", _own_font, tag)
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    return tag.replace(_INK, "currentColor")


def _own_font(font: re.Match[str]) -> str:
    weight, size = font.groups()
    return f"font-weight: {weight}; font-size: {size}" if weight else f"font-size: {size}"
