from __future__ import annotations

import math
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal

from deepcams_eval.core.field import TIME_DTYPE, DamagedFile
from deepcams_eval.core.observations import Observations, make_stations
from deepcams_eval.errors import InputError
from deepcams_eval.pair.qc import RULES, QcSettings, Rule, apply_rules
from deepcams_eval.read.openaq import read_observations

EARTH_RADIUS_M = 6_371_008.8
BEGIN = np.datetime64("2018-02-06T00:00", "us")
HOUR = np.timedelta64(3_600_000_000, "us")

Row = dict[str, Any]


def times(hours: Any) -> Any:
    return BEGIN + np.round(np.asarray(hours, dtype=float) * 3.6e9).astype("timedelta64[us]")


def station(name: str = "a", **columns: Any) -> Row:
    """A clean station in Antwerp."""
    place = {"latitude": 51.2, "longitude": 4.4, "country": "BE", "provider": "EEA"}
    return {"station_id": name, "mobile": False, **place, **columns}


def row(hour: float, value: float, **columns: Any) -> Row:
    """A record of sensor `a` at station `a` from `hour` (since BEGIN) for `hours` hours."""
    return {"hour": hour, "hours": 1.0, "value": value, "sensor_id": "a", **columns}


def make(rows: list[Row], stations: list[Row] | None = None, **rest: Any) -> Observations:
    names = ["hour", "hours", "value", "sensor_id", "is_reference"]
    raw = pd.DataFrame(rows, columns=names)
    places = [r.get("station_id") or r["sensor_id"] for r in rows]
    table = pd.DataFrame(
        {
            "station_id": pd.Categorical(places),
            "sensor_id": raw["sensor_id"].astype("category"),
            "time_start": times(raw["hour"]),
            "time_end": times(raw["hour"] + raw["hours"]),
            "value": raw["value"].astype(float),
            "is_reference": raw["is_reference"].astype("boolean"),
            "flags": np.zeros(len(raw), dtype=np.uint32),
        }
    )
    known = pd.DataFrame(stations if stations is not None else [station()])
    return Observations(table, make_stations(known), **rest)


def only(rule: str, **thresholds: Any) -> QcSettings:
    return QcSettings(disabled=frozenset(RULES) - {rule}, **thresholds)


def flagged_by(rule: str, observations: Observations, **thresholds: Any) -> list[int]:
    """Positions of the rows that one rule, alone, flags."""
    result, counts = apply_rules(observations, only(rule, **thresholds))
    flags = result.table["flags"].to_numpy()
    assert set(flags.tolist()) <= {0, RULES[rule].bit}
    assert int(line(counts, rule)["flagged"]) == np.count_nonzero(flags)
    return np.flatnonzero(flags).tolist()


def line(counts: pd.DataFrame, rule: str) -> pd.Series:
    [found] = np.flatnonzero(counts["rule"] == rule)
    return counts.iloc[found]


def test_bits_are_stable() -> None:
    assert {name: rule.bit for name, rule in RULES.items()} == {
        "sentinel": 1,
        "negative": 2,
        "above_limit": 4,
        "averaging_period": 8,
        "coordinates": 16,
        "outside_years": 32,
        "duplicate": 64,
        "duplicate_monitor": 128,
        "stuck": 256,
        "mobile": 512,
        "not_reference": 1024,
    }


def test_a_rule_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    thirteen = Rule("thirteen", 2048, "the value is thirteen", lambda rows, _: rows.value == 13)
    monkeypatch.setitem(RULES, thirteen.name, thirteen)
    rows = [row(0, 12), row(1, 13), row(2, -999), row(3, 13, hours=2)]
    result, counts = apply_rules(make(rows), QcSettings())
    assert result.table["flags"].tolist() == [0, 2048, 1 + 2, 8 + 2048]
    assert counts["rule"].tolist()[-2:] == ["thirteen", "rows_out"]
    assert line(counts, "thirteen").tolist() == ["thirteen", 2, 1, "rule"]
    _, counts = apply_rules(make(rows), QcSettings(disabled={"thirteen"}))
    assert line(counts, "thirteen")["stage"] == "rule (off)"


class TestValues:
    def test_sentinels_are_exact(self) -> None:
        codes = [-999, -996, -1111, -999.99, -9999, 9999, 999.99, math.nan]
        values = [-999.1, -995, 999, 985, 999.98, 999.9900009, 998.7, -3.2]
        observations = make([row(i, v) for i, v in enumerate(codes + values)])
        assert flagged_by("sentinel", observations) == [0, 1, 2, 3, 4, 5, 6, 7, 13]

    def test_sentinels_can_be_set(self) -> None:
        observations = make([row(0, 999), row(1, -999), row(2, 37.5)])
        assert flagged_by("sentinel", observations, sentinels=(999, 37.5)) == [0, 2]

    def test_negative_boundary(self) -> None:
        observations = make(
            [row(0, -5), row(1, np.nextafter(-5, -6)), row(2, -0.3), row(3, 0), row(4, math.nan)]
        )
        assert flagged_by("negative", observations) == [1]
        assert flagged_by("negative", observations, negative_below=0) == [0, 1, 2]

    def test_limit_boundary(self) -> None:
        values = [1000, np.nextafter(1000, 1001), 999, math.inf, math.nan]
        observations = make([row(i, v) for i, v in enumerate(values)])
        assert flagged_by("above_limit", observations) == [1, 3]
        assert flagged_by("above_limit", observations, limit_ug_m3=998) == [0, 1, 2, 3]


