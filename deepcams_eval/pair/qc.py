"""Quality control: named, ordered rules that flag rows and never drop one.

A flagged row keeps its place; `flags` is a bit mask over `RULES`, and 0 is clean. Each rule looks
at the data and the settings only, never at what another rule has flagged, so what a rule flags
does not depend on the order; the order decides only which rule is named as the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, Any, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from deepcams_eval.core import sphere
from deepcams_eval.core.arrays import Array, BoolArray, IntArray
from deepcams_eval.core.field import TIME_DTYPE
from deepcams_eval.core.observations import Observations
from deepcams_eval.errors import InputError

# The codes that networks write for "no value". Below zero there is no risk: no true value lies
# there. Above zero a code must not be a value that smoke can reach: 9999 and 99999 are beyond any
# record, and 999.99 is the full scale of a five-digit display (a real hour meets it to the last
# digit once in 1e5). 999 and 985 are left out on purpose: instruments that report whole numbers
# do measure 999 below the limit of 1000, and 985 is a beta gauge at the end of its range, where
# the air is at least that dirty; to remove them would take the worst smoke out of the sample.
DEFAULT_SENTINELS = (
    -99999.0, -9999.0, -1111.0, -999.99, -999.0, -996.0, -99.0, 999.99, 9999.0, 9999.99, 99999.0,
)  # fmt: skip

_SENTINEL_TOLERANCE = 1e-6
_ROUNDING = 1e-9
_DISTANCE_TOLERANCE_M = 1e-3
_US_PER_HOUR = 3_600_000_000

Month = Annotated[int, Field(ge=1, le=12)]
Year = Annotated[int, Field(ge=1, le=9999)]


class QcSettings(BaseModel):
    """Thresholds of the rules; an unknown name is refused.

    Raises
    ------
    InputError
        Naming the first setting that is unknown or out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sentinels: tuple[float, ...] = DEFAULT_SENTINELS
    """Values (µg m⁻³, equal to 1e-6) that mean "missing". A NaN always counts as one."""
    negative_below: float = Field(default=-5.0, le=0)
    """A value below it is flagged, µg m⁻³. Small negatives are what an unbiased instrument reports
    in clean air, and to remove them biases means high, so they are kept; 0 flags every negative."""
    limit_ug_m3: float = Field(default=1000.0, gt=0)
    """A value above it is flagged, µg m⁻³."""
    averaging_hours: float = Field(default=1.0, gt=0)
    """A record that does not cover exactly this long is flagged."""
    years: Annotated[tuple[Year, ...], Field(min_length=1)] | None = None
    months: Annotated[tuple[Month, ...], Field(min_length=1)] | None = None
    """Those of ``time_start`` (UTC) that are kept; None keeps all."""
    zero_zero_deg: float = Field(default=0.01, ge=0, le=1)
    """A station nearer than this to latitude 0 *and* longitude 0 has no real place; open sea."""
    duplicate_distance_m: float = Field(default=200.0, ge=0, le=100_000)
    """Two stations this near or nearer (great circle, mean radius 6371.0088 km, to 1 mm) may be the
    same monitor."""
    duplicate_common_hours: int = Field(default=24, ge=1)
    """Fewer common intervals than this prove nothing."""
    duplicate_tolerance_ug_m3: float = Field(default=0.05, ge=0)
    """Two values this near are equal: one provider rounds to one digit, another does not."""
    duplicate_equal_share: float = Field(default=0.95, gt=0, le=1)
    """Share of the common intervals with equal values from which two series are one, 0 to 1."""
    stuck_hours: float = Field(default=24.0, gt=0)
    """A value repeated this long or longer is flagged, from the start of the first record to the
    end of the last. At least twice `averaging_hours`, as two records make the shortest run."""
    stuck_gap_hours: float = Field(default=3.0, ge=0)
    """A longer gap between two records ends a run."""
    reference_only: bool = False
    """Switches the rule ``not_reference`` on; there an unknown instrument is flagged as well."""
    disabled: frozenset[str] = frozenset()
    """Names of rules that are switched off, of `RULES`."""

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise _one_line(error) from None

    @field_validator("disabled")
    @classmethod
    def _known_rules(cls, names: frozenset[str]) -> frozenset[str]:
        unknown = sorted(names - RULES.keys())
        if unknown:
            raise ValueError(f"no rule is called {unknown[0]!r}; the rules are {', '.join(RULES)}")
        return names

    @model_validator(mode="after")
    def _run_of_two(self) -> Self:
        # Two equal daily means in a row are no fault, yet they fill two days.
        if "stuck" not in self.disabled and self.stuck_hours < 2 * self.averaging_hours:
            raise ValueError(
                f"stuck_hours = {self.stuck_hours:g} is less than two averaging periods of "
                f"{self.averaging_hours:g} h; raise it or disable the rule 'stuck'"
            )
        return self

    def is_on(self, rule: str) -> bool:
        """Return whether `rule` is applied."""
        return rule not in self.disabled and (rule != "not_reference" or self.reference_only)


