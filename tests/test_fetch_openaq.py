"""OpenAQ fetched from servers on loopback, and compacted: nothing lost, nothing twice."""

from __future__ import annotations

import gzip
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from deepcams_eval.cli.evaluate import app
from deepcams_eval.core.observations import Observations
from deepcams_eval.demo import DemoSettings, demo_archive
from deepcams_eval.errors import InputError
from deepcams_eval.fetch.http import RetryPolicy
from deepcams_eval.fetch.openaq import Estimate, fetch_openaq
from deepcams_eval.fetch.openaq_archive import Archive
from deepcams_eval.fetch.openaq_catalogue import (
    STATION_COLUMNS,
    Catalogue,
    PacedTransport,
    Wanted,
    Windows,
    find_stations,
)
from deepcams_eval.fetch.openaq_compact import check_table
from deepcams_eval.options import InsituOptions
from deepcams_eval.read.layout import find_data
from deepcams_eval.read.openaq import read_observations
from deepcams_eval.read.stations import read_stations
from deepcams_eval.validation import insitu
from tests.fetch_services import AtmosphereStore, Fault, served
from tests.openaq_files import ARCHIVE_HEADER, archive_path, archive_row, csv_text, write_archive
from tests.openaq_service import (
    KEY,
    MONITOR,
    SENSOR,
    Bucket,
    Certificates,
    OpenaqApi,
    location,
    sensor,
)

QUICK = RetryPolicy(attempts=6, timeout_s=2, first_wait_s=0.01, longest_wait_s=0.05)


def stations_of(numbers: tuple[int, ...]) -> Catalogue:
    table = pd.DataFrame({"station_id": [str(number) for number in numbers]})
    table = table.assign(sensor_id=table["station_id"] + "0", country="BE", name="", provider="x")
    table = table.assign(latitude=50.5, longitude=4.25, is_reference=True, mobile=False)
    return Catalogue(table[list(STATION_COLUMNS)], {})


def fetch(
    address: str,
    data: Path,
    stations: tuple[int, ...] | Catalogue = (7, 70, 8),
    years: tuple[int, ...] = (2018,),
    *,
    seen: list[Estimate] | None = None,
    **options: Any,
) -> Any:
    found = stations if isinstance(stations, Catalogue) else stations_of(stations)
    seen = [] if seen is None else seen
    archive = Archive(address, check=check_table, policy=QUICK)
    try:
        return fetch_openaq(
            Wanted(years),
            data,
            lambda _: found,
            archive,
            confirm=lambda estimate, _: seen.append(estimate) is None,
            report=lambda *_: None,
            **options,
        )
    finally:
        archive.close()


def tree(root: Path) -> Path:
    return root / "records" / "csv.gz"


def same(left: Observations, right: Observations) -> None:
    pd.testing.assert_frame_equal(left.table, right.table)
    pd.testing.assert_frame_equal(left.stations, right.stations)
    assert left.counts == right.counts


