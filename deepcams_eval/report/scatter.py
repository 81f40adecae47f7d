"""Scatter density of a product against the observations, by year and by month."""

from __future__ import annotations

import calendar
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from deepcams_eval.core.arrays import FloatArray, IntArray
from deepcams_eval.report import credit, style, wording
from deepcams_eval.report.content import Content, Selection
from deepcams_eval.report.wording import UNIT, escape_figure
from deepcams_eval.score.metrics import HEADLINE_METRICS

SHARE_INSIDE = 0.995
"""The axes end at this quantile of the wider of the two, so that no outlier sets the scale."""

_COLOURS = colormaps["viridis_r"]
_HEADROOM = 1.02
_CHUNK = 2_000_000
_BINS_YEAR = (40, 240)
_BINS_MONTH = (30, 90)


@dataclass(frozen=True)
class Histogram:
    """Counts of pairs in square cells; panels are independent histograms on equal axes.

    Attributes
    ----------
    counts : ndarray of int, shape (panels, bins, bins)
        Pairs in each cell, estimate along the second axis and observed along the third.
    low, high : float
        Limits of both axes, µg m⁻³.
    outside : ndarray of int, shape (panels,)
        Pairs beyond the limits; with the sum of `counts` they make all pairs.
    """

    counts: IntArray
    low: float
    high: float
    outside: IntArray

    @property
    def width(self) -> float:
        """Side of a cell, µg m⁻³."""
        return (self.high - self.low) / len(self.counts[0])


def robust_limits(
    observed: FloatArray, estimate: FloatArray, share: float = SHARE_INSIDE
) -> tuple[float, float]:
    """Return common limits of both axes that at most 1 − `share` of each variable exceeds.

    Parameters
    ----------
    observed, estimate : ndarray, shape (n,)
        µg m⁻³, at least one pair, without NaN.
    share : float
        The upper limit is this quantile of the larger variable, the lower one 0 or, where it is
        negative, the quantile 1 − `share` of the smaller; both rounded outwards to two digits,
        the upper one after a margin of 2 %.

    Returns
    -------
    low, high : float
        µg m⁻³, low < high.
    """
    both = (observed, estimate)
    # Quantiles that are values themselves: among a few pairs none is left outside.
    bottom = min(float(np.quantile(values, 1 - share, method="lower")) for values in both)
    top = max(float(np.quantile(values, share, method="higher")) for values in both)
    low = _outwards(min(0.0, bottom), math.floor)
    # Below zero the margin of a product would lie inside.
    high = _outwards(max(top, _HEADROOM * top), math.ceil)
    return low, high if high > low else low + 1.0


def histogram(
    observed: FloatArray,
    estimate: FloatArray,
    *,
    limits: tuple[float, float],
    bins: int,
    panel: IntArray | None = None,
    panels: int = 1,
) -> Histogram:
    """Count pairs in square cells, in one pass and with bounded temporaries.

    Parameters
    ----------
    observed, estimate : ndarray, shape (n,)
        µg m⁻³, without NaN.
    limits : tuple of float
        Ends of both axes; a pair on the upper end belongs to the last cell.
    bins : int
        Cells along each axis.
    panel : ndarray of int, shape (n,), optional
        Panel of each pair, 0 … panels−1; all in panel 0 when absent.
    panels : int
        Number of panels.
    """
    low, high = limits
    counts = np.zeros(panels * bins * bins, dtype=np.int64)
    outside = np.zeros(panels, dtype=np.int64)
    scale = bins / (high - low)
    for first in range(0, len(observed), _CHUNK):
        part = slice(first, first + _CHUNK)
        x, y = observed[part].astype(np.float64), estimate[part].astype(np.float64)
        where = np.zeros(len(x), dtype=np.int64) if panel is None else panel[part].astype(np.int64)
        inside = (x >= low) & (x <= high) & (y >= low) & (y <= high)
        outside += np.bincount(where[~inside], minlength=panels)
        column = np.minimum(((x[inside] - low) * scale).astype(np.int64), bins - 1)
        row = np.minimum(((y[inside] - low) * scale).astype(np.int64), bins - 1)
        counts += np.bincount((where[inside] * bins + row) * bins + column, minlength=len(counts))
    return Histogram(counts.reshape(panels, bins, bins), low, high, outside)


def draw_scatters(content: Content) -> Iterator[style.Drawing]:
    """Yield the scatter of each product and year that has pairs, then its months if it has any."""
    by_month = bool(content.values("month"))
    for product in content.products:
        for year in content.years:
            score = content.score(product, "year", str(year))
            if score is None:
                continue
            pairs = content.pick(product, year)
            limits = robust_limits(pairs.observed, pairs.estimate)
            yield _draw_year(content, product, year, score, pairs, limits)
            if by_month:
                yield _draw_months(content, product, year, pairs, limits)


