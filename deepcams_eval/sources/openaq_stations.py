"""Stations out of the places that OpenAQ records name, and out of a station file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepcams_eval.sources.openaq_rows import Place
from deepcams_eval.sources.stations import country_codes

# Two positions of one station this far apart mean that it moved.
_SAME_PLACE_DEG = 1e-3
_TEXT_COLUMNS = ["name", "country", "provider"]


@dataclass(frozen=True)
class Located:
    """Stations, and what each place of the rows is called.

    Attributes
    ----------
    stations : pandas.DataFrame
        Ready for `deepcams_eval.schema.make_stations`, in order of first appearance.
    places : pandas.DataFrame
        One row a place, in order: ``station_id``, ``sensor_id``, ``is_reference``.
    counts : dict of str to int
    """

    stations: pd.DataFrame
    places: pd.DataFrame
    counts: dict[str, int]


def locate(places: Sequence[Place], known: pd.DataFrame | None = None) -> Located:
    """Tell which places are one station, and gather what is known of each.

    Parameters
    ----------
    places : sequence of Place
    known : pandas.DataFrame, optional
        A table of `deepcams_eval.sources.stations.read_stations`.
    """
    table = pd.DataFrame(places, columns=list(Place._fields), dtype="str")
    impossible = _read_coordinates(table)
    table["station_id"] = _station_ids(table)
    table["sensor_id"] = table["sensor_id"].where(table["sensor_id"] != "", table["station_id"])
    table["country"] = country_codes(table["country"])
    table["mobile"] = table["mobile"].str.lower().map({"true": True, "false": False})
    table["is_reference"] = pd.Series(pd.NA, index=table.index, dtype="boolean")

    blanked = _without_blanks(table)
    groups = blanked.groupby("station_id", sort=False)
    positions = groups[["latitude", "longitude"]]
    moved = ((positions.max() - positions.min()) > _SAME_PLACE_DEG).any(axis=1)
    stations = groups[[*_TEXT_COLUMNS, "latitude", "longitude", "mobile"]].first()
    stations["mobile"] = stations["mobile"].astype("boolean")
    counts = {
        "stations_at_impossible_coordinates": int(blanked["station_id"][impossible].nunique()),
        "stations_moved": int(moved.sum()),
    }
    if known is not None:
        unidentified = groups["location_id"].max() == ""
        key = _key_in(known, stations.index, unidentified)
        stations = _with_known(stations, key, known)
        table["is_reference"] = _reference_grade(table, table["station_id"].map(key), known)
        counts["stations_not_in_station_file"] = int(key.isna().sum())
    counts["stations_without_coordinates"] = int(stations["latitude"].isna().sum())
    return Located(
        stations.reset_index(), table[["station_id", "sensor_id", "is_reference"]], counts
    )


def _without_blanks(table: pd.DataFrame) -> pd.DataFrame:
    """Return a copy in which unknown text is missing, so that the first known one is found."""
    return table.assign(**{name: table[name].where(table[name] != "") for name in _TEXT_COLUMNS})


def _read_coordinates(table: pd.DataFrame) -> pd.Series[bool]:
    """Make coordinates numbers, NaN unless both are possible; return where they are not."""
    for field in ("latitude", "longitude"):
        table[field] = pd.to_numeric(table[field], errors="coerce").astype(float)
    impossible = (table["latitude"].abs() > 90) | (table["longitude"].abs() > 180)
    incomplete = table["latitude"].isna() | table["longitude"].isna()
    table.loc[impossible | incomplete, ["latitude", "longitude"]] = np.nan
    return impossible


def _station_ids(table: pd.DataFrame) -> pd.Series[str]:
    city = table["city"].where(table["city"] != "")
    shared = city.groupby(table["name"]).transform("nunique") > 1
    named = table["name"] + (", " + table["city"]).where(shared & city.notna(), "")
    position = [
        "no coordinates" if np.isnan(latitude) else f"{latitude},{longitude}"
        for latitude, longitude in zip(table["latitude"], table["longitude"], strict=True)
    ]
    source = table["provider"] + "/" + table["city"] + "/" + table["name"] + "/" + position
    ids = named.where(table["form"] == "csv", source)
    return ids.where(table["location_id"] == "", table["location_id"])


def _key_in(
    known: pd.DataFrame, station_ids: pd.Index[str], unidentified: pd.Series[bool]
) -> pd.Series[str]:
    """Return the id under which a station file has each station; missing where it has none.

    A station that observations know by its name alone is found by name too, if one station of
    the file has it.
    """
    ids = pd.Series(station_ids, index=station_ids)
    once = known.drop_duplicates("station_id")
    once = once[~once["name"].duplicated(keep=False)]
    by_name = ids.map(once.set_index("name")["station_id"])
    return ids.where(ids.isin(known["station_id"]), by_name.where(unidentified))


def _with_known(stations: pd.DataFrame, key: pd.Series[str], known: pd.DataFrame) -> pd.DataFrame:
    first = _without_blanks(known).groupby("station_id").first()
    said = first.reindex(key.to_numpy()).set_axis(stations.index)
    result = stations.copy()
    for field in [*_TEXT_COLUMNS, "mobile"]:
        result[field] = said[field].fillna(stations[field])
    for field in ("latitude", "longitude"):
        result[field] = stations[field].fillna(said[field])
    return result


def _reference_grade(
    table: pd.DataFrame, key: pd.Series[str], known: pd.DataFrame
) -> pd.Series[bool]:
    """Return what is said of the sensor itself, else of its station."""
    graded = known[known["is_reference"].notna()]
    of_sensor = graded[graded["sensor_id"] != ""].drop_duplicates("sensor_id")
    of_station = graded[graded["sensor_id"] == ""].drop_duplicates("station_id")
    sensor = table["sensor_id"].map(of_sensor.set_index("sensor_id")["is_reference"])
    station = key.map(of_station.set_index("station_id")["is_reference"])
    return sensor.astype("boolean").fillna(station.astype("boolean"))
