"""Means of pairs over days, months and years, with rules of completeness.

What is averaged is the common sample: the hours for which every product that exists has a value.
Observation and products are thus means over the same hours, and a day of a 3-hourly product is not
compared with one of 24 observed hours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.arrays import BoolArray, IntArray
from deepcams_eval.core.pairs import STATION_KINDS, Pairs, codes_of
from deepcams_eval.errors import NoDataError
from deepcams_eval.pair.samples import sample_rows

Period = Literal["day", "month", "year"]
PERIODS: tuple[Period, ...] = ("day", "month", "year")

COMPLETE = 0.75
"""Share of the hours of a day, and of the days of a month or year, that a mean needs."""

_HOURS, _WIDEST_STEP_H = 24, 6
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Averaged:
    """Means over periods, and what was left out for being incomplete."""

    pairs: Pairs
    """One row a station, kind of instrument and period, in the order of station and time;
    ``time_start`` and ``time_end`` bound the period (UTC). A product that does not exist in a year
    is NaN there."""
    counts: dict[str, int]
    """``hours`` (pairs of the common sample), ``hours_not_common`` (the other pairs),
    ``days_complete``, ``days_incomplete``, and the same of longer periods."""


def average_pairs(
    pairs: Pairs, years_with_data: Mapping[str, Collection[int]], period: Period
) -> Averaged:
    """Average the common sample of hourly pairs over UTC days, months or years.

    A day needs three quarters of its hours: 18 of 24, or 6 of 8 where a 3-hourly product takes
    part (the hours of the day at which the common sample of the year has pairs tell its step). A
    month or a year is the mean of its complete days and needs three quarters of its calendar
    days. Records of two instruments of the same kind at a station in the same hour count as one
    hour, and both enter the mean.

    Parameters
    ----------
    pairs : Pairs
        Hourly, at least one row.
    years_with_data : mapping of str to collection of int
        As in `deepcams_eval.pair.samples.sample_rows`.
    period : {"day", "month", "year"}

    Raises
    ------
    NoDataError
        If no period is complete.
    """
    common = sample_rows(pairs, years_with_data)["common"]
    rows = np.logical_or.reduce(list(common.values()))
    counts = {"hours": int(rows.sum()), "hours_not_common": int((~rows).sum())}
    days, complete = _daily(pairs, rows, common)
    counts |= {"days_complete": int(complete.sum()), "days_incomplete": int((~complete).sum())}
    days = days[complete]
    if period == "day":
        result, dropped = days, 0
    else:
        result, dropped = _of_days(days, pairs.products, period)
        counts |= {f"{period}s_complete": len(result), f"{period}s_incomplete": dropped}
    if result.empty:
        raise NoDataError(
            f"no {period} of any station is complete: {counts['days_complete']} complete days, "
            f"{counts['days_incomplete']} incomplete ones",
            hint=f"a mean needs {COMPLETE:.0%} of the hours of each day and of the days; "
            "choose a shorter period",
        )
    return Averaged(_as_pairs(result, pairs, period), counts)


def one_a_station(means: Pairs) -> Pairs:
    """Return means with one row a station and period: kinds of instruments are averaged.

    Parameters
    ----------
    means : Pairs
        Of `average_pairs`. What belongs to the station is that of its first kind.
    """
    key = ["station_id", "time_start"]
    if not means.table.duplicated(key).any():
        return means
    grouped = means.table.groupby(key, observed=True, sort=True)
    table = grouped.first()
    values = ["observed", *means.products]
    table[values] = grouped[values].mean()
    return Pairs(table.reset_index()[list(means.table.columns)], means.products)


def _daily(
    pairs: Pairs, rows: BoolArray, common: Mapping[str, BoolArray]
) -> tuple[pd.DataFrame, BoolArray]:
    """Return the mean of each day of each unit, and whether it is complete."""
    table = pairs.table
    station, _ = codes_of(table["station_id"])
    kind = pd.Categorical(table["station_kind"], categories=list(STATION_KINDS)).codes
    unit = (station.astype(np.int64) * len(STATION_KINDS) + kind)[rows]
    start = table["time_start"].to_numpy()[rows]
    day = start.astype("datetime64[D]").astype(np.int64)
    hour = start.astype("datetime64[h]").astype(np.int64) % _HOURS
    first_day = int(day.min())
    span = int(day.max()) - first_day + 1
    group, place = np.unique(unit * span + day - first_day, return_inverse=True)
    size = len(group)
    count = np.bincount(place, minlength=size)
    frame = pd.DataFrame({"unit": group // span, "day": group % span + first_day})
    position = np.empty(size, dtype=np.int64)
    position[place[::-1]] = np.flatnonzero(rows)[::-1]  # the first pair of each group
    frame["row"] = position
    frame["observed"] = np.bincount(place, table["observed"].to_numpy()[rows], size) / count
    for name in pairs.products:
        values = np.where(common[name], table[name].to_numpy(), np.nan)[rows]
        frame[name] = np.bincount(place, values, size) / count
    present = np.bincount(np.unique(place * _HOURS + hour) // _HOURS, minlength=size)
    needed = COMPLETE * _hours_of_years(start, hour).reindex(_year_of(frame["day"])).to_numpy()
    return frame, present >= needed


def _hours_of_years(start: npt.NDArray[np.datetime64], hour: IntArray) -> pd.Series[int]:
    """Return by year how many hours a day could have, which the step of the sample decides."""
    year = start.astype("datetime64[Y]").astype(np.int64) + 1970
    met = pd.DataFrame({"year": year, "hour": hour}).drop_duplicates()
    return met.groupby("year")["hour"].agg(_hours_a_day)


def _hours_a_day(hours: pd.Series[int]) -> int:
    """Return 24 over the widest step that all hours of the day keep to: 8 for 0, 3, … 21.

    Hours further apart than any product's step are those of a sample with gaps, whose step is
    unknown and taken as one hour.
    """
    step = int(np.gcd.reduce(np.append(hours - hours.min(), _HOURS)))
    return _HOURS // (step if step <= _WIDEST_STEP_H else 1)


def _year_of(day: pd.Series[int]) -> npt.NDArray[np.int64]:
    days = day.to_numpy().astype("datetime64[D]")
    return np.asarray(days.astype("datetime64[Y]").astype(np.int64) + 1970)


def _of_days(
    days: pd.DataFrame, products: tuple[str, ...], period: Period
) -> tuple[pd.DataFrame, int]:
    """Return the means of complete months or years, and the number of incomplete ones."""
    unit_of_time = "M" if period == "month" else "Y"
    date = days["day"].to_numpy().astype("datetime64[D]")
    begin = date.astype(f"datetime64[{unit_of_time}]")
    length = ((begin + 1).astype("datetime64[D]") - begin.astype("datetime64[D]")) / _DAY
    grouped = days.assign(
        day=begin.astype("datetime64[D]").astype(np.int64), length=length
    ).groupby(["unit", "day"], sort=True)
    means = grouped[["observed", *products, "length"]].mean()
    means["row"] = grouped["row"].first()
    complete = (grouped.size() >= COMPLETE * means["length"]).to_numpy()
    return means[complete].reset_index(), int((~complete).sum())


def _as_pairs(means: pd.DataFrame, pairs: Pairs, period: Period) -> Pairs:
    """Return the means as pairs; what belongs to the station is taken from its first pair."""
    unit_of_time = {"day": "D", "month": "M", "year": "Y"}[period]
    begin = means["day"].to_numpy().astype("datetime64[D]").astype(f"datetime64[{unit_of_time}]")
    labels = pairs.table[["station_id", "latitude", "longitude", "station_kind", "country"]]
    table = labels.iloc[means["row"].to_numpy()].reset_index(drop=True)
    table.insert(1, "time_start", begin.astype("datetime64[us]"))
    table.insert(2, "time_end", (begin + 1).astype("datetime64[us]"))
    table.insert(5, "observed", means["observed"].to_numpy())
    for name in pairs.products:
        table[name] = means[name].to_numpy().astype(np.float32)
    order = ["station_id", "time_start"]
    return Pairs(table.sort_values(order, kind="stable", ignore_index=True), pairs.products)
