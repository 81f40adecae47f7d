"""One look for every figure: colours, sizes, footers, and files that are the same every time.

Figures are made through `matplotlib.figure.Figure` with the Agg canvas and styled artist by
artist. Nothing global is touched, so a caller's own plots and other threads are left alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from deepcams_eval.report.content import SYNTHETIC
from deepcams_eval.report.wording import escape_figure

DPI = 160
INK = "#222222"
GREY = "#8c8c8c"
GRID = "#dddddd"
ACCENT = "#D55E00"
TEXT = 8.0
SMALL = 6.5
TITLE = 9.5

# Okabe and Ito (2008), in an order that keeps neighbours apart in grey print as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":")

_POINTS_PER_INCH = 72
_LETTER_WIDTH = {TITLE: 0.68, SMALL: 0.54}
"""Mean width of a letter in units of its size; titles are bold."""


@dataclass(frozen=True)
class Look:
    """How one product is drawn in every figure."""

    colour: str
    marker: str
    line: str


@dataclass(frozen=True)
class Credit:
    """Whom a figure is owed to, a sentence, and whether its data are generated."""

    source: str
    synthetic: bool

    def also(self, source: str) -> Credit:
        """Return the same with another source named behind it."""
        return Credit(f"{self.source} {source}.", self.synthetic)


@dataclass(frozen=True)
class Picture:
    """A figure as the page needs it.

    Attributes
    ----------
    name : str
        File name without ending.
    kind : str
        What sort of figure it is, by which the page places it: ``scatter``, ``case``, ….
    caption, alternative : str
        What stands below it on the page, and what is read out in its place.
    """

    name: str
    kind: str
    caption: str
    alternative: str


@dataclass(frozen=True)
class Drawing(Picture):
    """A finished figure, ready to be saved."""

    figure: Figure


def looks(products: Sequence[str]) -> Mapping[str, Look]:
    """Return how each product is drawn; colours and markers repeat after seven."""
    styles = zip(cycle(_COLOURS), cycle(_MARKERS), cycle(_LINES), strict=False)
    return {product: Look(*style) for product, style in zip(products, styles, strict=False)}


def draw_line(axes: Axes, x: Any, y: Any, look: Look, label: str, **other: Any) -> None:
    """Draw a curve of a product or method, with its markers and its name for the legend."""
    axes.plot(
        x,
        np.asarray(y, dtype=np.float64),
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        label=escape_figure(label),
        **{"linewidth": 1.1, "markersize": 3.4, "markeredgewidth": 0, **other},
    )


def new_figure(
    width: float, height: float, *, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    """Return an empty figure of `width` × `height` inches on an Agg canvas.

    The layout ``compressed`` suits axes whose shape is fixed, such as maps.
    """
    figure = Figure(figsize=(width, height), facecolor="white")
    engine = ConstrainedLayoutEngine(
        rect=(0.008, 0.008, 0.984, 0.984), compress=layout == "compressed"
    )
    figure.set_layout_engine(engine)
    FigureCanvasAgg(figure)
    return figure


def panels(
    rows: int, columns: int, owed: Credit, *, title: str, note: str
) -> tuple[Figure, list[Axes], Axes]:
    """Return a figure of equal square panels, and axes for a colour bar beside them.

    Everything has a fixed size, so nothing is left to be solved: with a dozen panels that would
    take longer than the drawing. `owed`, `title` and `note`, with which it must be finished, decide
    how much room is left for them.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Without a layout engine.
    panels : list of Axes
        Row by row from the top left.
    side : Axes
        For the colour bar.
    """
    edge, gap_x, gap_y, left, right = 1.42, 0.13, 0.27, 0.58, 0.86
    width = left + columns * edge + (columns - 1) * gap_x + right
    figure = Figure(figsize=(width, 1.0), facecolor="white")
    FigureCanvasAgg(figure)
    over, under = _words(figure, owed, title, note)
    top = 0.38 + (over.count("\n") + 1) * _line_height(TITLE)
    bottom = 0.52 + (under.count("\n") + 1) * _line_height(SMALL)
    height = bottom + rows * edge + (rows - 1) * gap_y + top
    figure.set_figheight(height)
    made = []
    for row in range(rows):
        y = height - top - edge - row * (edge + gap_y)
        for column in range(columns):
            x = left + column * (edge + gap_x)
            made.append(figure.add_axes((x / width, y / height, edge / width, edge / height)))
    stack = rows * edge + (rows - 1) * gap_y
    low = bottom + 0.15 * stack
    side = figure.add_axes(
        ((width - right + 0.12) / width, low / height, 0.1 / width, 0.7 * stack / height)
    )
    return figure, made, side


def spread(count: int, reach: float) -> list[float]:
    """Return places side by side around 0 for `count` marks, within ± `reach`."""
    return [0.0] if count == 1 else [float(one) for one in np.linspace(-reach, reach, count)]


def dress(axes: Axes, *, x: str = "", y: str = "", grid: bool = True) -> None:
    """Give axes their labels and the common look."""
    axes.set_xlabel(x, fontsize=TEXT, color=INK)
    axes.set_ylabel(y, fontsize=TEXT, color=INK)
    axes.tick_params(labelsize=TEXT - 0.5, colors=INK, width=0.6, length=2.5)
    for side, spine in axes.spines.items():
        spine.set_color(GREY)
        spine.set_linewidth(0.6)
        spine.set_visible(grid is False or side in ("left", "bottom"))
    if grid:
        axes.grid(visible=True, color=GRID, linewidth=0.5)
        axes.set_axisbelow(True)


def write_in_middle(axes: Axes, text: str, *, size: float = TEXT, colour: str = GREY) -> None:
    """Write in the middle of axes that show nothing else."""
    axes.text(
        0.5,
        0.5,
        text,
        transform=axes.transAxes,
        fontsize=size,
        color=colour,
        ha="center",
        va="center",
        linespacing=1.5,
    )


def legend_above(axes: Axes, size: float = TEXT) -> None:
    """Put a legend above axes, in as many columns as fit a figure of full width."""
    labels = [str(line.get_label()) for line in axes.get_lines()]
    longest = max(len(label) for label in labels if not label.startswith("_"))
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=max(1, 110 // (8 + longest)),
        fontsize=size,
        frameon=False,
        borderaxespad=0.2,
    )


def finish(
    figure: Figure,
    owed: Credit,
    *,
    name: str,
    kind: str,
    title: str,
    note: str,
    alternative: str,
    caption: str | None = None,
) -> Drawing:
    """Put the title above a figure, note and source below, all wrapped to its width.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Complete but for these.
    owed : Credit
        Generated data are marked above the title.
    name, kind, alternative, caption
        As in `Picture`; the caption is title and note if it is not given.
    title, note : str
        A title without and sentences with a full stop.
    """
    above, below = _words(figure, owed, title, note)
    colour = ACCENT if owed.synthetic else INK
    figure.suptitle(above, fontsize=TITLE, color=colour, fontweight="bold")
    figure.supxlabel(below, fontsize=SMALL, color="#555555", x=0.01, ha="left")
    return Drawing(name, kind, caption or f"{title}. {note}", alternative, figure)


def _words(figure: Figure, owed: Credit, title: str, note: str) -> tuple[str, str]:
    mark = f"{SYNTHETIC} data\n" if owed.synthetic else ""
    below = "\n".join(_wrapped(text, figure, SMALL) for text in (note, owed.source) if text)
    return mark + escape_figure(_wrapped(title, figure, TITLE)), escape_figure(below)


def save(drawing: Drawing, folder: Path) -> list[Path]:
    """Write ``<name>.png`` and ``<name>.pdf`` into `folder`, and empty the figure.

    The same figure gives the same bytes.

    Returns
    -------
    list of Path
        The PNG, then the PDF.
    """
    figure = drawing.figure
    png, pdf = folder / f"{drawing.name}.png", folder / f"{drawing.name}.pdf"
    engine = figure.get_layout_engine()
    if engine is not None:
        # Solved once for both files; left in place it would be solved, and all drawn, four times.
        engine.execute(figure)
        figure.set_layout_engine(None)
    figure.savefig(png, dpi=DPI, metadata={"Software": None})
    nothing: dict[str, Any] = {"CreationDate": None, "Creator": None, "Producer": None}
    figure.savefig(pdf, dpi=DPI, metadata=nothing)
    figure.clear()
    return [png, pdf]


def _line_height(points: float) -> float:
    return 1.25 * points / _POINTS_PER_INCH


def _wrapped(text: str, figure: Figure, points: float) -> str:
    inches = figure.get_figwidth() * 0.96
    letters = int(inches * _POINTS_PER_INCH / (points * _LETTER_WIDTH[points]))
    return "\n".join(textwrap.wrap(text, letters, break_long_words=True))
