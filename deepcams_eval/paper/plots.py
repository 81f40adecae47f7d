"""The plots of the paper that are no maps: Figs. 6 and 7."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from deepcams_eval.paper.content import FloatArray, PointSeries, Times
from deepcams_eval.paper.figures import finish
from deepcams_eval.report import maps, scatter, style
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


def draw_scatters(content: Content, owed: style.Credit) -> style.Drawing:
    """Return Fig. 6: scatter density, a row a product and a column a year.

    Parameters
    ----------
    content : Content
        Where the pairs and the scores are; the numbers written are rows of the scores.
    owed : Credit
        Of the data.
    """
    panels = [(product, year) for product in content.products for year in content.years]
    scores = [content.score(product, "year", str(year)) for product, year in panels]
    known = {place: content.pick(*panels[place]) for place, one in enumerate(scores) if one}
    observed = np.concatenate([one.observed for one in known.values()])
    estimate = np.concatenate([one.estimate for one in known.values()])
    counted = scatter.histogram(
        observed,
        estimate,
        limits=scatter.robust_limits(observed, estimate),
        bins=scatter.bins_for(len(observed) / len(panels), _BINS),
        panel=np.repeat(list(known), [len(one) for one in known.values()]),
        panels=len(panels),
    )
    note = (
        f"n = {len(observed):,} pairs in all, {content.sample} sample. RMSE and MAE in {UNIT}. "
        f"Dashed 1:1, solid least squares. Logarithmic colours. {scatter.outside_note(counted)}"
    )
    return scatter.draw_panels(
        counted,
        scores,
        [f"{product}, {year}" for product, year in panels],
        owed,
        columns=len(content.years),
        with_line=True,
        name="fig6",
        kind="paper",
        title="Scatter density of products against stations, by year",
        note=note,
        caption=f"Fig. 6. Scatter density of products against stations, by year. {note} "
        f"{owed.source}",
        alternative="Scatter density of each product and year; the numbers are in Table 1.",
    )


def draw_series(series: Sequence[PointSeries], owed: style.Credit) -> style.Drawing:
    """Return Fig. 7: years at points, with the days about the highest coarse value enlarged.

    Parameters
    ----------
    series : sequence of PointSeries
        At least one.
    owed
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
        owed,
        number=7,
        title=f"A year of {series[0].coarse} and {series[0].fine} at single points",
        note=note,
        alternative="PM2.5 of both products over each year at each point.",
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
    return maps.point_in_words(one.latitude, one.longitude)
