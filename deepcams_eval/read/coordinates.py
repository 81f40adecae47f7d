"""Coordinates of gridded files, in space and time, brought to those of a Field."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import FloatArray, IntArray, Times
from deepcams_eval.core.field import TIME_DTYPE
from deepcams_eval.errors import InputError

_SHIFTS = {"node-north": 0.0, "node-south": 1.0, "centre": 0.5}
REGISTRATIONS = tuple(_SHIFTS)

_CALENDARS = frozenset({"standard", "gregorian", "proleptic_gregorian"})
_NAME_TIME = re.compile(
    r"(?<!\d)((?:19|20)\d{2})([-_.]?)(\d{2})\2(\d{2})[T_.-]?(\d{2})(?:[:_h.-]?(\d{2}))?z?(?!\d)",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Grid:
    """Coordinates of a Field (degrees, ascending) and where its rows and columns are stored."""

    latitude: FloatArray
    longitude: FloatArray  # in [−180, 180)
    rows: IntArray  # stored index of each latitude
    columns: IntArray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.latitude), len(self.longitude)

    def same_place(self, other: Grid) -> bool:
        """Return whether both describe the same cells, in whatever stored order."""
        return self.shape == other.shape and all(
            np.allclose(mine, theirs, rtol=0, atol=1e-4)
            for mine, theirs in (
                (self.latitude, other.latitude),
                (self.longitude, other.longitude),
            )
        )

    def same_order(self, other: Grid) -> bool:
        """Return whether both are stored alike as well."""
        return np.array_equal(self.rows, other.rows) and np.array_equal(self.columns, other.columns)

    def __str__(self) -> str:
        latitude, longitude = self.latitude, self.longitude
        return (
            f"{len(latitude)} x {len(longitude)},"
            f" latitude {latitude[0]:g} to {latitude[-1]:g},"
            f" longitude {longitude[0]:g} to {longitude[-1]:g}"
        )


def bare_grid(
    shape: tuple[int, int], registration: str | None, label: str
) -> tuple[Grid, tuple[str, ...]]:
    """Return the grid of a global map without coordinates, and what was assumed.

    Rows run from 90N, columns from 180W. With columns = 2 (rows − 1), rows are nodes from pole to
    pole, as in 241×480 and 721×1440. With columns = 2 rows, as in 720×1440, `registration`
    decides: ``node-north`` (the default) drops the South Pole, ``node-south`` the North Pole, and
    ``centre`` has half-pixel cells in both directions, with their edges at 90N and 180W.

    Raises
    ------
    InputError
        If `shape` is none of the two, or `registration` is given where there is no choice; it
        names the file, `label`.
    """
    rows, columns = shape
    longitude = -180 + np.arange(columns) * 360 / columns
    if columns == 2 * (rows - 1) and rows > 1:
        if registration is not None:
            raise InputError(
                f"has {rows} rows, nodes from pole to pole",
                path=label,
                hint=f"leave registration={registration} out, it is for {rows - 1} rows",
            )
        return normalise_grid(90 - np.arange(rows) * 180 / (rows - 1), longitude, label)
    if columns != 2 * rows:
        raise InputError(
            f"is a map of {rows} x {columns} without coordinates; expected a global one such as"
            " 241 x 480, 721 x 1440 or 720 x 1440",
            path=label,
            hint="give it as netCDF with latitude and longitude",
        )
    step = 180 / rows
    chosen = registration or "node-north"
    latitude = 90 - (np.arange(rows) + _SHIFTS[chosen]) * step
    if chosen == "centre":
        longitude += step / 2
    how = "as asked" if registration else "assumed; registration= decides"
    note = (
        f"{rows} rows taken as {chosen}, {latitude[0]:g} to {latitude[-1]:g} degrees north ({how})"
    )
    return normalise_grid(latitude, longitude, label)[0], (note,)


def normalise_grid(
    latitude: npt.ArrayLike, longitude: npt.ArrayLike, label: str
) -> tuple[Grid, tuple[str, ...]]:
    """Return the grid of a Field from stored coordinates of any order and convention, and notes.

    Coordinates are one-dimensional, in degrees; rounding noise (1e-5 in float32, 1e-9 in float64)
    is removed, and a repeated meridian left out and noted.

    Raises
    ------
    InputError
        If a coordinate is missing or beyond its range, or a latitude occurs twice; it names the
        file, `label`.
    """
    north, east = _without_noise(latitude), _without_noise(longitude)
    for name, values, limit in (("latitude", north, 90.0), ("longitude", east, 540.0)):
        if values.size == 0 or not bool(np.all(np.abs(values) <= limit)):
            raise InputError(
                f"its {name} is empty or not within ±{limit:g} degrees",
                path=label,
                hint="give it as degrees north and east, without missing values",
            )
    rows = np.argsort(north, kind="stable")
    if bool(np.any(np.diff(north[rows]) == 0)):
        raise InputError("has a latitude twice", path=label, hint="give each row one latitude")
    wrapped = np.round((east + 180.0) % 360.0 - 180.0, 9) + 0.0
    turned, columns = np.unique(wrapped, return_index=True)
    again = len(turned) < len(wrapped)
    notes = ("a meridian that the files hold twice was taken once",) if again else ()
    return Grid(north[rows], turned, rows, columns), notes


def _without_noise(values: npt.ArrayLike) -> FloatArray:
    stored = np.ma.getdata(values)
    digits = 5 if stored.dtype == np.float32 else 9
    return np.round(stored.astype(np.float64), digits)


def decode_times(values: npt.NDArray[Any], units: str, calendar: str, label: str) -> Times:
    """Return stored numbers as UTC times.

    `units` are such as ``hours since 1900-01-01``; the calendar "" is the standard one (mixed
    Julian and Gregorian), so that ``days since 1-1-1`` comes out right. Floating-point numbers are
    rounded to the minute, as they cannot hold it exactly.

    Raises
    ------
    InputError
        If a time is missing, or the calendar is not the civil one; it names the file, `label`.
    """
    calendar = (calendar or "standard").lower()
    if calendar not in _CALENDARS:
        raise InputError(
            f"its calendar {calendar!r} has other days than the observations",
            path=label,
            hint="give a product on the standard calendar",
        )
    floating = np.issubdtype(values.dtype, np.floating)
    if floating and not bool(np.all(np.isfinite(values))):
        raise InputError("has a missing time", path=label, hint="repair its time coordinate")
    try:
        decoded = np.atleast_1d(cftime.num2date(values, units, calendar))
        times = np.array([np.datetime64(one.isoformat(), "us") for one in decoded], TIME_DTYPE)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"its times in {units!r} cannot be decoded", path=label, hint="repair its time units"
        ) from error
    if floating:
        half = np.timedelta64(30, "s")
        times = (times + half).astype("datetime64[m]").astype(TIME_DTYPE)
    return times


def time_in_name(path: Path) -> np.datetime64 | None:
    """Return the time that a file name carries, or None.

    Recognised are year, month, day and hour, and minutes if they follow, with or without
    separators: ``20190308_05``, ``2019030805``, ``2019-03-08T05``, ``20190308_0530z``.
    """
    found = _NAME_TIME.search(path.name)
    if found is None:
        return None
    year, _, month, day, hour, minute = found.groups()
    try:
        return np.datetime64(f"{year}-{month}-{day}T{hour}:{minute or '00'}", "us")
    except ValueError:
        return None
