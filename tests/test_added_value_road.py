"""Added value from files to verdicts: the synthetic archive, real files, and the commands."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from deepcams_eval.core.field import Product, make_field
from deepcams_eval.core.observations import Observations
from deepcams_eval.demo import DemoSettings, demo_archive
from deepcams_eval.evidence.added_value import answer
from deepcams_eval.evidence.questions import Given
from deepcams_eval.evidence.references import make_references
from deepcams_eval.evidence.run import InsituRun
from deepcams_eval.options import InsituOptions
from deepcams_eval.read.layout import find_data
from deepcams_eval.saved import SavedPairs, read_pairs
from deepcams_eval.validation import insitu
from tests.fields import observations

BICUBIC = "linear+bicubic:cams"
FRAMES = {
    "information",
    "added_value",
    "within_cell",
    "diurnal",
    "diurnal_cycle",
    "spectra",
    "verdicts",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Twelve days, of which a verdict needs ten.
    settings = DemoSettings.small(
        years=(2019,), months=(1, 3, 7, 10), days_per_month=3, stations=60
    )
    return demo_archive(settings, cache=tmp_path_factory.mktemp("cache"), workers=1)


def options_of(root: Path, *more: str, added_value: bool = True) -> InsituOptions:
    """Cams and the product with real detail, and what else is named."""
    found = find_data(root)
    chosen = [spec for spec in found.products if spec.name in ("cams", "deepcams")]
    return InsituOptions(
        2019,
        observations=found.observations,
        stations=found.stations,
        products=(*chosen, *more),
        added_value=added_value,
    )


@pytest.fixture(scope="module")
def result(root: Path) -> InsituRun:
    return insitu(options_of(root, f"flat={root / 'deepcams_without'}"))


@pytest.fixture(scope="module")
def run(result: InsituRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that run, whole."""
    folder = tmp_path_factory.mktemp("run")
    replace(result, synthetic=True).write(folder)
    return folder


@pytest.fixture(scope="module")
def plain(root: Path) -> InsituRun:
    """The same without the references."""
    return insitu(options_of(root, f"flat={root / 'deepcams_without'}", added_value=False))


def test_real_detail_is_told_from_detail_of_elsewhere(result: InsituRun) -> None:
    frames = result.answers[0].frames
    table = frames["verdicts"].set_index(["product", "question", "reference"]).sort_index()
    assert table.loc[("deepcams", "new information", BICUBIC), "verdict"] == "better"
    assert not (table.loc["deepcams", "verdict"] == "worse").any()
    assert not table.loc["flat", "verdict"].isin(["better", "smoother"]).any()
    # Alike in variance: what tells them apart is whether it is the right one.
    short = frames["spectra"].set_index(["product", "band"]).sort_index().xs("2-6 h", level="band")
    assert short.loc["flat", "ratio"] > short.loc["flat", "reference_ratio"]
    assert short.loc["flat", "r"] < short.loc["deepcams", "r"]


def test_the_page_shows_verdicts_tables_and_figures(run: Path) -> None:
    page = html.unescape((run / "report.html").read_text())
    section = page[page.index('<section id="added_value">') : page.index('<section id="tables">')]
    assert "Did downscaling add anything?" in section
    assert "SYNTHETIC" in section
    for sentence in pd.read_csv(run / "verdicts.csv")["sentence"]:
        assert sentence in section
    for name in ("added_value", "diurnal_cycle", "spectra"):
        assert f'id="figure-{name}"' in section
        assert page.count(f'id="figure-{name}"') == 1
        assert (run / "figures" / f"{name}.pdf").stat().st_size > 0
    for name in ("verdicts", "information", "added_value", "within_cell", "diurnal", "spectra"):
        assert f'id="table-{name}"' in section
        assert (run / "tables" / f"{name}.tex").is_file()
    assert "wrong with at most 2.5 %" in section


