"""Scores again from saved pairs, and shifted times, as a user runs them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from deepcams_eval.cli.evaluate import app
from deepcams_eval.demo import DemoSettings, demo_archive
from deepcams_eval.errors import InputError
from deepcams_eval.read.layout import find_data
from tests.hourly_pairs import hourly, write_pairs

pytestmark = pytest.mark.usefixtures("undrawn")

LATE = "Demo Late Network"
PLAIN = "--no-added-value"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def done(*arguments: str | Path) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(arguments: Sequence[str | Path], *parts: str) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, InputError), result.output
    for part in parts:
        assert part in str(result.exception)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Enough stations that the late provider has the eight that a verdict needs.
    settings = DemoSettings.small(stations=80, years=(2019,), days_per_month=3)
    return demo_archive(settings, cache=tmp_path_factory.mktemp("cache"), workers=1)


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run of two months, with settings other than the default ones."""
    out = tmp_path_factory.mktemp("run") / "out"
    done(*options(root), "--seed", "4", "--out", out)
    return out


def options(root: Path) -> list[str | Path]:
    found = find_data(root)
    given = ["--observations", found.observations, "--stations", found.stations]
    for name in ("cams", "geoscf"):
        given += ["--product", f"{name}={root / name},kind={name}"]
    return ["openaq", "--years", "2019", "--no-sensitivity", *given]


@pytest.fixture(scope="module")
def again(run: Path) -> Path:
    out = run.parent / "again"
    done("score", run / "pairs.parquet", "--out", out)
    return out


def test_the_tables_are_the_same_to_the_byte(run: Path, again: Path) -> None:
    same = ("scores", "differences", "lags", "uncertainty", "fairmode", "exceedances", "taylor")
    for name in (*(f"{one}.csv" for one in same), "tables/years.csv"):
        assert (again / name).read_bytes() == (run / name).read_bytes()


def test_the_report_is_whole_and_still_marked(run: Path, again: Path) -> None:
    names = {path.name for path in (run / "figures").iterdir()}
    assert "lags.png" in names
    assert {path.name for path in (again / "figures").iterdir()} == names
    page = (again / "report.html").read_text()
    assert "SYNTHETIC data" in page
    assert 'id="figure-lags"' in page
    assert 'id="table-lags"' in page
    assert "quality control stands in the reports" in page
    described = json.loads((again / "run.json").read_text())
    words = {"baseline": "cams", "sample": "common", "average": "hour"}
    assert described["settings"] == {**words, "added_value": True, "seed": 4}
    assert described["products"]["geoscf"]["kind"] == "geoscf"
    assert str(run / "pairs.parquet") in {one["path"] for one in described["inputs"]}
    assert set(pd.read_csv(again / "scores.csv")["data"]) == {"SYNTHETIC"}


