from __future__ import annotations

import csv
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcams_eval.core.observations import make_stations
from deepcams_eval.evidence.run import write_report
from deepcams_eval.report import (
    credit,
    figures,
    findings,
    page,
    published,
    rendering,
    scatter,
    style,
    tables,
    wording,
)
from deepcams_eval.report.content import Content
from tests import pages
from tests.hourly_pairs import pairs_of
from tests.pages import texts

ODD = "deep_cams%"
HEADLINE = ("r", "rmse", "mae")


# A scorer of its own: plain numpy on plain arrays, so that the report is fed by nothing it uses.
def score(observed: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    error = estimate - observed
    varies = len(observed) > 1 and np.ptp(observed) > 0 and np.ptp(estimate) > 0
    slope, intercept = np.polyfit(observed, estimate, 1) if varies else (np.nan, np.nan)
    found = {
        "r": float(np.corrcoef(observed, estimate)[0, 1]) if varies else np.nan,
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "mb": float(np.mean(error)),
        "nmb": float(error.sum() / observed.sum()),
    }
    found |= {"mnmb": 0.1, "fge": 0.2, "fac2": 0.7, "ioa": 0.8}
    found |= {"slope": slope, "intercept": intercept}
    wide = len(observed) > 50
    for key in HEADLINE:
        found[f"{key}_lo"] = found[key] - 0.0321 if wide else np.nan
        found[f"{key}_hi"] = found[key] + 0.0456 if wide else np.nan
        found[f"station_median_{key}"] = found[key] * 0.9
    return found


def make_inputs(
    n: int = 2400,
    products: tuple[str, ...] = ("cams", ODD),
    *,
    sample: str = "common",
    synthetic: bool = False,
    constant: bool = False,
    years: tuple[int, ...] = (2017,),
) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    station = rng.integers(0, 12, n)
    # September stays empty.
    month = rng.choice([m for m in range(1, 13) if m != 9], n)
    year = rng.choice(years, n)
    day, hour = rng.integers(1, 28, n), rng.integers(0, 24, n)
    parts = {"year": year, "month": month, "day": day, "hour": hour}
    start = pd.to_datetime(parts).astype("datetime64[us]")
    observed = np.full(n, 7.0) if constant else np.round(rng.lognormal(2.4, 0.8, n) - 2, 1)
    names = np.array([f"s{i:02d}" for i in range(12)])
    columns: dict[str, Any] = {"station_id": names[station], "time_start": start}
    columns |= {"latitude": 50.0 + station / 10, "longitude": 4.0 + station / 5}
    columns |= {"observed": observed}
    for place, name in enumerate(products):
        factor = 1.0 if constant else rng.lognormal(0.1 * place, 0.5, n)
        columns[name] = observed * factor
    pairs = pairs_of(pd.DataFrame(columns), *products)
    strata = {
        "all": pd.Series("all", index=range(n)),
        "year": start.dt.strftime("%Y"),
        "month": start.dt.strftime("%Y-%m"),
        "hour": start.dt.strftime("%H"),
        "hour_local": start.dt.strftime("%H"),
        "country": pd.Series("BE", index=range(n)),
    }
    rows = []
    for name in products:
        for stratum, labels in strata.items():
            for value in sorted(labels.unique()):
                inside = (labels == value).to_numpy()
                found = score(observed[inside], pairs.table[name].to_numpy()[inside])
                key = {"product": name, "stratum": stratum, "value": value, "sample": sample}
                size = {"n": int(inside.sum()), "stations": len(np.unique(station[inside]))}
                rows.append({**key, **size, **found})
    scores = pd.DataFrame(rows)
    other = scores.assign(sample="own" if sample == "common" else "common", r=0.111, rmse=999.0)
    cases = product(products[1:], (("year", "2017"), ("all", "all"), ("month", "2017-01")))
    differences = pd.DataFrame(
        [(name, products[0], *one, n, 12) for name, one in cases],
        columns=["product", "baseline", "stratum", "value", "n", "stations"],
    ).assign(
        **{"d_r": 0.0512, "d_r_lo": 0.0301, "d_r_hi": 0.0702},
        **{"d_rmse": -1.234, "d_rmse_lo": -2.5, "d_rmse_hi": -0.25},
        **{"d_mae": 0.125, "d_mae_lo": -0.5, "d_mae_hi": 0.75},
    )
    places = {"latitude": 50.0 + np.arange(12) / 10, "longitude": 4.0 + np.arange(12) / 5}
    known = {"station_id": names, **places, "country": "BE", "provider": "IRCEL"}
    stations = make_stations(pd.DataFrame(known))
    for name in products:
        stations[f"r_{name}"] = np.linspace(0.3, 0.8, 12)
    qc = pd.DataFrame(
        [
            ("records", 3000, None, "read"),
            ("assumed_period", 594, None, "assumed"),
            ("rows_in", n + 600, None, "rule"),
            ("sentinel", 500, 500, "rule"),
            ("negative", 400, 100, "rule"),
            ("not_reference", 0, 0, "rule (off)"),
            ("rows_out", n, None, "rule"),
        ],
        columns=["rule", "flagged", "flagged_first", "stage"],
    ).astype({"flagged_first": "Int64"})
    return {
        "scores": pd.concat([scores, other], ignore_index=True),
        "differences": differences,
        "scored_pairs": pairs,
        "rows": {name: np.ones(n, dtype=bool) for name in products},
        "stations": stations,
        "qc": qc,
        "coverage": pd.DataFrame(
            {"product": list(products), "year": 2017, "steps": 2920, "paired": n, "stations": 12}
        ).assign(stations_outside=1),
        "notes": ["594 records name no period <script>alert(1)</script>."],
        "run": {
            "command": ["deepcams-eval", "openaq", "--years", "2017"],
            "versions": {"deepcams": "0.1.0"},
            "inputs": [{"path": "cams.nc", "bytes": 123456, "sha256": "ab" * 32}],
            "products": {name: {"kind": "cams"} for name in products},
            "wall_time_s": 83.2,
            "peak_rss_bytes": 1_234_567_890,
            "seed": 42,
        },
        "sample": sample,
        "baseline": products[0],
        "synthetic": synthetic,
    }


@pytest.fixture(scope="module")
def inputs() -> dict[str, Any]:
    return make_inputs()


@pytest.fixture(scope="module")
def report(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    steps: list[tuple[int, int]] = []
    written = write_report(folder, Content(**inputs), progress=lambda *step: steps.append(step))
    pages.check_steps(steps, written, folder)
    return folder


@pytest.fixture(scope="module")
def synthetic_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_report(folder, Content(**make_inputs(600, ("cams",), synthetic=True)))
    return folder


def shown(inputs: dict[str, Any], stratum: str) -> pd.DataFrame:
    table = inputs["scores"]
    table = table[(table["sample"] == inputs["sample"]) & (table["stratum"] == stratum)]
    order = {name: place for place, name in enumerate(inputs["scored_pairs"].products)}
    return (
        table.assign(order=table["product"].map(order))
        .sort_values(["value", "order"])
        .reset_index(drop=True)
    )


def test_every_file_of_the_contract_is_there(report: Path) -> None:
    names = {str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()}
    listed = ("years", "months", "differences")
    wanted = {f"tables/{name}.{end}" for name in listed for end in ("csv", "md", "tex")}
    scatters = [f"scatter_{name}_2017" for name in ("cams", "deep_cams_")]
    drawn = ("stations", "months", "hours", *scatters, *(f"{one}_months" for one in scatters))
    wanted |= {f"figures/{name}.{end}" for name in drawn for end in ("png", "pdf")}
    assert names == wanted | {"report.html"}


@pytest.mark.parametrize("stratum, file", [("year", "years"), ("month", "months")])
def test_csv_holds_every_digit_of_the_scores(
    report: Path, inputs: dict[str, Any], stratum: str, file: str
) -> None:
    with (report / "tables" / f"{file}.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    expected = shown(inputs, stratum)
    assert [row[stratum] for row in read] == list(expected["value"])
    assert [row["product"] for row in read] == list(expected["product"])
    keys = ["n", "stations", "mb", "nmb", "fac2"]
    for key in HEADLINE:
        keys += [key, f"{key}_lo", f"{key}_hi", f"station_median_{key}"]
    for key in keys:
        column = [float(row[key] or "nan") for row in read]
        np.testing.assert_array_equal(column, expected[key].to_numpy(), err_msg=key)


def numbers(cell: str) -> list[float]:
    return [float(text.replace(",", "")) for text in re.findall(r"[+-]?\d[\d,]*\.?\d*", cell)]


def markdown_cells(text: str) -> list[list[str]]:
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    clean = [re.sub(r"\\(.)", r"\1", row.replace("**", "")) for row in rows]
    return [row.strip("|").split(" | ") for row in clean]


def latex_cells(text: str) -> list[list[str]]:
    body = text.split(r"\endlastfoot")[1].split(r"\end{longtable}")[0]
    clean = [line for line in body.splitlines() if line.endswith(r"\\")]
    clean = [re.sub(r"\\textbf\{((?:[^{}]|\{[^}]*\})*)\}", r"\1", line[:-2]) for line in clean]
    clean = [line.replace("$-$", "-").replace(r"\_", "_").replace(r"\%", "%") for line in clean]
    return [line.split(" & ") for line in clean]


@pytest.mark.parametrize("ending, parse", [("md", markdown_cells), ("tex", latex_cells)])
def test_markdown_and_latex_hold_the_scores_rounded(
    report: Path, inputs: dict[str, Any], ending: str, parse: Any
) -> None:
    cells = parse((report / "tables" / f"months.{ending}").read_text(encoding="utf-8"))
    expected = shown(inputs, "month")
    assert len(cells) == len(expected) == 22
    for row, (_, want) in zip(cells, expected.iterrows(), strict=True):
        row = [cell.strip() for cell in row]
        assert row[0] == want["value"]
        assert row[1] == want["product"]
        assert numbers(row[2]) == [want["n"]]
        for cell, key, decimals in zip(row[4:7], HEADLINE, (3, 2, 2), strict=True):
            limits = [want[key], want[f"{key}_lo"], want[f"{key}_hi"]]
            assert numbers(cell.replace("[", " ")) == pytest.approx(
                limits, abs=0.5000001 * 10**-decimals
            )
        assert numbers(row[7])[0] == pytest.approx(want["mb"], abs=0.00501)
        assert numbers(row[8])[0] == pytest.approx(want["nmb"], abs=0.000501)


def test_latex_escapes_and_names_units(report: Path) -> None:
    text = (report / "tables" / "years.tex").read_text(encoding="utf-8")
    assert r"deep\_cams\%" in text
    assert ODD not in text
    assert r"($\mu$g m$^{-3}$)" in text
    body = re.sub(r"(?m)^%.*$", "", text)
    assert not re.search(r"(?<!\\)%", body)
    assert body.isascii()
    assert body.count(r"\begin{longtable}") == body.count(r"\end{longtable}") == 1


@given(st.text(max_size=40))
def test_escaped_latex_has_no_bare_special_letter(text: str) -> None:
    escaped = wording.escape_latex(text)
    bare = re.sub(r"\\[a-zA-Z]+\{\}|\\[&%$#_{}]|\$(?:-|\^\{-?3?\}|\\[a-zA-Z]+)\$", "", escaped)
    assert not set(bare) & set("\\&%$#_{}~^")


def test_published_values_stand_beside_ours(report: Path) -> None:
    read = pd.read_csv(report / "tables" / "years.csv").set_index("product")
    assert read.loc["cams", "n_published"] == 1_525_741
    keys = [f"{key}_published" for key in HEADLINE]
    assert read.loc["cams", keys].tolist() == [0.61, 20.49, 9.86]
    assert np.isnan(read.loc[ODD, "r_published"])
    text = (report / "tables" / "years.md").read_text(encoding="utf-8")
    assert "1,525,741" in text
    assert "different samples" in text


def test_published_columns_are_shown_only_where_one_is_filled() -> None:
    inputs = make_inputs(200, ("mine",))
    del inputs["run"]
    table = tables.year_table(Content(**inputs, run={}))
    assert table.frame["n_published"].isna().all()
    assert not [column for column in table.columns if column.key.endswith("_published")]


def test_published_scores_of_hours_do_not_stand_beside_those_of_means() -> None:
    inputs = make_inputs(200, ("cams",))
    run = {**inputs["run"], "settings": {"average": "hour"}}
    hours = tables.year_table(Content(**{**inputs, "run": run}))
    assert "r_published" in [column.key for column in hours.columns]
    for average in ("day", "month", "year"):
        run["settings"]["average"] = average
        table = tables.year_table(Content(**{**inputs, "run": run}))
        for names in ([column.key for column in table.columns], table.frame):
            assert not [name for name in names if name.endswith("_published")]
        assert not [note for note in table.notes if "Published" in note]


def test_package_data_are_the_published_numbers() -> None:
    six = published.figure6()
    assert six.set_index(["product", "year"]).loc[("deepcams", 2019), "n"] == 10_259_463
    assert len(six) == 6
    for table, other in ((published.table2(), "linear"), (published.table3(), "bicubic")):
        assert len(table) == 13
        assert table["month"].iloc[-1] == "average"
        assert {f"rmse_{other}", "rmse_deepcams"} <= set(table.columns)
    assert published.table3().set_index("month").loc["2020-05", "r_bicubic"] == 0.9727


def test_bold_marks_the_best_on_equal_pairs_only() -> None:
    inputs = make_inputs(400)
    scores = inputs["scores"]
    year = (scores["stratum"] == "year") & (scores["sample"] == "common")
    scores.loc[year, "r"] = [0.5, 0.9]
    scores.loc[year, "rmse"] = [9.0, 12.0]
    scores.loc[year, "mae"] = [4.001, 4.002]
    scores.loc[year, "mb"] = [-0.1, 0.5]
    bold = tables.year_table(Content(**inputs)).bold
    assert {(0, "rmse"), (0, "mb"), (1, "r")} <= bold
    assert not {key for _, key in bold} & {"mae"}  # equal as printed

    unequal = scores.copy()
    unequal.loc[np.flatnonzero(year)[0], "n"] += 1
    assert not tables.year_table(Content(**{**inputs, "scores": unequal})).bold
    own = make_inputs(400, sample="own")
    assert not tables.year_table(Content(**own)).bold


def test_differences_are_bold_where_the_interval_excludes_zero(inputs: dict[str, Any]) -> None:
    table = tables.difference_table(Content(**inputs))
    assert table is not None
    assert table.bold == {(0, "d_r"), (0, "d_rmse")}
    last = findings.sentences(Content(**inputs))[-1]
    assert "R +0.051 [+0.030, +0.070] (interval excludes zero)" in last
    assert "RMSE −1.23 [−2.50, −0.25] µg m⁻³ (interval excludes zero)" in last
    assert "MAE +0.12 [−0.50, +0.75] µg m⁻³ (interval includes zero" in last


def test_numbers_in_a_scatter_come_from_the_scores() -> None:
    inputs = make_inputs(400, ("cams",))
    scores = inputs["scores"]
    shown_rows = scores["sample"] == "common"
    year_rows = shown_rows & (scores["stratum"] == "year")
    scores.loc[year_rows, ["r", "r_lo", "rmse", "slope"]] = [0.1234, 0.0987, 77.77, 3.21]
    scores.loc[shown_rows & (scores["value"] == "2017-03"), "mae"] = 55.55
    year, months = scatter.draw_scatters(Content(**inputs))
    assert "R = 0.123 [0.099," in texts(year.figure)
    assert "RMSE = 77.77 [" in texts(year.figure)
    assert "fit: 3.21·O" in texts(year.figure)
    assert "N = 400 (12 stations)" in texts(year.figure)
    assert "MAE 55.55" in texts(months.figure)
    assert texts(months.figure).count("no data") == 1


def test_other_sample_is_never_shown(report: Path) -> None:
    for path in (report / "tables").iterdir():
        assert "999.0" not in path.read_text(encoding="utf-8")
    assert "999.00" not in (report / "report.html").read_text(encoding="utf-8")


def test_a_sample_that_differs_from_the_scores_is_refused() -> None:
    inputs = make_inputs(300, ("cams",))
    inputs["rows"]["cams"][5] = False
    with pytest.raises(ValueError, match="selects 299 pairs in 2017, scores say 300"):
        list(scatter.draw_scatters(Content(**inputs)))


@pytest.mark.parametrize("name", ["report", "synthetic_report"])
def test_page_is_well_formed_and_needs_nothing_else(
    name: str, request: pytest.FixtureRequest
) -> None:
    text = (request.getfixturevalue(name) / "report.html").read_text(encoding="utf-8")
    assert pages.images_of_page(text) >= 5
    assert len(text) < 5_000_000


def test_page_says_what_was_asked_found_and_used(report: Path, inputs: dict[str, Any]) -> None:
    text = (report / "report.html").read_text(encoding="utf-8")
    row = shown(inputs, "all").iloc[0]
    for wanted in (
        "deepcams-eval openaq --years 2017",
        f"R {row['r']:.3f} [{row['r_lo']:.3f}, {row['r_hi']:.3f}]",
        "ab" * 32,
        "83 s",
        "1.2 GB",
        "Contains modified Copernicus Atmosphere Monitoring Service information 2017",
        "IRCEL",
        "OpenAQ",
    ):
        assert wanted in text, wanted
    assert "GEOS-CF" not in text


def test_synthetic_is_said_everywhere(synthetic_report: Path) -> None:
    assert pages.check_synthetic(synthetic_report) >= 5
    heading = (synthetic_report / "tables" / "years.md").read_text(encoding="utf-8")
    assert "Published (real data; not comparable with synthetic)" in heading
    text = (synthetic_report / "report.html").read_text(encoding="utf-8")
    assert "Contains modified Copernicus" not in text
    content = Content(**make_inputs(200, ("cams",), synthetic=True))
    for drawing in figures.draw_figures(content):
        assert "SYNTHETIC data" in texts(drawing.figure), drawing.name


def test_synthetic_is_said_nowhere_else(report: Path) -> None:
    for path in (*(report / "tables").iterdir(), report / "report.html"):
        assert "synthetic" not in path.read_text(encoding="utf-8").lower()
    for drawing in figures.draw_figures(Content(**make_inputs(200, ("cams",)))):
        assert "synthetic" not in texts(drawing.figure).lower()


def test_undefined_scores_are_dashes_with_a_reason(tmp_path: Path) -> None:
    inputs = make_inputs(1, ("cams",))
    inputs["stations"]["r_cams"] = np.nan
    write_report(tmp_path, Content(**inputs))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "R — [—]" in text
    assert "R is undefined: it needs at least two pairs in which both vary" in text
    table = (tmp_path / "tables" / "years.md").read_text(encoding="utf-8")
    assert "— \\[—\\]" in table
    assert wording.escape_markdown(wording.UNDEFINED) in table
    assert not (tmp_path / "tables" / "differences.csv").exists()
    assert "There is one product" in text


def test_pairs_that_do_not_vary_are_drawn_without_a_fit() -> None:
    content = Content(**make_inputs(40, ("cams",), constant=True))
    year, _ = scatter.draw_scatters(content)
    assert "R = — [—]" in texts(year.figure)
    assert "RMSE = 0.00 [—]" in texts(year.figure)
    assert "fit" not in texts(year.figure)


def test_files_are_the_same_every_time(tmp_path: Path) -> None:
    content = Content(**make_inputs(200, ("cams",)))
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        drawing = next(scatter.draw_scatters(content))
        style.save(drawing, folder)
    first = sorted((tmp_path / "1").iterdir())
    assert len(first) == 2
    for path in first:
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()
        assert b"CreationDate" not in path.read_bytes()


values = st.floats(-20, 5000, width=32)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(values, values, st.integers(0, 11)), min_size=1, max_size=25),
    st.integers(1, 30),
)
def test_histogram_counts_every_pair_once(pairs: list[tuple[float, float, int]], bins: int) -> None:
    observed, estimate, panel = map(np.array, zip(*pairs, strict=True))
    low, high = scatter.robust_limits(observed, estimate)
    assert low < high
    assert low <= 0
    for variable in (observed, estimate):
        assert np.mean((variable < low) | (variable > high)) <= 0.01
    counted = scatter.histogram(
        observed, estimate, limits=(low, high), bins=bins, panel=panel, panels=12
    )
    assert counted.counts.sum() + counted.outside.sum() == len(pairs)
    for month in range(12):
        inside = panel == month
        assert counted.counts[month].sum() + counted.outside[month] == inside.sum()
        if bins == 1:
            kept = (observed >= low) & (observed <= high) & (estimate >= low) & (estimate <= high)
            assert counted.counts[month, 0, 0] == (inside & kept).sum()


def test_histogram_equals_numpy_and_lies_the_right_way_round() -> None:
    rng = np.random.default_rng(3)
    observed, estimate = rng.lognormal(2, 1, 5000), rng.lognormal(1, 0.3, 5000)
    edges = np.linspace(-1.0, 31.0, 65)
    expected, _, _ = np.histogram2d(estimate, observed, bins=(edges, edges))
    counted = scatter.histogram(observed, estimate, limits=(-1.0, 31.0), bins=64)
    np.testing.assert_array_equal(counted.counts[0], expected)
    assert counted.width == 0.5
    one = scatter.histogram(np.array([9.0]), np.array([1.0]), limits=(0.0, 10.0), bins=10)
    assert one.counts[0, 1, 9] == 1


def test_limits_ignore_outliers() -> None:
    rng = np.random.default_rng(5)
    observed = rng.uniform(0, 50, 10_000)
    estimate = observed + rng.normal(0, 5, 10_000)
    plain = scatter.robust_limits(observed, estimate)
    observed[:20] = 990.0
    estimate[20:30] = -700.0
    low, high = scatter.robust_limits(observed, estimate)
    assert high == pytest.approx(plain[1], rel=0.1)
    assert low > -20
    assert scatter.robust_limits(np.array([7.0]), np.array([7.0])) == (0.0, 7.2)
    assert scatter.robust_limits(np.zeros(3), np.zeros(3)) == (0.0, 1.0)


def test_stations_too_close_are_one_circle() -> None:
    places = pd.DataFrame({"longitude": [0.1, 0.2, 5.5, 9.0], "latitude": 50.1})
    clusters = figures.cluster_stations(places.assign(value=[0.2, 0.6, np.nan, 0.9]), (1.0, 1.0))
    assert list(clusters["stations"]) == [2, 1, 1]
    np.testing.assert_allclose(clusters["longitude"], [0.15, 5.5, 9.0])
    np.testing.assert_allclose(clusters["value"], [0.4, np.nan, 0.9])


def test_waterfall_ends_at_the_rows_that_are_left(inputs: dict[str, Any]) -> None:
    steps = list(page.waterfall(inputs["qc"]))
    names = ["rows in", "sentinel", "negative", "not reference (off)", "rows out"]
    assert [step.rule for step in steps] == names
    assert [step.left for step in steps] == ["3,000", "2,500", "2,400", "2,400", "2,400"]
    assert steps[1].share_left + steps[1].share_taken == pytest.approx(100)


def test_month_panels_are_left_out_first(tmp_path: Path) -> None:
    pictures = []
    for kind in ("stations", "scatter_months", "scatter"):
        (tmp_path / f"{kind}.png").write_bytes(bytes(100))
        pictures.append(style.Picture(kind, kind, "", ""))
    assert set(rendering.embed(pictures, tmp_path, room=250)) == {"stations", "scatter"}
    assert len(rendering.embed(pictures, tmp_path, room=300)) == 3


@pytest.mark.parametrize(
    "kinds, wanted, absent",
    [
        (("cams",), ("Copernicus",), ("GEOS-CF", "Xiao")),
        (("geoscf",), ("GEOS-CF",), ("Copernicus",)),
        (("deepcams",), ("Copernicus", "Xiao"), ("GEOS-CF",)),
        ((), ("Copernicus", "GEOS-CF", "Xiao"), ()),
    ],
)
def test_credit_goes_to_the_owners_of_the_data(
    kinds: tuple[str, ...], wanted: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    content = Content(**make_inputs(60, ("cams",)))
    run = {"products": {f"p{i}": {"kind": kind} for i, kind in enumerate(kinds)}}
    content = replace(content, run=run)
    for text in (credit.line(content).source, " ".join(credit.attributions(content))):
        assert "OpenAQ" in text
        assert all(name in text for name in wanted)
        assert not any(name in text for name in absent)


@pytest.mark.parametrize(
    "value, decimals, text",
    [(1525741, 0, "1,525,741"), (-0.001, 2, "0.00"), (-1.005, 1, "-1.0"), (np.nan, 2, "—")],
)
def test_numbers_as_text(value: float, decimals: int, text: str) -> None:
    assert wording.number(value, decimals) == text


def test_product_names_never_share_a_file() -> None:
    content = Content(**make_inputs(30, ("a/b", "a b", "a_b")))
    assert list(content.file_names.values()) == ["a_b", "a_b-2", "a_b-3"]
