from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcams_eval.core.observations import Observations
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.pair.qc import RULES, QcSettings, apply_rules
from deepcams_eval.read.openaq import read_observations
from deepcams_eval.read.stations import read_stations
from tests.openaq_files import (
    ARCHIVE_HEADER,
    archive_row,
    csv_text,
    realtime_record,
    write_archive,
    write_bytes,
    write_realtime,
    write_table,
)


def utc(text: str) -> np.datetime64:
    return np.datetime64(text, "us")


def values(observations: Observations) -> list[float]:
    return observations.table["value"].tolist()


def assert_balanced(observations: Observations) -> None:
    refused = sum(n for name, n in observations.counts.items() if name.startswith("refused_"))
    assert observations.counts["records"] == len(observations) + refused


def day_of_rows(location_id: int, day: str = "2018-01-01", **fields: Any) -> list[list[Any]]:
    return [
        archive_row(
            f"{day}T{hour:02d}:00:00+00:00",
            location_id + hour / 10,
            location_id=location_id,
            sensors_id=10 * location_id,
            location=f"Site-{location_id}",
            **fields,
        )
        for hour in range(1, 24)
    ]


@pytest.fixture
def fifty_files(tmp_path: Path) -> list[Path]:
    return [
        write_archive(tmp_path / "tree", day_of_rows(number), location_id=number)
        for number in range(100, 150)
    ]


# The archive ------------------------------------------------------------------------------------


def test_archive_row_is_read_with_every_field(tmp_path: Path) -> None:
    row = archive_row("2018-01-01T03:00:00-06:00", 12.25)
    observations = read_observations([write_archive(tmp_path, [row])])
    (got,) = observations.table.to_dict("records")
    assert got["station_id"] == "7"
    assert got["sensor_id"] == "70"
    # 03:00 local stands for 02:00 to 03:00 local, six hours behind UTC.
    assert got["time_start"] == pd.Timestamp("2018-01-01 08:00")
    assert got["time_end"] == pd.Timestamp("2018-01-01 09:00")
    assert got["value"] == 12.25
    assert observations.table["is_reference"].isna().all()
    assert got["flags"] == 0
    types = "category category datetime64[us] datetime64[us] float64 boolean uint32"
    assert observations.table.dtypes.astype(str).tolist() == types.split()
    station = observations.stations.iloc[0]
    assert (station["name"], station["latitude"], station["longitude"]) == (
        "Somewhere-7",
        51.2,
        4.4,
    )
    assert observations.stations.crs.to_epsg() == 4326
    assert observations.counts["assumed_averaging_period"] == 1
    assert observations.counts["assumed_time_zone"] == observations.counts["assumed_unit"] == 0


def test_offsets_may_change_within_a_file(tmp_path: Path) -> None:
    # Europe/Brussels, 25 March 2018: 02:00+01:00 is followed by 03:00+01:00 = 04:00+02:00.
    stamps = {
        "2018-03-25T01:00:00+01:00": "2018-03-25T00:00",
        "2018-03-25T02:00:00+01:00": "2018-03-25T01:00",
        "2018-03-25T04:00:00+02:00": "2018-03-25T02:00",
        "2018-03-25T05:00:00+02:00": "2018-03-25T03:00",
        # The hour that occurs twice in autumn is two hours.
        "2018-10-28T03:00:00+02:00": "2018-10-28T01:00",
        "2018-10-28T03:00:00+01:00": "2018-10-28T02:00",
        # Half and three-quarter hours, and the far ends of the map.
        "2018-03-25T05:00:00+05:45": "2018-03-24T23:15",
        "2018-03-25T05:00:00-03:30": "2018-03-25T08:30",
        "2018-03-25T05:00:00+14:00": "2018-03-24T15:00",
    }
    rows = [archive_row(stamp, 1.5) for stamp in stamps]
    table = read_observations([write_archive(tmp_path, rows, day="2018-03-25")]).table
    assert table["time_end"].tolist() == [pd.Timestamp(text) for text in stamps.values()]
    assert ((table["time_end"] - table["time_start"]) == pd.Timedelta("1h")).all()


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv"])
@pytest.mark.parametrize("quote", [False, True])
@pytest.mark.parametrize("spelling", [("sensors_id", "units"), ("sensor_id", "unit")])
def test_both_spellings_quoted_or_not_packed_or_not(
    tmp_path: Path, suffix: str, quote: bool, spelling: tuple[str, str]
) -> None:
    renamed = {"sensors_id": spelling[0], "units": spelling[1]}
    header = [renamed.get(name, name) for name in ARCHIVE_HEADER]
    rows = [archive_row("2018-01-01T03:00:00Z", 5.5, location='Rue "A", 1\u00e9')]
    path = write_archive(tmp_path, rows, header=header, quote=quote, suffix=suffix)
    observations = read_observations([path])
    assert values(observations) == [5.5]
    assert observations.table["sensor_id"].tolist() == ["70"]
    assert observations.stations["name"].tolist() == ['Rue "A", 1\u00e9']
    assert observations.counts["unit_µg/m³"] == 1


def test_other_parameters_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [
        archive_row("2018-01-01T03:00:00Z", 1.5, parameter=name)
        for name in ("pm25", "PM2.5", " pm25 ", "pm10", "no2", "pm1", "pm25-old")
    ]
    observations = read_observations([write_archive(tmp_path, rows)])
    assert len(observations) == observations.counts["records"] == 3
    assert observations.counts["other_parameter"] == 4


def test_each_refusal_is_counted_once(tmp_path: Path) -> None:
    good = "2018-01-01T03:00:00Z"
    rows = [
        archive_row(good, 1.5),
        archive_row(good, 2.5, units="ppm"),
        archive_row("not a time", 3.5, units="ppb"),  # the unit is looked at first
        archive_row(good, 4.5, units=""),
        archive_row("2018-02-30T03:00:00Z", 5.5),
        archive_row("2018-01-01", 6.5),
        archive_row("", "", units="µg/m³"),
        archive_row(good, ""),
        archive_row(good, "NaN"),
        archive_row(good, "inf"),
        archive_row(good, "12,5"),
        archive_row(good, 7.5, location_id="", location=""),
        archive_row(good, 8.5)[:-2],
        [*archive_row(good, 9.5), "one too many"],
        archive_row(good, 0.0125, units="mg/m3"),
        archive_row(good, -999),
        archive_row(good, -1.5),
        archive_row(good, 1.5),
    ]
    observations = read_observations([write_archive(tmp_path, rows)])
    assert values(observations) == [1.5, 12.5, -999.0, -1.5, 1.5]
    counts = observations.counts
    assert counts["refused_unit"] == 3
    assert counts["refused_time"] == 3
    assert counts["refused_value"] == 4
    assert counts["refused_malformed"] == 3
    assert counts["unit_ppm"] == counts["unit_missing"] == counts["unit_mg/m3"] == 1
    assert_balanced(observations)