def content(root: Path) -> dict[str, bytes]:
    """Every data file below a folder; the lock is none."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".fetch.lock"
    }


def day_rows(number: int, day: str, rng: np.random.Generator, hours: int = 5) -> list[list[Any]]:
    return [
        archive_row(
            f"{day}T{hour + 1:02d}:00:00+02:00",
            round(float(rng.gamma(2, 9)), 2),
            location_id=number,
            sensors_id=number * 10,
            location=f"Town, {number}",
            parameter="pm25" if hour else "o3",
        )
        for hour in range(hours)
    ]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """An archive of 3 stations with 70 objects over the turn of two years."""
    rng = np.random.default_rng(5)
    root = tmp_path / "archive"
    for number in (7, 70, 8):
        for day in pd.date_range("2017-12-20", "2018-01-11", freq="D"):
            text = f"{day:%Y-%m-%d}"
            write_archive(tree(root), day_rows(number, text, rng), location_id=number, day=text)
    write_archive(tree(root), day_rows(7, "2018-12-31", rng), location_id=7, day="2018-12-31")
    return root


# The compacted form


ODD_ROWS = [
    archive_row("2018-01-01T03:00:00+02:00", 12.5, location='Town, "the" 7'),
    archive_row("2018-01-01T04:00:00+05:30", -999),
    archive_row("2018-01-01T05:00:00Z", 1e-3, lat="", lon=""),
    archive_row("2018-01-01 06:00:00", "n/a"),
    archive_row("2018-01-01T07:00:00-09:30", 3, lat=95.5),
    archive_row("yesterday", 4),
    archive_row("2018-01-01T08:00:00+02:00", 5, parameter="o3"),
    archive_row("2018-01-01T09:00:00+02:00", 6, parameter="PM2.5", units="mg/m3"),
    archive_row("2018-01-01T10:00:00+02:00", 7, units="ppm", sensors_id=71),
    archive_row("2018-01-01T11:00:00+02:00", 8, units=""),
    archive_row("2018-01-01T12:00:00+02:00", "", location_id="", location=""),
    archive_row("2018-01-01T13:00:00+02:00", 9, parameter=""),
]


def test_compacted_rows_are_those_of_the_archive(small: Path, tmp_path: Path) -> None:
    root = tree(small)
    write_archive(root, ODD_ROWS, day="2018-03-01")
    write_archive(root, ODD_ROWS[:3], day="2018-03-02", quote=True)
    spelled = [name.replace("sensors_id", "sensor_id") for name in ARCHIVE_HEADER]
    write_archive(root, ODD_ROWS[1:], day="2018-03-03", header=spelled)
    lines = csv_text(ARCHIVE_HEADER, ODD_ROWS[:2]).replace("-999\n", "-999\n\n7,70,too,short\n")
    archive_path(root, 7, "2018-03-04").write_bytes(gzip.compress(lines.encode()))
    several = "\n".join(csv_text(ARCHIVE_HEADER, [row]) for row in ODD_ROWS[:1])
    split = gzip.compress(several.encode()[:40]) + gzip.compress(several.encode()[40:])
    archive_path(root, 7, "2018-03-05").write_bytes(split)
    multiline = [archive_row("2018-03-06T01:00:00Z", 3, location="two\nlines"), *ODD_ROWS[:1]]
    write_archive(root, multiline, day="2018-03-06")
    write_archive(root, [], day="2018-03-07")

    outcome = fetch(small.as_uri(), tmp_path / "data", years=(2017, 2018))
    assert (outcome.fetched, outcome.missing) == (77, ())
    read = read_observations([tmp_path / "data" / "openaq" / "year=2017"])
    assert len(read.table) == 3 * 12 * 4
    shutil.rmtree(tmp_path / "data" / "openaq" / "year=2017")
    for path in root.glob("*/year=2017"):
        shutil.rmtree(path)
    read = read_observations([tmp_path / "data" / "openaq" / "year=2018"])
    original = read_observations([root])
    same(read, original)
    assert original.counts["refused_malformed"] > 0
    assert original.counts["refused_time"] > 0
    assert original.counts["assumed_time_zone"] == 0
    assert original.counts["refused_value"] > 0
    assert set(read.table["station_id"].cat.categories) == {"7", "70", "8"}


FIELD = st.sampled_from(["7", "pm25", "", " 3.25", "1e3", "-0.0", "Town, x", "9.5e-5", "nan"])


@settings(max_examples=12)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(
                ["2018-01-01T03:00:00+02:00", "2018-01-01 03:00", "x", "2018-02-01T0Z"]
            ),
            FIELD,
            FIELD,
            FIELD,
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_rows_survive_compaction(rows: list[tuple[int, str, str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in (0, 1):
            some = [
                archive_row(stamp, value, lat=lat, location=place)
                for day, stamp, value, lat, place in rows
                if day == number
            ]
            some.append(archive_row("2018-01-01T23:00:00Z", 5))
            write_archive(tree(folder), some, day=f"2018-01-0{number + 1}")
        fetch(folder.as_uri(), folder / "data", (7,))
        same(read_observations([folder / "data"]), read_observations([tree(folder)]))


def test_a_part_counts_only_with_its_entry(small: Path, tmp_path: Path) -> None:
    fetch(small.as_uri(), tmp_path)
    root = tmp_path / "openaq"
    before = read_observations([root])
    part = next(root.glob("year=2018/month=01/part-*.parquet"))
    stray = part.with_name("part-0123456789abcdef.000.parquet")
    shutil.copy(part, stray)
    same(read_observations([root]), before)
    fetch(small.as_uri(), tmp_path)
    assert not stray.exists()
    # A part that is damaged is named, and the others are read.
    part.write_bytes(part.read_bytes()[:500])
    read = read_observations([root / "year=2018"])
    assert [damaged.path for damaged in read.damaged] == [str(part)]
    assert 0 < len(read.table) < 3 * 12 * 4
    shutil.rmtree(root / "_manifest")
    with pytest.raises(InputError, match="_manifest"):
        read_observations([root])


# What is fetched, and what is not


def test_local_days_around_the_years_come_too(small: Path, tmp_path: Path) -> None:
    with served(Bucket.of(tree(small))) as bucket:
        fetch(bucket.address, tmp_path, (7,))
        assert "records/csv.gz/locationid=7/year=2018/" in bucket.lists
        assert not any("locationid=70" in prefix for prefix in bucket.lists)
    days = {key[-15:-7] for key in bucket.gets}
    assert {"20171231", "20180101", "20181231"} <= days
    assert "20171230" not in days
    assert len(days) == 13


def test_nothing_is_fetched_twice_and_a_changed_object_again(small: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    root = tree(small)
    with served(Bucket.of(root)) as bucket:
        first = fetch(bucket.address, tmp_path)
        bucket.requests.clear()
        second = fetch(bucket.address, tmp_path)
        assert bucket.gets == []
        assert (second.fetched, second.already_there) == (0, first.fetched)

        # One object is changed, and one is new.
        for number, day, hours in ((70, "2018-01-03", 9), (8, "2018-01-20", 5)):
            rows = day_rows(number, day, rng, hours)
            written = write_archive(root, rows, location_id=number, day=day)
            bucket.files[key_of(day, number)] = written.read_bytes()
        assert fetch(bucket.address, tmp_path).fetched == 2
        assert key_of("2018-01-03", 70) in bucket.gets
    for day in pd.date_range("2017-12-20", "2017-12-30"):
        for number in (7, 70, 8):
            archive_path(root, number, f"{day:%Y-%m-%d}").unlink()
    same(read_observations([tmp_path / "openaq"]), read_observations([root]))


def test_a_dry_run_asks_for_no_object_and_writes_nothing(small: Path, tmp_path: Path) -> None:
    estimates: list[Estimate] = []
    with served(Bucket.of(tree(small))) as bucket:
        bucket.page = 4
        assert fetch(bucket.address, tmp_path / "d", dry_run=True, seen=estimates) is None
        assert bucket.gets == []
        assert len(bucket.lists) > 3 * 3
        sizes = [len(data) for key, data in bucket.files.items() if "/month=12/" not in key]
        sizes += [len(data) for key, data in bucket.files.items() if "1231.csv" in key]
    assert not (tmp_path / "d").exists()
    assert (estimates[0].objects, estimates[0].bytes) == (len(sizes), sum(sizes))
    assert estimates[0].hours == pytest.approx(len(sizes) / 1000 / 3600)


def test_an_object_of_another_name_is_left_out_and_counted(small: Path, tmp_path: Path) -> None:
    folder = archive_path(tree(small), 7, "2018-01-01").parent
    (folder / "location-7-20180101 (copy).csv.gz").write_bytes(b"x")
    (folder / "location-8-20180101.csv.gz").write_bytes(b"x")
    estimates: list[Estimate] = []
    fetch(small.as_uri(), tmp_path, (7,), seen=estimates)
    assert (estimates[0].unknown, estimates[0].objects) == (2, 13)


# Faults of the archive


def key_of(day: str, number: int = 7) -> str:
    return archive_path(Path("records/csv.gz"), number, day).as_posix()


def test_passing_faults_are_waited_out(small: Path, tmp_path: Path) -> None:
    with served(Bucket.of(tree(small))) as bucket:
        whole = bucket.files[key_of("2018-01-05")]
        storm = [Fault(status=429, retry_after="1")] * 3
        bucket.faults = {
            "list": deque([Fault(status=503), Fault(status=429)]),
            key_of("2018-01-01"): deque(storm),
            key_of("2018-01-02"): deque([Fault(status=500), Fault(status=503)]),
            key_of("2018-01-03"): deque([Fault(cut_at=100)]),
            key_of("2018-01-04"): deque([Fault(silent_s=2.5)]),
            key_of("2018-01-05"): deque([Fault(body=whole[:-30] + bytes(30))]),
            key_of("2018-01-06"): deque([Fault(body=whole[:-12])]),
            key_of("2018-01-07"): deque([Fault(cut_at=0)]),
        }
        outcome = fetch(bucket.address, tmp_path, (7,))
    assert (outcome.fetched, outcome.missing) == (13, ())
    assert len(read_observations([tmp_path / "openaq"]).table) == 13 * 4


def test_lasting_damage_is_missing_and_asked_for_again(small: Path, tmp_path: Path) -> None:
    with served(Bucket.of(tree(small))) as bucket:
        whole = bucket.files[key_of("2018-01-05")]
        page = gzip.compress(b"<html>busy</html>")
        bucket.lasting = {
            key_of("2018-01-05"): Fault(body=whole[:-30] + bytes(30)),
            key_of("2018-01-06"): Fault(body=page),
            key_of("2018-01-07"): Fault(status=403),
            key_of("2018-01-08"): Fault(status=429),
            key_of("2018-01-10"): Fault(body=whole[:-1]),
        }
        bucket.files[key_of("2018-01-09")] = whole[:100]
        outcome = fetch(bucket.address, tmp_path, (7,))
        assert outcome.fetched == 7
        reasons = {one.what: one.reason for one in outcome.missing}
        said = ("damaged", "bytes, not", "refuses", "given up after 6", "truncated gzip")
        for day, text in enumerate((*said, "bytes, not"), start=5):
            assert text in reasons[key_of(f"2018-01-{day:02d}")]
        assert bucket.gets.count(key_of("2018-01-07")) == 1
        entries = pl.read_parquet(tmp_path / "openaq/_manifest/*/*/*.parquet")
        assert (entries["state"] == "missing").sum() == 6
        held = entries.filter(pl.col("state") == "held")
        assert held["rows"].to_list() == [4] * 7
        assert held["other_parameter"].to_list() == [1] * 7

        bucket.lasting, bucket.files[key_of("2018-01-09")] = {}, whole
        bucket.requests.clear()
        again = fetch(bucket.address, tmp_path, (7,))
        assert (again.fetched, again.already_there, again.missing) == (6, 7, ())
        assert len(set(bucket.gets)) == 6


def test_an_archive_that_never_answers_is_a_stated_error(small: Path, tmp_path: Path) -> None:
    with served(Bucket.of(tree(small))) as bucket:
        bucket.lasting = {key: Fault(status=503) for key in bucket.files}
        with pytest.raises(InputError, match="gives none of 11 objects"):
            fetch(bucket.address, tmp_path, (7,))
        bucket.lasting = {"list": Fault(status=503)}
        with pytest.raises(InputError, match="cannot be listed"):
            fetch(bucket.address, tmp_path / "other", (7,))
    with pytest.raises(InputError, match="no address of an archive"):
        Archive("ftp://somewhere/archive")


def test_an_object_that_goes_or_changes_after_the_listing(small: Path) -> None:
    with served(Bucket.of(tree(small))) as bucket:
        archive = Archive(bucket.address, check=check_table, policy=QUICK)
        listed, _ = archive.list_objects([(7, 2018, None)])
        assert [one.day for one in listed] == sorted(one.day for one in listed)
        del bucket.files[listed[0].key]
        bucket.files[listed[1].key] = bucket.files[listed[2].key]
        gone, changed, *_ = archive.fetch(listed)
        archive.close()
    assert gone.text is None
    assert "no longer" in gone.reason
    assert changed.text is not None
    assert changed.listed.etag == listed[2].etag != listed[1].etag


# Kills


def _count_and_kill(folder: Path, at: int) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that ends the process, without a word, before its `at`-th change."""
    done = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        writes = event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]
        if writes or event in ("os.rename", "os.remove", "os.mkdir"):
            done += str(arguments[0]).startswith(str(folder))
            if done == at:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def _fetch_until(address: str, data: Path, at: int, limit_bytes: int = 0) -> None:
    if at:
        sys.addaudithook(_count_and_kill(data, at))
    if limit_bytes:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        with pytest.raises(InputError, match="cannot be written"):
            fetch(address, data)
        os._exit(3)
    fetch(address, data)
    os._exit(0)


