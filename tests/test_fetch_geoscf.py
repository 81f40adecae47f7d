"""GEOS-CF over HTTP files and over OPeNDAP, against servers on loopback."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.geoscf import (
    COLLECTIONS,
    SPACING_DEG,
    GeoscfSettings,
    decode_dods,
    fetch_geoscf,
    file_name,
    file_url,
    hours,
    plan_geoscf,
)
from deepcams_eval.fetch.http import RetryPolicy, Transfer, TransferError
from deepcams_eval.fetch.local import Nodes, Outcome
from deepcams_eval.read.product import ProductSpec, open_product
from tests.fetch_services import Fault, Service, killed, served
from tests.gridded_files import write_geoscf_native

BOX = (-72.1, -33.6, -71.4, -33.0)
QUICK = RetryPolicy(attempts=3, timeout_s=2.0, first_wait_s=0.01, longest_wait_s=0.02)


def nodes_of(box: tuple[float, float, float, float] | None) -> Nodes:
    return Nodes.of(box, SPACING_DEG, widen=False)


def value_at(stamp: np.datetime64, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """A number for every node and hour that tells them apart."""
    hour = float((stamp - np.datetime64("2019-12-31T00:30")) / np.timedelta64(1, "h"))
    return (
        300 + hour % 24 + np.asarray(latitude)[:, None] / 4 + np.asarray(longitude)[None] / 16
    ).astype(np.float32)


def frame(stamp: str, *, box: tuple[float, float, float, float] | None = None) -> xr.DataArray:
    latitude, longitude = nodes_of(box)
    time = np.datetime64(stamp, "us")
    return xr.DataArray(
        value_at(time, latitude, longitude)[None],
        dims=("time", "latitude", "longitude"),
        coords={"time": [time], "latitude": latitude, "longitude": longitude},
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Global files of the first hours of 2020, by their address on the server."""
    folder = tmp_path_factory.mktemp("published")
    result = {}
    for hour in range(4):
        stamp = datetime(2020, 2, 1, hour, 30)
        path = write_geoscf_native(folder / f"{hour}.nc4", frame(stamp.isoformat()))
        with netCDF4.Dataset(path, "a") as dataset:
            other = dataset.createVariable("O3", "f4", ("time", "lev", "lat", "lon"), zlib=True)
            other[:] = 4e-8
        result[file_url("/das", COLLECTIONS[0], stamp)] = path.read_bytes()
    return result


@pytest.fixture
def service(published: dict[str, bytes]) -> Iterator[Service]:
    with served(Service(files=dict(published))) as result:
        yield result