class TestTime:
    def test_averaging_period(self) -> None:
        lengths = [1, 0.25, 24, 1 + 1e-6, 2]
        observations = make([row(30 * i, 17, hours=h) for i, h in enumerate(lengths)])
        assert flagged_by("averaging_period", observations) == [1, 2, 3, 4]
        assert flagged_by("averaging_period", observations, averaging_hours=0.25) == [0, 2, 3, 4]

    def test_unknown_time_is_not_the_averaging_period(self) -> None:
        observations = make([row(0, 17), row(1, 18), row(2, 19)])
        table = observations.table.copy()
        table.loc[0, "time_start"] = pd.NaT
        table.loc[2, ["time_start", "time_end"]] = pd.NaT
        unknown = observations.with_table(table)
        assert flagged_by("averaging_period", unknown) == [0, 2]
        assert flagged_by("outside_years", unknown, years=(2018,)) == [0, 2]
        for rule in ("duplicate", "stuck", "duplicate_monitor"):
            assert flagged_by(rule, unknown) == []

    def test_years_and_months_are_those_of_the_start(self) -> None:
        starts = ["2017-12-31T23:00", "2018-01-01T00:00", "2018-12-31T23:00", "2019-01-01T00:00"]
        starts += ["1969-12-31T23:00", "2018-06-30T23:00"]
        hours = (np.array(starts, dtype=TIME_DTYPE) - BEGIN) / HOUR
        observations = make([row(h, 21) for h in hours])
        assert flagged_by("outside_years", observations) == []
        assert flagged_by("outside_years", observations, years=(2018,)) == [0, 3, 4]
        assert flagged_by("outside_years", observations, years=[2017, 2018]) == [3, 4]
        assert flagged_by("outside_years", observations, months=(12,)) == [1, 3, 5]
        both = flagged_by("outside_years", observations, years=(2018,), months=(1, 6))
        assert both == [0, 2, 3, 4]


class TestPlace:
    def test_coordinates(self) -> None:
        places = {
            "good": (51.2, 4.4),
            "no latitude": (math.nan, 4.4),
            "no longitude": (51.2, math.nan),
            "too far north": (90.01, 4.4),
            "too far west": (51.2, -180.5),
            "zero": (0, 0),
            "almost zero": (0.003, -0.01),
            "on the equator": (0, 109.3),
            "on the meridian": (51.48, 0),
            "corner": (-90, 180),
        }
        stations = [
            station(name, latitude=lat, longitude=lon) for name, (lat, lon) in places.items()
        ]
        rows = [row(i, 12.5, sensor_id=name) for i, name in enumerate(places)]
        observations = make([*rows, row(0, 12.5, sensor_id="not in the table")], stations)
        assert flagged_by("coordinates", observations) == [1, 2, 3, 4, 5, 6, 10]
        assert flagged_by("coordinates", observations, zero_zero_deg=0) == [1, 2, 3, 4, 5, 10]

    def test_row_without_station(self) -> None:
        observations = make([row(0, 12.5), row(1, 13.5)])
        table = observations.table.copy()
        table["station_id"] = pd.Categorical(["a", None])
        orphan = observations.with_table(table)
        assert flagged_by("coordinates", orphan) == [1]
        assert flagged_by("mobile", orphan) == []

    def test_mobile_only_where_known(self) -> None:
        stations = [
            station(name, mobile=m)
            for name, m in (("a", True), ("b", False), ("c", pd.NA), ("d", True))
        ]
        rows = [row(0, 8.25, sensor_id=name) for name in "abcda"]
        assert flagged_by("mobile", make(rows, stations)) == [0, 3, 4]


def test_not_reference_is_off_by_default_and_counts_unknown() -> None:
    rows = [row(i, 8.25, is_reference=grade) for i, grade in enumerate([True, False, pd.NA])]
    observations = make(rows)
    assert flagged_by("not_reference", observations) == []
    assert flagged_by("not_reference", observations, reference_only=True) == [1, 2]
    _, counts = apply_rules(observations, QcSettings())
    assert line(counts, "not_reference")["stage"] == "rule (off)"