def test_a_station_that_moved_is_counted_and_keeps_its_first_position(tmp_path: Path) -> None:
    rows = [
        archive_row("2018-01-01T01:00:00Z", 1.5, lat=""),
        archive_row("2018-01-01T02:00:00Z", 1.5),
        archive_row("2018-01-01T03:00:00Z", 1.5, lat=51.9),
        archive_row("2018-01-01T03:00:00Z", 1.5, location_id=8, lat=91),
    ]
    observations = read_observations([write_archive(tmp_path, rows)])
    stations = observations.stations.set_index("station_id")
    assert stations.loc["7", "latitude"] == 51.2
    assert np.isnan(stations.loc["8", ["latitude", "longitude"]].astype(float)).all()
    assert observations.counts["stations_moved"] == 1
    assert observations.counts["stations_at_impossible_coordinates"] == 1
    assert observations.counts["stations_without_coordinates"] == 1


def test_longitudes_up_to_360_are_wrapped_and_counted_by_row(tmp_path: Path) -> None:
    stamp = "2018-01-01T02:00:00Z"
    rows = [
        archive_row(stamp, 1, location_id=number, sensors_id=number, lat=lat, lon=lon)
        for number, lat, lon in [
            *((1, 51.2, 355.7), (1, 51.2, 355.7), (1, 51.2, -4.3)),
            *((2, 51.2, 180.5), (3, 51.2, 360), (4, 51.2, 180)),
            *((5, 51.2, 360.1), (6, 91, 200), (7, "", 200), (8, 51.2, -180.5)),
        ]
    ]
    realtime = realtime_record(2, coordinates={"latitude": 51.2, "longitude": 355.7})
    write_realtime(tmp_path / "r.ndjson", [realtime, realtime_record(3)])
    observations = read_observations([tmp_path / "r.ndjson", write_archive(tmp_path / "a", rows)])
    found = observations.stations.set_index("station_id")["longitude"]
    assert found[["1", "2", "3", "4"]].tolist() == [-4.3, -179.5, 0, 180]
    assert found[["5", "6", "7", "8"]].isna().all()
    assert found["EEA Belgium/Antwerpen/BETR801/51.2,-4.3"] == -4.3
    counts = observations.counts
    assert counts["assumed_longitude"] == 1 + 2 + 1 + 1
    assert counts["stations_moved"] == 0
    assert counts["stations_at_impossible_coordinates"] == 3
    assert counts["stations_without_coordinates"] == 4
    _, qc = apply_rules(observations, QcSettings())
    line = qc.set_index("rule").loc["assumed_longitude"]
    assert (line["flagged"], line["stage"]) == (5, "assumed")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"lon": 360.5}, "longitude '360.5'"),
        ({"lon": -180.5}, "longitude '-180.5'"),
        ({"lat": -91, "lon": 400}, "latitude '-91'"),
    ],
)
def test_impossible_coordinates_alone_are_named(
    tmp_path: Path, fields: dict[str, Any], named: str
) -> None:
    rows = [
        archive_row("2018-01-01T02:00:00Z", 1, location_id=6, lat=""),
        archive_row("2018-01-01T02:00:00Z", 1, **fields),
    ]
    path = write_archive(tmp_path, rows)
    with pytest.raises(InputError, match=f"no station has coordinates.* possible, but {named}"):
        read_observations([path])


def test_rows_stand_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    other_header = [name.replace("sensors_id", "sensor_id") for name in ARCHIVE_HEADER]
    for day, header in enumerate([ARCHIVE_HEADER, other_header, ARCHIVE_HEADER], start=1):
        rows = [
            archive_row(f"2018-01-0{day}T0{hour}:00:00Z", 10 * day + hour) for hour in (3, 1, 2)
        ]
        write_archive(tmp_path, rows, day=f"2018-01-0{day}", header=header)
    write_realtime(tmp_path / "zz" / "1.ndjson.gz", [realtime_record(41), realtime_record(40)])
    observations = read_observations([tmp_path])
    assert values(observations) == [13, 11, 12, 23, 21, 22, 33, 31, 32, 41, 40]
    assert list(observations.table.index) == list(range(11))


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = write_archive(tmp_path, [archive_row("2018-01-01T03:00:00Z", 1.5)])
    pattern = tmp_path / "**" / "*.csv.gz"
    observations = read_observations([path, tmp_path, pattern, tmp_path])
    assert observations.files == (path,)
    assert len(observations) == 1


def test_hidden_files_are_passed_over_and_links_are_followed_once(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "tree", [archive_row("2018-01-01T03:00:00Z", 1.5)])
    write_bytes(tmp_path / "tree" / ".part.csv.gz", b"half a file", compressed=False)
    (tmp_path / "tree" / "loop").symlink_to(tmp_path / "tree")
    observations = read_observations([tmp_path / "tree"], strict=True)
    assert observations.files == (path,)


# The realtime archive ---------------------------------------------------------------------------


def test_realtime_record_is_read_with_every_field(tmp_path: Path) -> None:
    record = realtime_record(
        date={"utc": "2018-02-05T22:34:22.250Z", "local": "2018-02-06T09:34:22+11:00"},
        averagingPeriod={"value": 0.25, "unit": "hours"},
        mobile=True,
    )
    observations = read_observations([write_realtime(tmp_path / "1.ndjson.gz", [record])])
    (row,) = observations.table.to_dict("records")
    assert row["time_end"] == pd.Timestamp("2018-02-05 22:34:22.250")
    assert row["time_start"] == pd.Timestamp("2018-02-05 22:19:22.250")
    station = observations.stations.iloc[0]
    assert station["station_id"] == "EEA Belgium/Antwerpen/BETR801/51.20966,4.43182"
    assert row["sensor_id"] == row["station_id"] == station["station_id"]
    assert (station["name"], station["country"], station["provider"]) == (
        "BETR801",
        "BE",
        "EEA Belgium",
    )
    assert station["mobile"] is True or station["mobile"] == np.True_
    assert observations.counts["assumed_averaging_period"] == 0


@pytest.mark.parametrize(
    ("period", "hours", "assumed"),
    [
        ({"value": 24, "unit": "hours"}, 24, 0),
        ({"value": "8", "unit": "hours"}, 8, 0),
        ({"value": 15, "unit": "minutes"}, 0.25, 0),
        ({"value": 1, "unit": "days"}, 24, 0),
        *((none, 1, 1) for none in (..., None, {}, {"value": 24}, "1 hour")),
        *(({"value": number, "unit": "hours"}, 1, 1) for number in (None, 0, -1)),
        ({"value": 24, "unit": "fortnights"}, 1, 1),
    ],
)
def test_averaging_periods(tmp_path: Path, period: Any, hours: float, assumed: int) -> None:
    path = write_realtime(tmp_path / "1.ndjson", [realtime_record(averagingPeriod=period)])
    observations = read_observations([path])
    (row,) = observations.table.to_dict("records")
    assert row["time_end"] == pd.Timestamp("2018-02-05 23:00")
    assert row["time_end"] - row["time_start"] == pd.Timedelta(hours=hours)
    assert observations.counts["assumed_averaging_period"] == assumed


