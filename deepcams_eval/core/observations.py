"""Observations: flagged station hours, and the table of stations.

`CONVENTIONS.md` says what each name, unit and missing value means.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import geopandas as gpd
import pandas as pd

from deepcams_eval.core.field import DamagedFile
from deepcams_eval.core.pairs import require_columns
from deepcams_eval.errors import InputError

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
        bit mask of `deepcams_eval.pair.qc`; 0 is clean).
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
        require_columns(self.table, OBSERVATION_COLUMNS, "observations")
        require_columns(self.stations, STATION_COLUMNS, "stations")

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