class TestDuplicate:
    def test_last_reported_is_kept(self) -> None:
        rows = [row(5, 20.5), row(4, 11), row(5, 20.5), row(5, 33), row(4, 11, sensor_id="b")]
        assert flagged_by("duplicate", make(rows)) == [0, 2]

    def test_other_period_with_the_same_end_is_no_duplicate(self) -> None:
        rows = [row(23, 20.5), row(0, 18.25, hours=24), row(23.75, 31, hours=0.25)]
        assert flagged_by("duplicate", make(rows)) == []

    def test_sensor_decides_not_station(self) -> None:
        rows = [row(5, 20.5), row(5, 20.5, sensor_id="b", station_id="a")]
        assert flagged_by("duplicate", make(rows)) == []

    def test_rows_without_sensor(self) -> None:
        observations = make([row(5, 20.5), row(5, 20.5), row(5, 20.5)])
        table = observations.table.copy()
        table["sensor_id"] = pd.Categorical([None, None, "a"])
        assert flagged_by("duplicate", observations.with_table(table)) == []


def run(hours: range, value: float = 42.5, **columns: Any) -> list[Row]:
    return [row(h, value, **columns) for h in hours]


BRIDGED = run(range(10)) + run(range(13, 24))
BROKEN = run(range(20)) + run(range(24, 44))
QUARTERS = [row(h / 4, 42.5, hours=0.25) for h in range(96)]
BESIDE = run(range(24))
BESIDE.insert(7, row(6.5, 11, sensor_id="b", station_id="a"))
BESIDE.insert(3, row(-18, 42.5, hours=24))


@pytest.mark.parametrize(
    ("rows", "options", "expected"),
    [
        ([row(-1, 41), *run(range(23)), row(23, 43)], {}, []),
        ([row(-1, 41), *run(range(24)), row(24, 43)], {}, range(1, 25)),
        ([row(-1, 41), *run(range(25)), row(25, 43)], {}, range(1, 26)),
        # The order of report does not matter.
        ([row(24, 43), *reversed(run(range(24))), row(-1, 41)], {}, range(1, 25)),
        # A gap of three hours is bridged, a longer one is not.
        (BRIDGED, {}, range(21)),
        (BROKEN, {}, []),
        (BROKEN, {"stuck_gap_hours": 4}, range(40)),
        # Another value breaks a run, another sensor or period does not.
        ([*run(range(12)), row(12, 42.6), *run(range(13, 25))], {}, []),
        (BESIDE, {}, [i for i in range(26) if i not in (3, 8)]),
        # A run does not pass from sensor to sensor.
        (run(range(12)) + run(range(12, 24), sensor_id="b"), {}, []),
        # The superseded 90 is not of the run; the superseded 42.5 shares its value and its fate.
        ([row(5, 90), row(9, 42.5), *run(range(24))], {}, range(1, 26)),
        # The last report decides.
        ([*run(range(24)), row(12, 90)], {}, []),
        (QUARTERS, {}, range(96)),
        (QUARTERS[1:], {}, []),
        # Missing values are not equal.
        (run(range(30), math.nan), {}, []),
    ],
)
def test_stuck(rows: list[Row], options: Row, expected: Any) -> None:
    observations = make(rows, [station("a"), station("b")])
    assert flagged_by("stuck", observations, **options) == list(expected)


def degrees_for(metres: float) -> float:
    return math.degrees(metres / EARTH_RADIUS_M)


def same(values: np.ndarray) -> np.ndarray:
    return values


def four_differ(values: np.ndarray) -> np.ndarray:
    return values + 5 * np.isin(np.arange(60), [10, 20, 30, 40])


def mostly_down(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(60) < 50, -999.0, values)


NOWHERE = [{"latitude": place, "longitude": place} for place in (math.nan, 0.0)]


