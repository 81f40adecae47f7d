"""Which cells of a grid a point lies in or between."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import FloatArray, IntArray
from deepcams_eval.core.field import spacing_deg
from deepcams_eval.errors import InputError

_ROUND_DEG = 9


def find_cells(
    latitude: npt.ArrayLike,
    longitude: npt.ArrayLike,
    grid_latitude: FloatArray,
    grid_longitude: FloatArray,
) -> tuple[IntArray, IntArray]:
    """Return row and column of the cell that contains each point; −1 outside the grid.

    A cell reaches half way to the next centre, and as far beyond the outermost ones; it owns its
    southern and western edge. A row that reaches a pole owns the pole, and longitude is cyclic,
    whatever the convention of either side. A single row or column is as wide as the spacing of
    the other coordinate.

    Parameters
    ----------
    latitude, longitude : array_like, shape (points,)
        Degrees; NaN gives −1.
    grid_latitude, grid_longitude : ndarray
        Centres, ascending or descending, regular or not; longitude in any convention.

    Returns
    -------
    row, column : ndarray of int, shape (points,)
        Both −1 where the point lies outside.

    Raises
    ------
    InputError
        If the grid has a single row and a single column, so that no cell size is known.
    """
    latitude = np.asarray(latitude, dtype=np.float64)
    longitude = np.asarray(longitude, dtype=np.float64)
    if len(grid_latitude) == 1 and len(grid_longitude) == 1:
        raise InputError(
            "a grid of one cell does not tell how large the cell is",
            hint="give at least two rows or columns",
        )
    step = float(np.nanmax(np.abs([spacing_deg(grid_latitude), spacing_deg(grid_longitude)])))
    row = _cell_along(latitude, np.asarray(grid_latitude, dtype=np.float64), step, cyclic=False)
    column = _cell_along(longitude, np.asarray(grid_longitude, dtype=np.float64), step, cyclic=True)
    inside = (row >= 0) & (column >= 0)
    return np.where(inside, row, -1), np.where(inside, column, -1)


def find_corners(
    latitude: FloatArray,
    longitude: FloatArray,
    grid_latitude: FloatArray,
    grid_longitude: FloatArray,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the four centres around each point and their bilinear weights.

    Beyond the outermost centres the nearest one counts, so that nothing is extrapolated; longitude
    is cyclic where the grid closes. Points beyond the grid get weights too: `find_cells` tells
    which they are.

    Parameters
    ----------
    latitude, longitude : ndarray, shape (points,)
        Degrees, without NaN.
    grid_latitude, grid_longitude : ndarray
        Centres in any order; longitude in any convention.

    Returns
    -------
    row, column : ndarray of int, shape (points, 4)
    weight : ndarray, shape (points, 4)
        Rows add up to 1.
    """
    order = np.argsort(grid_latitude)
    south, above, north = _share(latitude, np.asarray(grid_latitude, dtype=np.float64)[order])
    around, turned = _eastward(np.asarray(grid_longitude, dtype=np.float64))
    step = spacing_deg(turned)
    if len(turned) > 1 and turned[0] + 360.0 - turned[-1] < 1.5 * step:
        around, turned = np.append(around, around[0]), np.append(turned, turned[0] + 360.0)
    # A point in the western half of the first cell lies before its centre, not 360° after it.
    width = turned[-1] - turned[0]
    away = (longitude - turned[0]) % 360.0
    away = np.where(away > width + (360.0 - width) / 2, away - 360.0, away)
    west, beyond, east = _share(turned[0] + away, turned)
    rows = np.stack([order[south], order[south], order[above], order[above]], axis=1)
    columns = np.stack([around[west], around[beyond]] * 2, axis=1)
    weight = np.stack(
        [
            (1 - north) * (1 - east),
            (1 - north) * east,
            north * (1 - east),
            north * east,
        ],
        axis=1,
    )
    return rows, columns, weight


def _share(point: FloatArray, centre: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the centres before and after each point, and the share of the way between them."""
    before = np.clip(np.searchsorted(centre, point, side="right") - 1, 0, max(len(centre) - 2, 0))
    after = np.minimum(before + 1, len(centre) - 1)
    step = np.where(after > before, centre[after] - centre[before], 1.0)
    return before, after, np.clip((point - centre[before]) / step, 0.0, 1.0)


def _cell_along(point: FloatArray, centre: FloatArray, step: float, *, cyclic: bool) -> IntArray:
    if cyclic:
        order, centre = _eastward(centre)
    else:
        order = np.argsort(centre)
        centre = centre[order]
    if len(centre) > 1:
        inner = (centre[:-1] + centre[1:]) / 2
        first = centre[0] - (centre[1] - centre[0]) / 2
        last = centre[-1] + (centre[-1] - centre[-2]) / 2
    else:
        inner = np.empty(0)
        first, last = centre[0] - step / 2, centre[0] + step / 2
    # Rounding keeps a point on an edge on that edge, whatever the convention it came in.
    if cyclic:
        width = round(min(last - first, 360.0), _ROUND_DEG)
        away = np.round(point - first, _ROUND_DEG) % 360.0
        index = np.searchsorted(np.round(inner - first, _ROUND_DEG), away, side="right")
        inside = away < width
    else:
        low, high = round(max(first, -90.0), _ROUND_DEG), round(min(last, 90.0), _ROUND_DEG)
        at = np.round(point, _ROUND_DEG)
        index = np.searchsorted(np.round(inner, _ROUND_DEG), at, side="right")
        inside = (at >= low) & ((at < high) | (at == 90.0) & (high == 90.0))
    return np.where(inside, order[np.minimum(index, len(centre) - 1)], -1)


def _eastward(longitude: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return the order in which centres follow eastward from the widest gap, and themselves so."""
    order = np.argsort(longitude % 360.0)
    turned = longitude[order] % 360.0
    gap_before = np.diff(turned, prepend=turned[-1] - 360.0)
    # A grid round the globe has no widest gap but for rounding: it then begins where it is cut.
    start = int(np.argmax(np.round(gap_before, _ROUND_DEG)))
    order = np.roll(order, -start)
    return order, np.unwrap(longitude[order] % 360.0, period=360.0)
