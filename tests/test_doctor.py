"""The doctor: what is there, what is missing, which command gets it; never a key's value."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from deepcams_eval.cli.evaluate import app
from tests.gridded_files import write_eac4_new

SECRET = "do-not-show-this"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CDSAPI_KEY", "CDSAPI_URL", "OPENAQ_API_KEY", "DEEPCAMS_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "rc"))
    root = tmp_path / "my data"
    root.mkdir()
    return root


def lines(*arguments: str | Path) -> list[str]:
    done = CliRunner().invoke(app, ["doctor", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def put_cams(root: Path, year: int, month: int, *, steps: int | None = None) -> None:
    start = np.datetime64(f"{year}-{month:02d}", "M")
    times = np.arange(start.astype("datetime64[h]"), (start + 1).astype("datetime64[h]"), 3)[:steps]
    coords = {
        "time": times.astype("datetime64[us]"),
        "latitude": [50.25, 51.0],
        "longitude": [3.75, 4.5],
    }
    values = np.full((len(times), 2, 2), 12.5)
    field = xr.DataArray(values, dims=("time", "latitude", "longitude"), coords=coords)
    (root / "cams").mkdir(exist_ok=True)
    write_eac4_new(root / "cams" / f"eac4_{year}-{month:02d}.nc", field)


def put_rows(root: Path, year: int, month: int, rows: int) -> None:
    part = root / "openaq" / f"year={year}" / f"month={month:02d}"
    part.mkdir(parents=True)
    pd.DataFrame({"value": np.arange(rows) + 0.5}).to_parquet(part / "part.parquet")


def test_an_empty_place_names_every_command(folder: Path) -> None:
    found = lines("--data", folder)
    commands = [line.strip() for line in found if line.strip().startswith("deepcams-eval fetch")]
    assert commands == [
        f"deepcams-eval fetch openaq --years 2017-2019 --data '{folder}'",
        f"deepcams-eval fetch cams --years 2017-2019 --data '{folder}'",
        f"deepcams-eval fetch deepcams --years 2017-2019 --data '{folder}'",
        f"deepcams-eval fetch geoscf --years 2018-2020 --data '{folder}'",
    ]
    assert "  cams: nothing" in found
    assert any("there is none" in line for line in lines("--data", folder / "no"))


def test_what_is_there_is_counted_by_month(folder: Path) -> None:
    for month in range(1, 13):
        put_cams(folder, 2017, month)
        put_rows(folder, 2018, month, 40 + month)
    put_cams(folder, 2018, 2, steps=100)
    geoscf = folder / "geoscf" / "2020"
    geoscf.mkdir(parents=True)
    for hour in range(24):
        name = f"GEOS-CF.v01.rpl.aqc_tavg_1hr_g1440x721_v1.20200229_{hour:02d}30z.nc4"
        (geoscf / name).write_bytes(b"x")
    (folder / "deepcams").mkdir()
    with zipfile.ZipFile(folder / "deepcams" / "2019.zip", "w") as archive:
        for hour in range(17):
            archive.writestr(f"20190308_{hour:02d}.mat", b"x")
    found = lines("--data", folder)
    text = "\n".join(found)
    assert f"  openaq: {sum(40 + month for month in range(1, 13)):,} rows in 12 months" in found
    assert "  cams: 3,020 steps in 13 months" in found  # 365 * 8 and 100
    assert "    2018  02: 100 of 224" in found
    assert "    2019  03: 17 of 744" in found
    assert "    2020  02: 24 of 696" in found
    assert "cams: missing or incomplete, 2018: 1-12, 2019: 1-12" in text
    assert "fetch cams --years 2018-2019" in text
    assert "fetch openaq --years 2017,2019" in text


def test_complete_is_said(folder: Path) -> None:
    for year in (2017, 2018, 2019):
        for month in range(1, 13):
            put_rows(folder, year, month, 3)
    found = lines("--data", folder)
    assert "  openaq: complete" in found
    assert not any("fetch openaq --years" in line for line in found)


def test_a_damaged_file_is_named_and_stops_nothing(folder: Path) -> None:
    put_cams(folder, 2017, 3)
    broken = folder / "cams" / "eac4_2017-04.nc"
    broken.write_bytes(b"<html>")
    put_rows(folder, 2017, 3, 5)
    cut = folder / "openaq" / "year=2017" / "month=03" / "cut.parquet"
    cut.write_bytes(b"PAR1")
    text = "\n".join(lines("--data", folder))
    assert f"not counted: {cut}: is no Parquet file that can be read" in text
    assert "openaq: 5 rows in 1 month" in text
    assert f"not counted: {broken}: is a web page" in text
    assert "248 steps in 1 month" in text


def test_keys_are_found_and_never_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    none = "\n".join(lines("--data", folder))
    assert "CAMS key: not set" in none
    assert "OPENAQ_API_KEY is not set" in none
    (tmp_path / "rc").write_text(f"url: https://ads.example/api\nkey: {SECRET}\n")
    monkeypatch.setenv("OPENAQ_API_KEY", SECRET)
    both = "\n".join(lines("--data", folder))
    assert f"CAMS key: set in {tmp_path / 'rc'}, for https://ads.example/api" in both
    assert "OPENAQ_API_KEY is set" in both
    monkeypatch.setenv("CDSAPI_KEY", SECRET + "2")
    third = "\n".join(lines("--data", folder))
    assert "CAMS key: set in CDSAPI_KEY" in third
    assert SECRET not in both + third


def test_the_folder_is_that_of_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPCAMS_DATA", str(folder))
    assert f"data folder {folder}:" in lines()


def test_no_client_is_imported_before_it_is_used() -> None:
    code = "import sys, deepcams_eval.cli.evaluate; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    clients = {"cdsapi", "openaq", "obstore", "requests", "pooch", "torch"}
    assert not clients & set(done.stdout.split())


def test_a_missing_package_is_one_line_with_the_cure(tmp_path: Path) -> None:
    blocked = (
        "import sys\n"
        "sys.modules['cdsapi'] = None\n"
        "from deepcams_eval.cli.evaluate import main\n"
        "main()"
    )
    arguments = ["fetch", "cams", "--years", "2018", "--data", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", blocked, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert "'cdsapi' is not installed" in done.stderr
    assert 'pip install "deepcams[fetch]"' in done.stderr
    assert list(tmp_path.iterdir()) == []
