"""The gallery: every script runs on a small archive and says what its header promises."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepcams_eval.demo import DemoSettings, demo_archive

FOLDER = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
MOST_LINES = 40
Run = Callable[[str], str]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = DemoSettings.small(stations=60, days_per_month=2)
    return demo_archive(settings, cache=tmp_path_factory.mktemp("cache"), workers=1)


@pytest.fixture
def run(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    undrawn: None,  # noqa: ARG001 - reports are seen elsewhere
) -> Run:
    """Return what runs a script on the archive, in a folder of its own, and what it prints."""

    def run_script(name: str) -> str:
        script = str(FOLDER / f"{name}.py")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [script, str(archive)])
        runpy.run_path(script, run_name="__main__")
        return capsys.readouterr().out

    return run_script


def table_of(printed: str) -> pd.DataFrame:
    return pd.read_csv(StringIO(printed), sep=r"\s+")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short_and_says_what_it_shows(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) < MOST_LINES
    said = ast.get_docstring(ast.parse(text))
    assert said is not None
    assert said.splitlines()[0].endswith(".")
    assert f"python examples/{script.name} [DIR]" in said


def test_there_is_a_test_for_every_script() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    assert [one.stem for one in SCRIPTS if f'run("{one.stem}"' not in here] == []
    assert len(SCRIPTS) >= 5


def test_validate_and_plot(run: Run, tmp_path: Path) -> None:
    printed = run("validate_and_plot")
    assert printed.splitlines()[-1] == "scatter.png"
    assert (tmp_path / "scatter.png").read_bytes().startswith(b"\x89PNG")
    table = table_of(printed.rsplit("\n", 2)[0]).set_index("product")
    assert list(table.index) == ["cams", "deepcams", "geoscf"]
    assert len(set(table["n"])) == 1
    assert table["r"].between(0.2, 0.999).all()


def test_compare_with_intervals(run: Run) -> None:
    lines = run("compare_with_intervals").splitlines()
    form = re.compile(
        r"(\w+) - cams, (all|year) (\w+): RMSE ([+-]\S+) \[(\S+), (\S+)\] ug m-3, (.+)"
    )
    found = [match.groups() for match in map(form.fullmatch, lines) if match]
    assert len(found) == len(lines) >= 4
    for _, _, _, value, low, high, verdict in found:
        assert float(low) <= float(value) <= float(high)
        sure = float(low) > 0 or float(high) < 0
        assert (verdict == "cannot be told apart") is not sure
    assert ("geoscf", "smaller error") in {(row[0], row[-1]) for row in found}


def test_score_your_method(run: Run) -> None:
    table = table_of(run("score_your_method")).set_index("method")
    assert set(table.index) == {"nearest", "linear", "dis", "mine"}
    assert len(set(table["n_samples"])) == 1
    # Logarithms are straight lines of another kind: near linear, not the same, no nearest.
    assert 0 < abs(table["rmse"]["mine"] - table["rmse"]["linear"]) < 0.2
    assert table["rmse"]["mine"] < 0.8 * table["rmse"]["nearest"]


def test_find_late_provider(run: Run) -> None:
    printed = run("find_late_provider")
    moved = re.search(r"shifted by \{'(.+)': -1\.0\}: R (\S+) -> (\S+)", printed)
    assert moved is not None, printed
    assert moved[1] == "Demo Late Network"
    assert float(moved[3]) > float(moved[2])


def test_own_strata(run: Run, tmp_path: Path) -> None:
    printed = run("own_strata")
    pairs = pd.read_parquet(tmp_path / "own_strata" / "pairs.parquet")
    mine = pairs[(pairs["observed"] > 15) & (pairs["observed"] <= 50)].dropna(subset=["geoscf"])
    error = mine["geoscf"].astype(float) - mine["observed"]
    found = printed.split("geoscf by class")[1]
    row = re.search(r"poor\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)", found)
    assert row is not None
    assert float(row[1]) == len(mine) > 100
    assert float(row[3]) == pytest.approx(error.mean(), abs=0.0051)
    assert float(row[4]) == pytest.approx(np.sqrt((error**2).mean()), abs=0.0051)
