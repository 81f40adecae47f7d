"""The figures of the paper; Figs. 3 and 4 are those of the simulation (`deepcams_eval.bench`)."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepcams_eval.core.arrays import FloatArray, Times
from deepcams_eval.paper.annual import AnnualMaps
from deepcams_eval.paper.sequences import MapSequence
from deepcams_eval.paper.series import Line, PointSeries
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
    "zorder": 2,
}
_FINE_LOOK: dict[str, Any] = {"color": "#0072B2", "linewidth": 0.6, "zorder": 3}
_ZOOM_DAYS = 1.5
_DAY_US = 86_400e6
_KINDS = {
    "reference": ("#0072B2", "o", "reference-grade"),
    "sensor": ("#D55E00", "^", "sensor"),
    "unknown": ("#666666", "s", "unknown kind"),
}


def draw_stations(years: Mapping[int, pd.DataFrame], owed: style.Credit) -> style.Drawing:
    """Return Fig. 1: the stations with pairs, a map a year.

    Parameters
    ----------
    years : mapping of int to pandas.DataFrame
        By year, at least one, a row a station: ``latitude``, ``longitude`` in degrees (NaN where
        unknown), ``station_kind`` (``reference``, ``sensor`` or ``unknown``) and ``pairs``.
    owed : Credit
        Of the data; the coastlines are added.
    """
    every = pd.concat(years.values())
    extent = maps.extent_about(every["latitude"].to_numpy(), every["longitude"].to_numpy())
    figure, grid = maps.panels(len(years), extent, below=1.2)
    for place, (axes, (year, stations)) in enumerate(zip(grid, years.items(), strict=True)):
        maps.set_extent(axes, extent)
        size = float(np.clip(2200.0 / max(len(stations), 1), 3.0, 12.0))
        for kind, (colour, marker, _) in _KINDS.items():
            mine = stations[stations["station_kind"] == kind]
            axes.scatter(
                mine["longitude"],
                mine["latitude"],
                s=size,
                color=colour,
                marker=marker,
                linewidths=0.25,
                edgecolors="white",
                zorder=3,
            )
        axes.set_title(
            f"{year}: {len(stations):,} stations, {stations['pairs'].sum():,} pairs",
            fontsize=style.TEXT,
            pad=4 if place and maps.stacked(extent) else 18,
        )
    _kind_legend(grid[0], set(every["station_kind"]))
    lost = max(int(one["latitude"].isna().sum()) for one in years.values())
    total = ", ".join(f"{len(one):,} in {year}" for year, one in years.items())
    note = f"n: stations with at least one pair of the sample shown, {total}."
    if lost:
        note += f" Up to {lost:,} a year have no coordinates and are not drawn."
    return finish(
        figure,
        owed.also(maps.COASTLINES),
        number=1,
        title="Stations with pairs, by year",
        note=note,
        alternative="A map of the stations for each year.",
    )


def draw_sequences(sequences: Sequence[MapSequence], owed: style.Credit) -> style.Drawing:
    """Return Fig. 5: two coarse maps above the four fine ones of the same three hours.

    Parameters
    ----------
    sequences : sequence of MapSequence
        At least one.
    owed
        As in `draw_stations`.
    """
    shapes = [maps.shape_of(one.fine.grid.extent) for one in sequences]
    height = sum(2 * (1.37 / float(np.clip(shape, 0.6, 2.5)) + 0.22) for shape in shapes)
    figure = style.new_figure(_WIDTH, height + 1.35 + 0.22 * len(sequences), layout="compressed")
    grid = figure.subplots(2 * len(sequences), 4, squeeze=False)
    for place, one in enumerate(sequences):
        _draw_sequence(figure, grid[2 * place : 2 * place + 2], one, "abcd"[place])
    notes = [
        f"({'abcd'[place]}) {maps.box_in_words(one.box)}; mean change {one.change:.3g} {UNIT}. "
        f"{one.rule}"
        for place, one in enumerate(sequences)
    ]
    fine, coarse = sequences[0].fine.product, sequences[0].coarse.product
    note = (
        f"n = {2 * len(sequences)} maps of {coarse} and {4 * len(sequences)} of {fine}. "
        f"{' '.join(notes)} Colours end at the {maps.ROBUST:g}th percentile of each "
        "sequence."
    )
    return finish(
        figure,
        owed.also(maps.COASTLINES),
        number=5,
        title=f"{coarse} every three hours and {fine} every hour",
        note=note,
        alternative="For each sequence two coarse maps and, below, four fine ones.",
    )


def _draw_sequence(figure: Figure, rows: Any, one: MapSequence, letter: str) -> None:
    norm = maps.from_zero(one.coarse.values, one.fine.values)
    top = {0: 0, 3: 1}
    for place, axes in enumerate(rows[0]):
        if place not in top:
            axes.set_axis_off()
            missing = f"no map\nof {escape_figure(one.coarse.product)}"
            style.write_in_middle(axes, missing, size=style.SMALL, colour="#6a6a6a")
            continue
        maps.show(axes, one.coarse.grid.extent, one.coarse.values[top[place]], norm)
        maps.dress(axes, left=place == 0, bottom=False, ticks=3)
        axes.set_title(_moment(one.coarse.times[top[place]]), fontsize=style.SMALL + 0.5)
    for place, axes in enumerate(rows[1]):
        maps.show(axes, one.fine.grid.extent, one.fine.values[place], norm)
        maps.dress(axes, left=place == 0, ticks=3)
        axes.set_title(_moment(one.fine.times[place]), fontsize=style.SMALL + 0.5)
    for axes, part in zip(rows[:, 0], (one.coarse, one.fine), strict=True):
        axes.set_ylabel(
            escape_figure(f"({letter}) {part.product}"), fontsize=style.TEXT, fontweight="bold"
        )
    maps.colour_bar(figure, rows.ravel().tolist(), norm, f"PM2.5 ({UNIT})")


def draw_annual(means: AnnualMaps, owed: style.Credit) -> style.Drawing:
    """Return Fig. 8: annual means, coarse and fine on one scale, and their difference.

    Parameters
    ----------
    means : AnnualMaps
    owed
        As in `draw_stations`.
    """
    coarse, fine = means.coarse, means.fine
    extent = fine.grid.extent
    figure = maps.compare(
        [
            (coarse.product, coarse.grid.extent, coarse.values),
            (fine.product, extent, fine.values),
            (f"{fine.product} − {coarse.product}", extent, means.difference),
        ],
        label=f"PM2.5 ({UNIT})",
        difference=f"difference ({UNIT})",
    )
    note = (
        f"n = {coarse.steps:,} maps of {coarse.product} and {fine.steps:,} of "
        f"{fine.product}: all of the {means.days:,} UTC days of {means.year} on which both have a "
        f"map. Difference: what {fine.product} adds to {coarse.product} interpolated bilinearly. "
        f"Colours end at the {maps.ROBUST:g}th percentile."
    )
    if not np.isfinite(means.difference).all():
        note += " Grey: no value."
    return finish(
        figure,
        owed.also(maps.COASTLINES),
        number=8,
        title=f"Mean of {means.year}: {coarse.product}, {fine.product} and their difference",
        note=note,
        alternative="Maps of the annual mean of both products and of their difference.",
    )


def _kind_legend(axes: Axes, present: set[str]) -> None:
    for kind, (colour, marker, name) in _KINDS.items():
        if kind in present:
            axes.scatter([], [], s=14, color=colour, marker=marker, label=name)
    legend = axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.99),
        ncols=3,
        fontsize=style.SMALL + 0.5,
        frameon=False,
        handletextpad=0.2,
    )
    # Between the map and its title, which makes room; it may be wider than the map.
    legend.set_in_layout(False)


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
            _draw_line(axes, one.fine, one.year, _FINE_LOOK)
            _draw_line(axes, one.coarse, one.year, _COARSE_LOOK)
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
    places = dict.fromkeys((_point(one), one.place.rule) for one in series)
    coarse, fine = series[0].coarse.product, series[0].fine.product
    counts = "; ".join(
        f"{_point(one)} in {one.year}: {one.coarse.known:,} of {coarse} and "
        f"{one.fine.known:,} hours of {fine}"
        for one in series
    )
    note = (
        f"n: {counts}. {' '.join(f'{point}: {rule}' for point, rule in places)} The cell that "
        "contains the point; a gap is a gap. Right: the three days about the highest value of "
        f"{coarse}."
    )
    return finish(
        figure,
        owed,
        number=7,
        title=f"A year of {coarse} and {fine} at single points",
        note=note,
        alternative="PM2.5 of both products over each year at each point.",
    )


def _draw_line(axes: Axes, line: Line, year: int, look: Mapping[str, Any]) -> None:
    times, values = with_gaps(line.times, line.values)
    axes.plot(_days(times, year), values, label=escape_figure(line.product), **look)


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
    if not one.coarse.known:
        axes.set_axis_off()
        return
    peak = int(np.nanargmax(one.coarse.values))
    middle = float(_days(one.coarse.times[peak : peak + 1], one.year)[0])
    low, high = middle - _ZOOM_DAYS, middle + _ZOOM_DAYS
    axes.set_xlim(low, high)
    midnights = np.arange(np.ceil(low), np.floor(high) + 1)
    dates = (str(day) for day in np.datetime64(f"{one.year}-01-01") + midnights.astype(np.int64))
    names = [f"{int(day[8:])} {calendar.month_abbr[int(day[5:7])]}" for day in dates]
    axes.set_xticks(midnights, names)


def _point(one: PointSeries) -> str:
    return maps.point_in_words(one.place.latitude, one.place.longitude)


def _moment(time: np.datetime64) -> str:
    return f"{str(time.astype('datetime64[m]')).replace('T', ' ')} UTC"


def finish(
    figure: Figure, owed: style.Credit, *, number: int, title: str, note: str, alternative: str
) -> style.Drawing:
    """Finish a figure of the paper; its caption ends with the source."""
    return style.finish(
        figure,
        owed,
        name=f"fig{number}",
        kind="paper",
        title=title,
        note=note,
        caption=f"Fig. {number}. {title}. {note} {owed.source}",
        alternative=alternative,
    )