class TestDuplicateMonitor:
    @staticmethod
    def series(
        name: str, values: Any, *, first: int = 0, station_id: str | None = None
    ) -> list[Row]:
        return [
            row(first + i, float(v), sensor_id=name, station_id=station_id or name)
            for i, v in enumerate(values)
        ]

    @pytest.fixture
    def values(self) -> np.ndarray:
        return np.random.default_rng(7).lognormal(3, 0.6, size=60).round(2)

    def two(
        self, values: Any, other: Any, *, a: Row | None = None, b: Row | None = None, **more: Any
    ) -> list[str]:
        """Names of the sensors with a flag, whose rows must be flagged all or none."""
        stations = [station("a", **(a or {})), station("b", **{"provider": "AirNow"} | (b or {}))]
        observations = make(self.series("a", values) + self.series("b", other), stations)
        rows = flagged_by("duplicate_monitor", observations, **more)
        sensors = observations.table["sensor_id"]
        found = sorted(set(sensors.iloc[rows]))
        assert len(rows) == sensors.isin(found).sum()
        return found

    @pytest.mark.parametrize(
        ("first", "second", "options", "expected"),
        [
            # The shorter record is flagged, whole; in a tie that of the later station.
            (same, lambda v: v[:40], {}, ["b"]),
            (lambda v: v[:40], same, {}, ["a"]),
            (same, same, {}, ["b"]),
            (same, same, {"a": {"provider": "Z"}}, ["b"]),
            # Providers must differ.
            (same, same, {"b": {"provider": "EEA"}}, []),
            (same, same, {"a": {"provider": ""}, "b": {"provider": ""}}, []),
            (same, same, {"b": {"provider": ""}}, ["b"]),
            # Values must be near.
            (same, lambda v: v.round(1), {}, ["b"]),
            (same, lambda v: v + 0.06, {}, []),
            (same, lambda v: v + 0.06, {"duplicate_tolerance_ug_m3": 0.1}, ["b"]),
            # 57 equal values of 60 are the least that will do.
            (same, lambda v: v + 5 * np.isin(np.arange(60), [10, 20, 30]), {}, ["b"]),
            (same, four_differ, {}, []),
            (same, four_differ, {"duplicate_equal_share": 0.9}, ["b"]),
            # An hour apart is not equal; constants and outages prove nothing.
            (lambda v: v[1:], lambda v: v[:-1], {}, []),
            (np.zeros_like, np.zeros_like, {}, []),
            (mostly_down, lambda v: mostly_down(v[::-1]), {}, []),
            # Stations without a place are not near each other.
            *((same, same, {"a": nowhere, "b": nowhere}, []) for nowhere in NOWHERE),
        ],
    )
    def test_two_records(
        self, values: np.ndarray, first: Any, second: Any, options: Row, expected: list[str]
    ) -> None:
        assert self.two(first(values), second(values), **options) == expected

    def test_a_tie_is_not_decided_by_the_order_of_the_table(self, values: np.ndarray) -> None:
        stations = [station("b"), station("a", provider="AirNow")]
        rows = self.series("b", values) + self.series("a", values)
        assert flagged_by("duplicate_monitor", make(rows, stations)) == list(range(60))

    def test_other_periods_with_the_same_end_are_not_common(self, values: np.ndarray) -> None:
        stations = [station("a"), station("b", provider="AirNow")]
        quarters = [r | {"hour": r["hour"] + 0.75, "hours": 0.25} for r in self.series("b", values)]
        rows = self.series("a", values) + quarters
        assert flagged_by("duplicate_monitor", make(rows, stations)) == []

    def test_repeats_and_sentinels_do_not_make_a_record_longer(self, values: np.ndarray) -> None:
        stations = [station("a"), station("b", provider="AirNow")]
        rows = self.series("a", values) + self.series("b", values[:50])
        rows += self.series("b", values[:50]) + self.series("b", [-999.0] * 30, first=50)
        assert flagged_by("duplicate_monitor", make(rows, stations)) == list(range(60, 190))

    @pytest.mark.parametrize(
        "metres, near", [(0, True), (199.9, True), (200, True), (200.1, False)]
    )
    @pytest.mark.parametrize("latitude", [-33.4, 51.2, 78.9])
    def test_distance(self, values: np.ndarray, metres: float, near: bool, latitude: float) -> None:
        a = {"latitude": latitude}
        b = {"latitude": latitude + degrees_for(metres)}
        assert self.two(values, values, a=a, b=b) == (["b"] if near else [])
        assert self.two(values, values, a=a, b=b, duplicate_distance_m=150) == (
            ["b"] if metres == 0 else []
        )

    def test_longitude_shrinks_with_latitude(self, values: np.ndarray) -> None:
        a, step = {"latitude": 60.0}, degrees_for(390)
        assert self.two(values, values, a=a, b=a | {"longitude": 4.4 + step}) == ["b"]
        assert self.two(values, values, b={"longitude": 4.4 + step}) == []

    def test_date_line_and_poles(self, values: np.ndarray) -> None:
        step = degrees_for(90)
        fiji = {"latitude": -16.8, "longitude": 180 - step}
        assert self.two(values, values, a=fiji, b=fiji | {"longitude": -180 + step}) == ["b"]
        assert self.two(values, values, a=fiji, b=fiji | {"longitude": -180 + 2 * step}) == []
        south = {"latitude": -90 + step, "longitude": 10.0}
        assert self.two(values, values, a=south, b=south | {"longitude": -170.0}) == ["b"]

    def test_common_intervals(self, values: np.ndarray) -> None:
        stations = [station("a"), station("b", provider="AirNow")]
        for common, expected in ((23, []), (24, [1])):
            a = self.series("a", values[:40])
            b = self.series("b", np.append(values[40 - common : 40], 77.7), first=40 - common)
            found = flagged_by("duplicate_monitor", make(a + b, stations))
            assert found == [40 + i for i in range(common + 1) if expected]

    def test_groups_are_transitive(self, values: np.ndarray) -> None:
        # a and c share no hour, and a and d no provider; b and d have common hours with all.
        stations = [
            station(name, provider=provider)
            for name, provider in (("a", "X"), ("b", "Y"), ("c", "Z"), ("d", "X"), ("e", "Y"))
        ]
        rows = self.series("a", values[:30]) + self.series("b", values)
        rows += self.series("c", values[30:], first=30) + self.series("d", values[:55])
        rows += self.series("e", values[::-1])
        observations = make(rows, stations)
        found = observations.table["sensor_id"].iloc[flagged_by("duplicate_monitor", observations)]
        assert Counter(found) == {"a": 30, "c": 30, "d": 55}

    def test_sensors_of_one_station_are_told_apart(self, values: np.ndarray) -> None:
        stations = [station("a"), station("b", provider="AirNow")]
        rows = self.series("a1", values, station_id="a")
        rows += self.series("a2", values + 3.3, station_id="a")
        rows += self.series("b1", values[:50] + 3.3, station_id="b")
        assert flagged_by("duplicate_monitor", make(rows, stations)) == list(range(120, 170))

    def test_one_row_each_at_one_provider(self) -> None:
        stations = [station("BETR801"), station("BETR802", longitude=4.4005)]
        rows = [row(3, 25.5, sensor_id=s["station_id"]) for s in stations]
        assert flagged_by("duplicate_monitor", make(rows, stations)) == []


