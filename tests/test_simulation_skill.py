"""Intervals of skill from tiles of the map, against cells drawn one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from deepcams_eval.bench.checkpoints import MonthStore
from deepcams_eval.bench.frame_scores import FrameScorer, TileSums
from deepcams_eval.bench.run import simulate
from deepcams_eval.bench.skill import skill
from deepcams_eval.options import SimulationOptions
from deepcams_eval.read.product import ProductSpec
from deepcams_eval.score.intervals import draw_clusters

LATITUDE = 20.0 + np.arange(46.0)
LONGITUDE = -30.0 + np.arange(61.0)
ROWS, COLUMNS = 3, 4
"""Tiles along latitude and longitude: 46° and 61° in parts of about 15°."""

HOURS = np.array(["2020-02-29T22", "2020-03-01T01", "2020-03-01T02"], dtype="datetime64[ns]")


def tile_masks() -> list[npt.NDArray[np.bool_]]:
    """Return the cells of each tile, by a loop."""
    row = [sum(cell >= part * 46 // ROWS for part in range(1, ROWS)) for cell in range(46)]
    column = [sum(cell >= part * 61 // COLUMNS for part in range(1, COLUMNS)) for cell in range(61)]
    return [
        (np.array(row)[:, None] == one) & (np.array(column) == other)
        for one in range(ROWS)
        for other in range(COLUMNS)
    ]


@pytest.fixture(scope="module")
def errors() -> dict[str, npt.NDArray[np.float32]]:
    """Return errors of two methods at three hours, some cells missing in both."""
    rng = np.random.default_rng(3)
    size = rng.gamma(1.0, 2.0, (ROWS, COLUMNS)).repeat(16, axis=0)[:46].repeat(16, axis=1)[:, :61]
    shared = rng.normal(0, 1, (3, 46, 61))
    made = {
        "linear": size * shared,
        "better": size * (0.8 * shared + rng.normal(0, 0.3, shared.shape)),
    }
    for one in made.values():
        one[:, 10:13, 5:40] = np.nan
        one[1, :16, :16] = np.nan
    return {name: one.astype(np.float32) for name, one in made.items()}


@pytest.fixture(scope="module")
def tiles(errors: dict[str, npt.NDArray[np.float32]]) -> dict[tuple[str, str], TileSums]:
    """Return their sums by tile."""
    scorer = FrameScorer(LATITUDE, LONGITUDE)
    found = {}
    for name, maps in errors.items():
        parts = [scorer.tile_sums(hour, one) for hour, one in zip(HOURS, maps, strict=True)]
        found["temporal", name] = parts[0] + parts[1] + parts[2]
    return found


@pytest.fixture(scope="module")
def samples(errors: dict[str, npt.NDArray[np.float32]]) -> pd.DataFrame:
    """Return the samples of the same maps, the truth being anything."""
    scorer = FrameScorer(LATITUDE, LONGITUDE)
    truth = np.random.default_rng(4).gamma(2.0, 5.0, (46, 61)).astype(np.float64)
    rows = []
    for name, maps in errors.items():
        for hour, one in zip(HOURS, maps, strict=True):
            about = {"task": "temporal", "method": name, "hour_start": hour, "hours": "inserted"}
            rows += [about | scores for scores in scorer.score(truth, {"": truth + one})[""]]
    return pd.DataFrame(rows)


def test_all_tiles_together_are_the_map(
    samples: pd.DataFrame, tiles: dict[tuple[str, str], TileSums]
) -> None:
    for (method, weights), part in samples.groupby(["method", "weights"]):
        sums = tiles["temporal", str(method)]
        once = np.ones((1, ROWS * COLUMNS))
        for metric in ("rmse", "mae"):
            found = sums.resampled(metric, str(weights), HOURS, once)[0]
            assert found == pytest.approx(part[metric].to_numpy(), rel=1e-6)


def test_drawn_tiles_are_the_cells_in_them(
    errors: dict[str, npt.NDArray[np.float32]], tiles: dict[tuple[str, str], TileSums]
) -> None:
    draws = draw_clusters(ROWS * COLUMNS, 20, np.random.default_rng(5))
    found = tiles["temporal", "better"].resampled("rmse", "none", HOURS, draws)
    masks = tile_masks()
    for place, draw in enumerate(draws):
        for hour, one in enumerate(errors["better"]):
            cells = np.concatenate(
                [
                    one[mask]
                    for mask, count in zip(masks, draw, strict=True)
                    for _ in range(int(count))
                ]
            ).astype(np.float64)
            expected = np.sqrt(np.nanmean(cells**2))
            assert found[place, hour] == pytest.approx(expected, rel=1e-6)


def test_an_hour_that_is_not_there_has_no_score(
    tiles: dict[tuple[str, str], TileSums],
) -> None:
    hours = np.append(HOURS[:1], np.datetime64("2020-03-05T01", "ns"))
    found = tiles["temporal", "better"].resampled("mae", "area", hours, np.ones((1, 12)))
    assert np.isfinite(found).tolist() == [[True, False]]


def test_with_few_days_the_interval_is_that_of_tiles(
    errors: dict[str, npt.NDArray[np.float32]],
    samples: pd.DataFrame,
    tiles: dict[tuple[str, str], TileSums],
) -> None:
    table = skill(
        samples,
        {"temporal": ["linear"]},
        rng=np.random.default_rng(6),
        resamples=300,
        tiles=tiles,
    )
    row = table.query("weights == 'none' and metric == 'mae'").iloc[0]
    assert (row["resampled"], row["tiles"], row["days"]) == ("tiles", 12, 2)
    # February has one hour and March two: the mean over months is not the mean over hours.
    means = {name: np.nanmean(np.abs(one), axis=(1, 2)) for name, one in errors.items()}
    months = {name: (one[0] + one[1:].mean()) / 2 for name, one in means.items()}
    assert row["score"] == pytest.approx(months["better"], rel=1e-6)
    assert row["difference"] == pytest.approx(months["better"] - months["linear"], rel=1e-5)
    masks = tile_masks()
    rng = np.random.default_rng(7)
    drawn = []
    for _ in range(300):
        taken = [masks[one] for one in rng.integers(0, 12, 12)]
        gaps = [
            np.nanmean(np.concatenate([np.abs(errors["better"][hour][mask]) for mask in taken]))
            - np.nanmean(np.concatenate([np.abs(errors["linear"][hour][mask]) for mask in taken]))
            for hour in range(3)
        ]
        drawn.append((gaps[0] + (gaps[1] + gaps[2]) / 2) / 2)
    low, high = np.percentile(drawn, [2.5, 97.5])
    width = high - low
    assert row["difference_lo"] == pytest.approx(low, abs=0.2 * width)
    assert row["difference_hi"] == pytest.approx(high, abs=0.2 * width)
    assert row["difference_hi"] < 0


def test_without_sums_or_with_enough_days_tiles_are_not_resampled(
    samples: pd.DataFrame, tiles: dict[tuple[str, str], TileSums]
) -> None:
    baselines = {"temporal": ["linear"]}
    alone = skill(samples, baselines, rng=np.random.default_rng(8), resamples=200)
    assert alone["skill_lo"].isna().all()
    assert set(alone["resampled"]) == {"days"}
    days = [
        samples.assign(hour_start=samples["hour_start"] + pd.Timedelta(days=7 * day))
        for day in range(5)
    ]
    many = skill(
        pd.concat(days), baselines, rng=np.random.default_rng(9), resamples=200, tiles=tiles
    )
    assert set(many["resampled"]) == {"days"}
    assert (many["tiles"] == 0).all()
    assert many["skill_lo"].notna().all()


def test_four_real_hours_have_an_interval(real_data: Path, tmp_path: Path) -> None:
    files = real_data / "geoscf" / "*.mat"
    chosen = SimulationOptions(
        year=2020,
        train_years=(),
        truth=ProductSpec.parse(f"truth={files},kind=geoscf,start=2020-03-08T00:30,freq=1h"),
        task=("temporal",),
        methods=("linear", "linear-eq9", "dis"),
    )
    result = simulate(chosen, MonthStore(tmp_path / "months"))
    table = result.skill.query("weights == 'none' and baseline == 'linear'")
    table = table.set_index(["method", "metric"])
    assert set(table["tiles"]) == {288}
    # Optical flow is better than linear, and linear as printed worse, wherever one looks.
    for metric in ("rmse", "mae"):
        assert table.loc[("dis", metric), "difference_hi"] < 0
        assert table.loc[("linear-eq9", metric), "difference_lo"] > 0
