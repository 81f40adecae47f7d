"""The command as a user runs it: real files, faults on purpose, and processes where they matter."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import LocalCluster

from deepcams_eval.cli.evaluate import main
from deepcams_eval.options import InsituOptions
from tests.commands import call
from tests.openaq_files import archive_row, write_archive

# What the figures look like is seen in the process of its own, and in test_report.
pytestmark = pytest.mark.usefixtures("undrawn")

LATITUDE, LONGITUDE = [51.75, 51.0, 50.25], [3.75, 4.5, 5.25]
COMMAND = [sys.executable, "-c", "from deepcams_eval.cli.evaluate import main; main()"]
TABLES = (
    *("scores", "differences", "uncertainty", "published", "fairmode", "exceedances"),
    *("sensitivity", "qc", "coverage"),
)
FILES = {f"{name}.csv" for name in TABLES} | {"pairs.parquet", "stations.parquet"}
FILES |= {"tables", "figures", "report.html", "run.json"}


def run(arguments: Sequence[str | Path], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    return call(main, ["openaq", *arguments], cwd=cwd)


def run_apart(
    arguments: Sequence[str | Path], *, cwd: Path, limit_bytes: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""

    def before() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(
        [*COMMAND, "openaq", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=before,
        env={**os.environ, "COLUMNS": "200"},
    )


def refused(result: subprocess.CompletedProcess[str], cwd: Path, *parts: str) -> None:
    """Assert one line on stderr that says `parts`, exit 1, and nothing left behind."""
    assert result.returncode == 1, result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("warning:")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]
    left = [path.name for path in cwd.iterdir() if "out" in path.name]
    assert left == []


def write_cams(path: Path, *, seed: int = 1, year: int = 2018, steps: int = 60) -> Path:
    time_ = pd.date_range(f"{year}-01-01", periods=steps, freq="3h")
    data = np.random.default_rng(seed).gamma(2, 8, (steps, 3, 3)).astype(np.float32)
    dataset = xr.Dataset(
        {"pm2p5": (("time", "latitude", "longitude"), data, {"units": "ug m**-3"})},
        coords={
            "time": time_,
            "latitude": ("latitude", LATITUDE, {"units": "degrees_north"}),
            "longitude": ("longitude", LONGITUDE, {"units": "degrees_east"}),
        },
    )
    dataset.to_netcdf(path, encoding={"time": {"units": "hours since 1900-01-01"}})
    return path


def write_stations(folder: Path, *, stations: int = 7, hours: int = 120) -> Path:
    rng = np.random.default_rng(2)
    for station in range(1, stations + 1):
        times = pd.date_range("2018-01-01T01:00", periods=hours, freq="h")
        place = {"location_id": station, "sensors_id": station * 10, "lat": 50.1 + 0.2 * station}
        for day, stamps in times.groupby((times - pd.Timedelta("1h")).date).items():
            rows = [
                archive_row(f"{stamp:%Y-%m-%dT%H:%M:%S}+00:00", round(rng.gamma(2, 8), 2), **place)
                for stamp in stamps
            ]
            write_archive(folder, rows, location_id=station, day=str(day))
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    write_stations(root / "openaq")
    write_cams(root / "cams.nc")
    write_cams(root / "fine.nc", seed=3)
    return root


def options(archive: Path, *products: str) -> list[str | Path]:
    chosen = products or (f"cams={archive / 'cams.nc'}",)
    given = [part for product in chosen for part in ("--product", product)]
    quick = ["--no-sensitivity"]
    return ["--years", "2018", "--observations", archive / "openaq", *given, *quick, "--out", "out"]


def three(archive: Path) -> tuple[str, ...]:
    return f"cams={archive / 'cams.nc'}", f"fine={archive / 'fine.nc'}", "hourly=linear:cams"


def done(arguments: Sequence[str | Path], *, cwd: Path) -> Path:
    """Run the command with success and return the folder that it wrote."""
    result = run(arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return cwd / "out"


def changed(arguments: list[str | Path], old: str | Path, new: str | Path) -> list[str | Path]:
    return [new if part == old else part for part in arguments]


@pytest.fixture(scope="module")
def whole(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two products, one of them derived."""
    cwd = tmp_path_factory.mktemp("whole")
    arguments = [*options(archive, *three(archive)), "--sensitivity"]
    result = run_apart(arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return cwd / "out"


@pytest.mark.parametrize(
    ("given", "restricted"),
    [
        ({}, False),
        ({"qc": {"limit_ug_m3": 500.0}}, False),
        ({"months": "1-12"}, False),
        ({"months": (6, 7, 8)}, True),
        ({"reference_only": True}, True),
        ({"bbox": (0.0, 40.0, 20.0, 60.0)}, True),
        ({"countries": "be"}, True),
    ],
)
def test_what_leaves_out_months_or_stations_restricts_a_run(
    given: dict[str, object], restricted: bool
) -> None:
    assert InsituOptions(2018, **given).restricted is restricted


def test_a_restricted_run_neither_agrees_nor_disagrees_with_what_was_published(
    archive: Path, whole: Path, tmp_path: Path
) -> None:
    assert pd.read_csv(whole / "published.csv")["agrees"].notna().any()
    assert "published scores lie within" in (whole / "report.html").read_text()
    done([*options(archive), "--months", "1"], cwd=tmp_path)
    again = call(main, ["score", "out", "--out", "again"], cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    for folder in ("out", "again"):
        table = pd.read_csv(tmp_path / folder / "published.csv")
        assert table[["ours_lo", "ours_hi"]].notna().all(axis="columns").any()
        assert table["agrees"].isna().all()
        page = (tmp_path / folder / "report.html").read_text()
        assert "published scores lie within our intervals, their" not in page
        assert "this run is restricted to some" in page


def test_every_file_is_there(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} >= FILES
    assert [path.name for path in whole.parent.iterdir()] == ["out"]
    names = {path.name for path in (whole / "figures").iterdir()}
    drawn = ["scatter_cams_2018", "scatter_cams_2018_months", "stations", "months", "hours"]
    drawn += ["taylor", "target", "uncertainty", "sensitivity"]
    assert {f"{name}.{ending}" for name in drawn for ending in ("png", "pdf")} <= names
    assert all(path.stat().st_size > 1000 for path in (whole / "figures").iterdir())


def test_scores_can_be_made_again_from_the_pairs_alone(whole: Path) -> None:
    pairs = pd.read_parquet(whole / "pairs.parquet")
    scores = pd.read_csv(whole / "scores.csv").set_index(["product", "stratum", "value", "sample"])
    names = ["cams", "fine", "hourly"]
    assert list(pairs.columns[:6]) == [
        "station_id", "time_start", "time_end", "latitude", "longitude", "observed",
    ]  # fmt: skip
    for sample in ("own", "common"):
        for name in names:
            rows = pairs.dropna(subset=names if sample == "common" else [name])
            o, m = rows["observed"].to_numpy(), rows[name].to_numpy(dtype=float)
            row = scores.loc[name, "all", "all", sample]
            assert row["n"] == len(rows)
            assert row["r"] == pytest.approx(np.corrcoef(o, m)[0, 1], abs=1e-6)
            assert row["rmse"] == pytest.approx(np.sqrt(np.mean((m - o) ** 2)), abs=1e-6)
            assert row["mae"] == pytest.approx(np.mean(np.abs(m - o)), abs=1e-6)


def test_the_derived_product_equals_its_parent_at_the_hours_of_the_parent(whole: Path) -> None:
    pairs = pd.read_parquet(whole / "pairs.parquet")
    kept = pairs.dropna(subset=["cams"])
    np.testing.assert_allclose(kept["hourly"], kept["cams"], rtol=1e-6)
    assert len(pairs.dropna(subset=["hourly"])) > 2.5 * len(kept)


def test_the_run_says_what_it_was(whole: Path) -> None:
    described = json.loads((whole / "run.json").read_text())
    assert len(described["inputs"]) == 7 * 5 + 2
    for one in described["inputs"]:
        assert one["sha256"] == hashlib.sha256(Path(one["path"]).read_bytes()).hexdigest()
    assert described["counts"]["records"] == 7 * 120
    assert described["synthetic"] is False
    assert described["peak_rss_bytes"] > 5e7
    qc = pd.read_csv(whole / "qc.csv").set_index("rule")
    first = qc.loc["sentinel":"not_reference", "flagged_first"].sum()
    assert qc.loc["rows_in", "flagged"] - first == qc.loc["rows_out", "flagged"]


def test_an_earlier_report_is_replaced_and_anything_else_is_not(
    archive: Path, tmp_path: Path
) -> None:
    def kept(name: str, text: str) -> None:
        (out / name).write_text(text)
        result = run(options(archive), cwd=tmp_path)
        assert (result.returncode, "no earlier report" in result.stderr) == (1, True)
        assert (out / name).read_text() == text

    out = tmp_path / "out"
    out.mkdir()
    kept("thesis.tex", "years of work")
    # A run.json does not make a stranger's folder ours.
    kept("run.json", "{}")
    (out / "thesis.tex").unlink()
    (out / "run.json").unlink()
    done(options(archive), cwd=tmp_path)
    before = (out / "run.json").stat().st_mtime_ns
    done(options(archive), cwd=tmp_path)
    assert (out / "run.json").stat().st_mtime_ns > before
    assert list(tmp_path.iterdir()) == [out]
    kept("notes.txt", "beside the report")


@pytest.mark.parametrize("out", [".", "file/out"])
def test_an_impossible_out_is_refused_before_any_work(
    out: str, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "file").write_text("")
    result = run([*options(archive)[:-1], out], cwd=tmp_path / "work")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "--out" in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["work", "file"]


def test_a_link_is_followed(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert done(options(archive), cwd=tmp_path).is_symlink()
    assert (tmp_path / "disk" / "scores.csv").is_file()


def test_data_and_options_go_together(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "openaq").symlink_to(archive / "openaq")
    both = ["--years", "2018", "--data", "dir", "--out", "out"]
    refused(run(both, cwd=tmp_path), tmp_path, "dir", "--product")
    product = f"cams={archive / 'cams.nc'}"
    result = run([*both, "--product", product], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "No observation" not in result.stdout


def test_codes_and_years_without_data_are_named(archive: Path, tmp_path: Path) -> None:
    stations = tmp_path / "stations.csv"
    rows = "".join(f"{one},{'BE' if one < 4 else 'GB'}\n" for one in range(1, 8))
    stations.write_text("location_id,country\n" + rows)
    extra = ["--stations", stations, "--countries", "be, GB,UK"]
    arguments = changed(options(archive), "2018", "2018-2020")
    result = run([*arguments, *extra], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "stations = 7" in result.stdout
    assert "No station is in UK." in result.stdout
    assert "No observation of 2019" in result.stdout
    country = pd.read_parquet(tmp_path / "out" / "pairs.parquet")["country"]
    assert set(country) == {"BE", "GB"}
    for rows, said in (
        (",country\n1,Belgium", "'Belgium'"),
        (",country,Country\n1,BE,BE", "two col"),
    ):
        stations.write_text(f"location_id{rows}\n")
        wrong = run([*arguments[:-1], "again", *extra], cwd=tmp_path)
        assert (wrong.returncode, said in wrong.stderr) == (1, True)


def test_a_station_outside_the_shown_sample_is_kept_in_the_table(
    archive: Path, tmp_path: Path
) -> None:
    change(archive, tmp_path / "west.nc", lambda d: d.isel(latitude=slice(1, 3)))
    out = done(options(archive, f"cams={archive / 'cams.nc'}", "west=west.nc"), cwd=tmp_path)
    pairs = pd.read_parquet(out / "pairs.parquet")
    stations = pd.read_parquet(out / "stations.parquet").set_index("station_id")
    assert set(stations.index) == set(pairs["station_id"])
    beyond = stations[stations["n"] == 0]
    assert 0 < len(beyond) < len(stations)
    assert beyond["r_cams"].isna().all()
    assert pairs.attrs["years_with_data"] == {"cams": [2018], "west": [2018]}


def test_a_cluster_writes_the_same_tables(whole: Path, archive: Path, tmp_path: Path) -> None:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        elsewhere = ["--scheduler", cluster.scheduler_address]
        out = done([*options(archive, *three(archive)), *elsewhere], cwd=tmp_path)
    for name in ("scores.csv", "differences.csv", "qc.csv", "coverage.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_scheduler_that_does_not_answer(archive: Path, tmp_path: Path) -> None:
    result = run_apart([*options(archive), "--scheduler", "tcp://127.0.0.1:9"], cwd=tmp_path)
    refused(result, tmp_path, "tcp://127.0.0.1:9", "dask scheduler")


def test_selection_by_box(archive: Path, tmp_path: Path) -> None:
    out = done([*options(archive), "--bbox", "4,50.2,5,50.8"], cwd=tmp_path)
    assert pd.read_parquet(out / "pairs.parquet")["station_id"].nunique() == 3
    qc = pd.read_csv(out / "qc.csv").set_index("rule")["flagged"]
    assert qc["not_selected"] == 4 * 120
    assert qc["rows_in"] == 3 * 120


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--years", "later"], "'later'"),
        (["--years", "2019-2017"], "2019-2017"),
        (["--years", "2018", "--bbox", "1,2,3"], "W,S,E,N"),
        (["--years", "2018", "--sample", "all"], "'all'"),
        (["--years", "2018", "--months", "13"], "13"),
        (["--years", "2018", "--qc", "years=2019"], "years=2019"),
        ([], "--years"),
    ],
)
def test_wrong_usage(wrong: list[str], says: str, tmp_path: Path) -> None:
    result = run(wrong, cwd=tmp_path)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_thresholds_of_the_quality_control(archive: Path, tmp_path: Path) -> None:
    rules = ["--qc", "limit_ug_m3=20", "--qc", "disabled=stuck,negative"]
    out = done([*options(archive), *rules], cwd=tmp_path)
    assert 15 < pd.read_parquet(out / "pairs.parquet")["observed"].max() <= 20
    qc = pd.read_csv(out / "qc.csv").set_index("rule")
    assert qc.loc["above_limit", "flagged"] > 100
    assert list(qc.index[qc["stage"] == "rule (off)"]) == ["negative", "stuck", "not_reference"]
    wrong = run([*options(archive)[:-1], "again", "--qc", "limit=20"], cwd=tmp_path)
    assert (wrong.returncode, "limit" in wrong.stderr) == (1, True)


def test_help_has_an_example(tmp_path: Path) -> None:
    result = run(["--help"], cwd=tmp_path)
    assert result.returncode == 0
    assert "deepcams-eval openaq --years 2017-2019 --data demo" in " ".join(result.stdout.split())


def test_no_data_at_all(tmp_path: Path) -> None:
    refused(run(["--years", "2018"], cwd=tmp_path), tmp_path, "--data demo", "deepcams-eval fetch")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_text("<!DOCTYPE html><html>503</html>"), "web page"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40)), "bad.nc"),
        (lambda path: path.mkdir(), "bad.nc"),
        (Path.exists, "bad.nc"),
    ],
    ids=["html", "empty", "torn", "empty-folder", "absent"],
)
def test_a_product_that_cannot_be_read(make, says: str, archive: Path, tmp_path: Path) -> None:
    make(tmp_path / "bad.nc")
    result = run(options(archive, "cams=bad.nc"), cwd=tmp_path)
    refused(result, tmp_path, "bad.nc", says)


