"""The data of Fig. 5: three hours in a region, coarse and fine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from deepcams_eval.bench.frame_scores import box_cells, largest_box
from deepcams_eval.core.arrays import BoolArray, FloatArray, IntArray, Times
from deepcams_eval.core.field import TIME_DTYPE
from deepcams_eval.downscale import Coarse, Target, registry
from deepcams_eval.downscale.degrade import degradation
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.paper import plan
from deepcams_eval.paper.annual import Grid
from deepcams_eval.paper.blocks import Frames, read_once

NETWORKS = "xvfi+abpn"
"""The methods of the paper, by the names under which they are registered."""

_MARGIN_CELLS = 8
"""Coarse cells about the box that a method sees as well."""

Box = tuple[float, float, float, float]

Finer = Callable[[xr.DataArray, Times], xr.DataArray]
"""Makes the hours asked for, on the fine grid, from coarse frames in memory."""


@dataclass(frozen=True, eq=False)
class SequencePart:
    """The maps of one product in a box: ``values`` (time, row, column) in µg m⁻³, NaN missing."""

    product: str
    times: Times
    grid: Grid
    values: FloatArray


@dataclass(frozen=True, eq=False)
class MapSequence:
    """Three hours in a box, for a figure in the manner of Fig. 5.

    Attributes
    ----------
    coarse, fine : SequencePart
        Two maps three hours apart, and the four hours that they enclose.
    box : tuple of float
        West, south, east, north, outer edges of the coarse cells, degrees.
    rule : str
        Why this date and this box, a sentence.
    change : float
        Mean absolute change of the coarse map in the box over the three hours, µg m⁻³.
    """

    coarse: SequencePart
    fine: SequencePart
    box: Box
    rule: str
    change: float


@dataclass(frozen=True)
class Episode:
    """Three hours and the box of them in which the coarse product changes most.

    ``start`` is the first hour; ``row`` and ``column`` are those of the middle of the box;
    ``change`` is the mean absolute change in it, µg m⁻³.
    """

    start: np.datetime64
    row: int
    column: int
    change: float


class ChangeReader:
    """Finds the box with the largest mean absolute change over three hours, in each month.

    Parameters
    ----------
    field : xarray.DataArray
        The coarse Field.
    starts : ndarray of datetime64
        The first hours of the intervals that count.
    """

    def __init__(self, field: xr.DataArray, starts: Times) -> None:
        self._times = field["time"].values.astype(TIME_DTYPE)
        self._starts = np.isin(self._times, starts)
        self.wanted: BoolArray = self._starts | np.isin(self._times, starts + plan.INTERVAL)
        self._box = box_cells(field["latitude"].values, field["longitude"].values)
        self._before: tuple[int, Frames] | None = None
        self._best: dict[str, Episode] = {}

    def take(self, places: IntArray, frames: Frames) -> None:
        """Compare each frame with the one before it."""
        for place, frame in zip(places.tolist(), frames, strict=True):
            if self._before is not None:
                self._compare(*self._before, place, frame)
            self._before = place, frame

    def strongest(self, count: int, taken: Sequence[np.datetime64] = ()) -> list[Episode]:
        """Return the strongest episodes of different months, none of the months `taken`."""
        months = {_month(start) for start in taken}
        free = [one for month, one in self._best.items() if month not in months]
        return sorted(free, key=lambda one: -one.change)[:count]

    def _compare(self, first: int, before: Frames, second: int, after: Frames) -> None:
        start = self._times[first]
        if not self._starts[first] or self._times[second] - start != plan.INTERVAL:
            return
        change, row, column = largest_box(np.abs(after - before), self._box)
        month = _month(start)
        if month not in self._best or change > self._best[month].change:
            self._best[month] = Episode(start, row, column, change)


def choose_episodes(
    coarse: xr.DataArray, fine_times: Times | None, years: Sequence[int]
) -> list[tuple[Episode, str]]:
    """Return the episodes of Fig. 5 and why each was chosen.

    They are the paper's dates where both products have them, each in the box where the coarse
    product changes most; in place of a missing date stands the interval, and the box, with the
    largest mean absolute change of all in `years` and in a month that is not shown yet.

    Parameters
    ----------
    coarse : xarray.DataArray
        Lazy Field of points, read once at most.
    fine_times : ndarray of datetime64 or None
        Stamps of the fine product; None if it is made of the coarse one.
    years : sequence of int
        Years in which a substitute is looked for.

    Raises
    ------
    NoDataError
        If there are no three hours of which both have all maps.
    """
    possible = plan.intervals(coarse["time"].values, fine_times)
    found: list[tuple[Episode, str]] = []
    missing: list[np.datetime64] = []
    for date in plan.SEQUENCES:
        if date not in possible:
            missing.append(date)
            continue
        reader = ChangeReader(coarse, np.array([date]))
        read_once(coarse, [reader])
        rule = "The paper's date, in the box in which the coarse product changes most."
        found += [(one, rule) for one in reader.strongest(1)]
    if missing:
        searched = possible[plan.in_years(possible, years)]
        if not len(searched) and not found:
            raise NoDataError("no three hours have all maps of the coarse and the fine product")
        reader = ChangeReader(coarse, searched)
        read_once(coarse, [reader])
        strongest = reader.strongest(len(missing), [one.start for one, _ in found])
        in_order = sorted(strongest, key=lambda one: one.start)
        for episode, asked in zip(in_order, missing, strict=False):
            found.append((episode, _substitute(asked, len(searched), years)))
    return sorted(found, key=lambda one: one[0].start)


def _substitute(date: np.datetime64, searched: int, years: Sequence[int]) -> str:
    span = f"{years[0]}" if len(years) == 1 else f"{years[0]}–{years[-1]}"
    day = str(date.astype("datetime64[m]")).replace("T", " ")
    return (
        f"{plan.IN_PLACE} {day} UTC, which the data lack: the three hours and the box with "
        f"the largest change of the coarse product, of all boxes of this size and all {searched:,} "
        f"intervals of {span}, one a month at most."
    )


def map_sequence(
    episode: Episode,
    rule: str,
    *,
    coarse: tuple[str, xr.DataArray],
    fine: tuple[str, xr.DataArray | Finer],
) -> MapSequence:
    """Return the maps of an episode in its box.

    Parameters
    ----------
    episode : Episode
        Which.
    rule : str
        Why it was chosen.
    coarse : tuple
        Name and lazy Field.
    fine : tuple
        Name, and either a lazy Field or what makes the hours from the coarse frames.
    """
    field = coarse[1]
    cells = box_cells(field["latitude"].values, field["longitude"].values)
    rows = _around(episode.row, cells.height // 2, field.sizes["latitude"])
    columns = _around(episode.column, cells.width // 2, field.sizes["longitude"])
    box = _edges(field["latitude"].values[rows], field["longitude"].values[columns])
    hours = episode.start + np.arange(4) * plan.HOUR
    if callable(fine[1]):
        hourly = fine[1](_near(field, episode, cells.height // 2, cells.width // 2), hours)
    else:
        hourly = fine[1].sel(time=hours)
    west, south, east, north = box
    inside = hourly.sel(latitude=slice(south, north), longitude=slice(west, east))
    frames = field.sel(time=hours[[0, 3]]).isel(latitude=rows, longitude=columns)
    return MapSequence(
        coarse=_part(coarse[0], frames),
        fine=_part(fine[0], inside),
        box=box,
        rule=rule,
        change=episode.change,
    )


def network() -> Finer | None:
    """Return what applies the networks of the paper to CAMS, None if they cannot run here."""
    try:
        method = registry.load("joint", [NETWORKS]).methods[0]
    except InputError:
        return None
    operator = degradation("node")

    def finer(frames: xr.DataArray, hours: Times) -> xr.DataArray:
        target = Target(hours, *operator.fine_grid(frames), "point")
        return method.call(Coarse(frames.compute(), operator), target)

    return finer


def _near(field: xr.DataArray, episode: Episode, half_rows: int, half_columns: int) -> xr.DataArray:
    """Return the frames of an episode, and one more each way, in a wider box."""
    around = episode.start + np.arange(-1, 3) * plan.INTERVAL
    there = np.isin(field["time"].values.astype(TIME_DTYPE), around)
    margin = _MARGIN_CELLS
    return field.isel(
        time=np.flatnonzero(there),
        latitude=_around(episode.row, half_rows + margin, field.sizes["latitude"]),
        longitude=_around(episode.column, half_columns + margin, field.sizes["longitude"]),
    )


def _month(time: np.datetime64) -> str:
    return str(time)[:7]


def _around(middle: int, half: int, count: int) -> slice:
    return slice(max(0, middle - half), min(count, middle + half + 1))


def _edges(latitude: Frames, longitude: Frames) -> Box:
    half_y = float(latitude[1] - latitude[0]) / 2
    half_x = float(longitude[1] - longitude[0]) / 2
    return (
        float(longitude[0]) - half_x,
        float(latitude[0]) - half_y,
        float(longitude[-1]) + half_x,
        float(latitude[-1]) + half_y,
    )


def _part(name: str, field: xr.DataArray) -> SequencePart:
    return SequencePart(
        product=name,
        times=field["time"].values.astype(TIME_DTYPE),
        grid=Grid(field["latitude"].values, field["longitude"].values),
        values=field.to_numpy(),
    )
