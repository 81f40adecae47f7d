from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from deepcams_eval.bench import figures
from deepcams_eval.bench import page as pages
from deepcams_eval.bench.files import write_report
from deepcams_eval.bench.month import Case
from deepcams_eval.bench.run import SimulationRun
from deepcams_eval.core.field import Product, make_field
from deepcams_eval.downscale.plugins import Listed
from deepcams_eval.options import SimulationOptions
from deepcams_eval.read.product import ProductSpec
from deepcams_eval.report import published, style, tables
from tests import pages as shared
from tests.pages import texts

METHODS = {
    "temporal": (
        *("nearest", "linear", "linear-eq9", "linear-sqrt", "pchip", "dis", "xvfi_a%"),
        "file:mine",
    ),
    "spatial": ("nearest", "bilinear", "bicubic", "lanczos", "bicubic-ibp", "pattern"),
    "joint": ("linear+bicubic", "dis+bicubic-ibp", "bicubic-ibp+dis"),
}
BASELINES = {
    "temporal": ("linear", "dis"),
    "spatial": ("bicubic", "bicubic-ibp"),
    "joint": ("linear+bicubic",),
}
ERROR = {
    "nearest": 3.478, "linear": 2.129, "linear-eq9": 3.817, "linear-sqrt": 2.125, "pchip": 2.05,
    "dis": 1.787, "xvfi_a%": 1.801, "file:mine": 2.6, "bilinear": 3.1, "bicubic": 2.896,
    "lanczos": 2.756, "bicubic-ibp": 2.585, "pattern": 2.44, "linear+bicubic": 3.3,
    "dis+bicubic-ibp": 2.9, "bicubic-ibp+dis": 2.95,
}  # fmt: skip
BOXES = {"regional": (-112.0, 34.0, -104.0, 40.0), "global": (170.0, 20.0, -160.0, 40.0)}


HOURS = {"temporal": ("all",), "spatial": ("all",), "joint": ("all", "kept", "inserted")}
MONTHS = [f"2020-{month:02d}" for month in range(1, 13)]


def make_grid(grid: str) -> tuple[np.ndarray, np.ndarray]:
    if grid == "regional":
        return np.arange(25.0, 49.1, 0.25), np.arange(-125.0, -82.9, 0.25)
    return np.arange(-90.0, 90.1, 2.5), np.arange(-180.0, 180.0, 2.5)


def crossed(**axes: Iterable[Any]) -> pd.DataFrame:
    """Return a row for each combination of values."""
    return pd.MultiIndex.from_product(axes.values(), names=list(axes)).to_frame(index=False)


def make_months(task: str, methods: Sequence[str], *, absent: str) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    parts = []
    for hours in HOURS[task]:
        columns = {}
        for method in methods:
            wave = 1 + 0.3 * np.cos(np.arange(1, 13) / 2)
            error = ERROR[method] * wave * rng.uniform(0.99, 1.01, 12)
            values = {"r": 1 - error / 400, "rmse": error, "mae": 0.16 * error}
            columns |= {f"{metric}_{method}": value for metric, value in values.items()}
        part = pd.DataFrame({"month": MONTHS, "hours": hours, "n": 480, **columns})
        part.loc[part["month"] == absent, list(columns)] = np.nan
        part.loc[part["month"] == absent, "n"] = 0
        average = {**part[list(columns)].mean(), "month": "average", "hours": hours, "n": 5760}
        parts += [part, pd.DataFrame([average])]
    table = pd.concat(parts, ignore_index=True)
    if task == "joint":
        return table
    theirs = published.table2() if task == "temporal" else published.table3()
    theirs = theirs.rename(columns=lambda key: key if key == "month" else f"published_{key}")
    return table.drop(columns="hours").merge(theirs, on="month", how="left")