def apply_rules(
    observations: Observations, settings: QcSettings
) -> tuple[Observations, pd.DataFrame]:
    """Flag rows by every rule, and count them.

    Parameters
    ----------
    observations : Observations
        Left as it is; flags that its table already has are replaced.
    settings : QcSettings
        Thresholds, and which rules are on.

    Returns
    -------
    Observations
        The same rows in the same order with ``flags`` set: the sum of the bits (`RULES`) of the
        rules that flag it, 0 where none does.
    pandas.DataFrame
        ``rule``, ``flagged`` (int64), ``flagged_first`` (Int64, NA in a line that is no rule),
        ``stage``. In order: what reading met (stage ``read``) and assumed (``assumed``), then
        ``rows_in``, each rule, ``rows_out`` (``rule``, or ``rule (off)`` for a rule that is
        switched off). ``flagged`` counts the rule alone, over all rows; ``flagged_first`` the
        rows that no earlier rule had flagged, so that ``rows_out`` is ``rows_in`` less the sum
        of ``flagged_first``.

    Notes
    -----
    Rows without a time, a sensor or a station are compared with nothing by ``duplicate`` and
    ``stuck``; they are flagged by ``averaging_period`` or ``coordinates``.

    *duplicate_monitor* compares sensors at stations of different providers, at the intervals
    that both have, by plausible values only (no sentinel, within the limits) and only where they
    vary: two monitors that are down, or both at zero, are not thereby one. Two stations whose
    provider is unknown do not count as different; a known and an unknown one do. The record with
    more plausible intervals is kept, in a tie the one whose station sorts first; of the others
    every row is flagged. Sensors that are equal through a third one form one group.

    *stuck* follows one sensor through its records of one averaging period; of a repeated
    interval the last record counts, and repeats of its value share its fate.
    """
    rows = Rows(observations)
    flags = np.zeros(len(rows), dtype=np.uint32)
    lines: list[tuple[str, int, int | None, str]] = [
        *_reading_counts(observations),
        ("rows_in", len(rows), None, "rule"),
    ]
    for rule in RULES.values():
        if not settings.is_on(rule.name):
            lines.append((rule.name, 0, 0, "rule (off)"))
            continue
        found = rule.flags(rows, settings)
        first = found & (flags == 0)
        lines.append((rule.name, int(found.sum()), int(first.sum()), "rule"))
        flags[found] |= np.uint32(rule.bit)
    lines.append(("rows_out", int(np.count_nonzero(flags == 0)), None, "rule"))
    table = pd.DataFrame(lines, columns=["rule", "flagged", "flagged_first", "stage"])
    return (
        observations.with_table(observations.table.assign(flags=flags)),
        table.astype({"flagged": "int64", "flagged_first": "Int64"}),
    )


