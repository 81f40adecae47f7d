"""``deepcams-eval paper`` as a user runs it, on small archives of which parts are missing."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepcams_eval.cli.evaluate import main
from deepcams_eval.demo import DemoSettings, demo_archive
from tests.commands import call

TABLES = ("table1", "table2", "table3")
FIGURES = ("fig1", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8")


def run(arguments: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    return call(main, ["paper", *arguments], cwd=cwd)


def captions(page: str) -> dict[str, str]:
    found = re.findall(r'<figure id="figure-(\w+)".*?<figcaption>(.*?)</figcaption>', page, re.S)
    return dict(found)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = DemoSettings.small(stations=12, days_per_month=1)
    return demo_archive(settings, cache=tmp_path_factory.mktemp("cache"), workers=1)


@pytest.fixture(scope="module")
def made(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a whole run, and what it printed."""
    cwd = tmp_path_factory.mktemp("made")
    done = run(
        [
            *("--data", archive, "--years", "2019", "--year", "2020"),
            *("--methods", "linear,linear-sqrt,bicubic,lanczos", "--out", "paper"),
        ],
        cwd,
    )
    assert done.returncode == 0, done.stderr
    return cwd / "paper", done.stdout


@pytest.fixture(scope="module")
def page(made: tuple[Path, str]) -> str:
    return (made[0] / "report.html").read_text(encoding="utf-8")


class TestWhole:
    def test_every_table_and_figure_is_there(self, made: tuple[Path, str]) -> None:
        folder, printed = made
        tables = {f"{name}.{ending}" for name in TABLES for ending in ("csv", "md", "tex")}
        figures = {f"{name}.{ending}" for name in FIGURES for ending in ("png", "pdf")}
        assert {path.name for path in (folder / "tables").iterdir()} == tables
        assert {path.name for path in (folder / "figures").iterdir()} == figures
        for path in (folder / "figures").glob("*.png"):
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.stat().st_size > 20_000
        assert (folder / "insitu" / "report.html").is_file()
        assert (folder / "simulation" / "report.html").is_file()
        assert "tables: table1, table2, table3" in printed
        assert "figures: fig1, fig3, fig4, fig5, fig6, fig7, fig8" in printed
        assert printed.startswith("SYNTHETIC")

    def test_tables_hold_the_numbers_of_the_full_reports(self, made: tuple[Path, str]) -> None:
        folder, _ = made
        scores = pd.read_csv(folder / "insitu" / "scores.csv", dtype={"value": str})
        chosen = (scores["stratum"] == "year") & (scores["sample"] == "common")
        expected = scores[chosen].set_index(["value", "product"])["rmse"]
        table1 = pd.read_csv(folder / "tables" / "table1.csv", dtype={"year": str})
        ours = table1.set_index(["year", "product"])["rmse"]
        assert ours[expected.index].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)
        assert {"cams", "deepcams"} == set(table1["product"])
        known = table1[(table1["product"] == "cams") & (table1["year"] == "2019")]
        assert float(known["rmse_published"].iloc[0]) == 48.61
        for name, task in (("table2", "temporal"), ("table3", "spatial")):
            table = pd.read_csv(folder / "tables" / f"{name}.csv")
            whole = pd.read_csv(folder / "simulation" / f"{task}.csv")
            columns = [column for column in whole if column.startswith(("rmse_", "published_"))]
            assert len(columns) >= 8
            np.testing.assert_array_equal(table[columns], whole[columns])
        assert (table1["data"] == "SYNTHETIC").all()

    def test_captions_name_n_source_and_what_takes_the_papers_place(self, page: str) -> None:
        said = captions(page)
        assert tuple(said) == FIGURES
        for name, caption in said.items():
            assert caption.startswith(f"Fig. {name[3:]}. ")
            assert re.search(r"\bn( =|:) ", caption), caption
            assert "SYNTHETIC" in caption
        assert "Natural Earth" in page
        assert "2010-04-15 00:00 UTC, which the data lack" in said["fig5"]
        assert "33°S 72°W, which the data do not hold" in said["fig7"]
        assert "50 hours of deepcams" in said["fig7"]
        assert "4 UTC days of 2019" in said["fig8"]

    def test_the_page_is_whole_and_asks_for_nothing(self, page: str) -> None:
        assert page.count('src="data:image/png;base64,') == len(FIGURES)
        # No address but those of the two full reports, and of places on the page.
        addresses = set(re.findall(r'(?:href|src)="(?!data:)([^"]*)"', page))
        outside = {address for address in addresses if not address.startswith("#")}
        assert outside == {"insitu/report.html", "simulation/report.html"}
        for address in addresses - outside:
            assert f'id="{address[1:]}"' in page
        assert "SYNTHETIC data" in page
        assert "Published" in page

    def test_run_says_what_it_was(self, made: tuple[Path, str]) -> None:
        folder, _ = made
        said = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert said["settings"]["methods"] == ["linear", "linear-sqrt", "bicubic", "lanczos"]
        listed = {Path(entry["path"]).parent.name for entry in said["inputs"]}
        assert {"cams", "deepcams", "geoscf"} <= listed
        assert {"insitu", "report.html"} <= set(said["outputs"])
        assert "paper" not in said["outputs"]


class TestMissingParts:
    def test_maps_alone(self, archive: Path, tmp_path: Path) -> None:
        (tmp_path / "some").mkdir()
        for name in ("geoscf", "cams"):
            (tmp_path / "some" / name).symlink_to(archive / name)
        done = run(
            ["--data", "some", "--years", "2019", "--year", "2011", "--out", "out"], tmp_path
        )
        assert done.returncode == 0, done.stderr
        folder = tmp_path / "out"
        assert {path.stem for path in (folder / "figures").iterdir()} == {"fig5", "fig7", "fig8"}
        assert not list((folder / "tables").iterdir())
        assert not {"insitu", "simulation"} & {path.name for path in folder.iterdir()}
        for text in ("has no openaq", "no hour of 2011"):
            assert text in done.stdout
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert page.count('class="absent"') == 7
        assert "linear-bicubic of cams" in captions(page)["fig7"]

    def test_nothing_at_all_is_an_error(self, archive: Path, tmp_path: Path) -> None:
        (tmp_path / "some").mkdir()
        (tmp_path / "some" / "deepcams").symlink_to(archive / "deepcams")
        done = run(["--data", "some", "--out", "out"], tmp_path)
        assert done.returncode == 1
        for text in ("no table and no figure", "no openaq", "no cams", "no geoscf"):
            assert text in done.stderr
        assert done.stderr.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["some"]

    @pytest.mark.parametrize(
        "arguments, code, said",
        [
            (["--data", "nowhere"], 1, "nowhere"),
            (["--data", "demo", "--resume"], 2, "interrupted run"),
        ],
    )
    def test_faults_are_stated_in_one_line(
        self, arguments: list[str], code: int, said: str, tmp_path: Path
    ) -> None:
        done = run(arguments, tmp_path)
        assert done.returncode == code
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(tmp_path.iterdir())
