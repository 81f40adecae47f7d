"""EAC4 through the real client of the Atmosphere Data Store, against a queue on loopback."""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from deepcams_eval.cli.evaluate import app
from deepcams_eval.errors import InputError
from deepcams_eval.fetch.cams import SPACING_DEG, CamsSettings, fetch_cams, pieces, plan_cams
from deepcams_eval.fetch.http import RefusedError, RetryPolicy, StoppedError, Transfer
from deepcams_eval.fetch.local import Nodes, Outcome
from deepcams_eval.read.product import ProductSpec, open_product
from tests.fetch_services import KEY, AtmosphereStore, Fault, killed, served
from tests.gridded_files import write_eac4_new, write_eac4_old

BOX = (3.8, 50.3, 5.2, 51.7)  # its nodes are 3.75 to 5.25 E and 50.25 to 51.75 N
QUICK = RetryPolicy(attempts=3, timeout_s=5.0, first_wait_s=0.01, longest_wait_s=0.02)


def values_of(times: np.ndarray) -> np.ndarray:
    """A number for every cell and hour that tells them apart."""
    hours = (times - np.datetime64("2017-01-01", "h")) / np.timedelta64(1, "h")
    return 20 + hours[:, None, None] % 997 / 50 + np.arange(9).reshape(3, 3)


def answer(inputs: dict[str, object], folder: Path, *, form: str = "new") -> bytes:
    """The file that the store makes of a request."""
    first, last = str(inputs["date"][0]).split("/")
    hours = [int(text[:2]) for text in inputs["time"]]
    days = np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1)
    times = np.concatenate([day.astype("datetime64[h]") + np.array(hours) for day in days])
    north, west, south, east = inputs["area"]
    field = xr.DataArray(
        values_of(times),
        dims=("time", "latitude", "longitude"),
        coords={
            "time": times.astype("datetime64[us]"),
            "latitude": np.arange(south, north + 0.1, 0.75),
            "longitude": np.arange(west, east + 0.1, 0.75),
        },
    )
    if form == "empty":
        field[:] = np.nan
    if form == "gap":
        field[8:24] = np.nan
    path = folder / f"{first}.{form}"
    if form == "old":
        write_eac4_old(path, field, greenwich=False)
    else:
        write_eac4_new(path, field)
    data = path.read_bytes()
    if form != "zip":
        return data
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data_sfc.nc", data)
    return packed.getvalue()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AtmosphereStore]:
    made = tmp_path / "made"
    made.mkdir()
    result = AtmosphereStore(make=lambda inputs: answer(inputs, made))
    with served(result.service):
        monkeypatch.setenv("CDSAPI_URL", f"{result.service.url}/api")
        monkeypatch.setenv("CDSAPI_KEY", KEY)
        monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "no-such-file"))
        yield result


def grid_of(box: tuple[float, float, float, float] | None) -> Nodes:
    return Nodes.of(box, SPACING_DEG, widen=True)


def fetch(
    folder: Path, *, transfer: Transfer | None = None, **changes: object
) -> tuple[Outcome, list[str]]:
    """Fetch December 2017, or what `changes` of the settings say; return what was said as well."""
    asked = {"years": (2017,), "months": (12,), "bbox": BOX, "poll_s": (0.01, 0.05), **changes}
    said: list[str] = []
    transfer = transfer or Transfer(QUICK, say=said.append)
    return fetch_cams(CamsSettings(folder=folder, **asked), transfer), said


def kept(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: path.read_bytes() for path in found}


def litter(folder: Path) -> list[str]:
    hidden = (path.name for path in folder.iterdir() if path.name.startswith("."))
    return [name for name in hidden if name != ".fetch.lock"]