@dataclass
class Rows:
    """The columns of the table as arrays, for rules; what several need is made once."""

    observations: Observations

    def __len__(self) -> int:
        return len(self.observations.table)

    @property
    def stations(self) -> gpd.GeoDataFrame:
        """The table of stations."""
        return self.observations.stations

    @cached_property
    def value(self) -> Array:
        """Values in µg m⁻³; NaN is missing."""
        return self.observations.table["value"].to_numpy(dtype=np.float64)

    @cached_property
    def start(self) -> IntArray:
        """Microseconds since 1970."""
        return self._microseconds("time_start")

    @cached_property
    def end(self) -> IntArray:
        """Microseconds since 1970."""
        return self._microseconds("time_end")

    def _microseconds(self, name: str) -> IntArray:
        return self.observations.table[name].to_numpy(dtype=TIME_DTYPE).view(np.int64)

    @cached_property
    def has_time(self) -> BoolArray:
        """Whether both ends of the interval are known."""
        missing = np.iinfo(np.int64).min
        return np.asarray((self.start != missing) & (self.end != missing))

    @cached_property
    def sensors(self) -> pd.Categorical:
        """The sensor of each row."""
        return pd.Categorical(self.observations.table["sensor_id"])

    @cached_property
    def station_place(self) -> IntArray:
        """Position of each row's station in the station table; −1 where it has none."""
        column = pd.Categorical(self.observations.table["station_id"])
        found = pd.Index(self.stations["station_id"]).get_indexer(column.categories)
        # A row without a station has code −1, which picks the value appended last.
        return np.asarray(np.append(found, -1).astype(np.int32)[column.codes])

    def spread(self, per_station: BoolArray, *, otherwise: bool) -> BoolArray:
        """Return a truth about stations as one about rows; `otherwise` of those without one."""
        return np.asarray(np.append(per_station, otherwise)[self.station_place])

    def chosen(self, positions: npt.ArrayLike) -> BoolArray:
        """Return which rows stand at some positions."""
        result = np.zeros(len(self), dtype=bool)
        result[np.asarray(positions, dtype=np.intp)] = True
        return result

    @cached_property
    def order(self) -> IntArray:
        """Rows by sensor, averaging period and time; a repeated interval in reported order."""
        codes = self.sensors.codes
        order = np.lexsort((self.end, self.end - self.start, codes))
        usable = self.has_time & (codes >= 0)
        return order if usable.all() else order[usable[order]]

    @cached_property
    def superseded(self) -> BoolArray:
        """Whether the next row in `order` is a later record of the same interval."""
        return _equals_next(self.sensors.codes, self.start, self.end, order=self.order)


def _equals_next(*columns: IntArray, order: IntArray) -> BoolArray:
    """Return where a row equals the next one in `order` in every column; the last never does."""
    result = np.ones(len(order), dtype=bool)
    result[-1:] = False
    for column in columns:
        arranged = column[order]
        result[:-1] &= arranged[:-1] == arranged[1:]
    return result


Flags = Callable[[Rows, QcSettings], BoolArray]


@dataclass(frozen=True)
class Rule:
    """A rule of the quality control, by its name in ``qc.csv`` and in `QcSettings.disabled`."""

    name: str
    bit: int  # in ``flags``; bits never change, a new rule takes the next one
    meaning: str  # what it flags
    flags: Flags  # which rows it flags, from the data and the settings alone


RULES: dict[str, Rule] = {}
"""The rules in the order in which they are applied, which is that of this file."""


def _rule(place: int, meaning: str) -> Callable[[Flags], Flags]:
    """Enter a function into `RULES` under its own name, with the bit at `place`."""

    def enter(flags: Flags) -> Flags:
        name = flags.__name__.removeprefix("_")
        RULES[name] = Rule(name, 1 << place, meaning, flags)
        return flags

    return enter


@_rule(0, "the value is missing or a code that stands for a missing value")
def _sentinel(rows: Rows, settings: QcSettings) -> BoolArray:
    return _is_sentinel(rows.value, settings)


@_rule(1, "the value is below the lowest that noise around zero explains")
def _negative(rows: Rows, settings: QcSettings) -> BoolArray:
    return np.asarray(rows.value < settings.negative_below)


@_rule(2, "the value is above the limit")
def _above_limit(rows: Rows, settings: QcSettings) -> BoolArray:
    return np.asarray(rows.value > settings.limit_ug_m3)


@_rule(3, "the record does not cover the averaging period")
def _averaging_period(rows: Rows, settings: QcSettings) -> BoolArray:
    asked = round(settings.averaging_hours * _US_PER_HOUR)
    # A missing time is the lowest integer there is, and no difference with it is a period.
    return np.asarray(rows.end - rows.start != asked)


@_rule(4, "the station has no place: none given, out of range, or 0, 0")
def _coordinates(rows: Rows, settings: QcSettings) -> BoolArray:
    return rows.spread(~_located(rows.stations, settings), otherwise=True)


