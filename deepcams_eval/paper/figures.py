"""The maps of the paper: Figs. 1, 5 and 8.

Figs. 3 and 4 are those of the simulation (`deepcams_eval.bench.figures`), 6 and 7
stand in `deepcams_eval.paper.plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepcams_eval.paper import maps as paper_maps
from deepcams_eval.paper.content import AnnualMaps, FloatArray, MapSequence, StationYear
from deepcams_eval.paper.maps import finish
from deepcams_eval.report import style, wording
from deepcams_eval.report.coastlines import SOURCE, Extent
from deepcams_eval.report.wording import UNIT, escape_figure

_WIDTH = 7.2
_WIDE = 1.6
"""Maps wider than so many times their height stand above, not beside each other."""

_KINDS = {
    "reference": ("#0072B2", "o", "reference-grade"),
    "sensor": ("#D55E00", "^", "sensor"),
    "unknown": ("#666666", "s", "unknown kind"),
}
_LEAST_SPAN_DEG = 6.0


def draw_stations(years: Sequence[StationYear], source: str, *, synthetic: bool) -> style.Drawing:
    """Return Fig. 1: the stations with pairs, a map a year.

    Parameters
    ----------
    years : sequence of StationYear
        At least one.
    source : str
        Whom the observations are owed to.
    synthetic : bool
        Whether they are made up.
    """
    extent = _station_extent(
        np.concatenate([one.longitude for one in years]),
        np.concatenate([one.latitude for one in years]),
    )
    figure, grid = _map_panels(len(years), extent, below=1.2)
    for place, (axes, one) in enumerate(zip(grid, years, strict=True)):
        paper_maps.set_extent(axes, extent)
        size = float(np.clip(2200.0 / max(len(one.kind), 1), 3.0, 12.0))
        for kind, (colour, marker, _) in _KINDS.items():
            mine = one.kind == kind
            axes.scatter(
                one.longitude[mine],
                one.latitude[mine],
                s=size,
                color=colour,
                marker=marker,
                linewidths=0.25,
                edgecolors="white",
                zorder=3,
            )
        paper_maps.dress_map(axes, left=place == 0 or _stacked(extent))
        axes.set_title(
            f"{one.year}: {len(one.kind):,} stations, {one.pairs:,} pairs",
            fontsize=style.TEXT,
            pad=4 if place and _stacked(extent) else 18,
        )
    _kind_legend(grid[0], years)
    lost = max(int(np.isnan(one.latitude).sum()) for one in years)
    total = ", ".join(f"{len(one.kind):,} in {one.year}" for one in years)
    note = f"n: stations with at least one pair of the sample shown, {total}."
    if lost:
        note += f" Up to {lost:,} a year have no coordinates and are not drawn."
    return finish(
        figure,
        number=1,
        title="Stations with pairs, by year",
        note=note,
        source=f"{source} {SOURCE}.",
        alternative="A map of the stations for each year.",
        synthetic=synthetic,
    )


def draw_sequences(
    sequences: Sequence[MapSequence], source: str, *, synthetic: bool
) -> style.Drawing:
    """Return Fig. 5: two coarse maps above the four fine ones of the same three hours.

    Parameters
    ----------
    sequences : sequence of MapSequence
        At least one.
    source, synthetic
        As in `draw_stations`.
    """
    shapes = [paper_maps.shape_of(paper_maps.extent_of(one.fine.grid)) for one in sequences]
    height = sum(2 * (1.37 / float(np.clip(shape, 0.6, 2.5)) + 0.22) for shape in shapes)
    figure = style.new_figure(_WIDTH, height + 1.35 + 0.22 * len(sequences), layout="compressed")
    grid = figure.subplots(2 * len(sequences), 4, squeeze=False)
    for place, one in enumerate(sequences):
        _draw_sequence(figure, grid[2 * place : 2 * place + 2], one, "abcd"[place])
    notes = [
        f"({'abcd'[place]}) {_box_words(one.box)}; mean change {one.change:.3g} {UNIT}. {one.rule}"
        for place, one in enumerate(sequences)
    ]
    fine, coarse = sequences[0].fine.product, sequences[0].coarse.product
    note = (
        f"n = {2 * len(sequences)} maps of {coarse} and {4 * len(sequences)} of {fine}. "
        f"{' '.join(notes)} Colours end at the {paper_maps.ROBUST:g}th percentile of each "
        "sequence."
    )
    return finish(
        figure,
        number=5,
        title=f"{coarse} every three hours and {fine} every hour",
        note=note,
        source=f"{source} {SOURCE}.",
        alternative="For each sequence two coarse maps and, below, four fine ones.",
        synthetic=synthetic,
    )


def _draw_sequence(figure: Figure, rows: Any, one: MapSequence, letter: str) -> None:
    norm = paper_maps.from_zero([one.coarse.values, one.fine.values])
    top = {0: 0, 3: 1}
    for place, axes in enumerate(rows[0]):
        if place not in top:
            axes.set_axis_off()
            axes.text(
                0.5,
                0.5,
                f"no map\nof {escape_figure(one.coarse.product)}",
                transform=axes.transAxes,
                ha="center",
                va="center",
                fontsize=style.SMALL,
                color="#6a6a6a",
            )
            continue
        paper_maps.show_map(axes, one.coarse.grid, one.coarse.values[top[place]], norm)
        paper_maps.dress_map(axes, left=place == 0, bottom=False, ticks=3)
        axes.set_title(_moment(one.coarse.times[top[place]]), fontsize=style.SMALL + 0.5)
    for place, axes in enumerate(rows[1]):
        paper_maps.show_map(axes, one.fine.grid, one.fine.values[place], norm)
        paper_maps.dress_map(axes, left=place == 0, ticks=3)
        axes.set_title(_moment(one.fine.times[place]), fontsize=style.SMALL + 0.5)
    for axes, part in zip(rows[:, 0], (one.coarse, one.fine), strict=True):
        axes.set_ylabel(
            escape_figure(f"({letter}) {part.product}"), fontsize=style.TEXT, fontweight="bold"
        )
    paper_maps.colour_bar(figure, rows.ravel().tolist(), norm, f"PM2.5 ({UNIT})")


def draw_annual(maps: AnnualMaps, source: str, *, synthetic: bool) -> style.Drawing:
    """Return Fig. 8: annual means, coarse and fine on one scale, and their difference.

    Parameters
    ----------
    maps : AnnualMaps
    source, synthetic
        As in `draw_stations`.
    """
    extent = paper_maps.extent_of(maps.fine_grid)
    figure, panels = _map_panels(3, extent, below=1.0 if _stacked(extent) else 1.75)
    norm = paper_maps.from_zero([maps.coarse_mean, maps.fine_mean])
    spread = paper_maps.about_zero(maps.difference)
    paper_maps.show_map(panels[0], maps.coarse_grid, maps.coarse_mean, norm)
    paper_maps.show_map(panels[1], maps.fine_grid, maps.fine_mean, norm)
    paper_maps.show_map(
        panels[2], maps.fine_grid, maps.difference, spread, colours=paper_maps.DIVERGING
    )
    names = (maps.coarse, maps.fine, f"{maps.fine} − {maps.coarse}")
    for place, (axes, name) in enumerate(zip(panels, names, strict=True)):
        paper_maps.dress_map(axes, left=place == 0 or _stacked(extent))
        axes.set_title(escape_figure(name), fontsize=style.TEXT)
    side = "right" if _stacked(extent) else "bottom"
    paper_maps.colour_bar(figure, panels[:2], norm, f"PM2.5 ({UNIT})", side=side)
    paper_maps.colour_bar(
        figure,
        panels[2:],
        spread,
        f"difference ({UNIT})",
        colours=paper_maps.DIVERGING,
        extend="both",
        side=side,
    )
    note = (
        f"n = {maps.coarse_steps:,} maps of {maps.coarse} and {maps.fine_steps:,} of {maps.fine}: "
        f"all of the {maps.days:,} UTC days of {maps.year} on which both have a map. Difference: "
        f"what {maps.fine} adds to {maps.coarse} interpolated bilinearly. Colours end at the "
        f"{paper_maps.ROBUST:g}th percentile."
    )
    if not np.isfinite(maps.difference).all():
        note += " Grey: no value."
    return finish(
        figure,
        number=8,
        title=f"Mean of {maps.year}: {maps.coarse}, {maps.fine} and their difference",
        note=note,
        source=f"{source} {SOURCE}.",
        alternative="Maps of the annual mean of both products and of their difference.",
        synthetic=synthetic,
    )


def _map_panels(count: int, extent: Extent, *, below: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with some maps, and room of so many inches for what is not a map."""
    shape = paper_maps.shape_of(extent)
    columns = 1 if _stacked(extent) else min(3, count)
    rows = -(-count // columns)
    height = rows * ((_WIDTH - 0.6) / columns / shape + 0.25) + below
    figure = style.new_figure(_WIDTH, min(height, 11.0), layout="compressed")
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def _stacked(extent: Extent) -> bool:
    return paper_maps.shape_of(extent) > _WIDE


def _station_extent(longitude: FloatArray, latitude: FloatArray) -> Extent:
    known = np.isfinite(longitude) & np.isfinite(latitude)
    if not known.any():
        return -180.0, 180.0, -60.0, 85.0
    west, east = _widened(longitude[known])
    south, north = _widened(latitude[known])
    if east - west > 180.0:
        west, east = -180.0, 180.0
    return max(west, -180.0), min(east, 180.0), max(south, -90.0), min(north, 90.0)


def _widened(values: FloatArray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = max(0.06 * (high - low), (_LEAST_SPAN_DEG - (high - low)) / 2)
    return low - margin, high + margin


def _kind_legend(axes: Axes, years: Sequence[StationYear]) -> None:
    present = {str(kind) for one in years for kind in one.kind}
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


def _moment(time: np.datetime64) -> str:
    return f"{str(time.astype('datetime64[m]')).replace('T', ' ')} UTC"


def _box_words(box: tuple[float, float, float, float]) -> str:
    west, south, east, north = box
    return wording.typographic(f"{west:g}° to {east:g}° E, {south:g}° to {north:g}° N")