class TestCounts:
    def test_lines_stand_in_order(self) -> None:
        rows = [row(0, -999), row(1, 12), row(1, 13, hours=24), row(0, 1200), row(2, -7)]
        counts = {
            "assumed_one_hour": 3,
            "other_parameter": 40,
            "records": 9,
            "refused_unit": 3,
            "refused_time": 1,
        }
        damaged = (DamagedFile("x.csv.gz", "cut short"), DamagedFile("y.csv.gz", "no rows"))
        observations = make(rows, counts=counts, damaged=damaged)
        _, table = apply_rules(observations, QcSettings(disabled={"negative"}))
        na = pd.NA
        expected = pd.DataFrame(
            [
                ("records", 9, na, "read"),
                ("other_parameter", 40, na, "read"),
                ("refused_unit", 3, na, "read"),
                ("refused_time", 1, na, "read"),
                ("damaged_files", 2, na, "read"),
                ("assumed_one_hour", 3, na, "assumed"),
                ("rows_in", 5, na, "rule"),
                ("sentinel", 1, 1, "rule"),
                ("negative", 0, 0, "rule (off)"),
                ("above_limit", 1, 1, "rule"),
                ("averaging_period", 1, 1, "rule"),
                ("coordinates", 0, 0, "rule"),
                ("outside_years", 0, 0, "rule"),
                ("duplicate", 1, 0, "rule"),
                ("duplicate_monitor", 0, 0, "rule"),
                ("stuck", 0, 0, "rule"),
                ("mobile", 0, 0, "rule"),
                ("not_reference", 0, 0, "rule (off)"),
                ("rows_out", 2, na, "rule"),
            ],
            columns=["rule", "flagged", "flagged_first", "stage"],
        ).astype({"flagged": "int64", "flagged_first": "Int64"})
        assert_frame_equal(table, expected)

    def test_records_without_a_count_are_the_rows_and_the_refused(self) -> None:
        observations = make([row(0, 12), row(1, 13)], counts={"refused_unit": 3})
        _, table = apply_rules(observations, QcSettings())
        assert int(line(table, "records")["flagged"]) == 5

    def test_empty_table(self) -> None:
        for stations in ([], [station()]):
            empty = make([], stations or None)
            if not stations:
                empty = Observations(empty.table, empty.stations.iloc[:0])
            settings_used = QcSettings(years=(2018,), months=(2,), reference_only=True)
            result, counts = apply_rules(empty, settings_used)
            assert len(result) == 0
            assert result.table["flags"].dtype == np.uint32
            assert (counts["flagged"] == 0).all()
            assert counts["rule"].tolist() == [
                "records",
                "damaged_files",
                "rows_in",
                *RULES,
                "rows_out",
            ]

    def test_all_flagged(self) -> None:
        result, counts = apply_rules(make([row(h, -999) for h in range(7)]), QcSettings())
        assert set(result.table["flags"]) == {RULES["sentinel"].bit | RULES["negative"].bit}
        assert int(line(counts, "negative")["flagged"]) == 7
        assert int(line(counts, "negative")["flagged_first"]) == 0
        assert int(line(counts, "rows_out")["flagged"]) == 0