def make_skill(task: str, methods: Sequence[str], days: int) -> pd.DataFrame:
    baselines = [name for name in BASELINES[task] if name in methods]
    table = crossed(
        task=[task], method=methods, baseline=baselines, weights=("none", "area"),
        hours=HOURS[task], metric=("rmse", "mae"),
    )  # fmt: skip
    table = table[table["method"] != table["baseline"]].reset_index(drop=True)
    rmse = table["metric"] == "rmse"
    score, other = (table[name].map(ERROR).astype(float) for name in ("method", "baseline"))
    score, other = score.where(rmse, 0.17 * score), other.where(rmse, 0.16 * other)
    place = table["method"].map(list(methods).index).astype(float)
    half = np.nan if days == 1 else 0.01 + 0.008 * place
    skill = 1 - score / other + 0.7 * (table["weights"] == "area")
    for key, value in (("difference", score - other), ("skill", skill)):
        table = table.assign(**{key: value, f"{key}_lo": value - half, f"{key}_hi": value + half})
    known = {
        "days": days,
        "samples": 16 * days,
        "resampled": "days",
        "tiles": 0,
        "blocks": days,
        "effective": 3.0,
    }
    return table.assign(score=score, baseline_score=other, **known)


def make_summary(task: str, methods: Sequence[str]) -> pd.DataFrame:
    table = crossed(
        task=[task], weights=("area", "none"), aggregate=("months", "pooled"), method=methods
    )
    error = table["method"].map(ERROR) * table["weights"].map({"area": 1.3, "none": 1.0})
    scores = {"r": 1 - error / 400, "rmse": error, "mae": error * 0.16, "p99_error": 9 * error}
    return table.assign(hours="all", n_samples=5856, mb=0.01, **scores)


def make_spectra(task: str, methods: Sequence[str], spacing: float) -> pd.DataFrame:
    edges = 2 * spacing * 2.0 ** np.arange(0, 6.0, 0.5)
    table = crossed(task=[task], method=methods, wavelength_lo_deg=edges)
    low = table["wavelength_lo_deg"]
    ratio = 1 - np.exp(-1.5 * low / spacing / table["method"].map(ERROR))
    known = {"power_truth": 1.0, "power_estimate": ratio, "ratio": ratio, "rows": 576}
    return table.assign(wavelength_hi_deg=low * 2**0.5, **known)