def test_a_year_end_from_nothing_on_the_command_line(
    store: AtmosphereStore, tmp_path: Path
) -> None:
    box = ",".join(str(edge) for edge in BOX)
    root = tmp_path / "data"
    arguments = ["fetch", "cams", "--years", "2017", "--months", "12", "--bbox", box]
    dry = CliRunner().invoke(app, [*arguments, "--data", str(root), "--dry-run"])
    assert "cams: 2 files to fetch" in dry.stdout
    assert not root.exists()
    assert not store.service.requests
    done = CliRunner().invoke(app, [*arguments, "--data", str(root)])
    assert done.exit_code == 0, done.output
    assert "cams: 2 files fetched" in done.stdout
    assert KEY not in done.output
    folder = root / "cams"
    assert sorted(kept(folder)) == ["eac4_2017-12.nc", "eac4_2018-01-01.nc"]
    assert litter(folder) == []
    assert not any(KEY.encode() in data for data in kept(folder).values())
    field = open_product(ProductSpec("cams", str(folder))).field
    expected = np.arange(np.datetime64("2017-12-01", "h"), np.datetime64("2018-01-02", "h"), 3)
    assert (field.time.values == expected).all()
    np.testing.assert_allclose(field.values, values_of(expected), rtol=1e-5)


@pytest.mark.parametrize("form", ["old", "zip"])
def test_every_form_that_the_store_delivers(
    store: AtmosphereStore, tmp_path: Path, form: str
) -> None:
    store.make = lambda inputs: answer(inputs, tmp_path / "made", form=form)
    fetch(tmp_path / "cams")
    field = open_product(ProductSpec("cams", str(tmp_path / "cams"))).field
    np.testing.assert_allclose(field.values, values_of(field.time.values), rtol=1e-3)
    assert litter(tmp_path / "cams") == []


def test_nothing_is_asked_for_twice(store: AtmosphereStore, tmp_path: Path) -> None:
    fetch(tmp_path / "cams")
    store.service.requests.clear()
    outcome, _ = fetch(tmp_path / "cams")
    assert outcome == Outcome("cams", 0, 2, 0, ())
    assert not store.service.requests


@pytest.mark.usefixtures("store")
def test_the_day_after_makes_room_for_its_month(tmp_path: Path) -> None:
    fetch(tmp_path / "cams")
    outcome, _ = fetch(tmp_path / "cams", years=(2018,), months=(1,))
    assert outcome.fetched == 2
    names = [f"eac4_{piece}.nc" for piece in ("2017-12", "2018-01", "2018-02-01")]
    assert sorted(kept(tmp_path / "cams")) == names
    field = open_product(ProductSpec("cams", str(tmp_path / "cams"))).field
    assert field.sizes["time"] == 8 * (31 + 31 + 1)


def test_the_queue_is_told_and_never_longer_than_asked(
    store: AtmosphereStore, tmp_path: Path
) -> None:
    store.looks = 3
    outcome, said = fetch(tmp_path / "cams", months=(4, 5, 6, 7), workers=2)
    assert outcome.fetched == 5
    states = [line.removeprefix("2017-04: ") for line in said if line.startswith("2017-04")]
    assert states == ["accepted", "running", "successful"]
    open_jobs, most = 0, 0
    for one in store.service.requests:
        open_jobs += one.method == "POST"
        open_jobs -= one.path.startswith("/store/")
        most = max(most, open_jobs)
    assert most == 2


def test_a_failed_month_is_missing_and_asked_for_next_time(
    store: AtmosphereStore, tmp_path: Path
) -> None:
    store.outcomes["2017-11-01"] = "failed"
    outcome, _ = fetch(tmp_path / "cams", months=(11, 12))
    assert (outcome.fetched, [one.what for one in outcome.missing]) == (2, ["2017-11"])
    assert "no data for this date" in outcome.missing[0].reason
    del store.outcomes["2017-11-01"]
    outcome, _ = fetch(tmp_path / "cams", months=(11, 12))
    assert (outcome.fetched, outcome.already_there, outcome.missing) == (1, 2, ())
    assert store.submitted.count("2017-11-01") == 2
    assert store.submitted.count("2017-12-01") == 1


def test_a_storm_on_the_queue_and_a_cut_file(store: AtmosphereStore, tmp_path: Path) -> None:
    faults = store.service.faults
    faults["/api/retrieve/v1/processes/cams-global-reanalysis-eac4"].append(Fault(429, "0"))
    faults["/api/retrieve/v1/jobs/job-0"].extend([Fault(502), Fault(503, "1")])
    faults["/api/retrieve/v1/jobs/job-1/results"].append(Fault(500))
    faults["/store/job-0.nc"].extend([Fault(cut_at=5000), Fault(429, "0")])
    outcome, _ = fetch(tmp_path / "cams")
    assert (outcome.fetched, outcome.missing, len(store.jobs)) == (2, (), 2)
    assert not any(faults.values())
    field = open_product(ProductSpec("cams", str(tmp_path / "cams"))).field
    np.testing.assert_allclose(field.values, values_of(field.time.values), rtol=1e-5)


