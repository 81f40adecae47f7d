"""Station files: what a user knows about stations beyond the observations themselves."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import geopandas as gpd
import pandas as pd

from deepcams_eval.core.observations import CRS
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.read.files import known_columns, normalised, read_text

_PARQUET_MAGIC = b"PAR1"
SAME_PLACE_DEG = 1e-3
"""Two positions of one station further apart are two places, not rounding."""

# Names as `normalised` leaves them, most telling first.
_ALIASES: dict[str, tuple[str, ...]] = {
    "station_id": ("stationid", "locationid", "id", "location"),
    "sensor_id": ("sensorid", "sensorsid"),
    "name": ("name", "location", "locationname"),
    "latitude": ("latitude", "lat", "coordinateslatitude"),
    "longitude": ("longitude", "lon", "coordinateslongitude"),
    "country": ("countrycode", "countryiso", "iso", "country"),
    "provider": ("providername", "provider", "sourcename"),
    "is_reference": ("isreference", "ismonitor"),
    "mobile": ("mobile", "ismobile"),
}
_TRUTH = {
    "true": True, "t": True, "yes": True, "1": True,
    "false": False, "f": False, "no": False, "0": False,
    "": pd.NA,
}  # fmt: skip


def read_stations(path: Path) -> pd.DataFrame:
    """Read a station file: CSV, Parquet, GeoParquet or GeoJSON, told apart by content.

    Parameters
    ----------
    path : Path
        One row a station or a sensor. Columns are known under the names that OpenAQ uses:
        ``station_id`` (``location_id``, ``id``, ``location``), ``sensor_id`` (``sensors_id``),
        ``name`` (``location``), ``latitude`` (``lat``, ``coordinates.latitude``), ``longitude``
        (``lon``, ``coordinates.longitude``), ``country`` (``country_code``, ``iso``),
        ``provider`` (``provider_name``, ``sourceName``), ``is_reference`` (``is_monitor``) and
        ``mobile`` (``is_mobile``), in any case and with or without separators. Points of a
        geometry column give the coordinates where no columns do.

    Returns
    -------
    pandas.DataFrame
        One row a row of the file: ``station_id``, ``sensor_id``, ``name``, ``country`` (ISO
        3166-1 alpha-2), ``provider`` (str; "" is unknown), ``latitude``, ``longitude`` (float64,
        degrees; NaN is unknown; longitude at most 180), ``longitude_wrapped`` (boolean: whether
        the file gives it as one beyond 180, see `wrapped_longitudes`; NA without a position),
        ``is_reference``, ``mobile`` (boolean; NA is unknown).
        ``is_monitor`` of a row without a sensor speaks of the whole location, and is true if
        *any* of its instruments is a reference monitor: false is taken over, true is unknown.

    Raises
    ------
    InputError
        If the file cannot be read, names no station column, has a coordinate or truth value
        that is none, or gives one station two positions.
    """
    raw = _with_coordinates(_read_any(path), path)
    if raw.empty:
        raise NoDataError("holds no stations", path=path, hint="check the file")
    names = [normalised(str(name)) for name in raw.columns]
    again = pd.Index(names).duplicated()
    if again.any():
        raise InputError(
            f"two columns are named {raw.columns[again][0]!r}", path=path, hint="keep one of them"
        )
    found = known_columns(names, _ALIASES)
    if "station_id" not in found:
        raise InputError(
            f"no station column among {', '.join(map(str, raw.columns))}",
            path=path,
            hint="name one station_id, location_id or location",
        )
    text = {field: _as_text(raw.iloc[:, place]) for field, place in found.items()}
    blank = pd.Series("", index=raw.index, dtype="str")
    table = pd.DataFrame(index=raw.index)
    for field in ("station_id", "sensor_id", "name", "provider"):
        table[field] = text.get(field, blank)
    table["country"] = _country(text.get("country", blank), path)
    for field in ("latitude", "longitude"):
        table[field] = _degrees(text.get(field, blank), field, path)
    table["longitude"], wrapped = wrapped_longitudes(table["longitude"])
    # A position is a pair: half of one, filled from elsewhere, would be a third place.
    half = table["latitude"].isna() | table["longitude"].isna()
    table.loc[half, ["latitude", "longitude"]] = float("nan")
    table["longitude_wrapped"] = wrapped.astype("boolean").mask(half)
    for field in ("is_reference", "mobile"):
        table[field] = _truth(text.get(field, blank), field, path)
    if "is_reference" in found and names[found["is_reference"]] == "ismonitor":
        of_location = (table["sensor_id"] == "") & table["is_reference"].fillna(False)
        table.loc[of_location, "is_reference"] = pd.NA
    _reject_two_positions(table, path)
    return table.reset_index(drop=True)


def _require(good: pd.Series[bool], text: pd.Series[str], what: str, path: Path, hint: str) -> None:
    """Raise `InputError` with the first text that is not good; `what` says of it what is wrong."""
    if not good.all():
        problem = what.format(repr(text[~good].iloc[0]))
        raise InputError(problem, path=path, hint=hint or None)


def _country(text: pd.Series[str], path: Path) -> pd.Series[str]:
    codes = country_codes(text)
    hint = "give ISO 3166-1 alpha-2 codes such as BE, or leave the field empty"
    good = (codes != "") | (text.str.strip() == "")
    _require(good, text, "country {} is no two-letter code", path, hint)
    return codes


def country_codes(values: pd.Series[str]) -> pd.Series[str]:
    """Return ISO 3166-1 alpha-2 codes in upper case; "" for whatever is not two letters."""
    upper = values.str.strip().str.upper()
    return upper.where(upper.str.fullmatch("[A-Z]{2}"), "")


def wrapped_longitudes(degrees: pd.Series[float]) -> tuple[pd.Series[float], pd.Series[bool]]:
    """Return longitudes of which those counted eastward to 360 are less 360, and which were.

    Parameters
    ----------
    degrees : pandas.Series
        NaN and whatever does not lie in (180, 360] stay as they are.
    """
    beyond = (degrees > 180) & (degrees <= 360)
    # The difference is rounded, so that 355.7 and -4.3 are one place and one name.
    return degrees.where(~beyond, (degrees - 360).round(9)), beyond


def _read_any(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError("no such station file", path=path, hint="check --stations")
    with path.open("rb") as stream:
        start = stream.read(4)
    if start == _PARQUET_MAGIC:
        return _read_parquet(path)
    text = read_text(str(path))
    if text.lstrip().startswith(b"{"):
        return _read_geojson(path, text)
    return _read_csv(path, text)


def _read_csv(path: Path, text: bytes) -> pd.DataFrame:
    lines = csv.reader(io.StringIO(text.decode("utf-8"), newline=""), strict=True)
    try:
        header, *rows = [line for line in lines if line]
    except csv.Error as error:
        raise InputError(f"not readable as CSV ({error})", path=path) from error
    odd = next((row for row in rows if len(row) != len(header)), None)
    if odd is not None:
        # Read with fields shifted by one, coordinates would end up in the wrong column.
        raise InputError(
            f"the row {','.join(odd)[:60]!r} has {len(odd)} fields, the header {len(header)}",
            path=path,
            hint="quote fields that hold commas",
        )
    return pd.DataFrame(rows, columns=header, dtype="str")


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return gpd.read_parquet(path)
    except (ValueError, OSError):
        pass  # a plain Parquet file, unless the next reader rejects it as well
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise InputError(f"damaged Parquet ({error})", path=path) from error


def _read_geojson(path: Path, text: bytes) -> pd.DataFrame:
    try:
        features = json.loads(text)["features"]
        return gpd.GeoDataFrame.from_features(features, crs=CRS)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"not readable as GeoJSON ({error!r})", path=path) from error


def _with_coordinates(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Take coordinates out of the geometry where no columns give them."""
    known = {normalised(str(name)) for name in raw.columns}
    if not isinstance(raw, gpd.GeoDataFrame) or known & set(_ALIASES["latitude"]):
        return raw
    kinds = set(raw.geom_type.dropna()) - {"Point"}
    if kinds:
        raise InputError(f"stations are points, not {kinds.pop()}", path=path)
    points = raw.geometry if raw.crs is None else raw.geometry.to_crs(CRS)
    return pd.DataFrame(raw).assign(latitude=points.y, longitude=points.x)