def change(archive: Path, path: Path, edit) -> None:
    with xr.open_dataset(archive / "cams.nc") as dataset:
        edited = edit(dataset.load())
    edited.to_netcdf(path)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda d: d.assign(pm2p5=d["pm2p5"].drop_attrs()), "units="),
        (lambda d: d.isel(time=0, drop=True), "start="),
        (
            lambda d: d.rename(latitude="y", longitude="x").assign_coords(
                {name: (("y", "x"), np.full((3, 3), 51.0)) for name in ("latitude", "longitude")}
            ),
            "bad.nc",
        ),
        (lambda d: d.assign(pm2p5=d["pm2p5"] * np.nan).assign_attrs(d.attrs), "no value"),
        (lambda d: d.assign_coords(time=d["time"] + np.timedelta64(3650, "D")), "no value"),
        (lambda d: d.assign_coords(latitude=d["latitude"] - 60), "0 of 7 stations"),
    ],
    ids=["no-units", "no-time", "projection", "all-nan", "other-years", "elsewhere"],
)
def test_a_product_that_cannot_be_used(edit, says: str, archive: Path, tmp_path: Path) -> None:
    def keep_units(dataset: xr.Dataset) -> xr.Dataset:
        changed = edit(dataset)
        if says == "no value":
            changed["pm2p5"].attrs["units"] = "ug m**-3"
        return changed

    change(archive, tmp_path / "bad.nc", keep_units)
    refused(run(options(archive, "cams=bad.nc"), cwd=tmp_path), tmp_path, "bad.nc", says)