def holed_zip(inputs: dict[str, object], folder: Path) -> bytes:
    """A zip file of which all but the first half and the end is zero."""
    whole = answer(inputs, folder, form="zip")
    return whole[: len(whole) // 2].ljust(len(whole) - 22, b"\0") + whole[-22:]


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (holed_zip, "broken"),
        (
            lambda inputs, made: answer({**inputs, "date": ["2018-01-01/2018-01-31"]}, made),
            "248 steps, not the 8",
        ),
        (lambda inputs, made: answer(inputs, made, form="empty"), "holds no value"),
        (lambda *_: b"<html>down for maintenance</html>", "web page"),
    ],
    ids=["truncated zip", "other month", "empty", "page"],
)
def test_a_file_that_is_not_what_was_asked_for_never_counts(
    store: AtmosphereStore, tmp_path: Path, damaged: Callable[..., bytes], reason: str
) -> None:
    def make(inputs: dict[str, object]) -> bytes:
        day = inputs["date"] == ["2018-01-01/2018-01-01"]
        return (damaged if day else answer)(inputs, tmp_path / "made")

    store.make = make
    outcome, _ = fetch(tmp_path / "cams")
    assert outcome.fetched == 1
    assert outcome.missing[0].what == "2018-01-01"
    assert reason in outcome.missing[0].reason
    assert sorted(kept(tmp_path / "cams")) == ["eac4_2017-12.nc"]
    assert litter(tmp_path / "cams") == []


def test_steps_without_a_value_are_counted(store: AtmosphereStore, tmp_path: Path) -> None:
    made = tmp_path / "made"
    store.make = lambda inputs: answer(inputs, made, form="gap")
    outcome, said = fetch(tmp_path / "cams", months=(2,))
    assert "2017-02: 16 of 224 steps hold no value" in said
    assert [one.what for one in outcome.missing] == []


