"""The shapes of data that pass between modules, and their validators.

`CONVENTIONS.md` says what each name, unit and missing value means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from deepcams_eval.errors import InputError
from deepcams_eval.units import UG_M3

FloatArray = npt.NDArray[np.floating[Any]]
Stamp = Literal["point", "mean"]

FIELD_NAME = "pm25"
FIELD_DIMS = ("time", "latitude", "longitude")
TIME_DTYPE = "datetime64[us]"
CRS = "EPSG:4326"

OBSERVATION_COLUMNS = (
    "station_id",
    "sensor_id",
    "time_start",
    "time_end",
    "value",
    "is_reference",
    "flags",
)
STATION_COLUMNS = ("station_id", "name", "latitude", "longitude", "country", "provider", "mobile")
STATION_KINDS = ("reference", "sensor", "unknown")
PAIR_COLUMNS = ("station_id", "time_start", "time_end", "latitude", "longitude", "observed")
PAIR_LABELS = ("station_kind", "country")


@dataclass(frozen=True)
class DamagedFile:
    """A file that could not be read; none of its rows is used."""

    path: str
    reason: str


@dataclass(frozen=True)
class Observations:
    """Station measurements of PM2.5 and where the stations are.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a record, in the order in which the records were reported, with a RangeIndex:
        ``station_id``, ``sensor_id`` (category), ``time_start``, ``time_end`` (datetime64[us],
        UTC, naive; the record covers [start, end)), ``value`` (float64, µg m⁻³; NaN where the
        source gave none), ``is_reference`` (nullable boolean; NA is unknown), ``flags`` (uint32
        bit mask of `deepcams_eval.qc`; 0 is clean).
    stations : geopandas.GeoDataFrame
        One row a station, EPSG:4326: ``station_id`` (unique), ``name``, ``latitude``,
        ``longitude`` (degrees; NaN where unknown), ``country`` (ISO 3166-1 alpha-2, or "" where
        unknown), ``provider`` ("" where unknown), ``mobile`` (nullable boolean), ``geometry``.
    counts : dict of str to int
        What happened while reading: ``records`` (PM2.5 records met), ``other_parameter``,
        ``refused_<reason>`` (records that became no row), ``assumed_<what>`` (rows for which
        something was assumed). ``records`` = rows + sum of ``refused_*``.
    damaged : tuple of DamagedFile
        Files that gave no row because they could not be read.
    files : tuple of Path
        Every file that was read.
    """

    table: pd.DataFrame
    stations: gpd.GeoDataFrame
    counts: dict[str, int] = field(default_factory=dict)
    damaged: tuple[DamagedFile, ...] = ()
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        _require_columns(self.table, OBSERVATION_COLUMNS, "observations")
        _require_columns(self.stations, STATION_COLUMNS, "stations")

    def __len__(self) -> int:
        return len(self.table)

    def with_table(self, table: pd.DataFrame) -> Observations:
        """Return a copy whose rows are `table`."""
        return replace(self, table=table)


def make_stations(table: pd.DataFrame) -> gpd.GeoDataFrame:
    """Return the station GeoDataFrame of `table`, filling the columns that it lacks.

    Parameters
    ----------
    table : pandas.DataFrame
        At least ``station_id`` (unique), ``latitude`` and ``longitude`` in degrees; NaN where
        unknown, which gives an empty geometry. Columns beyond `STATION_COLUMNS` are kept.

    Raises
    ------
    InputError
        If a ``station_id`` occurs twice.
    """
    table = table.copy()
    repeated = table["station_id"][table["station_id"].duplicated()]
    if len(repeated):
        raise InputError(
            f"station {repeated.iloc[0]!r} stands {1 + int((repeated == repeated.iloc[0]).sum())}"
            " times in the station table",
            hint="give each station one row",
        )
    for name in ("name", "country", "provider"):
        column = table[name] if name in table else pd.Series("", index=table.index)
        table[name] = column.astype("str").where(column.notna(), "")
    mobile = table["mobile"] if "mobile" in table else pd.Series(pd.NA, index=table.index)
    table["mobile"] = mobile.astype("boolean")
    table["latitude"] = table["latitude"].astype(float)
    table["longitude"] = table["longitude"].astype(float)
    points = gpd.points_from_xy(table["longitude"], table["latitude"])
    rest = [name for name in table.columns if name not in (*STATION_COLUMNS, "geometry")]
    return gpd.GeoDataFrame(
        table[[*STATION_COLUMNS, *rest]].reset_index(drop=True), geometry=points, crs=CRS
    )


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


@dataclass(frozen=True)
class Pairs:
    """Observations beside the value of each product in their cell and hour.

    Attributes
    ----------
    table : pandas.DataFrame
        One row an observation that passed QC and lies in at least one product:
        ``station_id`` (category), ``time_start``, ``time_end``, ``latitude``, ``longitude``,
        ``observed`` (float64, µg m⁻³), ``station_kind`` ("reference", "sensor", "unknown"),
        ``country`` ("" where unknown), and one float32 column a product, µg m⁻³, NaN where it
        has no value.
    products : tuple of str
        Names of the product columns, in the order in which they were asked for.
    """

    table: pd.DataFrame
    products: tuple[str, ...]

    def __post_init__(self) -> None:
        _require_columns(self.table, (*PAIR_COLUMNS, *PAIR_LABELS, *self.products), "pairs")

    def __len__(self) -> int:
        return len(self.table)


def codes_of(
    column: pd.Series[Any],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.str_]]:
    """Return the code of each row of a categorical column, and the names that occur, sorted.

    The same as `pandas.factorize` with ``sort=True``, but in one pass over the codes.
    """
    codes = column.cat.codes.to_numpy()
    names = column.cat.categories.to_numpy().astype(str)
    occurs = np.flatnonzero(np.bincount(codes, minlength=len(names)))
    order = occurs[np.argsort(names[occurs])]
    place = np.empty(len(names), dtype=np.int32)
    place[order] = np.arange(len(order))
    return place[codes], names[order]


def _require_columns(table: pd.DataFrame, needed: Sequence[str], what: str) -> None:
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise InputError(f"{what} lack the column {', '.join(missing)}")