class TestSettings:
    @pytest.mark.parametrize(
        "wrong, message",
        [
            ({"stuck_hour": 12}, "no QC setting is called 'stuck_hour'; the settings are sentinel"),
            ({"negative_below": 3}, "QC setting negative_below = 3: "),
            ({"limit_ug_m3": "high"}, "QC setting limit_ug_m3 = 'high': "),
            ({"limit_ug_m3": math.inf}, "QC setting limit_ug_m3 = inf: "),
            ({"sentinels": (math.nan,)}, "QC setting sentinels = nan: "),
            ({"years": ()}, "QC setting years = "),
            ({"months": (0,)}, "QC setting months = 0: "),
            ({"disabled": {"stuk"}}, "no rule is called 'stuk'; the rules are sentinel, negative"),
            ({"averaging_hours": 24}, "stuck_hours = 24 is less than two averaging periods of 24"),
        ],
    )
    def test_wrong_ones_are_refused_in_one_line(self, wrong: Row, message: str) -> None:
        with pytest.raises(InputError) as caught:
            QcSettings(**wrong)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)

    def test_daily_means(self) -> None:
        daily = QcSettings(averaging_hours=24, stuck_hours=72, years=range(2017, 2020))
        assert daily.years == (2017, 2018, 2019)
        assert QcSettings(averaging_hours=24, disabled={"stuck"}).averaging_hours == 24

    def test_frozen_and_travelling(self) -> None:
        chosen = QcSettings(stuck_hours=36)
        with pytest.raises(ValueError, match="frozen"):
            chosen.stuck_hours = 12
        assert pickle.loads(pickle.dumps(chosen)) == chosen


VALUES = st.sampled_from([-999.0, -7.5, -2.5, 8.5, 8.5, 8.5, 31.5, 1200.0, math.nan])
PLACES = [(51.2, 4.4), (51.201, 4.4), (0.0, 0.0), (math.nan, 4.4), (51.2, 4.404)]
SMALL = {
    "stuck_hours": 4,
    "stuck_gap_hours": 1,
    "duplicate_common_hours": 2,
    "duplicate_equal_share": 0.6,
    "years": (2018,),
    "reference_only": True,
}


@st.composite
def tables(draw: st.DrawFn) -> Observations:
    """Few sensors, hours and values, so that every rule finds something."""
    rows = st.builds(
        row,
        st.one_of(st.integers(0, 12), st.sampled_from([-900, 13.5])),
        VALUES,
        hours=st.sampled_from([1.0, 1.0, 1.0, 2.0]),
        sensor_id=st.sampled_from("abc"),
        station_id=st.sampled_from([None, None, None, "d"]),
        is_reference=st.sampled_from([True, False, None]),
    )
    stations = [
        station(
            name,
            latitude=latitude,
            longitude=longitude,
            provider=draw(st.sampled_from(["EEA", "AirNow", ""])),
            mobile=draw(st.sampled_from([True, False, pd.NA])),
        )
        for name in "abcd"
        for latitude, longitude in [draw(st.sampled_from(PLACES))]
    ]
    return make(draw(st.lists(rows, max_size=40)), stations)


def as_records(observations: Observations) -> list[Row]:
    records: list[Row] = [
        {str(name): field for name, field in record.items()}
        for record in observations.table.to_dict("records")
    ]
    for i, record in enumerate(records):
        record["i"] = i
        record["interval"] = (record["time_start"], record["time_end"])
    return records


def slow_duplicate(observations: Observations) -> set[int]:
    records = as_records(observations)
    return {
        a["i"]
        for a in records
        for b in records[a["i"] + 1 :]
        if a["sensor_id"] == b["sensor_id"] and a["interval"] == b["interval"]
    }


def slow_stuck(observations: Observations, hours: float, gap: float) -> set[int]:
    groups: dict[Any, dict[Any, list[Row]]] = {}
    for record in as_records(observations):
        length = record["time_end"] - record["time_start"]
        group = groups.setdefault((record["sensor_id"], length), {})
        group.setdefault(record["interval"], []).append(record)
    flagged: set[int] = set()
    for group in groups.values():
        run: list[Any] = []
        for interval in [*sorted(group, key=lambda pair: pair[1]), None]:
            fits = interval is not None and bool(run)
            if fits:
                previous = run[-1]
                fits = group[interval][-1]["value"] == group[previous][-1]["value"]
                fits &= interval[0] - previous[1] <= pd.Timedelta(hours=gap)
            if not fits:
                if len(run) > 1 and run[-1][1] - run[0][0] >= pd.Timedelta(hours=hours):
                    value = group[run[0]][-1]["value"]
                    members = [record for key in run for record in group[key]]
                    flagged |= {m["i"] for m in members if m["value"] == value}
                run = []
            run.append(interval)
    return flagged