def test_an_absurd_averaging_period_is_refused(tmp_path: Path) -> None:
    absurd = realtime_record(averagingPeriod={"value": 1e12, "unit": "hours"})
    path = write_realtime(tmp_path / "1.ndjson", [realtime_record(), absurd])
    observations = read_observations([path])
    assert len(observations) == observations.counts["refused_averaging_period"] == 1
    assert_balanced(observations)


def test_realtime_identity_is_source_city_location_and_coordinates(tmp_path: Path) -> None:
    moved = {"latitude": 51.3, "longitude": 4.4}
    records = [
        realtime_record(1),
        realtime_record(2, city="Gent"),
        realtime_record(3, sourceName="Another"),
        realtime_record(4, location="Other"),
        realtime_record(5, coordinates=moved),
        realtime_record(6, coordinates=...),
        realtime_record(7, coordinates=None),
        realtime_record(8, coordinates={"latitude": 51.3}),
        realtime_record(9, coordinates={"longitude": "4.4", "latitude": "51.3"}),
        realtime_record(10),
    ]
    observations = read_observations([write_realtime(tmp_path / "1.ndjson", records)])
    ids = observations.table["station_id"].astype(str).tolist()
    assert ids[0] == ids[9]
    assert ids[5] == ids[6] == ids[7] == "EEA Belgium/Antwerpen/BETR801/no coordinates"
    assert ids[4] == ids[8]
    assert len(set(ids)) == len(observations.stations) == 6
    assert observations.counts["stations_without_coordinates"] == 1
    assert observations.stations["latitude"].isna().sum() == 1


def test_a_malformed_line_costs_only_itself(tmp_path: Path) -> None:
    lines = [
        realtime_record(1),
        '{"date": {"utc": "2018-02-05T2',
        realtime_record(2, value="2.5"),
        "",
        "[1, 2]",
        "null",
        '{"value": NaN}',
        "{}",
        realtime_record(3, date="2018-02-05"),
        realtime_record(4, value=None),
        realtime_record(5, value=...),
        realtime_record(6, unit=...),
        realtime_record(7, unit="ppm"),
        realtime_record(8, parameter="no2"),
        realtime_record(9, location=None),
        realtime_record(10, coordinates=[51.2, 4.4]),
    ]
    observations = read_observations([write_realtime(tmp_path / "1.ndjson.gz", lines)])
    assert values(observations) == [1, 2.5, 10]
    counts = observations.counts
    assert counts["refused_malformed"] == 6
    assert counts["refused_time"] == 1
    assert counts["refused_value"] == 2
    assert counts["refused_unit"] == 2
    assert counts["other_parameter"] == 1
    assert_balanced(observations)


json_values = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), st.text('a1. µé"')
)
realtime_records = st.builds(
    realtime_record,
    json_values,
    location=json_values,
    city=json_values,
    unit=st.sampled_from(["µg/m³", "ppm", "ug/m3", None, "mg/m³"]),
    parameter=st.sampled_from(["pm25", "no2", "", None]),
    coordinates=st.sampled_from([None, {"latitude": 1.5, "longitude": -2}, {"latitude": "3"}]),
    averagingPeriod=st.sampled_from([None, {"value": 3, "unit": "hours"}]),
    mobile=st.sampled_from([True, False, None]),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(realtime_records, max_size=8))
def test_a_damaged_line_does_not_change_how_the_others_are_read(
    records: list[dict[str, Any]],
) -> None:
    records = [realtime_record(0.5), *records]
    with tempfile.TemporaryDirectory() as folder:
        whole = read_observations([write_realtime(Path(folder, "1.ndjson"), records)])
        spoilt = read_observations([write_realtime(Path(folder, "2.ndjson"), [*records, "{"])])
    pd.testing.assert_frame_equal(whole.table, spoilt.table)
    pd.testing.assert_frame_equal(whole.stations, spoilt.stations)
    assert spoilt.counts.pop("refused_malformed") == whole.counts.pop("refused_malformed") + 1
    assert spoilt.counts.pop("records") == whole.counts.pop("records") + 1
    assert whole.counts == spoilt.counts


# Long tables ------------------------------------------------------------------------------------

LONG_HEADER = ["city", "location", "date", "parameter", "value"]
LONG_ROWS = [
    ["Antwerpen", "BETR801", "2019-06-18 06:00:00", "pm25", 18],
    ["Antwerpen", "BETR801", "2019-06-18 06:00:00", "no2", 30],
    ["London", "London, Westminster", "2019-06-18 07:00:00", "pm25", 6.5],
]


@pytest.fixture
def long_stations(tmp_path: Path) -> Path:
    rows = [["BETR801", 51.2, 4.4], ["London, Westminster", 51.5, -0.1]]
    header = ["location", "coordinates.latitude", "coordinates.longitude"]
    return write_table(tmp_path / "stations.csv", header, rows)


def test_long_table_with_a_station_file(tmp_path: Path, long_stations: Path) -> None:
    path = write_table(tmp_path / "long.csv", LONG_HEADER, LONG_ROWS)
    observations = read_observations([tmp_path], stations=long_stations)
    assert observations.files == (path,)  # the station file in the same folder is not one
    table = observations.table
    assert table["station_id"].tolist() == ["BETR801", "London, Westminster"]
    assert table["time_end"].tolist()[0] == pd.Timestamp("2019-06-18 06:00")
    assert table["time_start"].tolist()[0] == pd.Timestamp("2019-06-18 05:00")
    assert observations.stations["latitude"].tolist() == [51.2, 51.5]
    counts = observations.counts
    assert counts["assumed_time_zone"] == counts["assumed_unit"] == 2
    assert counts["assumed_averaging_period"] == 2
    assert counts["other_parameter"] == 1


def test_long_table_needs_coordinates_from_somewhere(tmp_path: Path) -> None:
    path = write_table(tmp_path / "long.csv", LONG_HEADER, LONG_ROWS)
    with pytest.raises(InputError, match=r"long\.csv: no station has coordinates.*--stations PATH"):
        read_observations([path])


def test_a_long_station_that_the_file_lacks_is_kept_without_coordinates(tmp_path: Path) -> None:
    stations = write_table(tmp_path / "s.csv", ["location", "lat", "lon"], [["BETR801", 51.2, 4.4]])
    path = write_table(tmp_path / "long.csv", LONG_HEADER, LONG_ROWS)
    observations = read_observations([path], stations=stations)
    assert observations.stations["latitude"].isna().tolist() == [False, True]
    assert observations.counts["stations_without_coordinates"] == 1
    assert observations.counts["stations_not_in_station_file"] == 1
    assert len(observations) == 2


def test_two_cities_may_share_a_location_name(tmp_path: Path) -> None:
    header = [*LONG_HEADER, "latitude", "longitude"]
    rows = [
        ["Gent", "Centre", "2019-06-18 06:00:00", "pm25", 18, 51.0, 3.7],
        ["Lyon", "Centre", "2019-06-18 06:00:00", "pm25", 19, 45.8, 4.8],
        ["Lyon", "Alone", "2019-06-18 06:00:00", "pm25", 20, 45.9, 4.8],
    ]
    stations = read_observations([write_table(tmp_path / "l.csv", header, rows)]).stations
    assert stations["station_id"].tolist() == ["Centre, Gent", "Centre, Lyon", "Alone"]
    assert stations["latitude"].tolist() == [51.0, 45.8, 45.9]


