"""The data of Fig. 7: a year at two points, coarse and fine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from deepcams_eval.core.arrays import BoolArray, FloatArray, IntArray, Times
from deepcams_eval.core.grid import find_cells
from deepcams_eval.errors import NoDataError
from deepcams_eval.paper import plan
from deepcams_eval.paper.blocks import Frames, MeanReader, read_once
from deepcams_eval.paper.plan import Place
from deepcams_eval.report.maps import point_in_words


@dataclass(frozen=True, eq=False)
class Line:
    """Stamps and values (n,) of the steps of a product that exist, µg m⁻³; NaN is missing."""

    product: str
    times: Times
    values: FloatArray

    @property
    def known(self) -> int:
        """How many values are not missing."""
        return int(np.isfinite(self.values).sum())


@dataclass(frozen=True, eq=False)
class PointSeries:
    """A year (UTC, by the time stamp) of the cells that contain a point, as in Fig. 7."""

    year: int
    place: Place
    coarse: Line
    fine: Line


class CellReader:
    """Keeps the values of single cells.

    Parameters
    ----------
    wanted : ndarray of bool, shape (time,)
        The frames to be read.
    rows, columns : ndarray of int, shape (cells,)
        Where the cells are.
    """

    def __init__(self, wanted: BoolArray, rows: IntArray, columns: IntArray) -> None:
        self.wanted = wanted
        self._rows, self._columns = rows, columns
        self._values: list[FloatArray] = []
        self._places: list[IntArray] = []

    def take(self, places: IntArray, frames: Frames) -> None:
        """Keep the cells of frames, (time, row, column)."""
        self._values.append(frames[:, self._rows, self._columns])
        self._places.append(places)

    def read(self, times: Times) -> tuple[Times, FloatArray]:
        """Return the stamps read, (steps,), and the values, (steps, cells)."""
        if not self._values:
            return times[:0], np.empty((0, len(self._rows)))
        return times[np.concatenate(self._places)], np.concatenate(self._values)


def cell_reader(field: xr.DataArray, places: Sequence[Place], years: Sequence[int]) -> CellReader:
    """Return a reader of the cells that contain `places`, in some years.

    Raises
    ------
    NoDataError
        If a place lies outside the grid.
    """
    rows, columns = find_cells(
        [one.latitude for one in places],
        [one.longitude for one in places],
        field["latitude"].values,
        field["longitude"].values,
    )
    for place, row in zip(places, rows, strict=True):
        if row < 0:
            raise NoDataError(
                f"the point {place.latitude:g}, {place.longitude:g} lies outside the fine product"
            )
    return CellReader(plan.in_years(field["time"].values, years), rows, columns)


def choose_places(
    coarse: xr.DataArray, fine: xr.DataArray, years: Sequence[int]
) -> tuple[Place, ...]:
    """Return the points of Fig. 7: the paper's where both grids hold them, else substitutes.

    In place of a missing first point stands the coarse cell with the highest mean of `years`, of
    a missing second one that with the largest standard deviation in time which lies at least
    `plan.LEAST_APART_DEG` from the other point in latitude or longitude. The coarse product is
    read once, and only if a substitute is needed.

    Raises
    ------
    NoDataError
        If the coarse product has no value from which to choose.
    """
    grids = [(one["latitude"].values, one["longitude"].values) for one in (coarse, fine)]
    found: list[Place | None] = [
        Place(*point, "The paper's point, in the hemispheres that §3.2 means.")
        if all(plan.lies_on(*point, *grid) for grid in grids)
        else None
        for point in plan.POINTS
    ]
    if None not in found:
        return tuple(place for place in found if place)
    reader = MeanReader(
        plan.in_years(coarse["time"].values, years),
        (coarse.sizes["latitude"], coarse.sizes["longitude"]),
    )
    read_once(coarse, [reader])
    within = _within(coarse, fine)
    span = " and ".join(map(str, years))
    if found[0] is None:
        free = within & _apart(coarse, found[1])
        rule = f"highest mean of {span} of all cells of the coarse product"
        found[0] = _largest(coarse, np.where(free, reader.mean, np.nan), plan.POINTS[0], rule)
    if found[1] is None:
        free = within & _apart(coarse, found[0])
        rule = (
            f"largest standard deviation over {span} of all cells of the coarse product at least "
            f"{plan.LEAST_APART_DEG:g}° from the other point"
        )
        found[1] = _largest(coarse, np.where(free, reader.deviation, np.nan), plan.POINTS[1], rule)
    return tuple(place for place in found if place)


def point_series(
    places: Sequence[Place],
    years: Sequence[int],
    *,
    coarse: tuple[str, xr.DataArray, CellReader],
    fine: tuple[str, xr.DataArray, CellReader],
) -> Iterator[PointSeries]:
    """Yield the series of each place and year from readers that have taken their frames."""
    read = [(name, *reader.read(field["time"].values)) for name, field, reader in (coarse, fine)]
    for number, place in enumerate(places):
        for year in years:
            lines = [
                Line(name, times[inside], values[inside, number])
                for name, times, values in read
                for inside in [plan.in_years(times, [year])]
            ]
            yield PointSeries(year, place, *lines)


def _within(coarse: xr.DataArray, fine: xr.DataArray) -> BoolArray:
    """Return which coarse cells have their centre in a fine one."""
    rows, columns = np.meshgrid(
        coarse["latitude"].values, coarse["longitude"].values, indexing="ij"
    )
    found, _ = find_cells(
        rows.ravel(), columns.ravel(), fine["latitude"].values, fine["longitude"].values
    )
    return np.asarray(found >= 0).reshape(rows.shape)


def _apart(coarse: xr.DataArray, other: Place | None) -> BoolArray:
    rows, columns = coarse["latitude"].values, coarse["longitude"].values
    if other is None:
        return np.ones((len(rows), len(columns)), dtype=bool)
    around = np.abs((columns - other.longitude + 180.0) % 360.0 - 180.0)
    north = np.abs(rows - other.latitude)
    return np.asarray(
        (north[:, None] >= plan.LEAST_APART_DEG) | (around[None, :] >= plan.LEAST_APART_DEG)
    )


def _largest(
    coarse: xr.DataArray, values: FloatArray, asked: tuple[float, float], rule: str
) -> Place:
    if not np.isfinite(values).any():
        raise NoDataError("the coarse product has no value at any cell that a point could be")
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return Place(
        float(coarse["latitude"].values[row]),
        float(coarse["longitude"].values[column]),
        f"{plan.IN_PLACE} {point_in_words(*asked)}, which the data do not hold: {rule}.",
    )
