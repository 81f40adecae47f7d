"""Which group each pair belongs to: strata of time, place and kind of station.

Sums are kept by unit (a station and its kind) and by month or hour; every stratum is a
regrouping of one of those two tables, so the pairs are summed twice whatever the number of
strata.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.arrays import BoolArray, IntArray
from deepcams_eval.core.pairs import STATION_KINDS as KINDS
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.score.moments import Moments, cross_deviation

Stratum = Literal["all", "year", "month", "season", "hour", "hour_local", "country", "station_kind"]

STRATA: tuple[Stratum, ...] = get_args(Stratum)
HOURS: tuple[Stratum, ...] = ("hour", "hour_local")
"""Strata of the hour of the day."""

MONTHS: tuple[Stratum, ...] = ("month", "season")
"""Strata of the time of the year."""

_PART = 1_000_000
SEASONS = ("DJF", "MAM", "JJA", "SON")


@dataclass(frozen=True)
class Grouping:
    """The codes of every pair, made once for a table of pairs.

    Attributes
    ----------
    stations : ndarray of str, shape (stations,)
        The clusters, in order.
    station : ndarray of int, shape (pairs,)
        Position of each pair's station in `stations`.
    unit : ndarray of int, shape (pairs,)
        Position of each pair's station and kind in `unit_station` and `unit_kind`.
    unit_station, unit_kind : ndarray of int, shape (units,)
        The station, and the kind of instrument, of each unit.
    month : ndarray of int, shape (pairs,)
        Months since `first_month`, by ``time_start``.
    hour : ndarray of int, shape (pairs,)
        UTC hour of ``time_start``, 0 … 23.
    first_month : numpy.datetime64
        Month of code 0.
    n_months : int
        Number of months.
    countries : tuple of str
        Labels of `country`.
    country : ndarray of int, shape (stations,)
        Country of each station.
    local_shift : ndarray of int, shape (stations,)
        Whole hours to add to UTC for nominal local time, round(longitude / 15°).
    """

    stations: npt.NDArray[Any]
    station: IntArray
    unit: IntArray
    unit_station: IntArray
    unit_kind: IntArray
    month: IntArray
    hour: IntArray
    first_month: np.datetime64
    n_months: int
    countries: tuple[str, ...]
    country: IntArray
    local_shift: IntArray

    @classmethod
    def of(cls, pairs: Pairs) -> Grouping:
        """Code the rows of `pairs`.

        Parameters
        ----------
        pairs : Pairs
            At least one row. A country of "" becomes "unknown".
        """
        table = pairs.table
        station, names = codes_of(table["station_id"])
        kind = pd.Categorical(table["station_kind"], categories=list(KINDS)).codes
        combined = station * np.int32(len(KINDS)) + kind
        units = np.flatnonzero(np.bincount(combined))
        unit_of = np.zeros(units[-1] + 1, dtype=np.int32)
        unit_of[units] = np.arange(len(units))
        month, hour, first = _months_and_hours(table["time_start"].to_numpy())
        _, longitude = pairs.places()
        pair_country, labels = codes_of(table["country"])
        country = np.empty(len(names), dtype=np.int32)
        country[station] = pair_country
        return cls(
            stations=names,
            station=station,
            unit=unit_of[combined],
            unit_station=units // len(KINDS),
            unit_kind=units % len(KINDS),
            month=month,
            hour=hour,
            first_month=first,
            n_months=int(month.max()) + 1,
            countries=tuple(str(label) or "unknown" for label in labels),
            country=country,
            local_shift=np.round(longitude / 15.0).astype(np.int64),
        )

    def labels(self, stratum: Stratum) -> tuple[str, ...]:
        """Return the values of a stratum, in the order of its codes."""
        return tuple(str(label) for label in self._coded(stratum)[0])

    def of_unit(self, stratum: Stratum) -> IntArray:
        """Return the stratum code of each (unit, column) of the table that holds it.

        The columns are months, or hours for ``hour`` and ``hour_local``; shape (units, columns).
        """
        columns = 24 if stratum in HOURS else self.n_months
        return np.broadcast_to(self._coded(stratum)[1], (len(self.unit_station), columns))

    def _coded(self, stratum: Stratum) -> tuple[Iterable[object], npt.ArrayLike]:
        """Return the values of a stratum, and codes that broadcast to (units, columns)."""
        station = self.unit_station[:, np.newaxis]
        months = self.first_month + np.arange(self.n_months)
        hours = np.arange(24)
        names = [f"{hour:02d}" for hour in hours]
        match stratum:
            case "year":
                return np.unique(months.astype("datetime64[Y]"), return_inverse=True)
            case "month":
                return months, np.arange(self.n_months)
            case "season":
                return SEASONS, (months.astype(int) % 12 + 1) % 12 // 3
            case "hour":
                return names, hours
            case "hour_local":
                return names, (hours + self.local_shift[station]) % 24
            case "country":
                return self.countries, self.country[station]
            case "station_kind":
                return KINDS, self.unit_kind[:, np.newaxis]
            case _:
                return ("all",), 0

    def of_pair(self, stratum: Stratum, rows: BoolArray) -> IntArray:
        """Return the stratum code of each pair in `rows`."""
        column = self.hour if stratum in HOURS else self.month
        return self.of_unit(stratum)[self.unit[rows], column[rows]]


def _months_and_hours(
    start: npt.NDArray[np.datetime64],
) -> tuple[IntArray, IntArray, np.datetime64]:
    """Return months since the first, hours of the day, and the first month."""
    first, last = start.min().astype("datetime64[M]"), start.max().astype("datetime64[M]")
    begins = np.arange(first, last + 1).astype(start.dtype)
    month = np.empty(len(start), dtype=np.int16)
    hour = np.empty(len(start), dtype=np.int8)
    for begin in range(0, len(start), _PART):
        part = slice(begin, begin + _PART)
        month[part] = np.searchsorted(begins, start[part], side="right") - 1
        hour[part] = start[part].astype("datetime64[h]").astype(np.int64) % 24
    return month, hour, first


@dataclass(frozen=True)
class Sums:
    """Sums of one product on one sample, from which every stratum is regrouped.

    Attributes
    ----------
    grouping : Grouping
        What the rows and columns of the tables are.
    rows : ndarray of bool, shape (pairs,)
        The sample.
    monthly, hourly : Moments
        Shape (units, months) and (units, 24).
    """

    grouping: Grouping
    rows: BoolArray
    observed: npt.NDArray[np.float64]
    estimate: npt.NDArray[Any]
    monthly: Moments
    hourly: Moments

    @classmethod
    def of(cls, pairs: Pairs, product: str, rows: BoolArray, grouping: Grouping) -> Sums:
        """Sum the pairs of `product` in `rows`, none of which may be NaN."""
        observed = pairs.table["observed"].to_numpy()[rows]
        estimate = pairs.table[product].to_numpy()[rows]
        unit = grouping.unit[rows].astype(np.intp)
        units = len(grouping.unit_station)

        def summed(column: IntArray, columns: int) -> Moments:
            code = unit * columns + column[rows]
            return Moments.of(observed, estimate, code, units * columns).reshape(units, columns)

        monthly = summed(grouping.month, grouping.n_months)
        return cls(grouping, rows, observed, estimate, monthly, summed(grouping.hour, 24))

    def by_station(self, stratum: Stratum) -> Moments:
        """Return the sums by station and value of `stratum`, shape (stations, values)."""
        table = self.hourly if stratum in HOURS else self.monthly
        size = len(self.grouping.labels(stratum))
        stations = len(self.grouping.stations)
        code = self.grouping.unit_station[:, None] * size + self.grouping.of_unit(stratum)
        return table.pool(code, stations * size).reshape(stations, size)

    def with_cross(self, total: Moments, stratum: Stratum) -> Moments:
        """Return the sums by value of `stratum` with Σ|M−Ō||O−Ō|, which takes a second pass."""
        code = self.grouping.of_pair(stratum, self.rows)
        cross = cross_deviation(self.observed, self.estimate, code, total.mean_o)
        return replace(total, cross=cross)