PLACED_HEADER = [*LONG_HEADER, "country", "sourceName", "latitude", "longitude"]


def placed_row(value: float, **fields: Any) -> list[Any]:
    """A row of a table without location ids; `fields` replace the columns that they name."""
    said = ["", "Centro", "2019-06-18 06:00:00", "pm25", value, "ES", "", 46.2, 1.3]
    return list((dict(zip(PLACED_HEADER, said, strict=True)) | fields).values())


@pytest.mark.parametrize(
    ("other", "ids"),
    [
        ({"country": "FR", "latitude": 48.6, "longitude": 3.6}, ["Centro, ES", "Centro, FR"]),
        ({"latitude": 48.6, "longitude": 3.6}, ["Centro, 46.2,1.3", "Centro, 48.6,3.6"]),
        ({"longitude": 1.3011}, ["Centro, 46.2,1.3", "Centro, 46.2,1.3011"]),
        ({"latitude": 46.1989}, ["Centro, 46.2,1.3", "Centro, 46.1989,1.3"]),
        ({"country": "FR"}, ["Centro, ES", "Centro, FR"]),
        # Something unknown is no second country, source or place.
        ({"country": "", "latitude": 48.6}, ["Centro, 46.2,1.3", "Centro, 48.6,1.3"]),
        ({"country": "es"}, ["Centro"] * 2),
        ({"country": ""}, ["Centro"] * 2),
        ({"sourceName": "EEA Spain"}, ["Centro"] * 2),
        ({"latitude": ""}, ["Centro"] * 2),
        # On both sides of a rounding edge, and at another place within it.
        ({"latitude": 46.1994, "longitude": 1.3006}, ["Centro"] * 2),
        ({"latitude": "46.20"}, ["Centro"] * 2),
    ],
)
def test_stations_of_one_name_are_told_apart(
    tmp_path: Path, other: dict[str, Any], ids: list[str]
) -> None:
    rows = [placed_row(18), placed_row(21, **other), placed_row(18), placed_row(21, **other)]
    path = write_table(tmp_path / "l.csv", PLACED_HEADER, rows)
    observations = read_observations([path])
    assert observations.table["station_id"].tolist() == ids * 2
    assert observations.table["sensor_id"].tolist() == ids * 2
    assert observations.stations["station_id"].tolist() == list(dict.fromkeys(ids))
    assert observations.counts["stations_moved"] == 0
    # What one station reports again is its duplicate; what two report is not.
    judged, _ = apply_rules(observations, QcSettings())
    duplicates = (judged.table["flags"] & RULES["duplicate"].bit) != 0
    assert duplicates.sum() == (2 if len(set(ids)) == 2 else 3)


def test_a_name_is_told_apart_by_as_little_as_is_needed(tmp_path: Path) -> None:
    rows = [
        placed_row(1, city="Gent", country="BE", sourceName="A"),
        placed_row(2, city="Lyon", country="FR", sourceName="A", latitude=45.8),
        placed_row(3, city="Lyon", country="FR", sourceName="B", latitude=45.8),
        placed_row(4, city="Lyon", country="FR", sourceName="B", latitude=45.9),
        placed_row(5, city="Lyon", country="FR", sourceName="B", latitude=""),
        placed_row(6, city="Lyon", country="FR", sourceName="B", latitude=45.8003),
        placed_row(7, location="Alone", country="FR"),
    ]
    path = write_table(tmp_path / "l.csv", PLACED_HEADER, rows)
    observations = read_observations([path])
    assert observations.table["station_id"].tolist() == [
        "Centro, Gent",
        "Centro, Lyon, A",
        "Centro, Lyon, B, 45.8,1.3",
        "Centro, Lyon, B, 45.9,1.3",
        "Centro, Lyon, B",
        "Centro, Lyon, B, 45.8,1.3",
        "Alone",
    ]
    assert observations.counts["stations_without_coordinates"] == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-40, 40), st.integers(-40, 40)), min_size=1, max_size=20))
def test_places_of_one_name_are_those_near_the_first_reported(
    steps: list[tuple[int, int]],
) -> None:
    # Steps of 0.0003 degrees: none is at the limit of 0.001.
    where = [(51.5 + 3e-4 * i, -0.1 + 3e-4 * j) for i, j in steps]
    rows = [placed_row(1, latitude=repr(lat), longitude=repr(lon)) for lat, lon in where]
    with tempfile.TemporaryDirectory() as folder:
        path = write_table(Path(folder, "l.csv"), PLACED_HEADER, rows)
        observations = read_observations([path])
    found = observations.stations.set_index("station_id")[["latitude", "longitude"]]
    said = found.loc[observations.table["station_id"]].to_numpy()
    assert np.abs(said - np.array(where)).max() <= 1e-3
    firsts = found.to_numpy()
    apart = np.abs(firsts[:, None] - firsts[None, :]).max(axis=2) > 1e-3
    assert apart.sum() == len(firsts) * (len(firsts) - 1)


@pytest.mark.parametrize(
    ("header", "row", "station_id"),
    [
        (
            "location,city,country,utc,local,parameter,value,unit,latitude,longitude",
            "A,B,de,2019-06-18T06:00:00.000Z,2019-06-18T08:00:00+02:00,pm25,1.5,µg/m³,50.5,6.5",
            "A",
        ),
        (
            "locationId,location,city,country,utc,local,parameter,value,unit,latitude,longitude",
            "9,A,B,DE,2019-06-18T06:00:00+00:00,2019-06-18T08:00:00+02:00,pm25,1.5,ug/m3,50.5,6.5",
            "9",
        ),
        (
            "location_id,location_name,parameter,value,unit,datetimeUtc,datetimeLocal,timezone,"
            "latitude,longitude,country_iso,isMobile,isMonitor,owner_name,provider",
            "9,A,pm25,1.5,µg/m³,2019-06-18T06:00:00Z,2019-06-18T08:00:00+02:00,Europe/Berlin,"
            "50.5,6.5,DE,False,True,UBA,EEA",
            "9",
        ),
        (
            "city,country,location,date.utc,parameter,value,coordinates.latitude,coordinates.longitude",
            "B,DE,A,2019-06-18 06:00:00+00:00,pm25,1.5,50.5,6.5",
            "A",
        ),
    ],
)
def test_exports_of_every_version(tmp_path: Path, header: str, row: str, station_id: str) -> None:
    path = write_bytes(tmp_path / "export.csv", f"{header}\n{row}\n".encode())
    observations = read_observations([path])
    (got,) = observations.table.to_dict("records")
    assert got["station_id"] == station_id
    assert got["time_end"] == pd.Timestamp("2019-06-18 06:00")
    assert got["value"] == 1.5
    station = observations.stations.iloc[0]
    assert (station["name"], station["country"]) == ("A", "DE")
    assert (station["latitude"], station["longitude"]) == (50.5, 6.5)
    assert observations.counts["assumed_time_zone"] == 0