def annotation(score: Mapping[str, Any]) -> str:
    """Return what stands inside a scatter: N, R, RMSE and MAE with their intervals."""
    stations = wording.plural(int(score["stations"]), "station")
    lines = [
        f"{one.label} = {wording.with_interval(score, key)}{one.unit_after}"
        for key, one in HEADLINE_METRICS.items()
    ]
    return "\n".join((f"N = {wording.number(score['n'], 0)} ({stations})", *lines))


def short_annotation(score: Mapping[str, Any]) -> str:
    """Return the same for a small panel, without intervals; units stand in the title."""
    lines = [
        f"{one.label} {wording.typographic(wording.number(score[key], one.digits))}"
        for key, one in HEADLINE_METRICS.items()
    ]
    return "\n".join((f"N {wording.number(score['n'], 0)}", *lines))


def line_in_words(score: Mapping[str, Any]) -> str:
    """Return the least-squares line as ``0.43·O + 7.10``, "" where it is undefined."""
    slope, intercept = score["slope"], score["intercept"]
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        return ""
    return f"{slope:.2f}·O {'−' if intercept < 0 else '+'} {abs(intercept):.2f}"


def _draw_year(
    content: Content,
    product: str,
    year: int,
    score: Mapping[str, Any],
    pairs: Selection,
    limits: tuple[float, float],
) -> style.Drawing:
    counted = histogram(
        pairs.observed, pairs.estimate, limits=limits, bins=bins_for(len(pairs), _BINS_YEAR)
    )
    figure = style.new_figure(5.4, 5.4, layout="compressed")
    axes = figure.add_subplot()
    norm = _norm(counted)
    _draw_panel(axes, counted, 0, score, norm)
    bar = figure.colorbar(ScalarMappable(norm, _COLOURS), ax=axes, shrink=0.82, pad=0.02, aspect=28)
    _dress_bar(bar.ax, counted)
    _write_inside(axes, annotation(score), size=style.TEXT)
    axes.legend(loc="lower right", fontsize=style.SMALL + 0.5, framealpha=0.9, edgecolor=style.GRID)
    style.dress(
        axes,
        x=f"Observed PM2.5 ({UNIT})",
        y=f"{escape_figure(wording.shortened(product, 40))} PM2.5 ({UNIT})",
        grid=False,
    )
    note = outside_note(counted)
    title = f"{product}, {year}, {content.sample} sample"
    return style.finish(
        figure,
        credit.line(content),
        name=f"scatter_{content.file_names[product]}_{year}",
        kind="scatter",
        title=title,
        note=note,
        caption=f"{title}: density of pairs. {note}",
        alternative=f"Scatter density of {product} against observations in {year}. "
        + annotation(score).replace("\n", "; "),
    )


def _draw_months(
    content: Content, product: str, year: int, pairs: Selection, limits: tuple[float, float]
) -> style.Drawing:
    counted = histogram(
        pairs.observed,
        pairs.estimate,
        limits=limits,
        bins=bins_for(len(pairs) / 12, _BINS_MONTH),
        panel=pairs.month,
        panels=12,
    )
    title = f"{product}, months of {year}, {content.sample} sample"
    note = f"{outside_note(counted)} RMSE and MAE in {UNIT}; dashed 1:1, solid least squares."
    return draw_panels(
        counted,
        [content.score(product, "month", f"{year}-{month:02d}") for month in range(1, 13)],
        calendar.month_abbr[1:],
        credit.line(content),
        columns=4,
        name=f"scatter_{content.file_names[product]}_{year}_months",
        kind="scatter_months",
        title=title,
        note=note,
        caption=f"{title}: density of pairs, a panel a month. {note}",
        alternative=f"Twelve scatter densities of {product} against observations, one for each "
        f"month of {year}; the numbers are in the table of months.",
    )