@pytest.fixture(scope="module")
def in_process() -> Iterator[Callable[..., int]]:
    """Give what runs a fetch in a process of its own and returns how it ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])

    def run(*arguments: Any) -> int:
        process = context.Process(target=_fetch_until, args=arguments)
        process.start()
        process.join(60)
        assert process.exitcode is not None
        return process.exitcode

    return run


def test_five_kills_leave_the_files_of_an_undisturbed_fetch(
    small: Path, tmp_path: Path, in_process: Callable[..., int]
) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    fetch(small.as_uri(), undisturbed)
    ends = [in_process(small.as_uri(), killed, at) for at in (2, 8, 5, 3, 7)]
    assert ends.count(-signal.SIGKILL) >= 4
    fetch(small.as_uri(), killed)
    assert content(killed) == content(undisturbed)


def test_a_kill_at_any_moment_of_a_replacement_leaves_old_or_new(
    tmp_path: Path, in_process: Callable[..., int]
) -> None:
    rng, start = np.random.default_rng(8), tmp_path / "start"
    for day in ("2018-01-03", "2018-01-04"):
        write_archive(tree(tmp_path), day_rows(7, day, rng), day=day)
    fetch(tmp_path.as_uri(), start)
    write_archive(tree(tmp_path), day_rows(7, "2018-01-04", rng, 2), day="2018-01-04")
    fetch(tmp_path.as_uri(), shutil.copytree(start, tmp_path / "whole"))
    known = {}
    for folder in (start, tmp_path / "whole"):
        table = read_observations([folder]).table
        known[len(table)] = table
    assert sorted(known) == [5, 8]
    seen, at, end = set(), 0, -signal.SIGKILL
    while end == -signal.SIGKILL:
        at += 1
        data = shutil.copytree(start, tmp_path / f"killed-{at}")
        end = in_process(tmp_path.as_uri(), data, at)
        table = read_observations([data]).table
        seen.add(len(table))
        pd.testing.assert_frame_equal(table, known[len(table)])
        fetch(tmp_path.as_uri(), data)
        assert content(data) == content(tmp_path / "whole")
    assert end == 0
    assert seen == set(known)
    assert at > 6


def test_a_full_disk_is_stated_and_what_is_complete_kept(
    small: Path, tmp_path: Path, in_process: Callable[..., int]
) -> None:
    assert in_process(small.as_uri(), tmp_path / "data", 0, 5_000) == 3
    fetch(small.as_uri(), tmp_path / "data")
    fetch(small.as_uri(), tmp_path / "undisturbed")
    assert content(tmp_path / "data") == content(tmp_path / "undisturbed")


# The API


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


Ask = Callable[..., Catalogue]


@pytest.fixture
def waits() -> list[float]:
    """How long `ask` would have waited, each time."""
    return []


@pytest.fixture
def ask(certificates: Certificates, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Give what asks an API for the stations of 2018, or of what it is told."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.trusted))

    def find(
        api: OpenaqApi, wanted: Wanted | None = None, *, key: str = KEY, context: Any = None
    ) -> Catalogue:
        transport = PacedTransport(QUICK, Windows(sleep=waits.append), sleep=waits.append)
        with served(api.service, context or certificates.context):
            return find_stations(
                wanted or Wanted((2018,)), key, api=f"{api.service.url}/v3", transport=transport
            )

    return find


def test_locations_are_paged_until_a_short_page(ask: Ask) -> None:
    api = OpenaqApi([location(number) for number in range(1, 2001)])
    found = ask(api)
    assert found.stations["station_id"].nunique() == 2000
    pages = [query["page"] for query in api.queries if query["path"] == "/v3/locations"]
    assert pages == ["1", "2", "3"]
    assert {query.get("parameters_id") for query in api.queries[1:]} == {"2"}


def test_a_sensor_has_the_grade_of_its_own_instrument(ask: Ask) -> None:
    monitor, other = {"id": MONITOR, "name": "m"}, {"id": SENSOR, "name": "s"}
    api = OpenaqApi(
        [
            location(1),
            location(2, instruments=[other], isMonitor=False),
            location(3, instruments=[monitor, other]),
            location(4, instruments=[], isMonitor=True),
            location(5, instruments=[], isMonitor=False),
            location(6, instruments=[{"id": 99, "name": "new"}]),
            location(7, sensors=[sensor(70), sensor(71)], provider=None, country=None, name=None),
            location(8, sensors=None),
            location(9, coordinates={"latitude": None, "longitude": None}, datetimeFirst=None),
            location(10, datetimeLast={"utc": "2017-05-06T00:00:00Z", "local": None}),
            location(11, country={"id": 5, "code": "99", "name": "?"}, isMobile=None),
        ]
    )
    found = ask(api)
    grade = found.stations.set_index("sensor_id")["is_reference"]
    assert bool(grade["10"])
    assert set(grade.index[grade.isna()]) == {"30", "40", "60"}
    assert set(grade.index[grade.eq(False).fillna(False)]) == {"20", "50"}
    counted = {name: found.counts[name] for name in ("grade_unknown", "outside_years", "locations")}
    assert list(counted.values()) == [3, 1, 11]
    assert "80" not in grade.index
    only = ask(api, Wanted((2018,), reference_only=True))
    assert set(only.stations["station_id"]) == {"1", "7", "9", "11"}


def test_the_station_file_is_read_as_it_was_found(ask: Ask, small: Path, tmp_path: Path) -> None:
    api = OpenaqApi([location(7), location(70, country=None, provider=None, isMobile=None)])
    found = ask(api)
    fetch(small.as_uri(), tmp_path, found)
    layout = find_data(tmp_path)
    assert layout.stations == tmp_path / "openaq" / "stations.parquet"
    read = read_stations(layout.stations)
    pd.testing.assert_frame_equal(
        read[list(STATION_COLUMNS)], found.stations, check_dtype=False, check_like=True
    )


def test_boxes_and_countries(ask: Ask) -> None:
    def at(number: int, latitude: float, longitude: float, code: str = "FJ") -> dict[str, Any]:
        place = {"latitude": latitude, "longitude": longitude}
        return location(number, coordinates=place, country={"id": 3, "code": code, "name": "x"})

    api = OpenaqApi([at(1, -17, 178), at(2, -17, -179), at(3, -17, 170), at(4, 17, 178, "NZ")])
    box = (175.0, -30.0, -175.0, 30.0)
    for number, (wanted, found) in enumerate(
        [
            (Wanted((2018,), bbox=box), {"1", "2", "4"}),
            (Wanted((2018,), ("FJ", "TO"), box), {"1", "2"}),
            (Wanted((2018,), bbox=(0, -30, 360, 0)), {"1", "2", "3"}),
        ]
    ):
        assert set(ask(api, wanted).stations["station_id"]) == found
        # Across the date line a box is asked for in two parts.
        assert number or len([query for query in api.queries if "bbox" in query]) == 2


def test_storms_are_waited_out_for_as_long_as_they_ask(ask: Ask, waits: list[float]) -> None:
    api = OpenaqApi([location(number) for number in range(1, 1500)])
    storm = [Fault(status=429, retry_after="17"), Fault(status=503), Fault(cut_at=50)]
    api.service.faults["/v3/locations"] = deque(storm)
    assert ask(api).stations["station_id"].nunique() == 1499
    assert max(waits) == 17


def test_a_storm_without_end_is_a_stated_error(ask: Ask) -> None:
    api = OpenaqApi([location(1)])
    api.service.faults["/v3/instruments"] = deque([Fault(status=429, retry_after="1")] * 20)
    with pytest.raises(InputError, match="given up after 6 failures"):
        ask(api)
    assert len(api.service.requests) == 6
    api.service.faults["/v3/instruments"] = deque([Fault(status=429, retry_after="86400")])
    with pytest.raises(InputError, match="come back in 21600 s"):
        ask(api)


def test_a_refused_key_is_named_without_its_value(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    api = OpenaqApi([location(1)], key="f" * 64)
    with pytest.raises(InputError, match="401") as refused:
        ask(api)
    assert KEY not in str(refused.value)
    assert refused.value.__cause__ is None
    monkeypatch.delenv("OPENAQ_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for key, word in (("", "absent"), ("abc", "no key of OpenAQ")):
        with pytest.raises(InputError, match=word):
            ask(api, key=key)
    printed = capfd.readouterr()
    assert KEY not in printed.out + printed.err


def test_a_server_that_is_not_trusted_or_not_understood(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="certificate"):
        ask(OpenaqApi([location(1)]), context=Certificates.make(tmp_path).context)
    with pytest.raises(InputError, match="not understood"):
        ask(OpenaqApi([{"id": 1}]))
    with pytest.raises(InputError, match="HTTPS"):
        find_stations(Wanted((2018,)), KEY, api="http://localhost/v3")


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_no_window_holds_more_requests_than_its_limit(gaps: list[float]) -> None:
    now = 0.0
    made: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    windows = Windows(((3, 60.0), (7, 1000.0)), clock=lambda: now, sleep=sleep)
    for gap in gaps:
        now += gap
        windows.wait()
        made.append(now)
    times = np.array(made)
    for count, span in ((3, 60.0), (7, 1000.0)):
        if len(times) > count:
            assert (times[count:] - times[:-count] >= span - 1e-6).all()


# The command


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings_ = DemoSettings.small(years=(2019,), months=(3,), days_per_month=3, stations=16)
    return demo_archive(settings_, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def demo_api(demo: Path) -> OpenaqApi:
    """The API that would have told what the station file of the demo archive says."""
    known = read_stations(demo / "openaq" / "stations.csv")
    locations = []
    for number, rows in known.groupby("station_id"):
        first = rows.iloc[0]
        instrument = {"id": MONITOR if first["is_reference"] else SENSOR, "name": "x"}
        unplaced = np.isnan(first["latitude"])
        place = {name: None if unplaced else first[name] for name in ("latitude", "longitude")}
        locations.append(
            location(
                int(number),
                name=first["name"],
                country={"id": 1, "code": first["country"], "name": "x"},
                provider={"id": 1, "name": first["provider"]},
                isMobile=bool(first["mobile"]),
                isMonitor=bool(first["is_reference"]),
                instruments=[instrument] if pd.notna(first["is_reference"]) else [],
                sensors=[sensor(int(one)) for one in rows["sensor_id"]],
                coordinates=place,
                datetimeFirst=None,
                datetimeLast=None,
            )
        )
    return OpenaqApi(locations)


@pytest.fixture(scope="module")
def moto_archive(demo: Path) -> Iterator[str]:
    """The demo archive in a bucket of an S3 server, less the file that is cut on purpose."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    client.create_bucket(Bucket="archive")
    for key, body in Bucket.of(demo / "openaq").files.items():
        client.put_object(Bucket="archive", Key=key, Body=body, ACL="public-read")
    client.close()
    yield f"http://{host}:{port}/archive"
    server.stop()