FLATTENED_HEADER = [
    *("location", "city", "country", "sourceName", "date.utc", "parameter", "value", "unit"),
    *("coordinates.latitude", "coordinates.longitude"),
]
FLATTENED_ROW = [
    *("BETR801", "Antwerpen", "BE", "EEA Belgium", "2018-02-05T23:00:00.000Z"),
    *("pm25", 12.5, "µg/m³", 51.20966, 4.43182),
]


@pytest.mark.parametrize(
    "columns",
    [
        ["averagingPeriod.value", "averagingPeriod.unit"],
        ["averagingPeriod_value", "averagingPeriod_unit"],
        ["averaging_period_value", "averaging_period_unit"],
        ["AveragingPeriodValue", "AveragingPeriodUnit"],
        ["averagingPeriod/value", "averagingPeriod/unit"],
    ],
)
def test_averaging_periods_of_a_flattened_table_are_those_of_its_lines(
    tmp_path: Path, columns: list[str]
) -> None:
    periods: list[tuple[Any, Any]] = [
        *((24, "hours"), ("8.0", "hours"), (15, "minutes"), (1, "days"), (1, "hours")),
        *(("", ""), (24, ""), ("", "hours"), (24, "fortnights"), (0, "hours"), (-1, "hours")),
        (1e12, "hours"),
    ]
    rows = [[*FLATTENED_ROW, *period] for period in periods]
    table = write_table(tmp_path / "flat.csv", [*FLATTENED_HEADER, *columns], rows)
    lines = [
        realtime_record(averagingPeriod={"value": number, "unit": unit}) for number, unit in periods
    ]
    flat = read_observations([table])
    original = read_observations([write_realtime(tmp_path / "1.ndjson", lines)])
    hours = ((flat.table["time_end"] - flat.table["time_start"]) / pd.Timedelta("1h")).tolist()
    assert hours == [24, 8, 0.25, 24, 1, 1, 1, 1, 1, 1, 1]
    assert flat.counts["assumed_averaging_period"] == 6
    assert flat.counts["refused_averaging_period"] == 1
    for name in ("time_start", "time_end", "value"):
        assert flat.table[name].tolist() == original.table[name].tolist()
    assert flat.counts == original.counts
    judged, _ = apply_rules(flat, QcSettings())
    wrong = (judged.table["flags"] & RULES["averaging_period"].bit) != 0
    assert wrong.tolist() == [True] * 4 + [False] * 7
    assert_balanced(flat)


@pytest.mark.parametrize("column", ["averagingPeriod.value", "averagingPeriod.unit"])
def test_half_an_averaging_period_is_none(tmp_path: Path, column: str) -> None:
    said = 24 if column.endswith("value") else "hours"
    path = write_table(tmp_path / "f.csv", [*FLATTENED_HEADER, column], [[*FLATTENED_ROW, said]])
    observations = read_observations([path])
    (row,) = observations.table.to_dict("records")
    assert row["time_end"] - row["time_start"] == pd.Timedelta("1h")
    assert observations.counts["assumed_averaging_period"] == 1


def test_byte_order_mark_crlf_and_blank_lines(tmp_path: Path) -> None:
    header = [*LONG_HEADER, "latitude", "longitude"]
    text = csv_text(header, [[*row, 51.5, 4.5] for row in LONG_ROWS], quote=True)
    packed = ("\ufeff" + text.replace("\n", "\r\n") + "\r\n\r\n").encode()
    observations = read_observations([write_bytes(tmp_path / "windows.csv", packed)])
    assert values(observations) == [18, 6.5]
    assert observations.counts["refused_malformed"] == 0
    assert observations.stations["longitude"].tolist() == [4.5, 4.5]


def test_a_name_may_go_on_into_the_next_line(tmp_path: Path) -> None:
    for number in (1, 2):
        rows = day_of_rows(number)
        rows[3][2] = 'Two\nlines, "quoted"'
        write_archive(tmp_path, rows, location_id=number)
    observations = read_observations([tmp_path])
    assert len(observations) == 2 * len(day_of_rows(1))
    assert_balanced(observations)


def test_naive_csv_country_of_namibia_is_not_missing(tmp_path: Path) -> None:
    header = [*LONG_HEADER, "latitude", "longitude", "country"]
    rows = [[*LONG_ROWS[0], -22.5, 17.1, "NA"]]
    observations = read_observations([write_table(tmp_path / "l.csv", header, rows)])
    assert observations.stations["country"].tolist() == ["NA"]


# Damage -----------------------------------------------------------------------------------------


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def edited(old: str, new: bytes) -> Any:
    """Return what replaces the first `old` in a packed text."""
    return lambda content: gzip.compress(gzip.decompress(content).replace(old.encode(), new, 1))


