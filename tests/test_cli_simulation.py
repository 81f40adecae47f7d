"""``deepcams-bench simulation`` as a user runs it: real files, faults on purpose.

Runs that are interrupted, or that find a stranger's package, are processes of their own.
"""

from __future__ import annotations

import json
import os
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

from deepcams_eval.cli.bench import main
from tests.commands import call
from tests.plugin_package import build_stranger
from tests.travelling import later, moving, write

COMMAND = [sys.executable, "-c", "from deepcams_eval.cli.bench import main; main()", "simulation"]
TABLES = ("temporal", "spatial", "joint", "summary", "skill", "spectra", "counts")
FILES = {f"{name}.csv" for name in TABLES} | {
    "samples.parquet",
    "tables",
    "figures",
    "report.html",
    "run.json",
}
SAMPLES = ["task", "method", "time", "weights", "n", "r", "rmse", "mae", "mb", "p99_error"]


def start(
    arguments: Sequence[str | Path], cwd: Path, site: Path | None = None
) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [str(site or ""), os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": path},
    )


def run(arguments: Sequence[str | Path], cwd: Path) -> tuple[int, str, str]:
    done = call(main, ["simulation", *arguments], cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def interrupted(arguments: Sequence[str | Path], cwd: Path, when: str) -> str:
    """Interrupt a run once a file is there, and return what it says on stderr."""
    process = start(arguments, cwd)
    for _ in range(1200):
        if list(cwd.glob(when)) or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "error: interrupted"
    return err


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a day in March and in April: the networks take seconds for each interval."""
    path = tmp_path_factory.mktemp("truth") / "truth.nc"
    write(xr.concat([moving(13), later(moving(13, seed=9), 31)], "time"), path)
    return path


@pytest.fixture(scope="module")
def undisturbed(truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in time alone, in one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, err = run([*in_time(truth), "--out", "sim"], folder)
    assert code == 0, err
    return folder / "sim"


def in_time(truth: Path) -> list[str | Path]:
    return ["--year", "2020", "--truth", truth, "--task", "temporal"]


def assert_same_tables(found: Path, undisturbed: Path) -> None:
    for name in ("temporal", "summary", "skill", "spectra", "counts"):
        file = f"{name}.csv"
        assert (found / file).read_bytes() == (undisturbed / file).read_bytes()


@pytest.fixture(scope="module")
def report(truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a stranger's method and a prediction, and what it printed."""
    folder = tmp_path_factory.mktemp("report")
    site = build_stranger(folder)
    process = start(
        [
            *("--year", "2020", "--truth", truth, "--degrade", "mean"),
            *("--prediction", f"mine={truth},task=temporal", "--out", "sim"),
        ],
        folder,
        site,
    )
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    (folder / "printed").write_text(out, encoding="utf-8")
    return folder


def table(report: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(report / "sim" / f"{name}.csv")


class TestReport:
    def test_every_file_is_there(self, report: Path) -> None:
        assert {path.name for path in (report / "sim").iterdir()} == FILES
        assert not list(report.glob(".sim*"))

    def test_tables_have_twelve_months_and_the_average(self, report: Path) -> None:
        for name in ("temporal", "spatial"):
            months = list(table(report, name)["month"])
            assert months == [f"2020-{month:02}" for month in range(1, 13)] + ["average"]
            assert {"published_rmse_deepcams", "published_r_deepcams"} <= set(table(report, name))
        joint = table(report, "joint")
        assert list(joint["hours"].unique()) == ["all", "kept", "inserted"]
        assert len(joint) == 39

    def test_averages_are_means_of_monthly_means_of_samples(self, report: Path) -> None:
        samples = pd.read_parquet(report / "sim" / "samples.parquet")
        assert list(samples)[: len(SAMPLES)] == SAMPLES
        assert not samples.duplicated(["task", "method", "time", "weights"]).any()
        mine = samples[(samples["task"] == "spatial") & (samples["weights"] == "none")]
        mine = mine[mine["method"] == "lanczos"]
        monthly = mine.groupby(mine["time"].dt.month)["rmse"].mean()
        average = table(report, "spatial").set_index("month").loc["average", "rmse_lanczos"]
        assert len(monthly) == 2
        assert average == pytest.approx(monthly.mean(), rel=1e-12)

    def test_a_stranger_and_a_prediction_stand_in_the_table(self, report: Path) -> None:
        average = table(report, "temporal").set_index("month").loc["average"]
        # The mean of the two frames is worse than weighting them by time.
        assert average["rmse_mean"] > average["rmse_linear"]
        assert average["rmse_mine"] == 0
        assert average["r_mine"] == pytest.approx(1)
        page = (report / "sim" / "report.html").read_text(encoding="utf-8")
        assert "stranger 1.2" in page

    def test_run_says_what_it_was(self, report: Path) -> None:
        said = json.loads((report / "sim" / "run.json").read_text(encoding="utf-8"))
        assert {"mean", "mine"} <= set(said["methods"]["temporal"])
        assert said["counts"]["temporal"]["scored"] == 16
        assert said["inputs"][0]["sha256"]
        assert any("pattern" in note and "--train-years" in note for note in said["notes"])
        assert (report / "printed").read_text(encoding="utf-8").count("RMSE = ") >= 15


class TestInterrupted:
    def test_resumed_it_gives_the_same_tables(
        self, truth: Path, undisturbed: Path, tmp_path: Path
    ) -> None:
        asked = [*in_time(truth), "--out", "cut"]
        err = interrupted(asked, tmp_path, ".cut.months/2020-03.json")
        assert "--resume" in err
        assert not (tmp_path / "cut").exists()
        code, _, err = run([*asked, "--resume"], tmp_path)
        assert code == 0, err
        assert_same_tables(tmp_path / "cut", undisturbed)
        # Nothing was degraded in space, and the page does not say so.
        assert "Degradation" not in (undisturbed / "report.html").read_text(encoding="utf-8")

    def test_without_a_name_nothing_is_kept(self, truth: Path, tmp_path: Path) -> None:
        asked = ["--year", "2020", "--truth", truth, "--task", "temporal", "--methods", "dis"]
        err = interrupted(asked, tmp_path, "reports/.*.months/settings.json")
        assert "--resume" not in err
        assert not list((tmp_path / "reports").iterdir())

    def test_worker_processes_give_the_same_tables(
        self, truth: Path, undisturbed: Path, tmp_path: Path
    ) -> None:
        process = start([*in_time(truth), "--workers", "2", "--out", "two"], tmp_path)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert_same_tables(tmp_path / "two", undisturbed)


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (["--truth", "{truth}", "--methods", "linnear"], 1, "linnear"),
        (["--truth", "{truth}", "--methods", "dis", "--task", "spatial"], 1, "'dis'"),
        (["--truth", "{truth}", "--degrade", "box"], 2, "imresize, mean, node"),
        (["--truth", "{truth}", "--train-years", "2020"], 2, "the year that is scored"),
        (["--truth", "{truth}", "--prediction", "a=b.nc,task=spacial"], 2, "spacial"),
        (
            [
                *("--truth", "{truth}", "--methods", "linear"),
                *("--prediction", "linear={truth},task=temporal"),
            ],
            1,
            "another name",
        ),
        (
            [
                *("--truth", "{truth}", "--task", "spatial"),
                *("--prediction", "a={truth},task=temporal"),
            ],
            2,
            "of the task temporal",
        ),
        (["--truth", "{truth}", "--resume"], 2, "interrupted run"),
        (["--truth", "nowhere/*.nc"], 1, "nowhere"),
        (["--data", "nowhere"], 1, "nowhere"),
        (["--truth", "{truth}", "--year", "2019"], 1, "no hour of 2019; it has 2020"),
        ([], 1, "--data demo"),
    ],
)
def test_faults_are_stated_in_one_line(
    arguments: list[str], code: int, said: str, truth: Path, tmp_path: Path
) -> None:
    given = [one.replace("{truth}", str(truth)) for one in arguments]
    found, out, err = run(["--year", "2020", *given], tmp_path)
    assert found == code
    assert said in err
    assert "Traceback" not in err
    assert out == ""
    if code == 1:
        assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_training_years_teach_the_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "archive" / "geoscf"
    folder.mkdir(parents=True)
    # Of one seed: the same static pattern in both years.
    for year, field in (("2019", later(moving(25), -365)), ("2020", moving(25))):
        write(field, folder / f"{year}.nc", name="PM25_RH35_GCC")
    code, out, err = run(
        [
            *("--year", "2020", "--data", "archive", "--task", "spatial"),
            *("--methods", "bicubic,pattern", "--out", "sim"),
        ],
        tmp_path,
    )
    assert code == 0, err
    assert "pattern: learned on 2019, never on 2020" in out
    average = pd.read_csv(tmp_path / "sim" / "spatial.csv").set_index("month").loc["average"]
    assert average["rmse_pattern"] < average["rmse_bicubic"]
    assert np.isfinite(average["rmse_pattern"])