def test_daily_means_are_scored_like_hours(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "days"
    printed = done("score", run, "--average", "day", PLAIN, "--out", out)
    assert "means over a day of the common sample" in printed
    pairs = pd.read_parquet(run / "pairs.parquet")
    both = pairs[pairs["cams"].notna() & pairs["geoscf"].notna()]
    days = both.groupby([both["station_id"].astype(str), both["time_start"].dt.floor("D")])
    means = days[["observed", "cams", "geoscf"]].mean()[days.size() >= 6]  # of 8, 3-hourly
    table = pd.read_csv(out / "scores.csv").query("stratum == 'all' and sample == 'common'")
    for _, row in table.iterrows():
        error = means[row["product"]] - means["observed"]
        assert row["n"] == len(means)
        assert row["rmse"] == pytest.approx(float(np.sqrt((error**2).mean())), rel=1e-5)
    assert "hour" not in set(pd.read_csv(out / "scores.csv")["stratum"])
    names = {path.name for path in (out / "figures").iterdir()}
    assert "hours.png" not in names
    assert "means over a day, where complete" in (out / "report.html").read_text()
    refused_usage = call("score", run, "--average", "week", "--out", tmp_path / "weeks")
    assert refused_usage.exit_code == 2


def test_means_over_a_year_belong_to_no_month_and_no_season(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.parquet", hourly(300, start="2018-01-01", stations=6))
    found = {}
    for average in ("month", "year"):
        out = tmp_path / average
        given = ("--average", average, PLAIN)
        done("score", tmp_path / "pairs.parquet", *given, "--out", out)
        found[average] = set(pd.read_csv(out / "scores.csv")["stratum"])
        assert set(pd.read_csv(out / "differences.csv")["stratum"]) == found[average]
        files = {path.name for folder in ("figures", "tables") for path in (out / folder).iterdir()}
        assert "years.csv" in files
        by_month = {"months.csv", "months.png", "scatter_fine_2018_months.png"}
        assert by_month & files == (by_month if average == "month" else set())
        assert ("Scores by month" in (out / "report.html").read_text()) == (average == "month")
    assert found["month"] - found["year"] == {"month", "season"}
    assert found["year"] == {"all", "year", "country", "station_kind"}
    scored = pd.read_csv(tmp_path / "year" / "scores.csv").query("stratum == 'year'")
    assert set(scored["n"]) == {6}


def test_months_paired_apart_make_the_scores_of_both(run: Path, tmp_path: Path) -> None:
    pairs = pd.read_parquet(run / "pairs.parquet")
    files = []
    # The later month first: the order of the files does not matter.
    for month in (10, 3):
        part = pairs[pairs["time_start"].dt.month == month].reset_index(drop=True)
        for name in ("station_id", "country"):
            part[name] = part[name].cat.remove_unused_categories()
        part.attrs = pairs.attrs
        folder = tmp_path / str(month)
        folder.mkdir()
        part.to_parquet(folder / "pairs.parquet", index=False)
        shutil.copy(run / "stations.parquet", folder)
        files.append(folder)
    done("score", *files, PLAIN, "--out", tmp_path / "out")
    for name in ("scores.csv", "differences.csv", "lags.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (run / name).read_bytes()


def test_a_baseline_and_a_sample_of_its_own(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done("score", run, "--baseline", "geoscf", "--sample", "own", PLAIN, "--out", out)
    assert set(pd.read_csv(out / "differences.csv")["baseline"]) == {"geoscf"}
    assert json.loads((out / "run.json").read_text())["settings"]["sample"] == "own"
    refused(["score", run, "--baseline", "x", "--out", tmp_path / "no"], "'x'", "cams, geoscf")
    wrong = call("score", run, "--sample", "x", "--out", tmp_path / "no")
    assert wrong.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_without_a_station_file_the_provider_is_unknown(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "pairs.parquet", tmp_path / "pairs.parquet")
    out = tmp_path / "out"
    said = done("score", tmp_path / "pairs.parquet", PLAIN, "--out", out)
    assert "--stations names a file" in said
    assert set(pd.read_csv(out / "lags.csv")["provider"]) == {"unknown"}
    assert (out / "scores.csv").read_bytes() == (run / "scores.csv").read_bytes()


def test_pairs_are_never_replaced_by_their_own_scores(run: Path) -> None:
    before = (run / "pairs.parquet").read_bytes()
    refused(["score", run / "pairs.parquet", "--out", run], "would be lost", "--out")
    assert (run / "pairs.parquet").read_bytes() == before


def test_records_given_twice_and_other_products_are_refused(run: Path, tmp_path: Path) -> None:
    mine, copy = run / "pairs.parquet", tmp_path / "copy.parquet"
    shutil.copy(mine, copy)
    out = ["--out", tmp_path / "out"]
    refused(["score", mine, copy, *out], str(mine), str(copy), "records stand in")
    table = pd.read_parquet(mine)
    renamed = table.rename(columns={"geoscf": "other"})
    names = ["cams", "other"]
    renamed.attrs |= {"products": names, "years_with_data": {name: [2019] for name in names}}
    renamed.to_parquet(copy, index=False)
    refused(["score", mine, copy, *out], str(copy), "cams, other", str(mine))
    assert [path.name for path in tmp_path.iterdir()] == ["copy.parquet"]


def test_files_that_are_no_pairs_are_refused(run: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "out"]
    path = tmp_path / "odd.parquet"
    refused(["score", path, *out], str(path), "no such file")
    path.write_bytes(b"PAR1 not really")
    refused(["score", path, *out], str(path), "not readable as Parquet")
    table = pd.read_parquet(run / "pairs.parquet")
    bare = table.copy()
    bare.attrs = {}
    for odd, said in (
        (bare, "does not say which products"),
        (table.drop(columns="observed"), "observed"),
        (table.iloc[:0], "no pair"),
    ):
        odd.to_parquet(path, index=False)
        refused(["score", path, *out], str(path), said)
    assert [one.name for one in tmp_path.iterdir()] == ["odd.parquet"]


def of_late(folder: Path) -> pd.Series:
    table = pd.read_csv(folder / "lags.csv")
    mine = table[(table["provider"] == LATE) & (table["product"] == "geoscf")]
    return mine[mine["lag_h"] == 0].iloc[0]


def test_the_late_provider_is_found_and_shifted_back(root: Path, run: Path, tmp_path: Path) -> None:
    before = of_late(run)
    assert before["best_lag_h"] == -1
    table = pd.read_csv(run / "lags.csv")
    assert set(table.loc[table["apart"], "provider"]) == {LATE}
    assert f"--shift &#39;{LATE}=-1h&#39;" in (run / "report.html").read_text()
    out = tmp_path / "out"
    shift = ["--shift", f"{LATE}=-1h", PLAIN]
    said = done(*options(root), *shift, "--out", out)
    after = of_late(out)
    assert after["best_lag_h"] == 0
    assert not after["significant"]
    assert after["r"] > before["r"]
    assert f"{LATE}: all times were shifted by -1 h" in said
    described = json.loads((out / "run.json").read_text())
    assert described["settings"]["shifts"] == {LATE: -1.0}
    qc = pd.read_csv(out / "qc.csv").set_index("rule")
    assert qc.loc["assumed_time_shift", "flagged"] == described["counts"]["assumed_time_shift"] > 0
    overall = [
        pd.read_csv(folder / "scores.csv").query("stratum == 'all' and product == 'geoscf'")
        for folder in (run, out)
    ]
    assert overall[1]["r"].max() > overall[0]["r"].max()


def test_shifts_that_mean_nothing_are_refused(root: Path, tmp_path: Path) -> None:
    given = [*options(root), "--out", tmp_path / "out"]
    refused([*given, "--shift", "Nobody=1h"], "'Nobody'", LATE)
    for text in ("1h", f"{LATE}=1", f"{LATE}=ten h", f"{LATE}=25h", "=1h"):
        assert call(*given, "--shift", text).exit_code == 2
    twice = ["--shift", f"{LATE}=1h", "--shift", f"{LATE}=2h"]
    assert call(*given, *twice).exit_code == 2
    assert list(tmp_path.iterdir()) == []