def test_two_products_without_a_common_row(archive: Path, tmp_path: Path) -> None:
    def half(which: int):
        return lambda d: d.assign(
            pm2p5=d["pm2p5"].where(xr.DataArray(np.arange(60) % 2 == which, dims="time"))
        )

    change(archive, tmp_path / "even.nc", half(0))
    change(archive, tmp_path / "odd.nc", half(1))
    result = run(options(archive, "even=even.nc", "odd=odd.nc"), cwd=tmp_path)
    refused(result, tmp_path, "even", "odd", "no observation in common")


def test_no_observations(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    elsewhere = changed(options(archive), archive / "openaq", "nothing")
    refused(run(elsewhere, cwd=tmp_path), tmp_path, "nothing")
    refused(run(changed(options(archive), "2018", "2011"), cwd=tmp_path), tmp_path, "--years")


def test_one_damaged_file_is_reported_and_none_of_its_rows_used(
    archive: Path, tmp_path: Path
) -> None:
    write_stations(tmp_path / "openaq")
    torn = sorted((tmp_path / "openaq").rglob("*.csv.gz"))[8]
    torn.write_bytes(torn.read_bytes()[:-9])
    arguments = changed(options(archive), archive / "openaq", tmp_path / "openaq")
    result = run(arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert torn.name in result.stdout
    described = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [Path(one["path"]).name for one in described["damaged"]] == [torn.name]
    assert described["counts"]["records"] == 7 * 120 - 24
    strict = run([*arguments[:-1], "again", "--strict"], cwd=tmp_path)
    assert strict.returncode == 1
    assert torn.name in strict.stderr
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("limit_bytes", [2_000, 60_000])
def test_a_full_disk_leaves_nothing_behind(limit_bytes: int, archive: Path, tmp_path: Path) -> None:
    result = run_apart(options(archive), cwd=tmp_path, limit_bytes=limit_bytes)
    refused(result, tmp_path, "--out")


def test_an_interrupt_leaves_nothing_behind(archive: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "openaq", *map(str, options(archive))],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".out-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "error: interrupted; nothing was written"
    assert list(tmp_path.iterdir()) == []


def of_real(
    real_data: Path, observations: str, year: int, *more: str | Path, cwd: Path
) -> tuple[str, Path]:
    """Return what a run on the real files prints and its folder."""
    seen = ["--observations", real_data / "openaq" / observations]
    product = f"cams={real_data / 'cams' / f'eac4_ixelles_{year}.nc'}"
    given = ["--years", str(year), *seen, "--product", product, *more, "--out", "out"]
    result = run(given, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout, cwd / "out"


def common(out: Path) -> pd.DataFrame:
    scores = pd.read_csv(out / "scores.csv").query("sample == 'common'")
    return scores.set_index(["stratum", "value"])


def test_real_antwerp(real_data: Path, tmp_path: Path) -> None:
    places = ["--stations", real_data / "openaq" / "air_quality_long_stations.csv"]
    said, out = of_real(real_data, "air_quality_long.csv", 2019, *places, cwd=tmp_path)
    assert "London Westminster" in said
    row = common(out).loc["all", "all"]
    assert row["n"] == 29
    assert row["r"] == pytest.approx(0.2903, abs=5e-5)
    assert row["rmse"] == pytest.approx(21.588, abs=5e-4)
    assert row["mae"] == pytest.approx(16.231, abs=5e-4)


def test_real_realtime_day(real_data: Path, tmp_path: Path) -> None:
    _, out = of_real(real_data, "realtime-2018-02-06", 2018, cwd=tmp_path)
    qc = pd.read_csv(out / "qc.csv").set_index("rule")["flagged"]
    rules = ["records", "coordinates", "averaging_period", "assumed_averaging_period"]
    assert list(qc[rules]) == [7785, 562, 2696, 594]
    assert qc["sentinel"] >= 69
    scores = common(out)
    places = [("all", "all"), ("country", "BE"), ("country", "FR")]
    assert [scores.loc[one, "n"] for one in places] == [48, 47, 1]
    row = scores.loc["all", "all"]
    assert row["r"] == pytest.approx(0.604, abs=5e-4)
    assert row["rmse"] == pytest.approx(8.84, abs=5e-3)
    assert row["mae"] == pytest.approx(7.40, abs=5e-3)