@pytest.fixture(scope="module")
def later(published: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every hour from 04:30 on lies already, by name."""
    folder = tmp_path_factory.mktemp("later")
    one = folder / "one.nc4"
    one.write_bytes(next(iter(published.values())))
    for stamp in list(hours((2020,), (2,)))[4:]:
        (folder / file_name(COLLECTIONS[0], stamp)).hardlink_to(one)
    one.unlink()
    return folder


def with_later(folder: Path, later: Path) -> Path:
    (folder / "later").mkdir(parents=True)
    for path in later.iterdir():
        (folder / "later" / path.name).hardlink_to(path)
    return folder


def fetch(
    folder: Path, service: Service, *, policy: RetryPolicy = QUICK, workers: int = 3
) -> tuple[Outcome, list[str]]:
    asked = GeoscfSettings(
        folder=folder, years=(2020,), months=(2,), workers=workers, files_url=f"{service.url}/das"
    )
    said: list[str] = []
    outcome = fetch_geoscf(asked, Transfer(policy, say=said.append))
    return outcome, said


def kept(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.glob("2020/**/*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_files_come_with_pm25_alone_and_what_is_missing_is_named(
    service: Service, tmp_path: Path
) -> None:
    outcome, _ = fetch(tmp_path, service)
    assert (outcome.fetched, outcome.already_there) == (4, 0)
    assert sum(len(data) for data in kept(tmp_path).values()) == outcome.bytes
    # 29 days of February 2020 and the first hour of March.
    assert [one.what for one in outcome.missing] == [
        "2020-02, 692 of 696 hours, from 01 04:30",
        "2020-03, 1 of 1 hours, from 01 00:30",
    ]
    assert all("404" in one.reason for one in outcome.missing)
    field = open_product(ProductSpec("geoscf", str(tmp_path))).field
    assert field.shape == (4, 721, 1440)
    assert (field.time.values[1] - field.time_start.values[1]) == np.timedelta64(30, "m")
    sample = field.isel(latitude=slice(5, 9), longitude=slice(700, 705))
    for hour in range(4):
        expected = value_at(field.time.values[hour], sample.latitude, sample.longitude)
        np.testing.assert_array_equal(sample.values[hour], expected)
    with netCDF4.Dataset(next(tmp_path.rglob("*0030z.nc4"))) as dataset:
        assert "O3" not in dataset.variables
    assert not list(tmp_path.rglob(".*.part*"))


def test_what_is_there_is_not_asked_for_again_and_the_other_collection_counts(
    service: Service, later: Path, tmp_path: Path
) -> None:
    with_later(tmp_path, later)
    write_geoscf_native(
        tmp_path / f"GEOS-CF.v01.rpl.{COLLECTIONS[1]}.20200201_0130z.nc4",
        frame("2020-02-01T01:30"),
    )
    outcome, _ = fetch(tmp_path, service)
    assert (outcome.fetched, outcome.already_there) == (3, 694)
    before = kept(tmp_path)
    service.requests.clear()
    outcome, _ = fetch(tmp_path, service)
    assert (outcome.fetched, outcome.already_there, outcome.missing) == (0, 697, ())
    assert not service.requests
    assert kept(tmp_path) == before


def test_storms_cuts_and_silence_change_nothing(
    service: Service, published: dict[str, bytes], later: Path, tmp_path: Path
) -> None:
    fetch(with_later(tmp_path / "calm", later), service)
    paths = sorted(published)
    service.faults[paths[0]].extend([Fault(429, "0"), Fault(503), Fault(429, "1")])
    service.faults[paths[1]].extend([Fault(cut_at=3000), Fault(cut_at=5000), Fault(cut_at=70)])
    service.faults[paths[2]].extend([Fault(silent_s=0.4)])
    truncated = published[paths[3]][:-900] + bytes(900)
    service.faults[paths[3]].extend([Fault(body=truncated), Fault(body=truncated)])
    quick = RetryPolicy(attempts=4, timeout_s=0.2, first_wait_s=0.01, longest_wait_s=0.02)
    outcome, _ = fetch(with_later(tmp_path / "rough", later), service, policy=quick)
    assert outcome.fetched == 4
    assert kept(tmp_path / "rough") == kept(tmp_path / "calm")


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda _: b"<html>log in</html>"]
)
def test_a_file_that_stays_damaged_is_missing(
    service: Service, published: dict[str, bytes], later: Path, tmp_path: Path, damage
) -> None:
    with_later(tmp_path, later)
    path = sorted(published)[1]
    service.files[path] = damage(published[path])
    outcome, _ = fetch(tmp_path, service)
    assert outcome.fetched == 3
    assert "came damaged 3 times" in outcome.missing[0].reason
    assert service.count(path) == 3
    assert len(kept(tmp_path)) == 3


def test_a_server_that_is_gone_is_not_asked_for_every_hour(tmp_path: Path) -> None:
    with served(Service()) as service:
        pass
    outcome, said = fetch(tmp_path, service, workers=2)
    assert outcome.fetched == 0
    assert "not asked for" in outcome.missing[1].reason
    assert "does not answer" in said[0]


def test_a_folder_of_one_box_takes_no_other(later: Path) -> None:
    with pytest.raises(InputError, match="another grid"):
        plan_geoscf(GeoscfSettings(folder=later, years=(2020,), months=(2,), bbox=BOX))


def run_alone(begun: Path, folder: Path, url: str) -> None:
    begun.touch()
    fetch(folder, Service(url=url), workers=2)


def test_killed_at_any_moment_it_ends_with_the_same_files(
    service: Service, later: Path, tmp_path: Path
) -> None:
    fetch(with_later(tmp_path / "calm", later), service)
    folder = with_later(tmp_path / "rough", later)
    service.pace_s = 0.02
    moments = np.random.default_rng(5).uniform(0.05, 0.6, 6)
    begun = tmp_path / "begun"
    assert any(killed(run_alone, (folder, service.url), begun, one) for one in moments)
    outcome, _ = fetch(folder, service)
    assert (outcome.fetched + outcome.already_there, outcome.missing) == (697, ())
    assert kept(folder) == kept(tmp_path / "calm")


@contextmanager
def dods_server(stamps: list[str], counts: list[str]) -> Iterator[str]:
    """The collection as the data server shows it: lower case, days since 1-1-1, a level."""
    with warnings.catch_warnings():
        # Its WSGI library imports a module that the standard library gives up.
        warnings.simplefilter("ignore", DeprecationWarning)
        from pydap.handlers.lib import BaseHandler
        from pydap.model import BaseType, DatasetType, GridType
    latitude, longitude = nodes_of((-73.0, -34.0, -70.5, -32.0))
    moments = np.array(stamps, "datetime64[us]")
    # 1 January 1970 is day 719164 of the mixed Julian and Gregorian calendar.
    days = 719164 + (moments - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")
    values = np.stack([value_at(one, latitude, longitude) for one in moments])[:, None]
    values[0, 0, 2, 5] = 1e15
    axes = {"time": days, "lev": np.array([1.0]), "lat": latitude, "lon": longitude}
    units = {"units": "days since 1-1-1 00:00:0.0"}
    dataset = DatasetType(COLLECTIONS[0])
    grid = GridType("pm25_rh35_gcc")
    grid["pm25_rh35_gcc"] = BaseType("pm25_rh35_gcc", values, dims=tuple(axes))
    dataset["pm25_rh35_gcc"] = grid
    for name, axis in axes.items():
        grid[name] = BaseType(name, axis, dims=(name,))
        attributes = units if name == "time" else {}
        dataset[name] = BaseType(name, axis, dims=(name,), attributes=attributes)

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            counts.append(self.path)

    with make_server("127.0.0.1", 0, BaseHandler(dataset), WSGIServer, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/dods"
        finally:
            server.shutdown()
            thread.join()


def test_a_box_over_opendap_is_the_box_of_the_globe(
    service: Service, later: Path, tmp_path: Path
) -> None:
    counts: list[str] = []
    stamps = [f"2020-02-01T{hour:02d}:30" for hour in range(3)]
    with dods_server(stamps, counts) as url:
        asked = GeoscfSettings(
            folder=tmp_path / "box", years=(2020,), months=(2,), bbox=BOX, dods_url=url
        )
        outcome = fetch_geoscf(asked, Transfer(QUICK))
    assert outcome.fetched == 3
    assert len(counts) == 5 + 3  # the description, its attributes, three axes; the hours
    assert "is not on the server" in outcome.missing[0].reason
    box = open_product(ProductSpec("geoscf", str(tmp_path / "box"))).field
    latitude, longitude = nodes_of(BOX)
    np.testing.assert_array_equal(box.latitude, latitude)
    np.testing.assert_array_equal(box.longitude, longitude)
    fetch(with_later(tmp_path / "globe", later), service)
    globe = open_product(ProductSpec("geoscf", str(tmp_path / "globe" / "2020"))).field
    same = globe.sel(time=box.time, latitude=box.latitude, longitude=box.longitude)
    # The server's box begins at 34 S, 73 W: its row 2, column 5 is 33.5 S, 71.75 W.
    missing = np.isnan(box.values)
    assert missing.sum() == 1
    assert bool(np.isnan(box.sel(latitude=-33.5, longitude=-71.75).values[0]))
    np.testing.assert_array_equal(box.values[~missing], same.values[~missing])


def test_an_answer_that_is_cut_or_an_error_page_is_no_array() -> None:
    whole = b"Dataset {\n Float32 a[x = 2];\n} d;\nData:\n" + b"\0\0\0\2" * 2 + b"\0" * 8
    np.testing.assert_array_equal(decode_dods(whole, "x")["a"], [0, 0])
    for broken in (whole[:-1], whole + b"\0", b"Error { code = 500; };"):
        with pytest.raises(TransferError):
            decode_dods(broken, "x")


@settings(max_examples=25)
@given(
    years=st.sets(st.integers(2018, 2024), min_size=1, max_size=3),
    months=st.sets(st.integers(1, 12), min_size=1, max_size=4),
)
def test_hours_are_those_of_the_months_and_one_after_each_run(
    years: set[int], months: set[int]
) -> None:
    found = np.array(list(hours(tuple(years), tuple(months))), "datetime64[m]")
    start = np.datetime64(f"{min(years)}-01-01T00:30")
    end = np.datetime64(f"{max(years) + 1}-01-02T00:30")
    every = np.arange(start, end, np.timedelta64(1, "h")).astype("datetime64[m]")
    year = every.astype("datetime64[Y]").astype(int) + 1970
    month = every.astype("datetime64[M]").astype(int) % 12 + 1
    asked = np.isin(year, list(years)) & np.isin(month, list(months))
    after = np.r_[False, asked[:-1]] & ~asked
    np.testing.assert_array_equal(found, every[asked | after])