DAMAGES = [
    (cut, "truncated gzip"),
    (lambda content: content[:-1], "truncated gzip"),
    # The checksum, and what follows the stream.
    (lambda content: content[:-8] + bytes([content[-8] ^ 0xFF]) + content[-7:], "damaged gzip"),
    (lambda content: content + b"rest", "damaged gzip"),
    (lambda _: gzip.compress(b"<!DOCTYPE html>\n<html><body>503</body></html>"), "web page"),
    (lambda _: b"\n<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>", "web page"),
    (
        lambda _: gzip.compress(b"time,pm25\n2018-01-01T00:00Z,3\n"),
        "no column for time, parameter, value, location",
    ),
    (edited("µ", b"\xb5"), "not UTF-8"),
    (edited("Site", b'"Site'), "quotation mark"),
    (lambda _: b"", "empty file"),
    (lambda _: gzip.compress(b"  \n"), "empty file"),
    (lambda _: b"PAR1\x00\x00PAR1", "not a text file"),
    (lambda _: b'{"meta": {"found": 1},\n"results": []}', "no line is an OpenAQ record"),
    (lambda _: b"{\n{", "no line is an OpenAQ record"),
    (lambda _: b'{"type": "FeatureCollection", "features": []}', "holds stations"),
    (lambda _: b"id,lat,lon\n1,2,3\n", "holds stations"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_one_damaged_file_of_fifty_costs_only_itself(
    fifty_files: list[Path], damage: Any, reason: str
) -> None:
    spoilt = fifty_files[20]
    spoilt.write_bytes(damage(spoilt.read_bytes()))
    folder = spoilt.parents[3]
    observations = read_observations([folder])
    (found,) = observations.damaged
    assert found.path == str(spoilt)
    assert reason in found.reason
    assert observations.files == tuple(path for path in fifty_files if path != spoilt)
    alone = read_observations([path for path in fifty_files if path != spoilt])
    pd.testing.assert_frame_equal(observations.table, alone.table)
    assert observations.counts == alone.counts
    with pytest.raises(InputError, match=reason) as raised:
        read_observations([folder], strict=True)
    assert str(raised.value).startswith(f"{spoilt}: ")
    assert "\n" not in str(raised.value)


def test_a_quote_that_opens_late_cannot_swallow_the_next_file(fifty_files: list[Path]) -> None:
    # Two quotation marks, so their number is even, and yet the second one is left open.
    spoilt = fifty_files[20]
    lines = gzip.decompress(spoilt.read_bytes()).splitlines(keepends=True)
    lines[2] = lines[2].replace(b"Site", b'5" Site')
    lines[-1] = lines[-1].replace(b"Site", b'"Site')
    spoilt.write_bytes(gzip.compress(b"".join(lines)))
    observations = read_observations([spoilt.parents[3]])
    per_station = observations.table["station_id"].astype(str).value_counts()
    assert all(per_station[str(number)] == 23 for number in range(100, 150) if number != 120)
    assert per_station["120"] == 22
    assert observations.counts["refused_malformed"] == 1


def test_a_plain_file_may_be_named_gz_and_the_other_way_round(tmp_path: Path) -> None:
    text = csv_text(ARCHIVE_HEADER, day_of_rows(1)).encode()
    write_bytes(tmp_path / "a.csv.gz", text, compressed=False)
    write_bytes(tmp_path / "b.csv", text, compressed=True)
    write_bytes(tmp_path / "c.txt", gzip.compress(text[:700]) + gzip.compress(text[700:]) + b"\0\0")
    observations = read_observations([tmp_path], strict=True)
    assert len(observations) == 3 * 23


def test_a_plain_file_cut_short_loses_its_last_line(tmp_path: Path) -> None:
    text = csv_text(ARCHIVE_HEADER, day_of_rows(1)).encode()
    path = write_bytes(tmp_path / "a.csv", text[:-20])
    observations = read_observations([path])
    assert len(observations) == 22
    assert observations.counts["refused_malformed"] == 1
    assert_balanced(observations)


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_bytes(tmp_path / name, b"<html>", compressed=False)
    with pytest.raises(InputError, match=r"a\.csv\.gz: a web page.*and 1 more.*no file could"):
        read_observations([tmp_path])


def test_absent_and_empty_paths_are_errors(tmp_path: Path) -> None:
    for paths, error, message in (
        ([tmp_path / "nowhere"], InputError, r"nowhere: no such file or folder"),
        ([tmp_path], NoDataError, r"holds no files"),
        ([tmp_path / "*.csv"], NoDataError, r"holds no files"),
        ([], InputError, r"no observations named"),
    ):
        with pytest.raises(error, match=message):
            read_observations(paths)


def test_without_pm25_there_is_no_data(tmp_path: Path) -> None:
    path = write_archive(tmp_path, [archive_row("2018-01-01T03:00:00Z", 1, parameter="no2")])
    with pytest.raises(NoDataError, match=r"no usable PM2\.5 record \(other_parameter 1\)"):
        read_observations([path])
    path = write_archive(tmp_path, [archive_row("2018-01-01T03:00:00Z", 1, units="ppm")])
    with pytest.raises(NoDataError, match=r"refused_unit 1"):
        read_observations([path])


def test_a_file_with_a_header_alone_is_not_damaged(fifty_files: list[Path]) -> None:
    fifty_files[20].write_bytes((",".join(ARCHIVE_HEADER)).encode())
    observations = read_observations(fifty_files, strict=True)
    assert len(observations.files) == 50
    assert len(observations) == 49 * 23


# Properties -------------------------------------------------------------------------------------


def test_workers_change_nothing(tmp_path: Path) -> None:
    for number in range(300):
        path = write_archive(tmp_path, day_of_rows(number)[:4], location_id=number)
        if number % 70 == 5:
            path.write_bytes(cut(path.read_bytes()))
    write_realtime(tmp_path / "m.ndjson", [realtime_record(3), "{", realtime_record(4)])
    seen: list[tuple[int, int]] = []
    one = read_observations([tmp_path], workers=1, progress=lambda *now: seen.append(now))
    four = read_observations([tmp_path], workers=4)
    pd.testing.assert_frame_equal(one.table, four.table)
    pd.testing.assert_frame_equal(one.stations, four.stations)
    assert (one.counts, one.damaged, one.files) == (four.counts, four.damaged, four.files)
    assert len(one.damaged) == 5
    assert seen == sorted(seen)
    assert seen[-1] == (301, 301)


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)
offsets = st.integers(-12 * 4, 14 * 4).map(lambda quarters: timedelta(minutes=15 * quarters))
moments = st.datetimes(datetime(2003, 1, 1), datetime(2021, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)
archive_records = st.tuples(
    st.sampled_from([3, 40, 500]),
    names,
    moments,
    offsets,
    st.floats(-1e4, 1e5, allow_nan=False),
    st.sampled_from(["pm25", "pm10", "o3"]),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(archive_records, min_size=1, max_size=30), st.booleans(), st.integers(1, 4))
def test_archive_round_trip(records: Sequence[Any], quote: bool, files: int) -> None:
    records = [(3, "first", datetime(2018, 1, 1), timedelta(0), 1.5, "pm25"), *records]
    with tempfile.TemporaryDirectory() as folder:
        share = -(-len(records) // files)
        for number in range(files):
            rows = [
                archive_row(
                    local.replace(tzinfo=timezone(offset)).isoformat(),
                    repr(value),
                    location_id=location,
                    sensors_id=location * 7,
                    location=name,
                    parameter=parameter,
                )
                for location, name, local, offset, value, parameter in records[
                    number * share : (number + 1) * share
                ]
            ]
            write_archive(Path(folder), rows, location_id=number, quote=quote)
        observations = read_observations([Path(folder)], strict=True)
    wanted = [record for record in records if record[5] == "pm25"]
    table = observations.table
    assert table["station_id"].tolist() == [str(record[0]) for record in wanted]
    assert table["sensor_id"].tolist() == [str(record[0] * 7) for record in wanted]
    assert table["value"].tolist() == [record[4] for record in wanted]
    ends = [
        local.replace(tzinfo=timezone(offset)).astimezone(UTC).replace(tzinfo=None)
        for _, _, local, offset, _, _ in wanted
    ]
    assert table["time_end"].tolist() == [pd.Timestamp(end) for end in ends]
    assert table["time_start"].tolist() == [pd.Timestamp(end - timedelta(hours=1)) for end in ends]
    first_names = {}
    for record in wanted:
        first_names.setdefault(str(record[0]), record[1].strip())
    found = observations.stations.set_index("station_id")["name"].to_dict()
    assert found == first_names
    assert observations.counts["other_parameter"] == len(records) - len(wanted)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["csv", "ndjson"]),
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=3)), max_size=6
    ),
)
def test_whatever_the_damage_every_record_is_accounted_for(
    form: str, damage: list[tuple[int, int, bytes]]
) -> None:
    if form == "csv":
        content = csv_text(ARCHIVE_HEADER, day_of_rows(1), quote=True).encode()
    else:
        content = b"\n".join([json.dumps(realtime_record(n)).encode() for n in range(9)])
    for place, length, put in damage:
        start = place % len(content)
        content = content[:start] + put + content[start + length :]
    with tempfile.TemporaryDirectory() as folder:
        sound = write_archive(Path(folder, "a"), day_of_rows(2), location_id=2)
        write_bytes(Path(folder, "b"), content)
        observations = read_observations([Path(folder)])
    assert sound in observations.files
    assert (observations.table["station_id"] == "2").sum() >= 23
    assert_balanced(observations)