@_rule(5, "the record starts outside the years or months asked for")
def _outside_years(rows: Rows, settings: QcSettings) -> BoolArray:
    month = rows.start.view(TIME_DTYPE).astype("datetime64[M]").view(np.int64)
    result = np.zeros(len(rows), dtype=bool)
    if settings.years is not None:
        result |= ~np.isin(month // 12 + 1970, settings.years)
    if settings.months is not None:
        result |= ~np.isin(month % 12 + 1, settings.months)
    return result


@_rule(6, "a later record of the same sensor covers the same interval")
def _duplicate(rows: Rows, _: QcSettings) -> BoolArray:
    return rows.chosen(rows.order[rows.superseded])


@_rule(7, "another provider has a longer record of the same monitor")
def _duplicate_monitor(rows: Rows, settings: QcSettings) -> BoolArray:
    neighbours = _neighbours(rows.stations, settings)
    near = np.isin(np.arange(len(rows.stations)), neighbours)
    usable = rows.has_time & (rows.sensors.codes >= 0) & rows.spread(near, otherwise=False)
    row = np.flatnonzero(usable)
    # A monitor is a sensor at a station, numbered.
    sensors = rows.sensors.categories
    monitor = rows.station_place[row].astype(np.int64) * len(sensors) + rows.sensors.codes[row]
    records = pd.DataFrame({"start": rows.start[row], "end": rows.end[row]})
    records["interval"] = records.groupby(["start", "end"], sort=False).ngroup()
    records = records.assign(monitor=monitor, value=rows.value[row])
    latest = records.drop_duplicates(["monitor", "interval"], keep="last")
    measured = latest[_plausible(latest["value"].to_numpy(), settings)]
    series: dict[Any, tuple[IntArray, Array]] = {
        key: (one["interval"].to_numpy(), one["value"].to_numpy())
        for key, one in measured.groupby("monitor")
    }
    station = rows.stations["station_id"].to_numpy()

    def longest_first(key: int) -> tuple[int, str, str]:
        place, sensor = divmod(key, len(sensors))
        return -len(series[key][0]), str(station[place]), str(sensors[sensor])

    ranked = sorted(series, key=longest_first)
    at: dict[int, list[int]] = {}
    for rank, key in enumerate(ranked):
        at.setdefault(key // len(sensors), []).append(rank)
    links = [
        pair
        for here, there in neighbours.tolist()
        for pair in product(at.get(here, ()), at.get(there, ()))
        if _are_equal(series[ranked[pair[0]]], series[ranked[pair[1]]], settings)
    ]
    if not links:
        return rows.chosen([])
    edges = coo_array((np.ones(len(links)), np.transpose(links)), shape=(len(ranked),) * 2)
    _, group = connected_components(edges, directed=False)
    _, longest = np.unique(group, return_index=True)
    return rows.chosen(row[np.isin(monitor, np.delete(ranked, longest))])


@_rule(8, "the sensor repeated one value for too long")
def _stuck(rows: Rows, settings: QcSettings) -> BoolArray:
    kept = rows.order[~rows.superseded]
    if len(kept) == 0:
        return rows.chosen([])
    value, start, end = rows.value[kept], rows.start[kept], rows.end[kept]
    # Runs are of one sensor, averaging period and value, without a long gap.
    goes_on = start[1:] - end[:-1] <= settings.stuck_gap_hours * _US_PER_HOUR
    for column in (rows.sensors.codes[kept], end - start, value):
        goes_on &= column[1:] == column[:-1]
    first = np.flatnonzero(np.append(True, ~goes_on))
    last = np.append(first[1:], len(kept)) - 1
    long = (end[last] - start[first] >= settings.stuck_hours * _US_PER_HOUR) & (last > first)
    in_run = np.repeat(long, last - first + 1)
    # A superseded record meets the one that replaced it at the end of its interval.
    old = np.flatnonzero(rows.superseded)
    successor = np.searchsorted(np.flatnonzero(~rows.superseded), old)
    repeats = in_run[successor] & (rows.value[rows.order[old]] == value[successor])
    return rows.chosen(np.concatenate([kept[in_run], rows.order[old[repeats]]]))


@_rule(9, "the station moves")
def _mobile(rows: Rows, _: QcSettings) -> BoolArray:
    return rows.spread(_known_true(rows.stations["mobile"]), otherwise=False)


@_rule(10, "the sensor is not known to be a reference monitor")
def _not_reference(rows: Rows, _: QcSettings) -> BoolArray:
    return ~_known_true(rows.observations.table["is_reference"])


def _known_true(column: pd.Series[bool]) -> BoolArray:
    return column.astype("boolean").to_numpy(dtype=bool, na_value=False)


def _is_sentinel(value: Array, settings: QcSettings) -> BoolArray:
    result = np.isnan(value)
    for code in settings.sentinels:
        result |= np.abs(value - code) <= _SENTINEL_TOLERANCE
    return result


def _plausible(value: Array, settings: QcSettings) -> BoolArray:
    """Return which values are measurements, whichever rules are switched on."""
    within = (value >= settings.negative_below) & (value <= settings.limit_ug_m3)
    return np.asarray(within & ~_is_sentinel(value, settings))


def _located(stations: gpd.GeoDataFrame, settings: QcSettings) -> BoolArray:
    """Return which stations have coordinates that can be true."""
    latitude = np.abs(stations["latitude"].to_numpy(dtype=np.float64))
    longitude = np.abs(stations["longitude"].to_numpy(dtype=np.float64))
    # The comparisons are false for NaN.
    on_globe = (latitude <= 90) & (longitude <= 180)
    near_zero = np.maximum(latitude, longitude) <= settings.zero_zero_deg
    return np.asarray(on_globe & ~near_zero)


def _are_equal(
    left: tuple[IntArray, Array], right: tuple[IntArray, Array], settings: QcSettings
) -> bool:
    """Return whether two series of intervals and values are one, by the share of equal values."""
    _, a, b = np.intersect1d(left[0], right[0], assume_unique=True, return_indices=True)
    if len(a) < settings.duplicate_common_hours:
        return False
    same = np.abs(left[1][a] - right[1][b]) <= settings.duplicate_tolerance_ug_m3 + _ROUNDING
    if same.mean() < settings.duplicate_equal_share:
        return False
    return bool(np.ptp(left[1][a][same]) > settings.duplicate_tolerance_ug_m3)


def _neighbours(stations: gpd.GeoDataFrame, settings: QcSettings) -> IntArray:
    """Return positions of stations of two providers within the distance, shape (pairs, 2)."""
    located = np.flatnonzero(_located(stations, settings))
    if len(located) < 2:
        return np.empty((0, 2), dtype=np.int64)
    latitude, longitude = (
        stations[name].to_numpy(dtype=np.float64)[located] for name in ("latitude", "longitude")
    )
    within = sphere.chord((settings.duplicate_distance_m + _DISTANCE_TOLERANCE_M) / 1000)
    pairs = KDTree(sphere.points(latitude, longitude)).query_pairs(within, output_type="ndarray")
    provider, _ = pd.factorize(stations["provider"].to_numpy()[located])
    differ = provider[pairs[:, 0]] != provider[pairs[:, 1]]
    return np.asarray(located[pairs[differ]], dtype=np.int64)


def _reading_counts(observations: Observations) -> list[tuple[str, int, None, str]]:
    counts = dict(observations.counts)
    refused = sum(number for name, number in counts.items() if name.startswith("refused_"))
    counts = {"records": counts.pop("records", len(observations) + refused), **counts}
    assumed = {name: counts.pop(name) for name in list(counts) if name.startswith("assumed_")}
    counts["damaged_files"] = len(observations.damaged)
    return [
        (name, number, None, stage)
        for stage, numbers in (("read", counts), ("assumed", assumed))
        for name, number in numbers.items()
    ]


def _one_line(error: ValidationError) -> InputError:
    """Return the first complaint of pydantic as one line."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return InputError(
            f"no QC setting is called {name!r}",
            hint=f"the settings are {', '.join(QcSettings.model_fields)}",
        )
    if first["type"] == "value_error":
        return InputError(str(first["ctx"]["error"]))
    return InputError(f"QC setting {name} = {first['input']!r}: {first['msg']}")
