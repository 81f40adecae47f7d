"""Checked rows out of PM2.5 records: time, value and unit, and the place they come from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from deepcams_eval.core.field import TIME_DTYPE
from deepcams_eval.core.species import factor_to_ug_m3
from deepcams_eval.errors import UnitsError
from deepcams_eval.read.openaq_files import Form
from deepcams_eval.read.openaq_records import Column, Records

# Date, hour and minute, seconds, "UTC", or sign, hours and minutes of an offset.
_STAMP = (
    r"^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:[0-5]\d(?:\.\d{1,9})?)?"
    r"\s*(?:(Z|z|UTC)|([+-])(0\d|1[0-4]):?([0-5]\d))?$"
)
_HOURS_PER_PERIOD_UNIT = {
    "hours": 1.0,
    "hour": 1.0,
    "minutes": 1 / 60,
    "seconds": 1 / 3600,
    "days": 24.0,
}
_LONGEST_PERIOD_H = 366 * 24
_US_PER_HOUR = 3_600_000_000

BoolArray = npt.NDArray[np.bool_]
FloatColumn = npt.NDArray[np.float64]
TimeColumn = npt.NDArray[np.datetime64]


class Place(NamedTuple):
    """Everything that a record says about where and by what it was measured; "" is unknown."""

    form: Form
    location_id: str
    sensor_id: str
    name: str
    city: str
    country: str
    provider: str
    latitude: str
    longitude: str
    mobile: str


_PLACE_COLUMNS = Place._fields[1:]


@dataclass(frozen=True)
class Rows:
    """Checked rows in report order; the four arrays have one shape (n,).

    `place` counts into the places of a `RowReader`; times are UTC; `value` is µg m⁻³.
    """

    place: npt.NDArray[np.int32]
    time_start: TimeColumn
    time_end: TimeColumn
    value: FloatColumn


class RowReader:
    """Turns batches of records into rows, remembering places and counting what happens.

    Attributes
    ----------
    places : list of Place
        In order of first appearance.
    counts : Counter
        As `deepcams_eval.core.field.Observations.counts` describes.
    """

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.counts: Counter[str] = Counter()
        self._codes: dict[Place, int] = {}

    def rows_of(self, records: Records) -> Rows:
        """Check one batch; each record becomes a row or is counted under one refusal."""
        self.counts["records"] += records.size + records.malformed
        self.counts["other_parameter"] += records.other_parameter
        self.counts["refused_malformed"] += records.malformed
        if records.size == 0:
            return _no_rows()
        kept = np.ones(records.size, dtype=np.bool_)
        kept &= self._refuse("malformed", kept, _has_station(records))
        factor = self._factors(records)
        kept &= self._refuse("unit", kept, ~np.isnan(factor))
        end, naive = utc_times(records.columns["time"])
        kept &= self._refuse("time", kept, ~np.isnat(end))
        value = numbers(records.columns["value"]) * factor
        kept &= self._refuse("value", kept, np.isfinite(value))
        hours, assumed = self._periods(records)
        kept &= self._refuse("averaging_period", kept, hours <= _LONGEST_PERIOD_H)

        rows = np.flatnonzero(kept)
        self.counts["assumed_averaging_period"] += int(assumed[rows].sum())
        self.counts["assumed_time_zone"] += int(naive[rows].sum())
        self.counts["assumed_unit"] += 0 if "unit" in records.columns else len(rows)
        microseconds = np.rint(hours[rows] * _US_PER_HOUR).astype("timedelta64[us]")
        return Rows(
            place=self._register(records, rows),
            time_start=end[rows] - microseconds,
            time_end=end[rows],
            value=value[rows],
        )

    def _refuse(self, reason: str, kept: BoolArray, good: BoolArray) -> BoolArray:
        self.counts[f"refused_{reason}"] += int((kept & ~good).sum())
        return good

    def _factors(self, records: Records) -> FloatColumn:
        if "unit" not in records.columns:
            return np.ones(records.size)
        unit = records.columns["unit"]
        for word, count in unit.count_words().items():
            self.counts[f"unit_{word or 'missing'}"] += count
        return np.array([_factor(word) for word in unit.words])[unit.codes]

    def _periods(self, records: Records) -> tuple[FloatColumn, BoolArray]:
        """Return the averaging period in hours and whether it had to be assumed."""
        # A number without its unit, or a unit alone, is no period.
        if not {"period", "period_unit"} <= records.columns.keys():
            return np.ones(records.size), np.ones(records.size, dtype=np.bool_)
        unit = records.columns["period_unit"]
        per_unit = np.array([_HOURS_PER_PERIOD_UNIT.get(w.lower(), np.nan) for w in unit.words])
        hours = numbers(records.columns["period"]) * per_unit[unit.codes]
        known = hours > 0
        return np.where(known, hours, 1.0), ~known

    def _register(self, records: Records, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        present = [name for name in _PLACE_COLUMNS if name in records.columns]
        columns = [records.columns[name].take(rows) for name in present]
        combined = np.zeros(len(rows), dtype=np.int64)
        for column in columns:
            # Numbering the combinations anew keeps the product far from overflowing.
            combined = pd.factorize(combined * len(column.words) + column.codes)[0]
        _, first = np.unique(combined, return_index=True)
        words = [column.words.gather(column.codes[first]).to_list() for column in columns]
        unknown = dict.fromkeys(_PLACE_COLUMNS, "")
        codes = [
            self._code(Place(records.form, **{**unknown, **dict(zip(present, said, strict=True))}))
            for said in zip(*words, strict=True)
        ]
        return np.array(codes, dtype=np.int32)[combined]

    def _code(self, place: Place) -> int:
        code = self._codes.setdefault(place, len(self.places))
        if code == len(self.places):
            self.places.append(place)
        return code


def utc_times(stamps: Column) -> tuple[TimeColumn, BoolArray]:
    """Parse stamps into UTC.

    Returns
    -------
    times : numpy.ndarray of datetime64[us], shape (n,)
        NaT where a stamp is no date with a time of day.
    naive : numpy.ndarray of bool, shape (n,)
        Where no offset was given and UTC is assumed.
    """
    parsed = _parse_stamps(stamps.words)
    times = parsed["time"].to_numpy().astype(TIME_DTYPE)
    return times[stamps.codes], parsed["naive"].to_numpy()[stamps.codes]


def utc_offsets(stamps: Column) -> pl.Series:
    """Return by how many minutes the clock of each stamp is ahead of UTC; null where naive."""
    parsed = _parse_stamps(stamps.words)
    known = parsed.select(pl.when(~pl.col("naive")).then(pl.col("east_minutes")).cast(pl.Int16))
    return known.to_series().gather(stamps.codes)


def _parse_stamps(words: pl.Series) -> pl.DataFrame:
    groups = words.str.extract_groups(_STAMP).struct.unnest()
    groups.columns = ["date", "minute", "second", "utc", "sign", "off_hours", "off_minutes"]
    clock = pl.format("{}T{}{}", "date", "minute", pl.col("second").fill_null(":00"))
    minutes = 60 * pl.col("off_hours").cast(pl.Int64) + pl.col("off_minutes").cast(pl.Int64)
    east = pl.when(pl.col("sign") == "-").then(-minutes).otherwise(minutes).fill_null(0)
    return groups.select(
        time=clock.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        - pl.duration(minutes=east),
        naive=pl.col("utc").is_null() & pl.col("sign").is_null(),
        east_minutes=east,
    )


def numbers(column: Column) -> FloatColumn:
    """Parse text as float64; NaN where it is no number."""
    parsed = column.words.cast(pl.Float64, strict=False).fill_null(np.nan)
    return parsed.to_numpy()[column.codes]


def _no_rows() -> Rows:
    times = np.zeros(0, dtype=TIME_DTYPE)
    return Rows(np.zeros(0, dtype=np.int32), times, times, np.zeros(0))


def _factor(unit: str) -> float:
    try:
        return factor_to_ug_m3(unit)
    except UnitsError:
        return np.nan


def _has_station(records: Records) -> BoolArray:
    """Return where a record says which station it belongs to."""
    known = np.zeros(records.size, dtype=np.bool_)
    for name in ("location_id", "name"):
        if name in records.columns:
            column = records.columns[name]
            known |= (column.words != "").to_numpy()[column.codes]
    return known