def test_refusals_name_the_next_step_and_no_secret(
    store: AtmosphereStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.licence = False
    with pytest.raises(RefusedError, match="accept it once on the download page"):
        fetch(tmp_path / "cams")
    monkeypatch.setenv("CDSAPI_KEY", "expired-key")
    with pytest.raises(RefusedError, match="the key in CDSAPI_KEY; it is wrong or has") as caught:
        fetch(tmp_path / "cams")
    assert "expired-key" not in str(caught.value)
    assert len(store.service.requests) < 20
    monkeypatch.setenv("CDSAPI_KEY", "1234:old-form")
    with pytest.raises(InputError, match="no longer takes"):
        fetch(tmp_path / "cams")
    monkeypatch.delenv("CDSAPI_KEY")
    with pytest.raises(InputError, match="there is no key"):
        fetch(tmp_path / "cams")
    (tmp_path / "no-such-file").write_text(f"url: x\nkey: {KEY}\n")
    monkeypatch.setenv("CDSAPI_URL", "https://cds.climate.copernicus.eu/api")
    with pytest.raises(InputError, match="is the Climate Data Store"):
        fetch(tmp_path / "cams")
    assert not kept(tmp_path / "cams")


def test_a_request_whose_answer_was_never_read_is_found_again(
    store: AtmosphereStore, tmp_path: Path
) -> None:
    store.looks = 10_000
    folder = tmp_path / "cams"
    stopping = Transfer(QUICK)
    threading.Timer(1.0, stopping.stop).start()
    with pytest.raises(StoppedError):
        fetch(folder, transfer=stopping)
    for note in folder.glob(".*.request.json"):
        text = json.loads(note.read_text())
        note.write_text(json.dumps({**text, "request_id": None}))
    store.looks = 1
    outcome, said = fetch(folder)
    assert outcome.fetched == 2
    assert sum("is resumed" in line for line in said) == 2
    assert sorted(store.submitted) == ["2017-12-01", "2018-01-01"]


def run_alone(begun: Path, folder: Path, url: str, months: tuple[int, ...]) -> None:
    os.environ |= {"CDSAPI_URL": url, "CDSAPI_KEY": KEY}
    begun.touch()
    fetch(folder, months=months)


def test_killed_six_times_it_ends_with_the_same_files_and_the_same_requests(
    store: AtmosphereStore, tmp_path: Path
) -> None:
    fetch(tmp_path / "calm", months=(11, 12))
    store.jobs.clear()
    store.looks = 20
    store.service.pace_s = 0.01
    generator = np.random.default_rng(11)
    folder = tmp_path / "cams"
    moments = generator.uniform(0.05, 0.3, 6)
    what = (folder, os.environ["CDSAPI_URL"], (11, 12))
    kills = sum(killed(run_alone, what, tmp_path / "begun", moment) for moment in moments)
    assert kills > 2
    outcome, _ = fetch(folder, months=(11, 12))
    assert outcome.missing == ()
    assert outcome.fetched + outcome.already_there == 3
    assert kept(folder) == kept(tmp_path / "calm")
    assert litter(folder) == []
    assert sorted(store.submitted) == ["2017-11-01", "2017-12-01", "2018-01-01"]


def test_a_request_that_the_store_has_forgotten_is_made_anew(
    store: AtmosphereStore, tmp_path: Path
) -> None:
    store.looks = 10_000
    folder = tmp_path / "cams"
    what = (folder, os.environ["CDSAPI_URL"], (12,))
    assert killed(run_alone, what, tmp_path / "begun", 2.0)
    assert len(litter(folder)) == len(store.jobs) == 2
    store.jobs = {f"gone-{name}": inputs for name, inputs in store.jobs.items()}
    store.looks = 1
    outcome, said = fetch(folder)
    assert outcome.fetched == 2
    assert len(store.jobs) == 4
    assert not any("is resumed" in line for line in said)


@pytest.mark.usefixtures("store")
def test_what_lies_in_the_folder_is_respected(tmp_path: Path) -> None:
    folder = tmp_path / "cams"
    fetch(folder)
    (folder / "eac4_2017-12.nc").rename(folder / "mine.nc")
    outcome, _ = fetch(folder)
    assert outcome.already_there == 2
    with pytest.raises(InputError, match="has another grid"):
        plan_cams(CamsSettings(folder=folder, years=(2017,), months=(12,)))
    with xr.open_dataset(folder / "mine.nc") as whole:
        part = whole.isel(valid_time=slice(0, 100)).load()
    part.to_netcdf(folder / "mine.nc")
    outcome, _ = fetch(folder)
    assert outcome.missing[0].reason == "100 of its 248 steps lie in mine.nc: move that away"
    (folder / "mine.nc").write_bytes(b"")
    outcome, _ = fetch(folder)
    assert outcome.fetched == 1


@settings(max_examples=30)
@given(
    west=st.floats(-180, 178),
    south=st.floats(-90, 88),
    width=st.floats(0.1, 90),
    height=st.floats(0.1, 80),
)
def test_a_box_is_widened_to_nodes_of_the_global_grid(
    west: float, south: float, width: float, height: float
) -> None:
    east, north = min(west + width, 180.0), min(south + height, 90.0)
    grid, globe = grid_of((west, south, east, north)), grid_of(None)
    assert set(grid.latitude) <= set(globe.latitude)
    assert set(grid.longitude) <= set(globe.longitude)
    assert grid.latitude[0] <= south < grid.latitude[0] + 0.75
    assert grid.latitude[-1] >= north > grid.latitude[-1] - 0.75
    assert grid.longitude[0] <= west < grid.longitude[0] + 0.75
    assert grid.longitude[-1] >= min(east, 179.25)


def test_a_box_across_the_date_line_is_refused() -> None:
    with pytest.raises(InputError, match="crosses 180"):
        grid_of((170, -20, -170, 10))
    assert grid_of((200, 0, 210, 10)).longitude[0] == -160.5


def test_pieces_of_two_years_and_of_single_months() -> None:
    named = "2019-01 2019-02-01 2019-12 2020-01 2020-02-01 2020-12 2021-01-01"
    assert [one.name for one in pieces((2019, 2020), (1, 12))] == named.split()
    assert len(pieces((2017, 2018, 2019), tuple(range(1, 13)))) == 37
    assert [len(one.times()) for one in pieces((2020,), (2,))] == [232, 8]