def make_plume(latitude: np.ndarray, longitude: np.ndarray, shift: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    x, y = np.meshgrid(longitude, latitude)
    values = 8 + 6 * np.cos(np.deg2rad(y)) ** 2 + rng.lognormal(0, 0.3, x.shape)
    span = longitude[-1] - longitude[0]
    for centre in np.linspace(longitude[0], longitude[-1], 7):
        far = ((x - centre - 2 - shift) / (span / 40)) ** 2 + ((y - 35 - centre / 30) / 4) ** 2
        values = values + 140 * np.exp(-far)
    return values.astype(np.float32)


SAID = {
    "versions": {"deepcams": "0.1.0"},
    "inputs": [{"path": "truth.nc", "bytes": 123456, "sha256": "ab" * 32}],
    "wall_time_s": 83.2,
    "peak_rss_bytes": 1_234_567_890,
}
"""What run.json says."""


def make_content(
    grid: str = "regional",
    tasks: Sequence[str] = ("temporal", "spatial", "joint"),
    *,
    methods: dict[str, tuple[str, ...]] | None = None,
    synthetic: bool = False,
    days: int = 36,
    absent: str = "2020-09",
) -> SimulationRun:
    latitude, longitude = make_grid(grid)
    chosen = {task: (methods or METHODS)[task] for task in tasks}
    months = {task: make_months(task, names, absent=absent) for task, names in chosen.items()}
    truth = make_plume(latitude, longitude, 0.0)
    hourly = make_field(
        truth[None], time=["2020-03-08T01:30"], latitude=latitude, longitude=longitude,
        stamp="point",
    )  # fmt: skip
    maps, cases = {}, []
    for task, names in chosen.items():
        for method in names:
            field = np.abs(truth - make_plume(latitude, longitude, ERROR[method] / 4))
            field[:3, :5] = np.nan
            maps[task, method] = field
        if len(names) > 1:
            baseline = BASELINES[task][0]
            pair = (baseline, [name for name in names if name != baseline][-1])
            estimates = {name: make_plume(latitude, longitude, ERROR[name] / 3) for name in pair}
            stamp = np.datetime64("2020-03-08T01:30", "us")
            cases.append(Case(task, stamp, pair, truth, estimates, BOXES[grid], 12.3456))
    counts = crossed(task=tasks, month=MONTHS).assign(expected=480)
    lost = counts["month"] == absent
    counts = counts.assign(scored=480 * ~lost, truth_absent=471 * lost, interval_incomplete=9)
    spacing = float(latitude[1] - latitude[0])
    return SimulationRun(
        options=SimulationOptions(2020, truth=ProductSpec("geoscf", "truth.nc")),
        product=Product("geoscf", hourly, "geoscf"),
        truth=hourly,
        samples=pd.DataFrame(),
        months=months,
        methods=chosen,
        summary=pd.concat([make_summary(*item) for item in chosen.items()], ignore_index=True),
        skill=pd.concat([make_skill(*one, days) for one in chosen.items()], ignore_index=True),
        spectra=pd.concat([make_spectra(*one, spacing) for one in chosen.items()]),
        counts=counts,
        available=(
            Listed("linear", "temporal", "Linear in time", "deepcams", True, "ready"),
            Listed("abpn", "spatial", "<script>alert(1)</script>", "deepcams", False, "torch"),
        ),
        error_maps=maps,
        cases=tuple(cases),
        inputs=(),
        notes=["The first map of 2021 is absent: 2 samples less."],
        synthetic=synthetic,
        command="deepcams-bench simulation --year 2020",
    )


@pytest.fixture(scope="module")
def content() -> SimulationRun:
    return make_content()


@pytest.fixture(scope="module")
def report(content: SimulationRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    steps: list[tuple[int, int]] = []
    # One task: drawing takes most of the time.
    partial = replace(content, months={"temporal": content.months["temporal"]})
    written = write_report(folder, partial, SAID, progress=lambda *step: steps.append(step))
    shared.check_steps(steps, written, folder)
    return folder


@pytest.fixture(scope="module")
def synthetic_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_report(folder, make_content("global", ("spatial",), synthetic=True), SAID)
    return folder


def drawings(content: SimulationRun) -> Iterator[style.Drawing]:
    return (draw() for draw in figures.planned_figures(content))


def drawn(content: SimulationRun) -> dict[str, style.Drawing]:
    return {drawing.name: drawing for drawing in drawings(content)}


@pytest.fixture(scope="module")
def regional() -> dict[str, style.Drawing]:
    """Figures of two tasks in a region."""
    return drawn(make_content(tasks=("temporal", "spatial")))


@pytest.fixture(scope="module")
def whole_globe() -> dict[str, style.Drawing]:
    """Figures of synthetic data on the globe."""
    return drawn(make_content("global", ("spatial",), synthetic=True))


def page_of(content: SimulationRun) -> str:
    return pages.render_page(content, [], Path(), SAID)


@pytest.fixture(scope="module")
def page(content: SimulationRun) -> str:
    return page_of(content)


def test_every_file_is_there(report: Path) -> None:
    names = {str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()}
    tables = ["temporal", "summary_temporal", "skill_temporal"]
    drawn = [f"{kind}_temporal" for kind in ("case", "months", "skill", "error_maps", "spectra")]
    wanted = {f"tables/{name}.{end}" for name in tables for end in ("csv", "md", "tex")}
    wanted |= {f"figures/{name}.{end}" for name in drawn for end in ("png", "pdf")}
    assert names == wanted | {"report.html"}


@pytest.mark.parametrize("task", list(METHODS))
def test_csv_holds_every_digit_and_the_published_columns(
    content: SimulationRun, tmp_path: Path, task: str
) -> None:
    blocks = pages.month_tables(content, task)
    path = tables.write_table(tmp_path, task, blocks, content.months[task])[0]
    read = pd.read_csv(path)
    pd.testing.assert_frame_equal(read, content.months[task], rtol=1e-14)
    theirs = [key for key in read if key.startswith("published_")]
    assert len(theirs) == (0 if task == "joint" else 6)


def html_rows(text: str, name: str) -> list[list[tuple[str, str]]]:
    table = text.split(f'id="table-{name}"')[1].split("</table>")[0].split("<tbody>")[1]
    return [
        [(attributes, value) for attributes, value in re.findall(r"<td([^>]*)>(.*?)</td>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    ]


@pytest.mark.parametrize("metric", ["r", "rmse", "mae"])
@pytest.mark.parametrize("task", list(METHODS))
def test_bold_is_the_best_of_ours_and_never_a_published_value(
    page: str, content: SimulationRun, task: str, metric: str
) -> None:
    frame = content.months[task].copy()
    rows = html_rows(page, f"{task}_{metric}")
    first = 3 if task == "joint" else 2
    count = len(METHODS[task])
    decimals = 4 if metric == "r" else 3
    seen = 0
    for cells, (_, want) in zip(rows, frame.iterrows(), strict=True):
        ours, theirs = cells[first : first + count], cells[first + count :]
        values = np.array([want[f"{metric}_{name}"] for name in METHODS[task]]).round(decimals)
        bold = ["best" in attributes for attributes, _ in ours]
        if np.isnan(values).all():
            assert [text for _, text in ours] == ["—"] * count
            assert not any(bold)
        else:
            best = values.max() if metric == "r" else values.min()
            assert bold == list(values == best)
            assert [float(text) for _, text in ours] == pytest.approx(list(values))
            seen += 1
        assert not any("best" in attributes for attributes, _ in theirs)
        assert all("aside" in attributes for attributes, _ in theirs)
        assert len(theirs) == (0 if task == "joint" else 2)
    assert seen == len(frame) - frame["n"].eq(0).sum()


@given(
    st.lists(
        st.one_of(st.just(float("nan")), st.floats(0, 2).map(lambda x: round(x, 4))),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_equal_as_printed_is_no_difference(content: SimulationRun, values: list[float]) -> None:
    names = tuple(f"m{place}" for place in range(len(values)))
    row = {"month": "average", "n": 1}
    for metric in ("r", "rmse", "mae"):
        row |= {f"{metric}_{name}": value for name, value in zip(names, values, strict=True)}
    content = replace(
        content, months={"temporal": pd.DataFrame([row])}, methods={"temporal": names}
    )
    bold = pages.month_tables(content, "temporal")[1].bold
    printed = {name: f"{x:.3f}" for name, x in zip(names, values, strict=True) if x == x}
    if len(set(printed.values())) < 2:
        assert not bold
    else:
        best = min(printed.values())
        assert {key for _, key in bold} == {f"rmse_{n}" for n, x in printed.items() if x == best}


def test_numbers_on_the_page_come_from_the_content(content: SimulationRun) -> None:
    table = content.months["spatial"].copy()
    average = table["month"] == "average"
    table.loc[average, ["rmse_lanczos", "mae_lanczos", "r_lanczos"]] = [0.7654, 0.1987, 0.98765]
    skill = content.skill.copy()
    chosen = (
        (skill["task"] == "spatial")
        & (skill["method"] == "lanczos")
        & (skill["baseline"] == "bicubic")
        & (skill["metric"] == "rmse")
        & (skill["weights"] == "none")
    )
    skill.loc[chosen, ["skill", "skill_lo", "skill_hi"]] = [0.5432, 0.4321, 0.6543]
    text = page_of(replace(content, months={**content.months, "spatial": table}, skill=skill))
    assert "lanczos has the lowest average RMSE (RMSE 0.765 µg m⁻³" in text
    assert "MAE 0.199 µg m⁻³, R 0.9876" in text or "MAE 0.199 µg m⁻³, R 0.9877" in text
    assert "+0.543 [+0.432, +0.654] against bicubic (better)" in text


def test_the_linear_interpolation_as_printed_is_compared_with_the_correct_one(
    content: SimulationRun,
) -> None:
    table = content.months["temporal"].copy()
    average = table["month"] == "average"
    table.loc[average, ["mae_linear", "mae_linear-eq9"]] = [0.339, 0.649]
    changed = replace(content, months={**content.months, "temporal": table})
    found = list(pages.sentences(changed))
    assert "has 1.91 times the MAE of the correct one (linear): 0.649 against 0.339" in found[-1]
    fewer = replace(changed, methods={**changed.methods, "temporal": ("linear", "dis")})
    assert not [line for line in pages.sentences(fewer) if "Eq. 9" in line]


def test_a_skill_whose_interval_includes_zero_does_not_differ(content: SimulationRun) -> None:
    skill = content.skill.assign(skill_lo=-0.1, skill_hi=0.2)
    line = next(iter(pages.sentences(replace(content, skill=skill))))
    assert "(does not differ from linear: the interval includes zero)" in line
    worse = content.skill.assign(skill_lo=-0.3, skill_hi=-0.1)
    line = next(iter(pages.sentences(replace(content, skill=worse))))
    assert "against linear (worse)" in line


def test_the_other_weighting_is_not_shown_as_skill(content: SimulationRun) -> None:
    table = pages.skill_table(content, "temporal")
    assert set(table.frame["weights"]) == {"none"}
    area = pages.skill_table(
        replace(content, options=replace(content.options, weights="area")), "temporal"
    )
    assert area.frame["skill"].mean() > table.frame["skill"].mean() + 0.5


def test_page_is_well_formed_and_needs_nothing_else(report: Path, synthetic_report: Path) -> None:
    for folder in (report, synthetic_report):
        text = (folder / "report.html").read_text(encoding="utf-8")
        assert shared.images_of_page(text) == 5


def test_synthetic_is_said_everywhere(
    synthetic_report: Path, whole_globe: dict[str, style.Drawing]
) -> None:
    assert shared.check_synthetic(synthetic_report) == 7
    for ending in ("md", "tex"):
        text = (synthetic_report / "tables" / f"spatial.{ending}").read_text(encoding="utf-8")
        assert text.count("SYNTHETIC data.") == 3
        assert "Published (real data; not comparable with synthetic)" in text
    text = (synthetic_report / "report.html").read_text(encoding="utf-8")
    assert "GEOS-CF" not in text
    assert len(whole_globe) == 5
    for drawing in whole_globe.values():
        assert "SYNTHETIC data" in texts(drawing.figure), drawing.name
        assert "published" not in texts(drawing.figure)


def test_synthetic_is_said_nowhere_else(report: Path, regional: dict[str, style.Drawing]) -> None:
    for path in (*(report / "tables").iterdir(), report / "report.html"):
        assert "synthetic" not in path.read_text(encoding="utf-8").lower()
    for drawing in regional.values():
        found = texts(drawing.figure)
        assert "synthetic" not in found.lower()
        assert "NASA GMAO GEOS-CF" in found
        assert re.search(r"n = [\d,]+ (hour|sample|day|row)", found), drawing.name


def test_latex_is_escaped_and_readable(report: Path) -> None:
    text = (report / "tables" / "temporal.tex").read_text(encoding="utf-8")
    body = re.sub(r"(?m)^%.*$", "", text)
    assert r"xvfi\_a\%" in body
    assert not re.search(r"(?<!\\)[%_]", body.replace(r"\label{tab:temporal_", ""))
    assert body.isascii()
    blocks = body.split(r"\begin{longtable}")[1:]
    assert len(blocks) == 3 == body.count(r"\end{longtable}")
    for block in blocks:
        columns = re.match(r"\{@\{\}([lr]+)@\{\}\}", block)
        assert columns is not None
        assert len(columns[1]) == 2 + 8 + 2
        lines = block.split(r"\endlastfoot")[1].split(r"\end{longtable}")[0].splitlines()
        rows = [line for line in lines if line.endswith(r"\\")]
        assert len(rows) == 13
        assert {row.count("&") for row in rows} == {len(columns[1]) - 1}


def test_a_month_without_samples_is_a_row_of_dashes(report: Path) -> None:
    text = (report / "tables" / "temporal.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| 2020-09 ")]
    assert len(rows) == 3
    for row in rows:
        assert row.count("—") == 8
        assert row.split("|")[2].strip() == "0"
    assert "— is undefined" in text
    assert "nan" not in text.lower()


def test_tasks_that_were_not_run_are_left_out(tmp_path: Path) -> None:
    few = make_content(tasks=("temporal",), methods={"temporal": ("linear",)})
    few = replace(few, error_maps={}, cases=[], spectra=few.spectra.iloc[:0])
    few = replace(few, skill=make_content(tasks=("temporal",)).skill.iloc[:0])
    written = write_report(tmp_path, few, SAID)
    names = {path.name for path in written}
    assert "temporal.csv" in names
    assert not any("spatial" in name or "joint" in name for name in names)
    assert [name for name in names if name.endswith(".png")] == ["months_temporal.png"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Downscaling in space" not in text
    assert "linear has the lowest average RMSE" in text
    assert "of 1 method" not in text


def test_one_day_has_no_intervals_and_says_so() -> None:
    content = make_content(tasks=("temporal",), days=1)
    text = page_of(content)
    assert "[—]" in text
    assert "No intervals: a single day was scored" in text
    caption = drawn(content)["skill_temporal"].caption
    assert "No intervals: a single day was" in caption
    assert "n = 1 day, 16 samples" in caption
    assert not pages.skill_table(content, "temporal").bold


def test_a_method_looks_the_same_in_every_figure() -> None:
    content = make_content(tasks=("joint",))
    colours: dict[str, dict[str, str]] = {}
    for drawing in drawings(content):
        lines = [line for axes in drawing.figure.axes for line in axes.get_lines()]
        if drawing.kind in ("months", "spectra"):
            colours[drawing.kind] = {str(x.get_label()): str(x.get_color()) for x in lines}
        if drawing.kind == "skill":
            names = [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]
            placed = [line for line in lines if line.get_marker() not in ("None", None, "")]
            colours["skill"] = {
                names[int(line.get_ydata()[0])]: str(line.get_color()) for line in placed
            }
    for name in METHODS["joint"][1:]:
        assert len({known[name] for known in colours.values()}) == 1
    assert len(colours) == 3


def images_of(figure: Figure) -> list[AxesImage]:
    return [image for axes in figure.axes for image in axes.get_images()]


@pytest.mark.parametrize("grid", list(BOXES))
def test_a_case_shows_the_box_and_its_error(grid: str) -> None:
    content = make_content(grid, ("temporal",))
    drawing = next(iter(drawings(content)))
    assert drawing.name == "case_temporal"
    case = content.cases[0]
    x = np.asarray(content.longitude)
    west, south, east, north = case.box
    inside = (x >= west) & (x <= east) if west < east else (x >= west) | (x <= east)
    columns = np.flatnonzero(inside)
    if west > east:
        columns = np.concatenate([columns[x[columns] >= west], columns[x[columns] < west]])
    y = np.asarray(content.latitude)
    part = np.ix_(np.flatnonzero((y >= south) & (y <= north)), columns)
    shown = images_of(drawing.figure)
    assert len(shown) == 8
    for row, name in enumerate(case.methods):
        _, box, error = shown[2 + 3 * row : 5 + 3 * row]
        estimate = np.asarray(case.estimates[name], dtype=float)
        np.testing.assert_allclose(box.get_array(), estimate[part])
        np.testing.assert_allclose(error.get_array(), (estimate - case.truth)[part], atol=1e-5)
        assert error.norm.vmin == -error.norm.vmax
    scales = [image.norm.vmax for image in (*shown[:4], *shown[5:7])]
    assert scales == pytest.approx([np.percentile(case.truth[part], 99.5)] * 6)
    found = texts(drawing.figure)
    assert "12.35 µg m⁻³" in found
    assert "2020-03-08 01:30 UTC" in found
    assert "PM2.5 (µg m⁻³)" in found


def test_a_degree_of_longitude_is_shorter_away_from_the_equator(
    regional: dict[str, style.Drawing], whole_globe: dict[str, style.Drawing]
) -> None:
    globe, region = (
        drawings["error_maps_spatial"].figure.axes[0].get_aspect()
        for drawings in (whole_globe, regional)
    )
    assert globe == 1.0
    assert region == pytest.approx(1 / np.cos(np.deg2rad(37.0)), rel=0.01)


def test_shading_ends_at_twice_the_coarse_spacing(regional: dict[str, style.Drawing]) -> None:
    assert "below 1.5°, twice the coarse spacing" in regional["spectra_spatial"].caption
    assert "coarse spacing" not in regional["spectra_temporal"].caption


@pytest.mark.parametrize(
    "kind, wanted", [("geoscf", "GEOS-CF"), ("deepcams", "Xiao"), ("generic", "run.json")]
)
def test_credit_goes_to_the_owner_of_the_truth(kind: str, wanted: str) -> None:
    content = make_content(tasks=("temporal",))
    content = replace(content, product=replace(content.product, kind=kind))
    attributions = page_of(content).split("Attribution</h3>")[1].split("</section>")[0]
    assert wanted in attributions.split("Published values")[0]
    assert ("GEOS-CF" in attributions) == (kind == "geoscf")
