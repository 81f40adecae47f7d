"""Stations out of the places that OpenAQ records name, and what a station file adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from deepcams_eval.read.openaq_text import Form
from deepcams_eval.read.stations import SAME_PLACE_DEG, country_codes, wrapped_longitudes

_BESIDE = sorted(product((-1, 0, 1), repeat=2), key=lambda step: step != (0, 0))
_TEXT_COLUMNS = ["name", "country", "provider"]


class Place(NamedTuple):
    """Everything that a record says about where and by what it was measured; "" is unknown."""

    form: Form
    location_id: str = ""
    sensor_id: str = ""
    name: str = ""
    city: str = ""
    country: str = ""
    provider: str = ""
    latitude: str = ""
    longitude: str = ""
    mobile: str = ""


@dataclass(frozen=True)
class Located:
    """Stations, and what each place of the rows is called."""

    stations: pd.DataFrame  # for `make_stations`, in order of first appearance
    places: pd.DataFrame  # a row a place: station_id, sensor_id, is_reference, longitude_wrapped
    counts: dict[str, int]
    impossible: str  # the first latitude or longitude that is none, as given; "" without one


def locate(places: Sequence[Place], known: pd.DataFrame | None = None) -> Located:
    """Tell which places are one station, and gather what is known of each.

    `known` is a table of `deepcams_eval.read.stations.read_stations`. ``longitude_wrapped`` of a
    place is whether its longitude, or that which `known` gives its station, was beyond 180.
    """
    table = pd.DataFrame(places, columns=list(Place._fields), dtype="str")
    impossible, table["longitude_wrapped"] = _read_coordinates(table)
    table["country"] = country_codes(table["country"])
    table["station_id"] = _station_ids(table)
    table["sensor_id"] = table["sensor_id"].where(table["sensor_id"] != "", table["station_id"])
    table["mobile"] = table["mobile"].str.lower().map({"true": True, "false": False})
    table["is_reference"] = pd.Series(pd.NA, index=table.index, dtype="boolean")

    blanked = _without_blanks(table)
    groups = blanked.groupby("station_id", sort=False)
    positions = groups[["latitude", "longitude"]]
    moved = ((positions.max() - positions.min()) > SAME_PLACE_DEG).any(axis=1)
    stations = groups[[*_TEXT_COLUMNS, "latitude", "longitude", "mobile"]].first()
    stations["mobile"] = stations["mobile"].astype("boolean")
    counts = {
        "stations_at_impossible_coordinates": int(blanked["station_id"][impossible].nunique()),
        "stations_moved": int(moved.sum()),
    }
    if known is not None:
        unidentified = groups["location_id"].max() == ""
        key = _key_in(known, stations.index, unidentified)
        stations, wrapped = _with_known(stations, key, known)
        table["longitude_wrapped"] |= table["station_id"].map(wrapped)
        table["is_reference"] = _reference_grade(table, table["station_id"].map(key), known)
        counts["stations_not_in_station_file"] = int(key.isna().sum())
    counts["stations_without_coordinates"] = int(stations["latitude"].isna().sum())
    return Located(
        stations.reset_index(),
        table[["station_id", "sensor_id", "is_reference", "longitude_wrapped"]],
        counts,
        impossible=_first_impossible(places, impossible),
    )


def _without_blanks(table: pd.DataFrame) -> pd.DataFrame:
    """Return a copy in which unknown text is missing, so that the first known one is found."""
    return table.assign(**{name: table[name].where(table[name] != "") for name in _TEXT_COLUMNS})


def _first_impossible(places: Sequence[Place], impossible: pd.Series[bool]) -> str:
    if not impossible.any():
        return ""
    place = places[int(impossible.to_numpy().argmax())]
    out_of_range = abs(pd.to_numeric(place.latitude, errors="coerce")) > 90
    field, value = ("latitude", place.latitude) if out_of_range else ("longitude", place.longitude)
    return f"{field} {value!r}"


def _read_coordinates(table: pd.DataFrame) -> tuple[pd.Series[bool], pd.Series[bool]]:
    """Make coordinates numbers, NaN unless both can be; return where not, and which wrapped."""
    for field in ("latitude", "longitude"):
        table[field] = pd.to_numeric(table[field], errors="coerce").astype(float)
    table["longitude"], wrapped = wrapped_longitudes(table["longitude"])
    impossible = (table["latitude"].abs() > 90) | (table["longitude"].abs() > 180)
    incomplete = table["latitude"].isna() | table["longitude"].isna()
    table.loc[impossible | incomplete, ["latitude", "longitude"]] = np.nan
    return impossible, wrapped & table["longitude"].notna()


def _station_ids(table: pd.DataFrame) -> pd.Series[str]:
    position = [
        "no coordinates" if np.isnan(latitude) else f"{latitude},{longitude}"
        for latitude, longitude in zip(table["latitude"], table["longitude"], strict=True)
    ]
    source = table["provider"] + "/" + table["city"] + "/" + table["name"] + "/" + position
    ids = source.where(table["location_id"] == "", table["location_id"])
    by_name = (table["form"] == "csv") & (table["location_id"] == "")
    return ids.where(~by_name, _names_told_apart(table[by_name]))


def _names_told_apart(table: pd.DataFrame) -> pd.Series[str]:
    """Return names, each with as much more as tells the stations apart that share it."""
    ids = table["name"]
    for field in ("city", "country", "provider"):
        ids = _told_apart(ids, table[field].where(table[field] != ""))
    return _told_apart(ids, _first_positions(ids, table))


def _told_apart(ids: pd.Series[str], said: pd.Series[str]) -> pd.Series[str]:
    """Add what is said to the ids of which more than one thing is said; NaN is nothing."""
    shared = said.groupby(ids).transform("nunique") > 1
    return ids + (", " + said).where(shared & said.notna(), "")


def _first_positions(ids: pd.Series[str], table: pd.DataFrame) -> pd.Series[str]:
    """Return as text the position at which each place was reported first; NaN if unknown.

    Positions are compared, not rounded: two on both sides of a rounding edge may be a metre apart.
    """
    # One first position a cell, since two in a cell are near; what is near lies there or beside it.
    firsts: dict[tuple[str, int, int], tuple[float, float]] = {}
    found: list[str | None] = []
    for name, latitude, longitude in zip(ids, table["latitude"], table["longitude"], strict=True):
        if np.isnan(latitude):
            found.append(None)
            continue
        row, column = int(latitude // SAME_PLACE_DEG), int(longitude // SAME_PLACE_DEG)
        around = (firsts.get((name, row + i, column + j)) for i, j in _BESIDE)
        here = (latitude, longitude)
        place = next((there for there in around if there and _is_near(here, there)), here)
        if place == here:
            firsts[name, row, column] = here
        found.append(f"{place[0]},{place[1]}")
    return pd.Series(found, index=ids.index, dtype="str")


def _is_near(here: tuple[float, float], there: tuple[float, float]) -> bool:
    return all(abs(a - b) <= SAME_PLACE_DEG for a, b in zip(here, there, strict=True))


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


def _with_known(
    stations: pd.DataFrame, key: pd.Series[str], known: pd.DataFrame
) -> tuple[pd.DataFrame, pd.Series[bool]]:
    """Return stations with what is known of them, and which have a wrapped longitude from there."""
    first = _without_blanks(known).groupby("station_id").first()
    said = first.reindex(key.to_numpy()).set_axis(stations.index)
    result = stations.copy()
    for field in [*_TEXT_COLUMNS, "mobile"]:
        result[field] = said[field].fillna(stations[field])
    for field in ("latitude", "longitude"):
        result[field] = stations[field].fillna(said[field])
    wrapped = said["longitude_wrapped"].fillna(False).astype(bool)
    return result, wrapped & stations["longitude"].isna()


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