def draw_panels(
    counted: Histogram,
    scores: Sequence[Mapping[str, Any] | None],
    labels: Sequence[str],
    owed: style.Credit,
    *,
    columns: int,
    title: str,
    note: str,
    with_line: bool = False,
    **words: Any,
) -> style.Drawing:
    """Return a figure of small scatters, one a panel of a histogram.

    Parameters
    ----------
    counted : Histogram
        As many panels as there are `scores`, row by row.
    scores : sequence of mapping or None
        A row of the scores each; None is a panel without data.
    labels : sequence of str
        What stands over each panel.
    owed, title, note, **words
        As in `deepcams_eval.report.style.finish`.
    columns : int
        Panels side by side.
    with_line : bool
        Whether the least-squares line is written as well.
    """
    rows = -(-len(scores) // columns)
    figure, panels, side = style.panels(rows, columns, owed, title=title, note=note)
    norm = _norm(counted)
    for place, (axes, score, label) in enumerate(zip(panels, scores, labels, strict=True)):
        if score is None:
            style.write_in_middle(axes, "no data")
            _set_axes(axes, counted)
        else:
            _draw_panel(axes, counted, place, score, norm, thin=True)
            inside = [short_annotation(score), line_in_words(score) if with_line else ""]
            _write_inside(axes, "\n".join(filter(None, inside)), size=style.SMALL - 0.5)
        style.dress(axes, grid=False)
        axes.set_title(escape_figure(label), fontsize=style.TEXT, color=style.INK, pad=3)
        if place % columns == 0:
            axes.set_ylabel(f"Product ({UNIT})", fontsize=style.SMALL + 0.5)
        else:
            axes.set_yticklabels([])
        if place >= len(scores) - columns:
            axes.set_xlabel(f"Observed ({UNIT})", fontsize=style.SMALL + 0.5)
        else:
            axes.set_xticklabels([])
    figure.colorbar(ScalarMappable(norm, _COLOURS), cax=side)
    _dress_bar(side, counted)
    return style.finish(figure, owed, title=title, note=note, **words)


def _draw_panel(
    axes: Axes,
    counted: Histogram,
    panel: int,
    score: Mapping[str, Any],
    norm: LogNorm,
    *,
    thin: bool = False,
) -> None:
    ends = np.array([counted.low, counted.high])
    axes.imshow(
        np.ma.masked_equal(counted.counts[panel], 0),
        origin="lower",
        extent=(counted.low, counted.high, counted.low, counted.high),
        cmap=_COLOURS,
        norm=norm,
        interpolation="nearest",
        zorder=1,
    )
    _set_axes(axes, counted)
    width = 0.8 if thin else 1.1
    axes.plot(ends, ends, color=style.INK, linewidth=width, linestyle=(0, (5, 3)), label="1:1")
    if line := line_in_words(score):
        axes.plot(
            ends,
            score["slope"] * ends + score["intercept"],
            color=style.ACCENT,
            linewidth=1.4 * width,
            label=f"fit: {line}",
            path_effects=[withStroke(linewidth=1.4 * width + 1.4, foreground="white")],
        )


def _set_axes(axes: Axes, counted: Histogram) -> None:
    ends = (counted.low, counted.high)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    locator = MaxNLocator(
        5 if len(counted.counts) == 1 else 4, min_n_ticks=3, steps=[1, 2, 2.5, 5, 10]
    )
    ticks = [tick for tick in locator.tick_values(*ends) if ends[0] <= tick <= ends[1]]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)


def _write_inside(axes: Axes, text: str, *, size: float) -> None:
    axes.text(
        0.03,
        0.97,
        text,
        transform=axes.transAxes,
        fontsize=size,
        color=style.INK,
        va="top",
        linespacing=1.35,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.82, "pad": 2.0},
        zorder=5,
    )


def _dress_bar(axes: Axes, counted: Histogram) -> None:
    width = f"{counted.width:.2g}"
    axes.set_ylabel(f"Pairs per cell of {width} × {width} {UNIT}", fontsize=style.TEXT - 0.5)
    axes.tick_params(labelsize=style.TEXT - 1, width=0.5, length=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _norm(counted: Histogram) -> LogNorm:
    return LogNorm(1, max(10, int(counted.counts.max(initial=0))))


def bins_for(n: float, bounds: tuple[int, int]) -> int:
    """Return the cells along each axis that suit `n` pairs, within bounds."""
    # Few pairs need wide cells to be seen at all; beyond the upper bound a cell is a pixel.
    return int(np.clip(2.5 * max(n, 1) ** 0.4, *bounds))


def outside_note(counted: Histogram) -> str:
    """Return a sentence on how many pairs lie beyond the axes."""
    outside = int(counted.outside.sum())
    total = outside + int(counted.counts.sum())
    if outside == 0:
        return "All pairs lie within the axes."
    return (
        f"{wording.number(outside, 0)} of {wording.number(total, 0)} pairs "
        f"({100 * outside / total:.2g} %) lie beyond the axes; every number includes them."
    )


def _outwards(value: float, rounding: Callable[[float], int]) -> float:
    if abs(value) < 1e-300:
        return 0.0
    digits = 1 - math.floor(math.log10(abs(value)))
    # Powers of ten are exact only from 1 upwards.
    if digits >= 0:
        return rounding(value * 10.0**digits) / 10.0**digits
    return rounding(value / 10.0**-digits) * 10.0**-digits
