"""What the figures of the paper have in common: maps with coastlines, colours, captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepcams_eval.paper.content import FloatArray, Grid
from deepcams_eval.report import style
from deepcams_eval.report.coastlines import Extent, draw_coastlines

SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"
ROBUST = 99.5
"""Colours end at this percentile, so that no single cell sets the scale."""

_ABSENT = "#cfcfcf"
_HEMISPHERE_DEG = 90.0


def extent_of(grid: Grid) -> Extent:
    """Return west, east, south and north of the outer edges of a grid's cells, degrees."""
    half_x, half_y = (
        float(nodes[-1] - nodes[0]) / (len(nodes) - 1) / 2
        for nodes in (grid.longitude, grid.latitude)
    )
    return (
        float(grid.longitude[0]) - half_x,
        float(grid.longitude[-1]) + half_x,
        float(grid.latitude[0]) - half_y,
        float(grid.latitude[-1]) + half_y,
    )


def stretch_of(extent: Extent) -> float:
    """Return how many times a degree of latitude is longer on paper than one of longitude.

    True to scale at the middle latitude; a map of more than a hemisphere keeps 1.
    """
    _, _, south, north = extent
    if north - south > _HEMISPHERE_DEG:
        return 1.0
    return float(1.0 / np.cos(np.deg2rad(np.clip((south + north) / 2, -75, 75))))


def shape_of(extent: Extent) -> float:
    """Return width over height of a map on paper."""
    west, east, south, north = extent
    return (east - west) / ((north - south) * stretch_of(extent))


def show_map(
    axes: Axes, grid: Grid, values: FloatArray, norm: Normalize, colours: str = SEQUENTIAL
) -> None:
    """Draw values (rows, columns) on a grid, with the coastlines; NaN is grey."""
    extent = extent_of(grid)
    axes.set_facecolor(_ABSENT)
    axes.imshow(
        np.asarray(values, dtype=np.float64),
        origin="lower",
        extent=extent,
        norm=norm,
        cmap=colormaps[colours],
        interpolation="nearest",
    )
    set_extent(axes, extent)


def set_extent(axes: Axes, extent: Extent) -> None:
    """Give a map its limits, shape and coastlines."""
    west, east, south, north = extent
    axes.set(
        xlim=(west, east), ylim=(max(south, -90.0), min(north, 90.0)), aspect=stretch_of(extent)
    )
    draw_coastlines(axes, extent)


def dress_map(axes: Axes, *, left: bool = True, bottom: bool = True, ticks: int = 4) -> None:
    """Label a map in degrees north and east, on the sides asked for."""
    style.dress(axes, grid=False)
    for axis, names in ((axes.xaxis, "EW"), (axes.yaxis, "NS")):
        axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 3, 5, 6, 9, 10]))
        axis.set_major_formatter(FuncFormatter(lambda at, _, names=names: _degrees(at, names)))
    axes.tick_params(labelsize=style.SMALL, labelbottom=bottom, labelleft=left)


def colour_bar(
    figure: Figure,
    axes: Sequence[Axes],
    norm: Normalize,
    label: str,
    *,
    colours: str = SEQUENTIAL,
    extend: str = "max",
    side: str = "right",
) -> None:
    """Add the colour bar of some maps."""
    bar = figure.colorbar(
        ScalarMappable(norm, colormaps[colours]),
        ax=list(axes),
        location=side,
        extend=extend,
        shrink=0.85,
        pad=0.02,
        aspect=26,
    )
    bar.set_label(label, fontsize=style.TEXT - 0.5)
    bar.ax.tick_params(labelsize=style.SMALL, width=0.5, length=2)
    bar.locator = MaxNLocator(5)
    bar.update_ticks()


def from_zero(maps: Sequence[FloatArray]) -> Normalize:
    """Return a scale from 0 to the robust maximum of all maps."""
    return Normalize(0.0, _robust(np.concatenate([one.ravel() for one in maps])))


def about_zero(values: FloatArray) -> Normalize:
    """Return a scale that is symmetric about 0, to the robust maximum of the absolute values."""
    limit = _robust(np.abs(values))
    return Normalize(-limit, limit)


def _robust(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    top = float(np.percentile(known, ROBUST)) if len(known) else 0.0
    return top if top > 0 else 1.0


def _degrees(value: float, names: Any) -> str:
    if names == "EW":
        # Beyond the date line a map goes on past 180°, its labels do not.
        value = (value + 180.0) % 360.0 - 180.0
    letter = names[0] if value > 0 else names[1] if value < 0 else ""
    return f"{abs(value):g}°{letter}"


def finish(
    figure: Figure,
    *,
    number: int,
    title: str,
    note: str,
    source: str,
    alternative: str,
    synthetic: bool,
) -> style.Drawing:
    """Frame a figure of the paper and return it with its caption, which ends with the source."""
    style.frame(figure, title=title, source=source, synthetic=synthetic, note=note)
    return style.Drawing(
        name=f"fig{number}",
        kind="paper",
        caption=f"Fig. {number}. {title}. {note} {source}",
        alternative=alternative,
        figure=figure,
    )