def metres_between(a: list[float], b: list[float]) -> float:
    """Haversine of (latitude, longitude)."""
    lat_a, lon_a, lat_b, lon_b = map(math.radians, (*a, *b))
    half = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * (
        math.sin((lon_b - lon_a) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(half))


def slow_duplicate_monitor(observations: Observations, common: int, share: float) -> set[int]:
    series: dict[tuple[str, str], dict[Any, float]] = {}
    records = as_records(observations)
    for record in records:
        monitor = series.setdefault((record["station_id"], record["sensor_id"]), {})
        monitor[record["interval"]] = record["value"]
    plausible = {
        key: {t: v for t, v in one.items() if -5 <= v <= 1000} for key, one in series.items()
    }
    columns = [
        observations.stations[n] for n in ("station_id", "latitude", "longitude", "provider")
    ]
    places = {name: rest for name, *rest in zip(*columns, strict=True)}

    def near(a: str, b: str) -> bool:
        (*here, provider), (*there, other_provider) = places[a], places[b]
        if any(math.isnan(p[0]) or p[0] == 0 for p in (here, there)):
            return False
        return provider != other_provider and metres_between(here, there) <= 200

    def equal(a: dict[Any, float], b: dict[Any, float]) -> bool:
        both = a.keys() & b.keys()
        agreed = [a[t] for t in both if a[t] == b[t]]
        return len(both) >= common and len(agreed) >= share * len(both) and len(set(agreed)) > 1

    links = {
        key: {o for o in series if near(key[0], o[0]) and equal(plausible[key], plausible[o])}
        for key in series
    }
    flagged = set()
    for key in series:
        group, fresh = {key}, {key}
        while fresh:
            fresh = {o for one in fresh for o in links[one]} - group
            group |= fresh
        best = min(group, key=lambda one: (-len(plausible[one]), one))
        if key != best:
            flagged.add(key)
    return {r["i"] for r in records if (r["station_id"], r["sensor_id"]) in flagged}


@settings(max_examples=100, deadline=None)
@given(tables())
def test_sorted_rules_equal_slow_ones(observations: Observations) -> None:
    assert set(flagged_by("duplicate", observations)) == slow_duplicate(observations)
    stuck = flagged_by("stuck", observations, stuck_hours=4, stuck_gap_hours=1)
    assert set(stuck) == slow_stuck(observations, 4, 1)


@st.composite
def neighbours(draw: st.DrawFn) -> Observations:
    """Stations that copy one truth, with some hours missing and some changed."""
    truth = [8.5, 31.5, 8.5, 12.5, 31.5, -999.0, 12.5]
    rows, stations = [], []
    for name in "abcd":
        latitude, longitude = draw(st.sampled_from(PLACES))
        provider = draw(st.sampled_from(["EEA", "AirNow", ""]))
        stations.append(station(name, latitude=latitude, longitude=longitude, provider=provider))
        for hour in draw(st.lists(st.integers(0, 6), max_size=9)):
            value = truth[hour] + draw(st.sampled_from([0, 0, 0, 0, 7.25]))
            sensor = draw(st.sampled_from(["1", "1", "1", "2"]))
            rows.append(row(hour, value, sensor_id=name + sensor, station_id=name))
    return make(rows, stations)


@settings(max_examples=100, deadline=None)
@given(neighbours())
def test_duplicate_monitors_equal_slow_ones(observations: Observations) -> None:
    found = flagged_by(
        "duplicate_monitor", observations, duplicate_common_hours=2, duplicate_equal_share=0.6
    )
    assert set(found) == slow_duplicate_monitor(observations, 2, 0.6)


@settings(max_examples=40, deadline=None)
@given(tables(), st.sets(st.sampled_from(list(RULES))))
def test_invariants(observations: Observations, disabled: set[str]) -> None:
    chosen = QcSettings(**SMALL, disabled=disabled)
    before = observations.table.copy(deep=True)
    result, counts = apply_rules(observations, chosen)
    flags = result.table["flags"].to_numpy()

    assert_frame_equal(observations.table, before)
    assert_frame_equal(result.table.drop(columns="flags"), before.drop(columns="flags"))
    rows_in, rows_out = (int(line(counts, name)["flagged"]) for name in ("rows_in", "rows_out"))
    assert rows_in == len(before)
    assert rows_in - int(counts["flagged_first"].sum()) == rows_out == np.count_nonzero(flags == 0)

    lowest = Counter(int(mask) & -int(mask) for mask in flags)
    for name, rule in RULES.items():
        found, bit = line(counts, name), rule.bit
        assert found["flagged"] == np.count_nonzero(flags & bit)
        assert found["flagged_first"] == lowest[bit]
        assert 0 <= found["flagged_first"] <= found["flagged"]
        # What a rule flags does not depend on which other rules are on.
        expected = [] if name in disabled else flagged_by(name, observations, **SMALL)
        assert np.flatnonzero(flags & bit).tolist() == expected

    again, counts_again = apply_rules(result, chosen)
    assert_frame_equal(again.table, result.table)
    assert_frame_equal(counts_again, counts)


@settings(max_examples=40, deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_order_of_rows_matters_only_to_repeats(observations: Observations, random: Any) -> None:
    unique = ~observations.table.duplicated(["sensor_id", "time_start", "time_end"])
    table = observations.table[unique].reset_index(drop=True)
    shuffled = list(range(len(table)))
    random.shuffle(shuffled)
    chosen = QcSettings(**SMALL)
    straight, _ = apply_rules(observations.with_table(table), chosen)
    mixed, _ = apply_rules(
        observations.with_table(table.iloc[shuffled].reset_index(drop=True)), chosen
    )
    expected = straight.table["flags"].iloc[shuffled].reset_index(drop=True)
    assert_series_equal(mixed.table["flags"], expected)


def clean_network(n_stations: int, n_hours: int) -> Observations:
    """Autocorrelated, skewed series of stations in pairs 100 m apart, whole and one-digit."""
    rng = np.random.default_rng(20180206)
    noise = rng.normal(size=(n_stations, n_hours))
    logs = np.empty_like(noise)
    logs[:, 0] = noise[:, 0]
    for hour in range(1, n_hours):
        logs[:, hour] = 0.95 * logs[:, hour - 1] + math.sqrt(1 - 0.95**2) * noise[:, hour]
    value = np.exp(2.4 + 0.8 * logs) - 1 + rng.normal(scale=0.5, size=logs.shape)
    value = np.where(np.arange(n_stations)[:, None] % 4 < 2, value.round(1), value.round(0))
    names = [f"s{i:03d}" for i in range(n_stations)]
    pair = np.arange(n_stations) // 2
    stations = pd.DataFrame(
        {
            "station_id": names,
            "latitude": 40 + 0.1 * pair + degrees_for(100) * (np.arange(n_stations) % 2),
            "longitude": 4.4,
            "provider": np.where(np.arange(n_stations) % 2 == 0, "EEA", "AirNow"),
        }
    )
    sensor = pd.Categorical(np.repeat(names, n_hours))
    start = np.tile(times(np.arange(n_hours)), n_stations)
    table = pd.DataFrame(
        {
            "station_id": sensor,
            "sensor_id": sensor,
            "time_start": start,
            "time_end": start + HOUR,
            "value": value.ravel(),
            "is_reference": pd.array([True] * sensor.size, dtype="boolean"),
            "flags": np.zeros(sensor.size, dtype=np.uint32),
        }
    )
    return Observations(table, make_stations(stations))


def test_clean_series_are_hardly_flagged() -> None:
    observations = clean_network(100, 24 * 90)
    result, _ = apply_rules(observations, QcSettings(years=(2018,), reference_only=True))
    assert np.count_nonzero(result.table["flags"]) <= 0.001 * len(result)


def test_planted_faults_are_found_in_their_number() -> None:
    observations = clean_network(20, 24 * 40)
    n_hours = 24 * 40
    table = observations.table.copy()
    value = table["value"].to_numpy().copy()
    value[100:117] = -999
    value[3 * n_hours + 50 : 3 * n_hours + 110] = 14.7
    value[5 * n_hours : 6 * n_hours] = value[4 * n_hours : 5 * n_hours]
    table["value"] = value
    table = pd.concat([table, table.iloc[7 * n_hours : 7 * n_hours + 31]], ignore_index=True)
    result, counts = apply_rules(observations.with_table(table), QcSettings())
    for rule, planted in (
        ("sentinel", 17),
        ("stuck", 60),
        ("duplicate_monitor", n_hours),
        ("duplicate", 31),
    ):
        assert int(line(counts, rule)["flagged"]) == planted
    rows_out = int(line(counts, "rows_out")["flagged"])
    assert rows_out == np.count_nonzero(result.table["flags"] == 0)
    assert rows_out == len(table) - 17 - 60 - n_hours - 31


@pytest.fixture(scope="module")
def realtime(real_data: Path) -> Observations:
    return read_observations([real_data / "openaq" / "realtime-2018-02-06"])


class TestRealtimeArchive:
    def test_counts(self, realtime: Observations) -> None:
        _, counts = apply_rules(realtime, QcSettings(years=(2018,)))
        flagged = counts.set_index("rule")["flagged"]
        assert flagged["rows_in"] == 7785
        assert flagged["coordinates"] == 562
        assert flagged["averaging_period"] == 2696
        assert flagged["sentinel"] == 52 + 15 + 2 + 3  # −999, −996, −1111 and 999.99
        assert flagged["negative"] == 52 + 15 + 2
        assert flagged[["above_limit", "outside_years", "mobile", "not_reference"]].sum() == 0

    def test_one_hour_rows_of_the_ixelles_box_pass(self, realtime: Observations) -> None:
        result, _ = apply_rules(realtime, QcSettings(years=(2018,)))
        inside = realtime.stations.cx[3.375:5.625, 49.875:52.125]
        hourly = (result.table["time_end"] - result.table["time_start"]) == pd.Timedelta(hours=1)
        rows = result.table[hourly & result.table["station_id"].isin(inside["station_id"])]
        assert (rows["flags"] == 0).all()
        country = dict(zip(inside["station_id"], inside["country"], strict=True))
        assert Counter(country[name] for name in rows["station_id"]) == {"BE": 47, "FR": 7}