def cams_of(demo: Path, inputs: dict[str, object], folder: Path) -> bytes:
    """The month that the store would send, without values where the demo has none."""
    first, last = (np.datetime64(day) for day in str(inputs["date"][0]).split("/"))
    times = np.arange(first, last + 1, dtype="datetime64[D]").astype("datetime64[h]")[:, None]
    times = (times + np.arange(0, 24, 3)).ravel()
    with xr.open_mfdataset(sorted((demo / "cams").glob("*.nc")), mask_and_scale=False) as packed:
        field = packed["pm2p5"].load()
    field = field[~field.get_index("time").duplicated()]
    whole = field.reindex(time=times.astype("datetime64[ns]"), fill_value=field.attrs["_FillValue"])
    path = folder / f"{first}.nc"
    whole.attrs = dict(field.attrs)
    whole.to_netcdf(path, encoding={"time": {"units": "hours since 1900-01-01", "dtype": "int32"}})
    return path.read_bytes()


def test_from_nothing_to_the_scores_of_the_files_read_directly(
    demo: Path,
    demo_api: OpenaqApi,
    moto_archive: str,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    data, made = tmp_path / "data", tmp_path / "made"
    made.mkdir()
    store = AtmosphereStore(make=lambda inputs: cams_of(demo, inputs, made))
    with served(demo_api.service, certificates.context), served(store.service):
        environment = {
            "OPENAQ_API_KEY": KEY,
            "SSL_CERT_FILE": str(certificates.trusted),
            "DEEPCAMS_OPENAQ_API": f"{demo_api.service.url}/v3/",
            "DEEPCAMS_OPENAQ_ARCHIVE": moto_archive,
            "CDSAPI_URL": f"{store.service.url}/api",
            "CDSAPI_KEY": store.key,
        }

        def call(source: str, *more: str) -> Any:
            arguments = ["fetch", source, "--years", "2019", "--data", str(data), *more]
            return CliRunner().invoke(app, arguments, env=environment)

        planned = call("openaq", "--dry-run")
        assert planned.exit_code == 0, planned.output
        assert "to fetch: " in planned.output
        assert not data.exists()
        result = call("openaq")
        month = call("cams", "--months", "3", "--bbox=-3,45,9,54")
        assert month.exit_code == 0, month.output
    # The demo archive holds files that are cut on purpose: they are missing, and named.
    assert result.exit_code == 1
    assert "truncated gzip" in result.stderr
    assert "Traceback" not in result.stderr
    assert KEY not in result.output
    assert all(KEY.encode() not in one for one in content(data).values())

    def scores(observations: Iterable[Path], stations: Path, cams: Path) -> str:
        found = insitu(
            InsituOptions(
                2019,
                observations=list(observations),
                stations=stations,
                products={"cams": f"{cams},kind=cams"},
                sensitivity=False,
            )
        )
        return found.scores.to_csv()

    # The demo folder holds records of the realtime archive as well, which is not fetched.
    archived = (demo / "openaq").glob("locationid=*")
    direct = scores(archived, demo / "openaq" / "stations.csv", demo / "cams")
    fetched = scores([data / "openaq"], data / "openaq" / "stations.parquet", data / "cams")
    assert fetched == direct
    assert direct.count("\n") > 50


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--years", "2018", "--countries", "Belgium"], "two-letter code"),
        (["--years", "2018", "--bbox", "1,2,3"], "W,S,E,N"),
        (["--years", "then"], "--years has 'then'"),
    ],
)
def test_wrong_usage_is_said(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["fetch", "openaq", *arguments, "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())