# Station files ----------------------------------------------------------------------------------


def test_a_station_file_completes_the_archive(tmp_path: Path) -> None:
    rows = [
        archive_row("2018-01-01T03:00:00Z", 1, sensors_id=70),
        archive_row("2018-01-01T03:00:00Z", 2, sensors_id=71),
        archive_row("2018-01-01T03:00:00Z", 3, sensors_id=72),
        archive_row("2018-01-01T03:00:00Z", 4, location_id=8, sensors_id=80),
        archive_row("2018-01-01T03:00:00Z", 5, location_id=9, sensors_id=90, lat="", lon=""),
    ]
    stations = write_table(
        tmp_path / "stations.csv",
        [
            "location_id",
            "name",
            "lat",
            "lon",
            "iso",
            "provider_name",
            "sensors_id",
            "isMonitor",
            "is_mobile",
        ],
        [
            [7, "Seven", 10, 20, "be", "EEA", 70, "true", "false"],
            [7, "Seven", 10, 20, "be", "EEA", 71, "false", "false"],
            [9, "Nine", -10, -20, "BR", "CETESB", "", "false", ""],
        ],
    )
    observations = read_observations([write_archive(tmp_path / "a", rows)], stations=stations)
    assert observations.table["is_reference"].tolist() == [True, False, pd.NA, pd.NA, False]
    found = observations.stations.set_index("station_id")
    assert found["name"].tolist() == ["Seven", "Somewhere-7", "Nine"]
    assert found["country"].tolist() == ["BE", "", "BR"]
    assert found["provider"].tolist() == ["EEA", "", "CETESB"]
    assert found["mobile"].tolist() == [False, pd.NA, pd.NA]
    # Observations know best where they were taken; the file fills what they do not say.
    assert found["latitude"].tolist() == [51.2, 51.2, -10]
    assert observations.counts["stations_not_in_station_file"] == 1


def test_a_location_is_no_reference_because_one_of_its_instruments_is(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "s.csv", ["id", "isMonitor"], [[1, "true"], [2, "false"], [3, ""]]
    )
    assert read_stations(path)["is_reference"].tolist() == [pd.NA, False, pd.NA]
    path = write_table(tmp_path / "s.csv", ["id", "is_reference"], [[1, 1], [2, 0], [3, ""]])
    assert read_stations(path)["is_reference"].tolist() == [True, False, pd.NA]


def test_longitudes_of_a_station_file_are_wrapped_and_counted_by_row(tmp_path: Path) -> None:
    stations = write_table(
        tmp_path / "stations.csv",
        ["id", "lat", "lon"],
        [[7, 51.2, 355.7], [7, 51.2, -4.3], [8, 10, 200], [9, 10, 20], [10, "", 200], [11, 1, 200]],
    )
    read = read_stations(stations)
    assert read["longitude"].tolist()[:4] == [-4.3, -4.3, -160, 20]
    assert read["longitude_wrapped"].tolist() == [True, False, True, False, pd.NA, True]
    rows = [
        archive_row("2018-01-01T03:00:00Z", 1, location_id=number, lat=lat)
        for number, lat in [(7, ""), (7, ""), (8, 51.2), (9, ""), (10, "")]
    ]
    observations = read_observations([write_archive(tmp_path / "a", rows)], stations=stations)
    found = observations.stations.set_index("station_id")["longitude"]
    assert found.tolist()[:3] == [-4.3, 4.4, 20]
    # Station 8 lies where its observations say, so nothing was assumed about it.
    assert observations.counts["assumed_longitude"] == 2


STATIONS = pd.DataFrame(
    {
        "station_id": ["1", "2", "x/y"],
        "name": ["One", "Two, 2", ""],
        "latitude": [51.5, -33.25, np.nan],
        "longitude": [4.5, -70.5, np.nan],
        "country": ["BE", "CL", ""],
        "provider": ["EEA", "", "P"],
        "is_reference": pd.array([True, False, pd.NA], dtype="boolean"),
        "mobile": pd.array([pd.NA, True, False], dtype="boolean"),
    }
)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet", "geojson", "geoparquet"])
def test_station_files_of_every_form_say_the_same(tmp_path: Path, form: str) -> None:
    path = tmp_path / "stations.dat"  # the name says nothing
    points = gpd.points_from_xy(STATIONS["longitude"], STATIONS["latitude"], crs="EPSG:4326")
    with_points = gpd.GeoDataFrame(
        STATIONS.drop(columns=["latitude", "longitude"]), geometry=points
    )
    if form.startswith("csv"):
        write_bytes(path, STATIONS.to_csv(index=False).encode(), compressed=form == "csv.gz")
    elif form == "parquet":
        STATIONS.to_parquet(path)
    elif form == "geojson":
        path.write_text(with_points.to_json(), encoding="utf-8")
    else:
        with_points.to_crs("EPSG:3857").iloc[:2].to_parquet(path)
    got = read_stations(path)
    wanted = STATIONS.iloc[: len(got)]
    assert len(got) == (2 if form == "geoparquet" else 3)
    for name in ("station_id", "name", "country", "provider"):
        assert got[name].tolist() == wanted[name].tolist()
    for name in ("latitude", "longitude"):
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-9)
    for name in ("is_reference", "mobile"):
        pd.testing.assert_series_equal(got[name], wanted[name])
    assert (got["sensor_id"] == "").all()
    assert got["longitude_wrapped"].tolist() == [False, False, pd.NA][: len(got)]


def test_numeric_station_ids_of_parquet_match_the_archive(tmp_path: Path) -> None:
    pd.DataFrame({"id": [7.0, np.nan], "name": ["Seven", "?"]}).to_parquet(tmp_path / "s.parquet")
    assert read_stations(tmp_path / "s.parquet")["station_id"].tolist() == ["7", ""]


