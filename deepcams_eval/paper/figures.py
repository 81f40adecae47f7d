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

from deepcams_eval.paper.content import AnnualMaps, MapSequence, StationYear
from deepcams_eval.report import maps, style
from deepcams_eval.report.wording import UNIT, escape_figure

_WIDTH = 7.2
_WIDE = 1.6
"""Maps wider than so many times their height stand above, not beside each other."""

_KINDS = {
    "reference": ("#0072B2", "o", "reference-grade"),
    "sensor": ("#D55E00", "^", "sensor"),
    "unknown": ("#666666", "s", "unknown kind"),
}


def draw_stations(years: Sequence[StationYear], owed: style.Credit) -> style.Drawing:
    """Return Fig. 1: the stations with pairs, a map a year.

    Parameters
    ----------
    years : sequence of StationYear
        At least one.
    owed : Credit
        Of the data; the coastlines are added.
    """
    latitude, longitude = (
        np.concatenate([getattr(one, name) for one in years]) for name in ("latitude", "longitude")
    )
    extent = maps.extent_about(latitude, longitude)
    figure, grid = _map_panels(len(years), extent, below=1.2)
    for place, (axes, one) in enumerate(zip(grid, years, strict=True)):
        maps.set_extent(axes, extent)
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
        maps.dress(axes, left=place == 0 or _stacked(extent))
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
    extent = means.fine_grid.extent
    figure, panels = _map_panels(3, extent, below=1.0 if _stacked(extent) else 1.75)
    norm = maps.from_zero(means.coarse_mean, means.fine_mean)
    spread = maps.about_zero(means.difference)
    maps.show(panels[0], means.coarse_grid.extent, means.coarse_mean, norm)
    maps.show(panels[1], extent, means.fine_mean, norm)
    maps.show(panels[2], extent, means.difference, spread, maps.DIVERGING)
    names = (means.coarse, means.fine, f"{means.fine} − {means.coarse}")
    for place, (axes, name) in enumerate(zip(panels, names, strict=True)):
        maps.dress(axes, left=place == 0 or _stacked(extent))
        axes.set_title(escape_figure(name), fontsize=style.TEXT)
    side = "right" if _stacked(extent) else "bottom"
    maps.colour_bar(figure, panels[:2], norm, f"PM2.5 ({UNIT})", side=side)
    maps.colour_bar(
        figure,
        panels[2:],
        spread,
        f"difference ({UNIT})",
        colours=maps.DIVERGING,
        extend="both",
        side=side,
    )
    note = (
        f"n = {means.coarse_steps:,} maps of {means.coarse} and {means.fine_steps:,} of "
        f"{means.fine}: all of the {means.days:,} UTC days of {means.year} on which both have a "
        f"map. Difference: what {means.fine} adds to {means.coarse} interpolated bilinearly. "
        f"Colours end at the {maps.ROBUST:g}th percentile."
    )
    if not np.isfinite(means.difference).all():
        note += " Grey: no value."
    return finish(
        figure,
        owed.also(maps.COASTLINES),
        number=8,
        title=f"Mean of {means.year}: {means.coarse}, {means.fine} and their difference",
        note=note,
        alternative="Maps of the annual mean of both products and of their difference.",
    )


def _map_panels(count: int, extent: maps.Extent, *, below: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with some maps, and room of so many inches for what is not a map."""
    shape = maps.shape_of(extent)
    columns = 1 if _stacked(extent) else min(3, count)
    rows = -(-count // columns)
    height = rows * ((_WIDTH - 0.6) / columns / shape + 0.25) + below
    figure = style.new_figure(_WIDTH, min(height, 11.0), layout="compressed")
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def _stacked(extent: maps.Extent) -> bool:
    return maps.shape_of(extent) > _WIDE


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
