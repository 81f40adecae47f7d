"""Maps: coastlines, extents, colours and labels of whatever is drawn by longitude and latitude.

The coastlines are those of Natural Earth at 1:50 million (public domain), which lie beside this
module; ``benchmarks/coastlines.py`` made the file and says what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import shapely
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.report import style
from deepcams_eval.report.wording import escape_figure

COASTLINES = "Coastlines: Natural Earth, 1:50 million"
"""What a map with coastlines owes them to."""

SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
ROBUST = 99.5
"""Colours end at this percentile, so that no single cell sets the scale."""

Lines = list[npt.NDArray[np.float64]]
Extent = tuple[float, float, float, float]
"""West, east, south, north, degrees; west < east, which may lie beyond 180°."""

_PRINTED = 2400
"""A line on paper moves by no more than the width of the map over this."""

_LINE: dict[str, Any] = {"colors": "#222222", "linewidths": 0.5, "zorder": 2.2}
_HALO: dict[str, Any] = {"colors": "#ffffff", "linewidths": 1.1, "alpha": 0.55, "zorder": 2.1}
"""Below the line, so that it is seen on dark colours too."""

_MISSING = "#cfcfcf"
_HEMISPHERE_DEG = 90.0
_MARGIN, _LEAST_SPAN_DEG = 0.06, 4.0
_WIDTH = 7.2
_WIDE = 1.6
"""Maps wider than so many times their height stand above, not beside, each other."""


def coastlines(extent: Extent, across: float = _PRINTED) -> Lines:
    """Return the coastlines in a box, as fine as its map can show.

    Parameters
    ----------
    extent : tuple of float
        At most 360° wide, within 360° of the meridian of Greenwich.
    across : float
        A line moves by at most the width of the box over this; islands smaller than two of these
        are left out.

    Returns
    -------
    list of ndarray, shape (points, 2)
        Longitude, in the range of `extent`, and latitude of each line.
    """
    west, east, south, north = extent
    tolerance = (east - west) / across
    parts = []
    for turn in (-360.0, 0.0, 360.0):
        clipped = shapely.clip_by_rect(_world(), west - turn, south, east - turn, north)
        lines = shapely.simplify(shapely.get_parts(clipped), tolerance)
        parts += [shapely.get_coordinates(line) + np.array((turn, 0.0)) for line in lines]
    return [line for line in parts if np.ptp(line, axis=0).max(initial=0.0) > 2 * tolerance]


@cache
def _world() -> npt.NDArray[np.object_]:
    file = resources.files("deepcams_eval.report").joinpath("coastlines.npz")
    with file.open("rb") as stream, np.load(stream) as kept:
        lines = np.split(kept["steps"], np.cumsum(kept["points"])[:-1])
    return np.array([shapely.LineString(np.cumsum(line, axis=0) / 100) for line in lines])


def draw_coastlines(axes: Axes, extent: Extent) -> None:
    """Draw the coastlines in a box; the limits of the axes stay as they are."""
    limits = axes.get_xlim(), axes.get_ylim()
    lines = coastlines(extent)
    for look in (_HALO, _LINE):
        axes.add_collection(LineCollection(lines, **look), autolim=False)
    axes.set(xlim=limits[0], ylim=limits[1])


def half_cell(nodes: FloatArray) -> float:
    """Return half the spacing of evenly spaced centres."""
    return float(nodes[-1] - nodes[0]) / (len(nodes) - 1) / 2


def extent_of(latitude: FloatArray, longitude: FloatArray) -> Extent:
    """Return the outer edges of cells with these centres, ascending."""
    x, y = half_cell(longitude), half_cell(latitude)
    return (
        float(longitude[0]) - x,
        float(longitude[-1]) + x,
        float(latitude[0]) - y,
        float(latitude[-1]) + y,
    )


def extent_about(latitude: FloatArray, longitude: FloatArray) -> Extent:
    """Return a box with room about places, the world if there are none; NaN is left out.

    It is never higher than wide nor narrower than a third, so that a single station or a chain of
    them has a background.
    """
    known = np.isfinite(latitude) & np.isfinite(longitude)
    if not known.any():
        return -180.0, 180.0, -80.0, 80.0
    south, north = _widened(latitude[known], _LEAST_SPAN_DEG)
    stretch = _stretch_at(south, north)
    west, east = _widened(longitude[known], max(_LEAST_SPAN_DEG, 1.3 * stretch * (north - south)))
    south, north = _widened(latitude[known], max(north - south, (east - west) / (3 * stretch)))
    return max(west, -180.0), min(east, 180.0), max(south, -88.0), min(north, 88.0)


def _widened(values: FloatArray, least: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = max(_MARGIN * (high - low), (least - (high - low)) / 2)
    return low - margin, high + margin


def _stretch_at(south: float, north: float) -> float:
    return float(1.0 / np.cos(np.deg2rad(np.clip((south + north) / 2, -75, 75))))


def stretch_of(extent: Extent) -> float:
    """Return how many times a degree of latitude is longer on paper than one of longitude.

    True to scale at the middle latitude; a map of more than a hemisphere keeps 1.
    """
    _, _, south, north = extent
    return 1.0 if north - south > _HEMISPHERE_DEG else _stretch_at(south, north)


def shape_of(extent: Extent) -> float:
    """Return width over height of a map on paper."""
    west, east, south, north = extent
    return (east - west) / ((north - south) * stretch_of(extent))


def set_extent(axes: Axes, extent: Extent) -> None:
    """Give a map its limits, shape and coastlines; what lies beyond the poles is cut off."""
    west, east, south, north = extent
    south, north = max(south, -90.0), min(north, 90.0)
    axes.set(xlim=(west, east), ylim=(south, north), aspect=stretch_of(extent))
    draw_coastlines(axes, (west, east, south, north))


def show(
    axes: Axes, extent: Extent, values: Any, norm: Normalize, colours: str = SEQUENTIAL
) -> None:
    """Draw values (rows, columns) in a box, with the coastlines; NaN is grey."""
    axes.set_facecolor(_MISSING)
    axes.imshow(
        np.asarray(values, dtype=np.float64),
        origin="lower",
        extent=extent,
        norm=norm,
        cmap=colormaps[colours],
    )
    set_extent(axes, extent)


def dress(axes: Axes, *, left: bool = True, bottom: bool = True, ticks: int = 4) -> None:
    """Label a map in degrees north and east, on the sides asked for."""
    style.dress(axes, grid=False)
    for axis, label in ((axes.xaxis, _east), (axes.yaxis, _north)):
        # Few ticks are for maps as wide as the world too, which steps of 90° suit.
        steps = [1, 2, 3, 5, 6, 9, 10] if ticks < 6 else [1, 2, 3, 5, 6, 10]
        axis.set_major_locator(MaxNLocator(ticks, steps=steps))
        axis.set_major_formatter(FuncFormatter(label))
    axes.tick_params(labelsize=style.SMALL, labelbottom=bottom, labelleft=left)


def _east(value: float, _: int | None = None) -> str:
    # Beyond the date line a map goes on past 180°, its labels do not.
    value = (value + 180.0) % 360.0 - 180.0
    letter = "" if value in (0.0, -180.0) else "E" if value > 0 else "W"
    return f"{abs(value):g}°{letter}"


def _north(value: float, _: int | None = None) -> str:
    return f"{abs(value):g}°{'' if value == 0 else 'N' if value > 0 else 'S'}"


def point_in_words(latitude: float, longitude: float) -> str:
    """Return a place as it is read: ``33°S 72°W``."""
    return f"{_north(latitude)} {_east(longitude)}"


def box_in_words(box: tuple[float, float, float, float], between: str = ", ") -> str:
    """Return west, south, east and north as they are read: ``10°W to 5°E, 40°N to 50°N``."""
    west, south, east, north = box
    return f"{_east(west)} to {_east(east)}{between}{_north(south)} to {_north(north)}"


def colour_bar(
    figure: Figure,
    axes: Sequence[Axes],
    norm: Normalize,
    label: str,
    *,
    colours: str = SEQUENTIAL,
    extend: Literal["neither", "both", "min", "max"] = "max",
    side: str = "right",
    bins: int = 5,
) -> None:
    """Add the colour bar of some maps; one beside several others is as thick as theirs."""
    alone = len(axes) == 1 < len(figure.axes)
    bar = figure.colorbar(
        ScalarMappable(norm, colormaps[colours]),
        ax=list(axes),
        location=side,
        extend=extend,
        shrink=0.8,
        pad=0.02,
        aspect=14 if alone else 30,
    )
    bar.set_label(label, fontsize=style.TEXT - 0.5)
    bar.ax.tick_params(labelsize=style.SMALL, width=0.5, length=2)
    bar.locator = MaxNLocator(bins)
    bar.update_ticks()


def from_zero(*maps: FloatArray) -> Normalize:
    """Return a scale from 0 to the robust maximum of all maps."""
    return Normalize(0.0, _robust(maps))


def about_zero(*maps: FloatArray) -> Normalize:
    """Return a scale that is symmetric about 0, to the robust maximum of the absolute values."""
    limit = _robust([np.abs(one) for one in maps])
    return Normalize(-limit, limit)


def _robust(maps: Sequence[FloatArray]) -> float:
    values = np.concatenate([np.ravel(one) for one in maps])
    known = values[np.isfinite(values)]
    top = float(np.percentile(known, ROBUST)) if len(known) else 0.0
    return top if top > 0 else 1.0


def panels(count: int, extent: Extent, *, below: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of some maps of one extent, beside each other or, if wide, in a column.

    Parameters
    ----------
    count : int
        Number of maps.
    extent : tuple of float
        Of each.
    below : float
        Inches for what is no map: title, colour bars and notes.
    """
    columns = 1 if stacked(extent) else min(3, count)
    rows = -(-count // columns)
    height = rows * ((_WIDTH - 0.6) / columns / shape_of(extent) + 0.25) + below
    figure = style.new_figure(_WIDTH, min(height, 11.0), layout="compressed")
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for place, axes in enumerate(grid):
        axes.set_visible(place < count)
        dress(axes, left=place == 0 or columns == 1)
    return figure, grid[:count]


def stacked(extent: Extent) -> bool:
    """Return whether maps of an extent stand above, not beside, each other."""
    return shape_of(extent) > _WIDE


def compare(
    shown: Sequence[tuple[str, Extent, FloatArray]], *, label: str, difference: str
) -> Figure:
    """Return three maps: two on one scale from 0, and what is between them on another.

    Parameters
    ----------
    shown : sequence of (str, tuple of float, ndarray)
        Name, extent and values (rows, columns) of both maps and of their difference.
    label, difference : str
        What the two colour bars say.
    """
    (_, _, first), (_, _, second), (_, extent, apart) = shown
    figure, grid = panels(3, extent, below=1.0 if stacked(extent) else 1.75)
    scale, spread = from_zero(first, second), about_zero(apart)
    looks = ((scale, SEQUENTIAL), (scale, SEQUENTIAL), (spread, DIVERGING))
    for axes, (name, box, values), (norm, colours) in zip(grid, shown, looks, strict=True):
        show(axes, box, values, norm, colours)
        axes.set_title(escape_figure(name), fontsize=style.TEXT)
    side = "right" if stacked(extent) else "bottom"
    colour_bar(figure, grid[:2], scale, label, side=side)
    colour_bar(figure, grid[2:], spread, difference, colours=DIVERGING, extend="both", side=side)
    return figure
