"""The synthetic archive through the whole road: what was planted is found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepcams_eval.cli.evaluate import main
from deepcams_eval.demo import DemoSettings, demo_archive
from deepcams_eval.evidence.run import InsituRun
from deepcams_eval.options import InsituOptions
from deepcams_eval.pair.qc import RULES
from deepcams_eval.read.layout import find_data
from deepcams_eval.score import metrics
from deepcams_eval.score.moments import Moments
from deepcams_eval.validation import insitu
from tests.commands import call

RULE_OF = {
    "sentinel": "sentinel",
    "large_negative": "negative",
    "above_limit": "above_limit",
    "daily_mean": "averaging_period",
    "zero_coordinates": "coordinates",
    "no_coordinates": "coordinates",
    "exact_duplicate": "duplicate",
    "re_reported": "duplicate",
    "duplicate_monitor": "duplicate_monitor",
    "stuck": "stuck",
    "mobile": "mobile",
}
LEFT_IN = ("small_negative", "late")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Longer than the smallest archive: a share of 0.1 % of clean rows needs some rows.
    settings = DemoSettings.small(months=(1, 3, 7, 10), days_per_month=3, stations=20)
    return demo_archive(settings, cache=tmp_path_factory.mktemp("cache"), workers=1)


@pytest.fixture(scope="module")
def result(root: Path) -> InsituRun:
    found = find_data(root)
    return insitu(
        InsituOptions(
            (2019, 2020),
            observations=found.observations,
            stations=found.stations,
            products=found.products,
        )
    )


@pytest.fixture(scope="module")
def planted(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "truth" / "planted.parquet")


@pytest.fixture(scope="module")
def judged(result: InsituRun) -> pd.DataFrame:
    """Rows with their flags, keyed as the tables of the truth are."""
    table = result.observations.table
    return pd.DataFrame(
        {
            "sensor_id": table["sensor_id"].astype(str),
            "time_end": table["time_end"].astype("datetime64[ms]"),
            "value": table["value"],
            "flags": table["flags"],
        }
    )


@pytest.mark.parametrize("fault", sorted(RULE_OF))
def test_every_planted_fault_is_found(
    fault: str, judged: pd.DataFrame, planted: pd.DataFrame
) -> None:
    rows = planted[planted["fault"] == fault]
    assert len(rows) > 0
    found = rows.merge(judged, on=["sensor_id", "time_end", "value"], how="left")
    hit = (found["flags"].fillna(0).astype(int) & RULES[RULE_OF[fault]].bit) != 0
    # Of two equal records one is kept: each planted one must match one that is flagged.
    assert found[hit].drop_duplicates(["sensor_id", "time_end", "value"]).shape[0] == len(rows)


def test_the_cut_file_is_reported_and_none_of_its_rows_used(
    result: InsituRun, judged: pd.DataFrame, planted: pd.DataFrame
) -> None:
    cut = planted[planted["fault"] == "cut_file"]
    assert len(cut) > 0
    assert len(result.observations.damaged) > 0
    assert cut.merge(judged, on=["sensor_id", "time_end"]).empty


def test_clean_rows_and_true_small_negatives_are_left_in(root: Path, judged: pd.DataFrame) -> None:
    stations = pd.read_parquet(root / "truth" / "stations.parquet")
    clean = stations[stations["fault"].isin(("", *LEFT_IN))]
    found = clean.merge(judged, on=["sensor_id", "time_end", "value"], how="left")
    kept = found.groupby(["sensor_id", "time_end"])["flags"].min()
    assert (kept != 0).mean() <= 0.001
    negatives = clean[clean["fault"] == "small_negative"]
    assert (negatives.merge(judged, on=["sensor_id", "time_end", "value"])["flags"] == 0).all()


def test_scores_equal_those_of_the_truth(root: Path, result: InsituRun) -> None:
    """The hourly means are the truth, so pairing them must give back what the stations saw."""
    stations = pd.read_parquet(root / "truth" / "stations.parquet")
    on_time = stations[(stations["fault"] == "") & (stations["averaging_hours"] == 1)]
    pairs = result.pairs.dropna(subset=["geoscf"])
    pairs = pairs.assign(
        station_id=pairs["station_id"].astype(str),
        time_end=pairs["time_end"].astype("datetime64[ms]"),
    )
    both = pairs.merge(on_time, on=["station_id", "time_end"])
    assert len(both) > 5_000
    np.testing.assert_array_equal(both["observed"], both["value"])
    np.testing.assert_allclose(both["geoscf"], both["truth"], rtol=1e-6)
    sums = Moments.of(both["observed"], both["geoscf"])
    error = both["truth"] - both["value"]
    assert metrics.r(sums)[0] == pytest.approx(np.corrcoef(both["truth"], both["value"])[0, 1])
    assert metrics.rmse(sums)[0] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert metrics.mae(sums)[0] == pytest.approx(np.mean(np.abs(error)))


def test_a_part_of_the_archive_is_known_to_be_synthetic(root: Path, tmp_path: Path) -> None:
    station = sorted((root / "openaq").glob("locationid=*"))[0]
    arguments = [
        *("openaq", "--years", "2019", "--observations", station, "--product"),
        *(f"cams={root / 'cams'}", "--product", "hourly=linear:cams", "--out", "out"),
    ]
    printed = call(main, arguments, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert "SYNTHETIC" in printed.stdout
    assert "SYNTHETIC" in (tmp_path / "out" / "report.html").read_text()
    for path in [*(tmp_path / "out").glob("*.csv"), *(tmp_path / "out" / "tables").iterdir()]:
        assert "SYNTHETIC" in path.read_text(), path.name


def test_products_rank_as_they_were_made(result: InsituRun) -> None:
    shown = result.scores.query("stratum == 'all' and sample == 'common'")
    r = shown.set_index("product")["r"]
    assert r["geoscf"] > r["deepcams"] > r["cams"] > 0.2


def test_shuffled_observations_score_nothing(result: InsituRun) -> None:
    pairs = result.pairs.dropna(subset=["geoscf"])
    shuffled = np.random.default_rng(0).permutation(pairs["observed"])
    assert abs(np.corrcoef(shuffled, pairs["geoscf"])[0, 1]) < 0.05
    assert np.corrcoef(pairs["observed"], pairs["geoscf"])[0, 1] > 0.5