def _as_text(values: pd.Series[str]) -> pd.Series[str]:
    """Return trimmed text; numbers that stand for identifiers lose a spurious ``.0``."""
    known = values.notna()
    if pd.api.types.is_float_dtype(values) and bool((values[known] % 1 == 0).all()):
        return values.astype("Int64").astype("str").where(known, "")
    return values.astype("str").where(known, "").str.strip()


def _degrees(text: pd.Series[str], field: str, path: Path) -> pd.Series[float]:
    degrees = pd.to_numeric(text.where(text != "", "nan"), errors="coerce").astype(float)
    low, high = (-90, 90) if field == "latitude" else (-180, 360)
    good = degrees.between(low, high) | text.str.lower().isin(["", "nan"])
    _require(good, text, f"{field} {{}} is not between {low} and {high} degrees", path, "")
    return degrees


def _truth(text: pd.Series[str], field: str, path: Path) -> pd.Series[bool]:
    lowered = text.str.lower()
    good = lowered.isin(list(_TRUTH))
    what = f"{field} {{}} is neither true nor false"
    _require(good, lowered, what, path, "write true, false or nothing")
    return lowered.map(_TRUTH).astype("boolean")


def _reject_two_positions(table: pd.DataFrame, path: Path) -> None:
    positions = table.groupby("station_id")[["latitude", "longitude"]]
    spread = positions.max() - positions.min()
    far = spread[(spread > SAME_PLACE_DEG).any(axis=1)]
    if len(far):
        raise InputError(
            f"station {far.index[0]!r} has two positions",
            path=path,
            hint="give each station one position, or tell them apart by station_id",
        )
