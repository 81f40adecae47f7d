"""The synthetic archive as it is shipped: does it resemble the real frames?"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest

from deepcams_eval.demo import DemoSettings, demo_archive
from deepcams_eval.demo.faults import KEPT, PER_BLOCK
from deepcams_eval.demo.stations import COPIES

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "nature_run.py"


@pytest.fixture(scope="module")
def nature_run():
    pytest.importorskip("cv2", reason="the flow comparison needs opencv-python-headless")
    spec = importlib.util.spec_from_file_location("nature_run", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The archive; test processes share that of whichever made it first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return demo_archive(cache=shared / "full")


@pytest.fixture(scope="module")
def real(nature_run, real_data):
    result = nature_run.Resemblance()
    result.add_case(nature_run.real_frames(real_data / "geoscf")[:, :720], wrap=True)
    return result


@pytest.fixture(scope="module")
def figures(nature_run, root):
    return nature_run.measure_demo(root, every=24)


def test_size(root):
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert size == pytest.approx(457e6, rel=0.02)


@pytest.mark.parametrize(
    "name", ["reversed / linear MAE", "flow / linear MAE", "back-projection / bicubic RMSE"]
)
def test_ratios_lie_in_their_bands(nature_run, figures, name):
    low, high = nature_run.BANDS[name]
    assert low <= figures[name] <= high


def test_skewness_is_of_the_order_of_the_real_frames(figures, real):
    expected = real.table()
    for name in ("median", "99th percentile", "maximum"):
        print(f"{name}: demo {figures[name]:.3g}, real {expected[name]:.3g} ug m-3")
    for name in ("99th percentile / median", "maximum / 99th percentile"):
        assert 0.1 < figures[name] / expected[name] < 10


def test_methods_give_the_known_figures_on_real_frames(real):
    mean = {name: np.mean(values) for name, values in real.sums.items()}
    assert mean["linear"] == pytest.approx(0.339, abs=0.002)
    assert mean["reversed"] == pytest.approx(0.649, abs=0.002)
    assert mean["flow"] == pytest.approx(0.237, abs=0.005)
    assert mean["bicubic"] == pytest.approx(2.898, abs=0.002)
    assert mean["backprojection"] == pytest.approx(2.586, abs=0.002)


def test_every_month_and_both_ends_of_every_gap_are_there(root):
    settings = DemoSettings()
    for block in settings.blocks:
        with netCDF4.Dataset(root / "truth" / f"pm25_{block.name}.nc") as data:
            assert len(data["time"]) == block.hours + 1
            assert data["pm25"].shape[1:] == (len(settings.latitude), len(settings.longitude))
    files = list((root / "geoscf").iterdir())
    assert len(files) == 3 * 12 * 72


def test_values_are_concentrations_that_instruments_can_report(root):
    worst = 0.0
    for path in sorted((root / "truth").glob("pm25_*.nc")):
        with netCDF4.Dataset(path) as data:
            values = data["pm25"][:].filled(np.nan)
        assert np.isfinite(values).all()
        assert values.min() >= 0
        worst = max(worst, float(values.max()))
    assert 100 < worst < 1000


def test_planted_numbers(root):
    planted = json.loads((root / "demo.json").read_text())["planted"]
    blocks = len(DemoSettings().blocks)
    for fault, count in PER_BLOCK.items():
        assert planted[fault] == blocks * count
    assert planted["duplicate_monitor"] > COPIES * blocks * 60


def test_clean_records_do_not_look_like_faults(root):
    table = pd.read_parquet(root / "truth" / "stations.parquet")
    clean = table[table["fault"].isin(["", *KEPT]) & (table["averaging_hours"] == 1)]
    assert len(clean) > 350_000
    odd = (clean["value"] < -5) | (clean["value"] > 1000)
    same = clean["value"].eq(clean["value"].shift()) & clean["station_id"].eq(
        clean["station_id"].shift()
    )
    run = same.groupby((~same).cumsum()).transform("sum") + 1
    odd |= run >= 24
    assert odd.mean() <= 0.001
    assert (clean["value"] < 0).any()


def test_models_are_as_good_as_real_ones_and_in_the_right_order(root):
    """R against stations of about 0.5 to 0.7 at 3-hourly instants; the finer product is better."""
    table = pd.read_parquet(root / "truth" / "stations.parquet")
    table = table[(table["fault"] == "") & table["station_id"].str.isdigit()]
    stations = pd.read_csv(root / "openaq" / "stations.csv", dtype={"location_id": str})
    place = stations.drop_duplicates("location_id").set_index("location_id")
    found = {"cams": [], "deepcams": []}
    for path in sorted((root / "cams").glob("eac4_201*.nc")):
        month = path.stem.removeprefix("eac4_")
        with (
            netCDF4.Dataset(path) as coarse,
            netCDF4.Dataset(root / "deepcams" / f"deepcams_{month}.nc") as fine,
        ):
            hours = pd.Timestamp("1900-01-01") + pd.to_timedelta(coarse["time"][:], unit="h")
            rows = table[table["true_end"].isin(hours)]
            north = rows["station_id"].map(place["latitude"]).to_numpy()
            east = rows["station_id"].map(place["longitude"]).to_numpy()
            step = hours.get_indexer(rows["true_end"])
            for name, latitude, longitude, values, stride in (
                ("cams", coarse["latitude"], coarse["longitude"], coarse["pm2p5"][:] * 1e9, 1),
                ("deepcams", fine["latitude"], fine["longitude"], fine["pm25"][:], 3),
            ):
                i = np.abs(north[:, None] - latitude[:]).argmin(axis=1)
                j = np.abs(east[:, None] - longitude[:]).argmin(axis=1)
                found[name].append(np.stack([rows["value"], values[step * stride, i, j]]))
    scores = {}
    for name, pairs in found.items():
        scores[name] = float(np.corrcoef(np.concatenate(pairs, axis=1))[0, 1])
    print(scores)
    assert 0.5 < scores["cams"] < 0.7
    assert scores["cams"] + 0.01 < scores["deepcams"] < 0.8
