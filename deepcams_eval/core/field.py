"""Field and Product: maps of PM2.5, what their stamps mean, and where they come from.

`CONVENTIONS.md` says what each name, unit and missing value means.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.core.species import UG_M3
from deepcams_eval.errors import InputError

Stamp = Literal["point", "mean"]

FIELD_NAME = "pm25"
FIELD_DIMS = ("time", "latitude", "longitude")
TIME_DTYPE = "datetime64[us]"


@dataclass(frozen=True)
class DamagedFile:
    """A file that could not be read; none of its rows is used."""

    path: str
    reason: str


@dataclass(frozen=True)
class Product:
    """A gridded product: a lazy Field and where it comes from.

    Attributes
    ----------
    name : str
        As the user calls it; a column of `Pairs`.
    field : xarray.DataArray
        A Field (see `validate_field`), dask-backed with chunks along ``time``.
    kind : str
        The reader: ``cams``, ``geoscf``, ``deepcams``, ``generic`` or ``derived``.
    files : tuple of Path
        Every file of the series, in time order.
    notes : tuple of str
        Assumptions a reader of the report must know, such as the registration of 720 rows.
    damaged : tuple of DamagedFile
        Files of the series that could not be read and were left out.
    """

    name: str
    field: xr.DataArray
    kind: str
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    damaged: tuple[DamagedFile, ...] = ()

    def extent(self) -> dict[str, Any]:
        """Return the number of steps, the first and the last, and what a stamp means."""
        times = self.field["time"].values
        return {
            "steps": len(times),
            "first": str(times[0])[:16],
            "last": str(times[-1])[:16],
            "cell_methods": self.field.attrs["cell_methods"],
        }


def make_field(
    data: Any,
    *,
    time: Any,
    latitude: Any,
    longitude: Any,
    stamp: Stamp,
    bounds: Any | None = None,
) -> xr.DataArray:
    """Return a Field from arrays that are already in the order and unit of one.

    Parameters
    ----------
    data : array_like, shape (time, latitude, longitude)
        µg m⁻³; numpy or dask. NaN is missing.
    time : array_like of datetime64, shape (time,)
        UTC, strictly increasing.
    latitude, longitude : array_like
        Degrees, strictly increasing; longitude in [−180, 180).
    stamp : {"point", "mean"}
        Whether a value holds at the stamp or over an interval (CF ``cell_methods``).
    bounds : array_like of datetime64, shape (time, 2), optional
        Start and end of each interval; needed for ``mean``, refused for ``point``.
    """
    coords: dict[str, Any] = {
        "time": ("time", np.asarray(time, dtype=TIME_DTYPE)),
        "latitude": ("latitude", np.asarray(latitude, dtype=np.float64)),
        "longitude": ("longitude", np.asarray(longitude, dtype=np.float64)),
    }
    if bounds is not None:
        # Two coordinates, since a DataArray cannot carry CF bounds with a dimension of their own.
        starts_ends = np.asarray(bounds, dtype=TIME_DTYPE)
        coords["time_start"] = ("time", starts_ends[:, 0])
        coords["time_end"] = ("time", starts_ends[:, 1])
    result = xr.DataArray(data, dims=FIELD_DIMS, coords=coords, name=FIELD_NAME)
    result = result.astype(np.float32, copy=False)
    result.attrs.update(units=UG_M3, cell_methods=f"time: {stamp}")
    validate_field(result)
    return result


def validate_field(candidate: xr.DataArray) -> None:
    """Check that `candidate` is a Field; its values are not read.

    A Field has dims (time, latitude, longitude), name ``pm25``, float32, ``units`` "ug m-3",
    strictly increasing coordinates, longitude in [−180, 180), ``cell_methods`` "time: point" or
    "time: mean", and with the latter the coordinates ``time_start`` and ``time_end`` (time) of
    its intervals.

    Raises
    ------
    InputError
        Naming the first condition that fails.
    """
    if candidate.dims != FIELD_DIMS:
        raise InputError(f"a Field has dims {FIELD_DIMS}, not {candidate.dims}")
    if candidate.name != FIELD_NAME:
        raise InputError(f"a Field is named {FIELD_NAME!r}, not {candidate.name!r}")
    if candidate.dtype != np.float32:
        raise InputError(f"a Field is float32, not {candidate.dtype}")
    if candidate.attrs.get("units") != UG_M3:
        raise InputError(f"a Field is in {UG_M3!r}, not {candidate.attrs.get('units')!r}")
    for dim in FIELD_DIMS:
        values = candidate[dim].values
        if len(values) == 0:
            raise InputError(f"a Field needs at least one {dim}")
        if not bool(np.all(values[1:] > values[:-1])):
            raise InputError(f"{dim} of a Field increases strictly; this one does not")
    longitude = candidate["longitude"].values
    if longitude[0] < -180 or longitude[-1] >= 180:
        raise InputError(
            f"longitude of a Field lies in [-180, 180), not [{longitude[0]}, {longitude[-1]}]"
        )
    if abs(candidate["latitude"].values).max() > 90:
        raise InputError("latitude of a Field lies in [-90, 90]")
    bounded = {"time_start", "time_end"} <= set(candidate.coords)
    if stamp_of(candidate) == "mean" and not bounded:
        raise InputError("a Field of means carries its intervals in time_start and time_end")


def stamp_of(field: xr.DataArray) -> Stamp:
    """Return whether the values of a Field hold at their stamp or over an interval."""
    method = field.attrs.get("cell_methods")
    if method == "time: point":
        return "point"
    if method == "time: mean":
        return "mean"
    raise InputError(
        f"cell_methods is {method!r}", hint="say what the stamp means: stamp=point or stamp=mean"
    )


def middles_of(field: xr.DataArray) -> npt.NDArray[np.datetime64]:
    """Return the instants of points, or the middles of the intervals of means."""
    if stamp_of(field) == "point":
        return field["time"].values.astype(TIME_DTYPE)
    start, end = (field[name].values.astype(TIME_DTYPE) for name in ("time_start", "time_end"))
    return np.asarray(start + (end - start) // 2)


def bounds_of(field: xr.DataArray) -> npt.NDArray[np.datetime64] | None:
    """Return the interval of each mean of a Field, shape (time, 2); None of points."""
    if stamp_of(field) == "point":
        return None
    ends = [field["time_start"].values, field["time_end"].values]
    return np.stack(ends, axis=1).astype(TIME_DTYPE)


def spacing_deg(coordinate: FloatArray) -> float:
    """Return the median spacing of a coordinate in degrees; NaN for a single value."""
    if len(coordinate) < 2:
        return float("nan")
    return float(np.median(np.diff(coordinate)))


def spans_globe(longitude: FloatArray) -> bool:
    """Return whether a longitude coordinate goes all the way round (spans 360°)."""
    step = spacing_deg(longitude)
    closes = abs(longitude[-1] - longitude[0] + step - 360.0) < step / 2
    # A region across the date line closes too, with a gap in its middle.
    return bool(closes and np.diff(longitude).max() < 1.5 * step)