def test_references_change_no_score_and_no_pair(result: InsituRun, plain: InsituRun) -> None:
    for name in ("scores", "differences"):
        pd.testing.assert_frame_equal(getattr(result, name), getattr(plain, name))
    pd.testing.assert_frame_equal(result.lags, plain.lags)
    pd.testing.assert_frame_equal(result.coverage, plain.coverage)
    assert result.run["counts"] == plain.run["counts"]
    assert result.run["products"] == plain.run["products"]
    assert result.hourly.products == ("cams", "deepcams", "flat")
    ours, theirs = result.pairs, plain.pairs
    assert set(ours.columns) - set(theirs.columns) == {"linear:cams", BICUBIC}
    pd.testing.assert_frame_equal(ours[list(theirs.columns)], theirs)
    assert "added_value" not in plain.evidence


def test_references_interpolate_the_parent(root: Path, result: InsituRun) -> None:
    named = insitu(options_of(root, "hourly=linear:cams"))
    assert named.references == {"linear:cams": "hourly", BICUBIC: BICUBIC}
    keys = ["station_id", "time_start", "time_end", "observed"]
    ours, theirs = (one.pairs.astype({"station_id": "str"}) for one in (result, named))
    both = ours.merge(theirs.drop_duplicates(keys), on=keys)
    assert len(both) > 10_000
    np.testing.assert_array_equal(both["linear:cams"], both["hourly"])
    kept = both["cams_x"].notna()
    assert 0.2 < kept.mean() < 0.5
    np.testing.assert_array_equal(both.loc[kept, "linear:cams"], both.loc[kept, "cams_x"])


def evidence_of(saved: SavedPairs) -> dict[str, pd.DataFrame]:
    given = Given(
        saved.pairs,
        rows={},
        years={},
        baseline="cams",
        references=saved.references,
        grids=saved.grids,
    )
    return dict(answer(given) or {})


def test_the_evidence_can_be_made_again_from_the_pairs(run: Path, result: InsituRun) -> None:
    again = evidence_of(read_pairs([run / "pairs.parquet"]))
    assert set(again) == FRAMES
    for name, frame in result.answers[0].frames.items():
        pd.testing.assert_frame_equal(again[name], frame)
        assert (run / f"{name}.csv").is_file()


