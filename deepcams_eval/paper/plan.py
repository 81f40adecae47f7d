"""What the paper shows, and what takes the place of a date or point that the data lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepcams_eval.core.arrays import FloatArray, Times
from deepcams_eval.core.field import TIME_DTYPE
from deepcams_eval.core.grid import find_cells

SEQUENCES = (np.datetime64("2010-04-15T00:00", "us"), np.datetime64("2020-06-15T15:00", "us"))
"""Fig. 5: the first hour of each sequence, UTC."""

POINTS = ((-33.0, -72.0), (41.0, 105.0))
"""Fig. 7: latitude and longitude. §3.2 of the paper prints the hemispheres the other way round
("South America: 33°N", "Asia: 41°S, 105°W"), which gives no point in either continent."""

SERIES_YEARS = (2017, 2019)
"""Fig. 7: the years."""

HOUR = np.timedelta64(3_600_000_000, "us")
INTERVAL = 3 * HOUR

IN_PLACE = "In place of the paper's"
"""How the rule of a substitute begins."""

LEAST_APART_DEG = 5.0
"""Distance along a coordinate between two points that take the place of the paper's."""


@dataclass(frozen=True)
class Place:
    """A point of Fig. 7 and why it was chosen; degrees."""

    latitude: float
    longitude: float
    rule: str


def intervals(coarse: Times, fine: Times | None) -> Times:
    """Return the first hour of each three hours that a sequence can show.

    Parameters
    ----------
    coarse : ndarray of datetime64
        Stamps of the coarse product; it has both ends of the interval.
    fine : ndarray of datetime64 or None
        Stamps of the fine product, which has all four hours; None if it is made of the coarse one.
    """
    coarse = coarse.astype(TIME_DTYPE)
    possible = np.isin(coarse + INTERVAL, coarse)
    if fine is not None:
        fine = fine.astype(TIME_DTYPE)
        for hour in range(4):
            possible &= np.isin(coarse + hour * HOUR, fine)
    return np.asarray(coarse[possible])


def in_years(times: Times, years: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which stamps lie in one of `years`; 00:00 on 1 January belongs to the new year."""
    return np.isin(times.astype("datetime64[Y]").astype(int) + 1970, list(years))


def years_of(times: Times) -> tuple[int, ...]:
    """Return the years with more than their first instant, ascending."""
    begins = times == times.astype("datetime64[Y]")
    return tuple(
        int(y) + 1970 for y in np.unique(times[~begins].astype("datetime64[Y]").astype(int))
    )


def series_years(coarse: Times, fine: Times) -> tuple[int, ...]:
    """Return the paper's years if both products have them, else the first and last they share."""
    shared = sorted(set(years_of(coarse)) & set(years_of(fine)))
    if set(SERIES_YEARS) <= set(shared) or not shared:
        return tuple(year for year in SERIES_YEARS if year in shared)
    return tuple(dict.fromkeys((shared[0], shared[-1])))


def days_of_both(coarse: Times, fine: Times, year: int) -> Times:
    """Return the UTC days of a year on which both products have a step, ascending."""
    first, second = (
        times[in_years(times, [year])].astype("datetime64[D]") for times in (coarse, fine)
    )
    return np.asarray(np.intersect1d(first, second))


def lies_on(latitude: float, longitude: float, rows: FloatArray, columns: FloatArray) -> bool:
    """Return whether a cell of a grid contains a point."""
    return bool(find_cells([latitude], [longitude], rows, columns)[0][0] >= 0)