def test_namibia_in_a_station_file(tmp_path: Path) -> None:
    path = write_table(tmp_path / "s.csv", ["id", "country"], [[1, "NA"], [2, ""]])
    assert read_stations(path)["country"].tolist() == ["NA", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,lat,lon\nA,1,2\n", "no station column among name, lat, lon"),
        ("id,lat,lon\n", "holds no stations"),
        ("id,lat,lon\n1,north,2\n", "latitude 'north' is not between -90 and 90"),
        ("id,lat,lon\n1,51,361\n", "longitude '361' is not between -180 and 360 degrees"),
        ("id,lat,lon\n1,51,-181\n", "longitude '-181' is not between -180 and 360 degrees"),
        ("id,is_reference\n1,perhaps\n", "is_reference 'perhaps' is neither true nor false"),
        ("id,lat,lon\n1,51,4\n1,52,4\n", "station '1' has two positions"),
        ("id,name,lat\n1,A,B,2\n", "the row '1,A,B,2' has 4 fields, the header 3; quote"),
        ('id,name\n1,"A" B\n', "not readable as CSV"),
        ('id,name\n1,"A\n', "not readable as CSV"),
        ("<html>", "a web page"),
        ('{"type": "FeatureCollection"', "not readable as GeoJSON"),
        ("PAR1 cut short", "damaged Parquet"),
    ],
)
def test_a_bad_station_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = write_bytes(tmp_path / "s.csv", content.encode())
    with pytest.raises(InputError, match=message) as raised:
        read_stations(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_an_absent_station_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.csv: no such station file; check --stations"):
        read_stations(tmp_path / "no.csv")


# Real files -------------------------------------------------------------------------------------


def test_real_realtime_day(real_data: Path) -> None:
    folder = real_data / "openaq" / "realtime-2018-02-06"
    observations = read_observations([folder], strict=True)
    table, counts = observations.table, observations.counts
    assert counts["records"] == len(table) == 7785
    assert counts["records"] + counts["other_parameter"] == 218_101
    assert counts["assumed_averaging_period"] == 594
    hours = (table["time_end"] - table["time_start"]) / pd.Timedelta("1h")
    assert hours.isin([0.25, 24]).sum() == 2696
    assert [int((table["value"] == value).sum()) for value in (-999, -996, -1111)] == [52, 15, 2]
    nowhere = observations.stations.loc[observations.stations["latitude"].isna(), "station_id"]
    assert table["station_id"].isin(nowhere).sum() == 562

    # Every row, against a reading of the same lines by other means.
    rows = []
    for path in sorted(folder.iterdir()):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            if b'"pm25"' in line:
                record = json.loads(line)
                rows.append((record["date"]["utc"], record["value"], record["location"]))
    stamps, said, locations = zip(*rows, strict=True)
    assert table["value"].tolist() == list(said)
    ends = pd.to_datetime(pd.Series(stamps)).dt.tz_localize(None)
    assert (table["time_end"].to_numpy() == ends.to_numpy()).all()
    name = observations.stations.set_index("station_id")["name"]
    assert name.loc[table["station_id"]].tolist() == [text.strip() for text in locations]


def test_real_long_table(real_data: Path) -> None:
    folder = real_data / "openaq"
    stations = folder / "air_quality_long_stations.csv"
    observations = read_observations([folder / "air_quality_long.csv"], stations=stations)
    per_station = observations.table["station_id"].astype(str).value_counts().to_dict()
    assert per_station == {"London Westminster": 1648, "BETR801": 177}
    found = observations.stations.set_index("station_id")
    assert found.loc["BETR801", ["latitude", "longitude"]].tolist() == [51.20966, 4.43182]
    original = pd.read_csv(folder / "air_quality_long.csv").query("parameter == 'pm25'")
    assert values(observations) == original["value"].tolist()
    assert observations.counts["other_parameter"] == 3447


def test_real_folder_of_mixed_forms(real_data: Path) -> None:
    folder = real_data / "openaq"
    observations = read_observations([folder], stations=folder / "air_quality_long_stations.csv")
    assert observations.damaged == ()
    assert len(observations) == 7785 + 1825


def write_part(root: Path, month: str, name: str, rows: Sequence[dict[str, Any]]) -> Path:
    """A part as the layout describes it, and its manifest entry."""
    blank = {"offset_minutes": 60, "lat": 51.2, "lon": 4.4, "parameter": "pm25", "units": "µg/m³"}
    table = pa.Table.from_pylist(
        [{**blank, "location": "Somewhere", **row} for row in rows],
        schema=pa.schema(
            [(name, pa.string()) for name in ("object", "location_id", "sensors_id", "location")]
            + [("datetime", pa.timestamp("us", "UTC")), ("offset_minutes", pa.int16())]
            + [("lat", pa.float64()), ("lon", pa.float64())]
            + [("parameter", pa.string()), ("units", pa.string()), ("value", pa.float64())]
        ),
    )
    described = {"form": "openaq-parts-1", "other_parameter": 3, "malformed": 1}
    described |= {"first": rows[0]["object"], "last": rows[-1]["object"]}
    part = root / month / name
    entry = root / "_manifest" / month / name
    for path in (part, entry):
        path.parent.mkdir(parents=True, exist_ok=True)
    said = {"deepcams": json.dumps(described)}
    pyarrow.parquet.write_table(table.replace_schema_metadata(said), part)
    entry.touch()
    return part


def test_compacted_parts_are_read_in_the_order_of_their_objects(tmp_path: Path) -> None:
    at = datetime(2018, 3, 1, 2, tzinfo=UTC)
    later = datetime(2018, 3, 31, 22, tzinfo=UTC)
    march, april = "year=2018/month=03", "year=2018/month=04"

    def reading(location: int, day: str, value: float | None, **fields: Any) -> dict[str, Any]:
        key = f"locationid={location}/year=2018/month=03/location-{location}-{day}"
        ids = {"location_id": str(location), "sensors_id": f"{location}0", "datetime": at}
        return {"object": f"records/csv.gz/{key}", **ids, "value": value, **fields}

    def part(number: int, month: str, *rows: dict[str, Any], generation: int = 0) -> Path:
        return write_part(tmp_path, month, f"part-{number:016d}.{generation:03d}.parquet", rows)

    part(1, april, reading(7, "20180401", -999.0, datetime=later))
    part(
        *(2, march),
        reading(7, "20180301", 2.5),
        reading(7, "20180301", 3.0, datetime=None),
        reading(7, "20180301", None),
        reading(70, "20180301", 7.0, offset_minutes=None, units="mg/m3", lat=None),
    )
    # Written anew as generation 2; a later one without an entry does not count.
    old = part(3, march, reading(8, "20180301", 8.0))
    for generation in (2, 3):
        part(3, march, reading(8, "20180301", 8.5), generation=generation)
    (tmp_path / "_manifest" / march / "part-0000000000000003.003.parquet").unlink()
    found = read_observations([tmp_path])
    assert old not in found.files
    assert values(found) == [2.5, -999.0, 7000.0, 8.5]
    assert found.table["station_id"].tolist() == ["7", "7", "70", "8"]
    assert found.table["time_end"].iloc[1] == pd.Timestamp("2018-03-31T22:00")
    assert found.counts["refused_time"] == 1
    assert found.counts["refused_value"] == 1
    assert found.counts["assumed_time_zone"] == 1
    assert found.counts["other_parameter"] == 9
    assert found.counts["refused_malformed"] == 3
    assert found.counts["stations_without_coordinates"] == 1
    assert_balanced(found)


def test_parquet_of_another_kind_is_damaged_and_named(tmp_path: Path, fifty_files: Any) -> None:
    pd.DataFrame({"station_id": ["7"]}).to_parquet(tmp_path / "stations.parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    found = read_observations(
        [*fifty_files, tmp_path / "stations.parquet", tmp_path / "cut.parquet"]
    )
    assert [Path(one.path).name for one in found.damaged] == ["cut.parquet", "stations.parquet"]
    assert "--stations" in found.damaged[1].reason