def test_pairs_of_an_older_run_have_none(run: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(run / "pairs.parquet").drop(columns=["linear:cams", BICUBIC])
    for name in ("references", "grids", "added_value"):
        del table.attrs[name]
    table.to_parquet(tmp_path / "pairs.parquet", index=False)
    saved = read_pairs([tmp_path / "pairs.parquet"])
    assert saved.references == saved.grids == {}
    assert evidence_of(saved) == {}


def test_runs_on_other_grids_have_none_together(run: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(run / "pairs.parquet")
    early = (table["time_start"].dt.month < 6).to_numpy()
    files = []
    for name, rows in (("one", early), ("two", ~early)):
        part = table[rows].reset_index(drop=True)
        part.attrs = json.loads(json.dumps(table.attrs))
        files.append(tmp_path / f"{name}.parquet")
        part.to_parquet(files[-1], index=False)
    # On the same grids the two make the evidence of the whole.
    whole = evidence_of(read_pairs([run / "pairs.parquet"]))
    pd.testing.assert_frame_equal(evidence_of(read_pairs(files))["verdicts"], whole["verdicts"])
    part.attrs["grids"]["cams"]["latitude"][0] -= 0.25
    part.to_parquet(files[-1], index=False)
    assert evidence_of(read_pairs(files)) == {}


def test_detail_of_elsewhere_is_as_large_and_leaves_the_rest_alone(root: Path) -> None:
    manifest = json.loads((root / "demo.json").read_text())
    assert manifest["archive_version"] == "2"
    assert {spec.name for spec in find_data(root).products} == {"cams", "deepcams", "geoscf"}
    name = "2019-03.nc"
    with (
        xr.open_dataset(root / "deepcams" / f"deepcams_{name}") as real,
        xr.open_dataset(root / "deepcams_without" / f"deepcams_without_{name}") as wrong,
        xr.open_dataset(root / "cams" / f"eac4_{name}") as coarse,
    ):
        assert real["pm25"].attrs == wrong["pm25"].attrs
        assert float(wrong["pm25"].min()) >= 0
        nodes = {"time": slice(None, None, 3), "latitude": slice(None, None, 3)}
        nodes["longitude"] = slice(None, None, 3)
        at_nodes = coarse["pm2p5"].sortby("latitude").values * 1e9
        away = [one["pm25"].isel(nodes).values - at_nodes for one in (real, wrong)]
    # On the nodes themselves, where no interpolation is needed to see it.
    assert np.std(away[1]) == pytest.approx(np.std(away[0]), rel=0.25)
    assert abs(np.corrcoef(away[0].ravel(), away[1].ravel())[0, 1]) < 0.3


def coarse_product(name: str = "cams", *, stamp: str = "point", rows: int = 4) -> Product:
    times = np.datetime64("2018-01-01", "us") + np.arange(8) * np.timedelta64(3, "h")
    latitude, longitude = 50 + 0.75 * np.arange(rows), 3 + 0.75 * np.arange(5)
    data = np.random.default_rng(0).gamma(2, 8, (8, rows, 5)).astype(np.float32)
    bounds = np.stack([times - np.timedelta64(3, "h"), times], axis=1) if stamp == "mean" else None
    field = make_field(
        data, time=times, latitude=latitude, longitude=longitude, stamp=stamp, bounds=bounds
    )
    return Product(name, field, "cams")


def fine_product() -> Product:
    field = coarse_product(rows=10).field
    fine = field.assign_coords(
        latitude=50 + 0.25 * np.arange(10), longitude=3.5 + 0.25 * np.arange(5)
    )
    return Product("fine", fine, "generic")


def seen_at(latitude: float, flags: int = 0) -> Observations:
    made = observations(["2018-01-01T01"], [5.0], ["a"], {"a": (latitude, 4.0)})
    return made.with_table(made.table.assign(flags=flags))


def test_references_are_made_only_where_they_can_be_used() -> None:
    products = [coarse_product(), fine_product()]
    made = make_references(products, {}, "cams", seen_at(50.4))
    assert [one.name for one in made.products] == ["linear:cams", BICUBIC]
    assert made.products[1].field.sizes["latitude"] == 10
    assert made.notes == []
    # Named by the user already: nothing is made twice.
    named = make_references(products, {"fine": ("linear", "cams")}, "cams", seen_at(50.4))
    assert named.columns == {"linear:cams": "fine", BICUBIC: BICUBIC}
    assert [one.name for one in named.products] == [BICUBIC]
    # The refined grid ends at the outermost nodes, the coarse cell half a cell beyond.
    edge = make_references(products, {}, "cams", seen_at(49.7))
    assert [one.name for one in edge.products] == ["linear:cams"]
    assert edge.notes == [f"{BICUBIC} is no reference: no station lies on its grid."]
    flagged = make_references(products, {}, "cams", seen_at(50.4, flags=1))
    assert flagged.products == ()
    alone = make_references(products[:1], {}, "cams", seen_at(50.4))
    assert alone.columns == {}


def test_means_cannot_be_interpolated_and_it_is_said() -> None:
    products = [coarse_product(stamp="mean"), fine_product()]
    made = make_references(products, {}, "cams", seen_at(50.4))
    assert made.products == ()
    assert len(made.notes) == 2
    assert "linear:cams could not be made as a reference" in made.notes[0]


@pytest.mark.parametrize(
    ("year", "seen", "stations", "lacks"),
    [
        (2019, "air_quality_long.csv", "air_quality_long_stations.csv", "1 station (at least 10"),
        (2018, "realtime-2018-02-06", None, "1 day"),
    ],
)
def test_real_files_are_too_small_a_sample(
    real_data: Path, year: int, seen: str, stations: str | None, lacks: str
) -> None:
    folder = real_data / "openaq"
    cams = f"cams={real_data / 'cams' / f'eac4_ixelles_{year}.nc'}"
    given = {"observations": folder / seen, "stations": stations and folder / stations}
    result = insitu(InsituOptions(year, **given, products=(cams, "fine=linear+bicubic:cams")))
    rows = result.answers[0].frames["verdicts"]
    assert set(rows["verdict"]) == {"too small"}
    kept = rows.loc[rows["question"] == "analysis hours", "sentence"].iloc[0]
    assert kept.startswith("On analysis hours too small a sample for a verdict on fine against")
    assert lacks in kept
    # The command prints these sentences.
    assert kept in result.lines()
