"""The figures of a report other than the scatters: station map, months and hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from deepcams_eval.core.arrays import Array
from deepcams_eval.report import credit, maps, scatter, style
from deepcams_eval.report.content import Content
from deepcams_eval.report.wording import escape_figure, plural, shortened
from deepcams_eval.score.metrics import HEADLINE, HEADLINE_METRICS

_MAP_WIDTH = 7.2
_CELLS_ACROSS = 48
_MONTHS = "JFMAMJJASOND"


def draw_figures(content: Content) -> Iterator[style.Drawing]:
    """Yield every figure of the report, one at a time so that only one is held in memory."""
    yield _draw_stations(content)
    if content.values("month"):
        yield _draw_months(content)
    if content.values("hour"):
        yield _draw_hours(content)
    yield from scatter.draw_scatters(content)


def count_figures(content: Content) -> int:
    """Return how many figures `draw_figures` yields."""
    scored = [
        content.score(product, "year", str(year)) is not None
        for product in content.products
        for year in content.years
    ]
    by_month, by_hour = (bool(content.values(stratum)) for stratum in ("month", "hour"))
    return 1 + by_month + by_hour + (1 + by_month) * sum(scored)


def cluster_stations(located: pd.DataFrame, cell_deg: tuple[float, float]) -> pd.DataFrame:
    """Put stations in the same cell together, which would be drawn on top of each other.

    Parameters
    ----------
    located : pandas.DataFrame
        ``longitude, latitude`` in degrees, without NaN, and ``value``, which may be NaN.
    cell_deg : tuple of float
        Size of a cell in longitude and latitude, degrees.

    Returns
    -------
    pandas.DataFrame
        A row a cell that has stations: their mean ``longitude, latitude``, how many ``stations``,
        and the median ``value`` over those that have one (NaN where none has).
    """
    cells = located.groupby(
        [np.floor(located["longitude"] / cell_deg[0]), np.floor(located["latitude"] / cell_deg[1])]
    )
    middle = cells[["longitude", "latitude"]].mean()
    return middle.assign(stations=cells.size(), value=cells["value"].median())


def _draw_stations(content: Content) -> style.Drawing:
    product = content.products[0]
    places = pd.DataFrame(content.stations.drop(columns="geometry"))
    located = places.dropna(subset=["longitude", "latitude"])
    located = located.assign(value=located[f"r_{product}"].astype(float))
    extent = maps.extent_about(located["latitude"].to_numpy(), located["longitude"].to_numpy())
    width = (extent[1] - extent[0]) / _CELLS_ACROSS
    cell = (width, width / maps.stretch_of(extent))
    clusters = cluster_stations(located, cell)
    height = float(np.clip(5.9 / maps.shape_of(extent), 1.7, 4.8)) + 1.45
    figure = style.new_figure(_MAP_WIDTH, height, layout="compressed")
    axes = figure.add_subplot()
    maps.set_extent(axes, extent)
    if len(clusters):
        norm = _r_norm(clusters["value"].to_numpy())
        _draw_clusters(axes, clusters, norm)
        _label_countries(axes, located, cell)
        label = f"R of {escape_figure(shortened(product))}"
        maps.colour_bar(figure, [axes], norm, label, extend="min")
    maps.dress(axes, ticks=7)
    axes.grid(visible=True, color=style.GRID, linewidth=0.5)
    return style.finish(
        figure,
        credit.line(content).also(maps.COASTLINES),
        name="stations",
        kind="stations",
        title=f"R of {product} at {plural(len(located), 'station')}, {content.sample} sample",
        note=_map_note(content, clusters, len(places) - len(located)),
        alternative=f"Map of {len(located)} stations coloured by the correlation with {product}.",
    )


def _draw_clusters(axes: Axes, clusters: pd.DataFrame, norm: Normalize) -> None:
    # The largest first, so that none covers another; those without a value below all.
    clusters = clusters.sort_values("stations", ascending=False, kind="stable")
    known = clusters["value"].notna()
    for mine, filled in ((clusters[~known], False), (clusters[known], True)):
        axes.scatter(
            mine["longitude"],
            mine["latitude"],
            s=_area(mine["stations"]),
            facecolors=colormaps["viridis"](norm(mine["value"])) if filled else "none",
            edgecolors=style.INK,
            linewidths=0.4,
            zorder=3,
        )
    largest = int(clusters["stations"].max())
    if largest > 1:
        look: dict[str, Any] = {"facecolors": "none", "edgecolors": style.INK, "linewidths": 0.6}
        for size in (size for size in (1, 10, 100, 1000) if size <= max(10, largest)):
            axes.scatter([], [], s=_area(size), label=plural(size, "station"), **look)
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=4,
            fontsize=style.SMALL,
            frameon=False,
            handletextpad=0.3,
        )


def _area(stations: Any) -> Any:
    """Return the area of a circle in square points; it grows slower than the count."""
    return 16.0 * np.asarray(stations, dtype=np.float64) ** 0.4


def _label_countries(axes: Axes, located: pd.DataFrame, cell_deg: tuple[float, float]) -> None:
    """Write country codes, most stations first; one that would cover another is left out."""
    named = located[located["country"] != ""].groupby("country")
    order = named.size().sort_values(ascending=False, kind="stable").index
    middle = named[["longitude", "latitude"]].median().loc[order].to_numpy(dtype=np.float64)
    room = np.array(cell_deg) * (1.6, 1.4)
    written: list[Array] = []
    for country, place in zip(order, middle, strict=True):
        if any((np.abs(place - other) < room).all() for other in written):
            continue
        written.append(place)
        axes.annotate(
            escape_figure(str(country)),
            (place[0], place[1]),
            xytext=(0, 7),
            textcoords="offset points",
            fontsize=style.SMALL - 0.5,
            color="#444444",
            ha="center",
            path_effects=[withStroke(linewidth=1.6, foreground="white")],
            zorder=2.5,
        )


def _map_note(content: Content, clusters: pd.DataFrame, without_place: int) -> str:
    parts = []
    if (clusters["stations"] > 1).any():
        parts.append("Stations too close to tell apart are one circle with their median R.")
    if clusters["value"].isna().any():
        parts.append("Open circles: R is undefined.")
    if without_place:
        parts.append(f"{plural(without_place, 'station')} without coordinates not drawn.")
    if (content.stations["country"] != "").any():
        parts.append("Letters: country code, at the median place of its stations.")
    return " ".join(parts)


def _draw_months(content: Content) -> style.Drawing:
    found = content.values("month")
    months = pd.period_range(found[0], found[-1], freq="M").astype(str).tolist()
    figure, grid = _score_curves(content, {"month": "Month (UTC)"}, months)
    for axes in grid[:, 0]:
        for place in (place for place, month in enumerate(months) if month.endswith("-01")):
            if place:
                axes.axvline(place - 0.5, color=style.GREY, linewidth=0.6, zorder=0)
    last = grid[-1, 0]
    last.set_xticks(range(len(months)), [_month_label(m, i) for i, m in enumerate(months)])
    last.set_xlim(-0.6, max(len(months) - 0.4, 0.6))
    return style.finish(
        figure,
        credit.line(content),
        name="months",
        kind="months",
        title=f"Scores by month, {content.sample} sample",
        note=_curve_note(content, "month"),
        alternative="R, RMSE and MAE of each product by month; the numbers are in the table of "
        "months.",
    )


def _draw_hours(content: Content) -> style.Drawing:
    hours = [f"{hour:02d}" for hour in range(24)]
    strata = {"hour": "Hour (UTC)", "hour_local": "Hour (local solar, from longitude)"}
    figure, grid = _score_curves(content, strata, hours)
    for axes in grid[-1]:
        axes.set_xticks(range(0, 24, 3))
        axes.set_xlim(-0.7, 23.7)
    note = f"The hour is the start of the observation. {_curve_note(content, 'hour')}"
    if any(content.score(content.products[0], "hour", hour) is None for hour in hours):
        note += " Not every UTC hour has data, so each local hour holds other longitudes."
    return style.finish(
        figure,
        credit.line(content),
        name="hours",
        kind="hours",
        title=f"Scores by hour of the day, {content.sample} sample",
        note=note,
        alternative="R, RMSE and MAE of each product by hour of the day, in UTC and local time.",
    )


def _score_curves(
    content: Content, strata: Mapping[str, str], values: Sequence[str]
) -> tuple[Figure, Any]:
    """Return a figure of each headline score over the values of strata, a column a stratum."""
    figure = style.new_figure(7.2, 6.2)
    grid = figure.subplots(len(HEADLINE), len(strata), sharex=True, sharey="row", squeeze=False)
    for place, (stratum, label) in enumerate(strata.items()):
        for axes, (key, metric) in zip(grid[:, place], HEADLINE_METRICS.items(), strict=True):
            _draw_curves(axes, content, stratum, values, key)
            style.dress(axes, y="" if place else metric.header)
            if not any(np.isfinite(line.get_ydata(orig=False)).any() for line in axes.lines):
                axes.set_yticks([])
                style.write_in_middle(axes, "undefined")
        grid[-1, place].set_xlabel(label, fontsize=style.TEXT)
    for axes in grid[1:, 0]:
        axes.set_ylim(bottom=0)
    style.legend_above(grid[0, 0])
    return figure, grid


def _draw_curves(
    axes: Axes, content: Content, stratum: str, values: Sequence[str], key: str
) -> None:
    looks = style.looks(content.products)
    for product in content.products:
        found = [content.score(product, stratum, value) for value in values]
        middle, low, high = (_series(found, name) for name in (key, f"{key}_lo", f"{key}_hi"))
        look = looks[product]
        # A month without data is a gap. A 3-hourly product has no data between its hours, and
        # its points are joined.
        drawn = np.isfinite(middle) if stratum != "month" else np.ones(len(values), dtype=bool)
        x = np.arange(len(values))[drawn]
        axes.fill_between(
            x, low[drawn], high[drawn], color=look.colour, alpha=0.16, linewidth=0, zorder=1
        )
        style.draw_line(axes, x, middle[drawn], look, shortened(product), markersize=3.2, zorder=2)


def _series(rows: Sequence[Mapping[str, Any] | None], key: str) -> Array:
    return np.array([np.nan if row is None else row[key] for row in rows], dtype=np.float64)


def _curve_note(content: Content, stratum: str) -> str:
    table = content.shown[content.shown["stratum"] == stratum]
    without = table[[f"{key}_lo" for key in HEADLINE]].isna().any(axis="columns")
    bands = "Bands: 95 % intervals from leaving out stations."
    if len(table) == 0 or without.all():
        return "No intervals: fewer than 5 stations."
    return f"{bands} Where one is missing there are too few stations." if without.any() else bands


def _month_label(month: str, place: int) -> str:
    year, number = month.split("-")
    letter = _MONTHS[int(number) - 1]
    return f"{letter}\n{year}" if number == "01" or place == 0 else letter


def _r_norm(values: Array) -> Normalize:
    known = values[np.isfinite(values)]
    low = float(np.quantile(known, 0.05)) if len(known) else 0.0
    return Normalize(min(0.5, max(-1.0, np.floor(low * 10) / 10)), 1.0)
