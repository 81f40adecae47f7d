"""The plots of the paper that are no maps: Figs. 6 and 7."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from deepcams_eval.paper.content import FloatArray, PointSeries, Times
from deepcams_eval.paper.maps import finish
from deepcams_eval.report import scatter, style
from deepcams_eval.report.content import Content
from deepcams_eval.report.wording import UNIT, escape_figure

_WIDTH = 7.2
_BINS = (30, 110)
_COARSE_LOOK: dict[str, Any] = {
    "color": "#D55E00",
    "linewidth": 1.1,
    "marker": ".",
    "markersize": 2.2,
    "alpha": 0.8,
}
_FINE_LOOK: dict[str, Any] = {"color": "#0072B2", "linewidth": 0.6}
_ZOOM_DAYS = 1.5
_DAY_US = 86_400e6


def draw_scatters(content: Content, source: str) -> style.Drawing:
    """Return Fig. 6: scatter density, a row a product and a column a year.

    Parameters
    ----------
    content : Content
        Where the pairs and the scores are; the numbers written are rows of the scores.
    source : str
        Whom the data are owed to.
    """
    products, years = content.products, content.years
    panels = [(product, year) for product in products for year in years]
    picked = [
        content.pick(*one) if content.score(one[0], "year", str(one[1])) is not None else None
        for one in panels
    ]
    known = [(place, one) for place, one in enumerate(picked) if one is not None]
    observed = np.concatenate([one.observed for _, one in known])
    estimate = np.concatenate([one.estimate for _, one in known])
    counted = scatter.histogram(
        observed,
        estimate,
        limits=scatter.robust_limits(observed, estimate),
        bins=int(np.clip(2.5 * (len(observed) / len(panels)) ** 0.4, *_BINS)),
        panel=np.concatenate([np.full(len(one), place, dtype=np.int64) for place, one in known]),
        panels=len(panels),
    )
    outside = int(counted.outside.sum())
    note = (
        f"n = {len(observed):,} pairs in all, {content.sample} sample. RMSE and MAE in {UNIT}. "
        f"Dashed 1:1, solid least squares. Logarithmic colours; {outside:,} pairs "
        f"({100 * outside / len(observed):.2g} %) lie beyond the axes, every number includes them."
    )
    figure, grid, side = style.panels(
        len(products),
        len(years),
        title="Products against stations, by year",
        source=source,
        note=note,
        synthetic=content.synthetic,
    )
    norm = LogNorm(1, max(10, int(counted.counts.max(initial=0))))
    for place, (axes, (product, year)) in enumerate(zip(grid, panels, strict=True)):
        _draw_density(axes, counted, place, content.score(product, "year", str(year)), norm)
        axes.set_title(escape_figure(f"{product}, {year}"), fontsize=style.TEXT, pad=3)
        _label_scatter(axes, place, len(years), len(panels))
    figure.colorbar(ScalarMappable(norm, colormaps["viridis_r"]), cax=side)
    width = f"{counted.width:.2g}"
    side.set_ylabel(f"Pairs per cell of {width} × {width} {UNIT}", fontsize=style.SMALL + 0.5)
    side.tick_params(labelsize=style.SMALL, width=0.5, length=2)
    side.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    side.yaxis.set_minor_formatter(NullFormatter())
    return style.Drawing(
        name="fig6",
        kind="paper",
        caption=f"Fig. 6. Scatter density of products against stations, by year. {note} {source}",
        alternative="Scatter density of each product and year; the numbers are in Table 1.",
        figure=figure,
    )


def _draw_density(
    axes: Axes,
    counted: scatter.Histogram,
    panel: int,
    score: Mapping[str, Any] | None,
    norm: LogNorm,
) -> None:
    ends = np.array([counted.low, counted.high])
    axes.set(xlim=tuple(ends), ylim=tuple(ends), aspect="equal")
    locator = MaxNLocator(4, min_n_ticks=3, steps=[1, 2, 2.5, 5, 10])
    ticks = [tick for tick in locator.tick_values(*ends) if ends[0] <= tick <= ends[1]]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    style.dress(axes, grid=False)
    if score is None:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", fontsize=style.TEXT)
        return
    axes.imshow(
        np.ma.masked_equal(counted.counts[panel], 0),
        origin="lower",
        extent=(ends[0], ends[1], ends[0], ends[1]),
        cmap=colormaps["viridis_r"],
        norm=norm,
        interpolation="nearest",
    )
    axes.plot(ends, ends, color=style.INK, linewidth=0.8, linestyle=(0, (5, 3)))
    lines = [scatter.short_annotation(score)]
    slope, intercept = score["slope"], score["intercept"]
    if np.isfinite(slope) and np.isfinite(intercept):
        axes.plot(ends, slope * ends + intercept, color=style.ACCENT, linewidth=1.1)
        lines.append(f"{slope:.2f}·O {'−' if intercept < 0 else '+'} {abs(intercept):.1f}")
    axes.text(
        0.03,
        0.97,
        "\n".join(lines),
        transform=axes.transAxes,
        fontsize=style.SMALL - 0.5,
        color=style.INK,
        va="top",
        linespacing=1.3,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        zorder=5,
    )


def _label_scatter(axes: Axes, place: int, columns: int, panels: int) -> None:
    if place % columns == 0:
        axes.set_ylabel(f"Product ({UNIT})", fontsize=style.SMALL + 0.5)
    else:
        axes.set_yticklabels([])
    if place >= panels - columns:
        axes.set_xlabel(f"Observed ({UNIT})", fontsize=style.SMALL + 0.5)
    else:
        axes.set_xticklabels([])


def draw_series(series: Sequence[PointSeries], source: str, *, synthetic: bool) -> style.Drawing:
    """Return Fig. 7: years at points, with the days about the highest coarse value enlarged.

    Parameters
    ----------
    series : sequence of PointSeries
        At least one.
    source, synthetic
        As in `draw_stations`.
    """
    figure = style.new_figure(_WIDTH, 1.5 * len(series) + 1.7)
    grid = figure.subplots(
        len(series), 2, squeeze=False, sharey="row", gridspec_kw={"width_ratios": [3.0, 1.15]}
    )
    for row, one in zip(grid, series, strict=True):
        for axes in row:
            _draw_lines(axes, one)
            style.dress(axes)
        row[0].set_ylabel(f"PM2.5 ({UNIT})", fontsize=style.SMALL + 0.5)
        row[0].set_title(f"{_point(one)}, {one.year}", fontsize=style.TEXT, loc="left", pad=3)
        _year_axis(row[0], one.year)
        _zoom_axis(row[1], one)
    grid[0, 0].legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=2,
        fontsize=style.SMALL + 0.5,
        frameon=False,
        borderaxespad=0.2,
    )
    places = dict.fromkeys((_point(one), one.rule) for one in series)
    counts = "; ".join(
        f"{_point(one)} in {one.year}: {_known(one.coarse_values):,} of {one.coarse} and "
        f"{_known(one.fine_values):,} hours of {one.fine}"
        for one in series
    )
    note = (
        f"n: {counts}. {' '.join(f'{point}: {rule}' for point, rule in places)} The cell that "
        "contains the point; a gap is a gap. Right: the three days about the highest value of "
        f"{series[0].coarse}."
    )
    return finish(
        figure,
        number=7,
        title=f"A year of {series[0].coarse} and {series[0].fine} at single points",
        note=note,
        source=source,
        alternative="PM2.5 of both products over each year at each point.",
        synthetic=synthetic,
    )


def _draw_lines(axes: Axes, one: PointSeries) -> None:
    times, values = with_gaps(one.fine_times, one.fine_values)
    axes.plot(_days(times, one.year), values, **_FINE_LOOK, label=escape_figure(one.fine), zorder=3)
    times, values = with_gaps(one.coarse_times, one.coarse_values)
    axes.plot(
        _days(times, one.year), values, **_COARSE_LOOK, label=escape_figure(one.coarse), zorder=2
    )


def with_gaps(times: Times, values: FloatArray) -> tuple[Times, FloatArray]:
    """Return a series with a NaN in each step that is longer than usual, so that lines break.

    Parameters
    ----------
    times : ndarray of datetime64, shape (n,)
        Ascending.
    values : ndarray, shape (n,)
    """
    steps = np.diff(times)
    if not len(steps):
        return times, values
    after = np.flatnonzero(steps > np.median(steps.astype(np.int64)).astype(steps.dtype)) + 1
    return np.insert(times, after, times[after - 1] + steps.min()), np.insert(
        values.astype(np.float64), after, np.nan
    )


def _days(times: Times, year: int) -> FloatArray:
    """Return days since the beginning of a year."""
    elapsed = times.astype("datetime64[us]") - np.datetime64(f"{year}-01-01", "us")
    return np.asarray(elapsed.astype(np.float64) / _DAY_US)


def _year_axis(axes: Axes, year: int) -> None:
    months = np.arange(f"{year}-01", f"{year + 1}-02", dtype="datetime64[M]")
    starts = _days(months, year)
    axes.set_xlim(0.0, float(starts[-1]))
    axes.set_xticks(starts[:-1], [calendar.month_abbr[month] for month in range(1, 13)])
    axes.tick_params(labelsize=style.SMALL)


def _zoom_axis(axes: Axes, one: PointSeries) -> None:
    axes.tick_params(labelsize=style.SMALL)
    if not _known(one.coarse_values):
        axes.set_axis_off()
        return
    peak = int(np.nanargmax(one.coarse_values))
    middle = float(_days(one.coarse_times[peak : peak + 1], one.year)[0])
    low, high = middle - _ZOOM_DAYS, middle + _ZOOM_DAYS
    axes.set_xlim(low, high)
    midnights = np.arange(np.ceil(low), np.floor(high) + 1)
    dates = np.datetime64(f"{one.year}-01-01") + midnights.astype(np.int64)
    axes.set_xticks(midnights, [f"{int(str(day)[8:])} {_month(day)}" for day in dates])


def _month(day: np.datetime64) -> str:
    return calendar.month_abbr[int(str(day)[5:7])]


def _known(values: FloatArray) -> int:
    return int(np.isfinite(values).sum())


def _point(one: PointSeries) -> str:
    north, east = "N" if one.latitude >= 0 else "S", "E" if one.longitude >= 0 else "W"
    return f"{abs(one.latitude):g}°{north} {abs(one.longitude):g}°{east}"
