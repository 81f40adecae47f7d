"""The audit against other ways to the same numbers, and against altered inputs."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat, savemat
from typer.testing import CliRunner

from deepcams_eval.cli.bench import app, main
from deepcams_eval.errors import InputError
from deepcams_eval.paper.audit import Printed, audit, places, sample_counts, unequal_samples
from deepcams_eval.paper.audit_months import averages, baseline_wins, equal_cells
from deepcams_eval.paper.audit_page import Finding, documents
from deepcams_eval.paper.linear import (
    CORRECT,
    REVERSED,
    frame_values,
    linear_psnr,
    linear_ratio,
    linear_scores,
    misplaced,
    read_frames,
)
from deepcams_eval.report import published
from tests.commands import call


def cells(name: str) -> list[dict[str, str]]:
    """Rows of a package file as the text that stands in it."""
    text = resources.files(published).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def evidence(finding: Finding, name: str) -> pd.DataFrame:
    return next(table.frame for table in finding.tables if table.name == name)


def changed(table: pd.DataFrame, month: str, column: str, value: float) -> pd.DataFrame:
    table = table.copy()
    assert (table["month"] == month).sum() == 1
    table.loc[table["month"] == month, column] = value
    return table


@pytest.fixture(scope="module")
def printed() -> Printed:
    return Printed.load()


def moving_blob(seed: int = 5, rows: int = 730, columns: int = 24) -> np.ndarray:
    """Four maps between which a pattern moves steadily, with some values above the clip."""
    rng = np.random.default_rng(seed)
    start = rng.gamma(2, 8, (rows, columns))
    end = rng.gamma(2, 8, (rows, columns))
    maps: np.ndarray = np.stack([start + (end - start) * t for t in (0, 1 / 3, 2 / 3, 1)])
    maps += rng.normal(0, 0.5, maps.shape)
    maps[:, 3, 4] = 2000.0 + 50 * np.arange(4)
    return np.asarray(maps)


def other_scores(maps: np.ndarray, formula: str) -> tuple[float, float, float, float]:
    """Mean PSNR (720 rows, clipped) and R, RMSE, MAE (as they are), with numpy alone."""

    def between(values: np.ndarray, t: float) -> np.ndarray:
        low, high = (1 - t, t) if formula == CORRECT else (t, 1 - t)
        return low * values[0] + high * values[3]

    clipped = np.clip(maps[:, :720], None, 800)
    rows = []
    for index, t in ((1, 1 / 3), (2, 2 / 3)):
        square = np.mean((between(clipped, t) - clipped[index]) ** 2)
        estimate, truth = between(maps, t), maps[index]
        rows.append(
            (
                10 * np.log10(255**2 / square),
                np.corrcoef(estimate.ravel(), truth.ravel())[0, 1],
                np.sqrt(np.mean((estimate - truth) ** 2)),
                np.mean(np.abs(estimate - truth)),
            )
        )
    return tuple(float(value) for value in np.mean(rows, axis=0))  # type: ignore[return-value]


def psnr_of(scores: pd.DataFrame) -> dict[str, float]:
    clipped = scores[scores["maps"].str.contains("clipped")]
    return {str(name): float(part.mean()) for name, part in clipped.groupby("formula")["psnr_db"]}


def as_is(scores: pd.DataFrame, formula: str) -> pd.Series:
    chosen = scores[scores["maps"].str.contains("as is") & (scores["formula"] == formula)]
    return chosen[["r", "rmse", "mae"]].mean()


# --- Tables 2 and 3 ---------------------------------------------------------------------------


def test_averages_are_exact_means_of_the_cells_in_the_files(printed: Printed) -> None:
    frame = evidence(averages(printed.table2, printed.table3), "averages")
    means = []
    for name in ("table2_temporal.csv", "table3_spatial.csv"):
        rows = cells(name)
        for column in list(rows[0])[1:]:
            exact = sum(Fraction(row[column]) for row in rows if row["month"] != "average") / 12
            means.append((float(exact), float(Fraction(rows[-1][column]) - exact)))
    np.testing.assert_allclose(frame[["mean", "difference"]], means, rtol=0, atol=1e-12)


def test_a_wrong_average_is_found_and_so_is_a_changed_month(printed: Printed) -> None:
    assert averages(printed.table2, printed.table3).count == 0
    finding = averages(changed(printed.table2, "average", "mae_linear", 0.57), printed.table3)
    assert finding.count == 1
    frame = evidence(finding, "averages")
    assert frame.loc[frame["reading"] == "beyond rounding", "column"].tolist() == ["MAE linear"]
    month = changed(printed.table3, "2020-04", "rmse_bicubic", 13.53)
    assert averages(printed.table2, month).count == 1


def test_equal_cells_are_those_with_the_same_text_in_the_files(printed: Printed) -> None:
    finding = equal_cells(printed.table2, printed.table3)
    listed = evidence(finding, "equal_cells")
    expected = {
        (left["month"], metric.upper(), left[f"{metric}_{who2}"])
        for left, right in zip(
            cells("table2_temporal.csv"), cells("table3_spatial.csv"), strict=True
        )
        for metric in ("r", "rmse", "mae")
        for who2, who3 in (("linear", "bicubic"), ("deepcams", "deepcams"))
        if left["month"] != "average" and left[f"{metric}_{who2}"] == right[f"{metric}_{who3}"]
    }
    assert set(zip(listed["month"], listed["metric"], listed["value"], strict=True)) == expected
    assert finding.count == sum(metric == "RMSE" for _, metric, _ in expected) == 13
    assert "13 of 24" in finding.answer


@pytest.mark.parametrize(
    ("month", "column", "value", "count"),
    [("2020-09", "rmse_bicubic", 13.61, 12), ("2020-01", "rmse_deepcams", 8.63, 14)],
)
def test_one_cell_changed_changes_the_count_of_equal_cells(
    printed: Printed, month: str, column: str, value: float, count: int
) -> None:
    altered = changed(printed.table3, month, column, value)
    assert equal_cells(printed.table2, altered).count == count


def test_shifted_months_are_the_control(printed: Printed) -> None:
    summary = evidence(equal_cells(printed.table2, printed.table3), "equal_summary")
    left = printed.table2["mae_linear"].to_numpy()[:12]
    right = printed.table3["mae_bicubic"].to_numpy()[:12]
    pairs = sum(left[i] == right[j] for i in range(12) for j in range(12) if i != j)
    row = summary[summary["columns"] == "MAE linear / MAE bicubic"].iloc[0]
    assert row["shifted_mean"] == pytest.approx(pairs / 11)
    assert row["shifted_mean"] < row["equal"]


def test_the_baseline_wins_where_the_cells_say_so(printed: Printed) -> None:
    finding = baseline_wins(printed.table2, printed.table3)
    expected = [
        (row["month"], metric.upper())
        for name, base in (("table2_temporal.csv", "linear"), ("table3_spatial.csv", "bicubic"))
        for row in cells(name)
        for metric, sign in (("r", 1), ("rmse", -1), ("mae", -1))
        if sign * Fraction(row[f"{metric}_deepcams"]) < sign * Fraction(row[f"{metric}_{base}"])
    ]
    frame = evidence(finding, "baseline_wins")
    assert list(zip(frame["month"], frame["metric"], strict=True)) == expected
    assert finding.count == len(expected)


def test_a_win_appears_a_repaired_one_goes_and_a_tie_is_no_win(printed: Printed) -> None:
    worse = changed(printed.table2, "2020-06", "mae_deepcams", 0.42)
    assert baseline_wins(worse, printed.table3).count == 2
    repaired = changed(printed.table3, "2020-05", "r_deepcams", 0.9729)
    none = baseline_wins(printed.table2, repaired)
    assert none.count == 0
    assert "nowhere" in none.follows
    tie = baseline_wins(printed.table2, changed(printed.table3, "2020-05", "r_deepcams", 0.9727))
    assert tie.count == 0
    assert evidence(tie, "baseline_wins")["reading"].tolist() == ["equal"]


def test_sample_counts_follow_the_calendar(printed: Printed) -> None:
    finding = sample_counts(printed.table2, printed.counts)
    hours = pd.date_range("2020-01-01", "2021-01-01", freq="h", inclusive="left")
    expected = {"spatial": len(hours), "temporal": int((hours.hour % 3 != 0).sum())}
    frame = evidence(finding, "sample_counts").set_index("task")
    assert frame["computed"].to_dict() == expected
    assert finding.count == 2
    # Without the first map of the next year the hours 22 and 23 of the last day have no end.
    assert f"{expected['temporal'] - 2:,}" in finding.follows


def test_sample_counts_agree_in_a_common_year_and_when_repaired(printed: Printed) -> None:
    common = printed.table2.assign(month=printed.table2["month"].str.replace("2020", "2019"))
    assert sample_counts(common, printed.counts).count == 0
    repaired = printed.counts.assign(samples=[5856, 8784])
    finding = sample_counts(printed.table2, repaired)
    assert finding.count == 0
    assert "calendar" in finding.follows


# --- In situ ----------------------------------------------------------------------------------


def test_unequal_samples_from_the_cells(printed: Printed) -> None:
    finding = unequal_samples(printed.figure6, printed.abstract)
    rows = cells("figure6_insitu.csv")
    n = {(row["product"], row["year"]): int(row["n"]) for row in rows}
    frame = evidence(finding, "figure6_n")
    assert frame["ratio"].tolist() == pytest.approx(
        [n["deepcams", year] / n["cams", year] for year in ("2017", "2018", "2019")]
    )
    means = evidence(finding, "figure6_r").set_index("product")
    for name in ("cams", "deepcams"):
        exact = sum(Fraction(row["r"]) for row in rows if row["product"] == name) / 3
        assert means.loc[name, "mean"] == pytest.approx(float(exact), abs=1e-12)
        assert means.loc[name, "r"] == round(float(exact), 3)
    assert finding.count == 3
    assert "does not exceed" in finding.answer


def test_equal_samples_are_no_finding_and_a_large_gain_is_beyond_rounding(
    printed: Printed,
) -> None:
    figure6 = printed.figure6.copy()
    cams = figure6.loc[figure6["product"] == "cams", "n"].to_numpy()
    figure6.loc[figure6["product"] == "deepcams", "n"] = cams
    figure6.loc[figure6["product"] == "deepcams", "r"] += 0.02
    finding = unequal_samples(figure6, printed.abstract)
    assert finding.count == 0
    assert " exceeds the bound" in finding.answer


def test_places_are_outside_as_printed_and_inside_when_repaired(printed: Printed) -> None:
    finding = places(printed.places)
    assert finding.count == 2
    assert evidence(finding, "places")["others"].tolist() == ["33°S 72°W", "41°N 105°E"]
    repaired = printed.places.assign(latitude=[-33, 41], longitude=[-72, 105])
    assert places(repaired).count == 0


# --- Linear interpolation ---------------------------------------------------------------------


def test_linear_scores_agree_with_numpy() -> None:
    maps = moving_blob()
    result = linear_scores(maps)
    for formula in (REVERSED, CORRECT):
        psnr, r, rmse, mae = other_scores(maps, formula)
        assert psnr_of(result)[formula] == pytest.approx(psnr, abs=1e-9)
        np.testing.assert_allclose(as_is(result, formula), [r, rmse, mae], rtol=1e-9)
    assert psnr_of(result)[CORRECT] > psnr_of(result)[REVERSED] + 3
    assert set(result["rows"]) == {720, 730}
    with pytest.raises(InputError, match="four maps"):
        linear_scores(maps[:3])


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (1, 0, 2, 3), (3, 1, 2, 0), (0, 1, 3, 2)])
def test_two_frames_swapped_change_both_psnrs(order: tuple[int, ...]) -> None:
    maps = moving_blob()
    before, after = psnr_of(linear_scores(maps)), psnr_of(linear_scores(maps[list(order)]))
    assert abs(before[REVERSED] - after[REVERSED]) > 0.1
    assert abs(before[CORRECT] - after[CORRECT]) > 0.1


def test_missing_cells_are_left_out_and_counted() -> None:
    maps = moving_blob()
    holes = maps.copy()
    holes[1, 100:110, :] = np.nan
    kept = np.delete(maps, np.s_[100:110], axis=1)
    result = linear_scores(holes)
    assert as_is(result, CORRECT)["mae"] == pytest.approx(
        as_is(linear_scores(kept), CORRECT)["mae"]
    )
    assert set(result["n"]) == {710 * 24, 720 * 24}


def test_ratio_of_table2_from_the_cells_and_from_frames(printed: Printed) -> None:
    alone = linear_ratio(printed.table2, None)
    rows = cells("table2_temporal.csv")
    ratios = [float(Fraction(row["mae_linear"]) / Fraction(row["mae_deepcams"])) for row in rows]
    frame = evidence(alone, "table2_ratio")
    assert frame["ratio"].tolist() == pytest.approx(ratios)
    assert (frame["low"] < frame["ratio"]).all()
    assert (frame["ratio"] < frame["high"]).all()
    assert alone.count == 0
    assert "--frames" in alone.follows

    scores = linear_scores(moving_blob())
    ratio = as_is(scores, REVERSED)["mae"] / as_is(scores, CORRECT)["mae"]
    agreeing = printed.table2.assign(
        mae_linear=lambda table: (table["mae_deepcams"] * ratio).round(2)
    )
    assert linear_ratio(agreeing, scores).count == 12
    assert f"{ratio:.2f}" in linear_ratio(printed.table2, scores).answer


def test_the_log_is_compared_with_what_the_frames_give(printed: Printed) -> None:
    scores = linear_scores(moving_blob())
    psnr = psnr_of(scores)
    log = printed.log.assign(
        psnr_low_db=[psnr[CORRECT] - 0.5, psnr[REVERSED] - 1],
        psnr_high_db=[psnr[CORRECT] - 0.25, psnr[REVERSED] + 1],
    )
    finding = linear_psnr(scores, log)
    frame = evidence(finding, "training_log")
    assert frame["nearer"].tolist() == ["correct", "reversed"]
    assert frame["to_correct"].iloc[0] == pytest.approx(0.25)
    assert frame["to_reversed"].iloc[1] == 0
    assert f"{psnr[REVERSED]:.4f} dB" in finding.answer


def test_real_frames_give_the_known_figures(real_data: Path, printed: Printed) -> None:
    opened = read_frames(str(real_data / "geoscf" / "*.mat"))
    maps = frame_values(opened)
    assert maps.shape == (4, 721, 1440)
    np.testing.assert_allclose(maps[2], loadmat(real_data / "geoscf" / "03.mat")["data"], rtol=1e-6)
    scores = linear_scores(maps)
    psnr = psnr_of(scores)
    assert f"{psnr[REVERSED]:.4f}" == "36.4922"
    assert f"{psnr[CORRECT]:.4f}" == "41.5632"
    np.testing.assert_allclose(as_is(scores, REVERSED), [0.9831, 3.817, 0.649], atol=6e-4)
    np.testing.assert_allclose(as_is(scores, CORRECT), [0.9946, 2.129, 0.339], atol=6e-4)
    swapped = psnr_of(linear_scores(maps[[0, 2, 1, 3]]))
    assert abs(swapped[REVERSED] - psnr[REVERSED]) > 1
    assert abs(swapped[CORRECT] - psnr[CORRECT]) > 1
    logged = evidence(linear_psnr(scores, printed.log), "training_log")
    assert logged["nearer"].tolist() == ["reversed", "correct"]


# --- Files and command ------------------------------------------------------------------------


def test_page_and_markdown_show_every_row_of_evidence(printed: Printed) -> None:
    findings = audit(printed, linear_scores(moving_blob()))
    text, page, plain = documents(findings, [], command="deepcams-bench audit").values()
    for finding in findings:
        assert finding.question in page
        assert finding.question in text
        for table in finding.tables:
            shown = page.split(f'id="table-{table.name}"')[1].split("</table>")[0]
            assert shown.count("<tr") == 1 + len(table.frame)
            assert table.title in page
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:")) for link in links)
    assert json.loads(plain)[0]["key"] == "averages"


def test_altered_tables_reach_the_page(printed: Printed) -> None:
    altered = replace(printed, table3=changed(printed.table3, "2020-05", "r_deepcams", 0.9731))
    page = documents(audit(altered), [], command="x")["audit.html"]
    assert "In 0 of 78 comparisons the baseline is better" in page
    assert "R: 1 of 24 cells are equal" in page


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return call(main, ["audit", *arguments], cwd=cwd)


def test_command_without_frames(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (folder,) = (tmp_path / "reports").glob("audit-*")
    names = {"audit.html", "audit.md", "findings.json", "run.json"}
    assert {path.name for path in folder.iterdir()} == names
    findings = json.loads((folder / "findings.json").read_text())
    for number, finding in enumerate(findings, start=1):
        assert f"{number}. {finding['question']}" in done.stdout
        assert finding["answer"] in done.stdout
    described = json.loads((folder / "run.json").read_text())
    assert described["counts"] == {one["key"]: one["count"] for one in findings}
    inputs = {Path(entry["path"]).name for entry in described["inputs"]}
    assert inputs >= {"table2_temporal.csv", "sample_counts.csv"}


def write_maps(folder: Path, maps: np.ndarray) -> None:
    folder.mkdir()
    for number, values in enumerate(maps, start=1):
        savemat(folder / f"{number:02d}.mat", {"data": values})


def test_command_with_frames_in_a_folder_in_order_of_names(tmp_path: Path) -> None:
    maps = np.tile(moving_blob(rows=721), (1, 1, 60))
    write_maps(tmp_path / "maps", maps)
    done = run("--frames", "maps", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = re.search(r"Eq\. 9: ([\d.]+) dB\. Correct: ([\d.]+) dB", done.stdout)
    assert found is not None
    # Fields are float32.
    assert float(found[1]) == pytest.approx(other_scores(maps, REVERSED)[0], abs=2e-4)
    assert float(found[2]) == pytest.approx(other_scores(maps, CORRECT)[0], abs=2e-4)
    inputs = json.loads((tmp_path / "out" / "run.json").read_text())["inputs"]
    assert [one["path"] for one in inputs if one["path"].endswith(".mat")] == [
        f"maps/{number:02d}.mat" for number in (1, 2, 3, 4)
    ]


def test_real_files_with_two_names_exchanged(real_data: Path, tmp_path: Path) -> None:
    for source, target in (("01", "02"), ("02", "01"), ("03", "03"), ("04", "04")):
        shutil.copy(real_data / "geoscf" / f"{source}.mat", tmp_path / f"{target}.mat")
    with pytest.raises(InputError, match=r"frames 1 and 2 .* sort by time"):
        read_frames(str(tmp_path))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ((0, 1, 2, 3), None),
        ((3, 2, 1, 0), None),
        ((0, 2, 1, 3), (1, 2)),
        ((1, 0, 2, 3), (0, 1)),
        # Backwards in time, it is the two in the middle.
        ((3, 1, 2, 0), (1, 2)),
    ],
)
def test_frames_out_of_order_are_noticed(
    order: tuple[int, ...], expected: tuple[int, int] | None
) -> None:
    found = misplaced(moving_blob(rows=90)[list(order)])
    assert found == expected


@pytest.mark.parametrize(
    "frames", ["nowhere/*.mat", "nowhere", "nowhere.mat", "nowhere,kind=geoscf"]
)
def test_a_wrong_path_is_one_line(frames: str, tmp_path: Path) -> None:
    done = run("--frames", frames, "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert re.match("error: .*nowhere", done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "options", "message"),
    [
        (3, "", r"holds 3 frames .* name 4 consecutive"),
        (4, ",kind=geoscf,stamp=point,start=2020-01-01T00:00,freq=3h", "hourly"),
    ],
)
def test_other_than_four_hourly_frames_are_refused(
    tmp_path: Path, number: int, options: str, message: str
) -> None:
    write_maps(tmp_path / "maps", np.tile(moving_blob(rows=721)[:number], (1, 1, 60)))
    with pytest.raises(InputError, match=message):
        read_frames(f"{tmp_path / 'maps'}{options}")


def test_a_folder_of_something_else_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    done = run("--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "--out" in done.stderr
    assert (tmp_path / "out" / "letter.txt").read_text() == "mine"


def test_help_has_an_example_and_wrong_usage_is_2() -> None:
    runner = CliRunner(env={"COLUMNS": "200"})
    shown = runner.invoke(app, ["audit", "--help"])
    assert shown.exit_code == 0
    assert "deepcams-bench audit --frames" in shown.stdout
    assert runner.invoke(app, ["audit", "--nonsense"]).exit_code == 2
