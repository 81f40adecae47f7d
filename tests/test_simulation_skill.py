"""Intervals of skill from tiles of the map, against cells drawn one by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

from deepcams_eval.bench.frame_scores import FrameScorer, TileSums
from deepcams_eval.bench.skill import skill

Errors = dict[str, npt.NDArray[np.float32]]
Tiles = dict[tuple[str, str], TileSums]

BASELINES = {"temporal": ["linear"]}
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
def errors() -> Errors:
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
def tiles(errors: Errors) -> Tiles:
    """Return their sums by tile."""
    scorer = FrameScorer(LATITUDE, LONGITUDE)
    found = {}
    for name, maps in errors.items():
        parts = [scorer.tile_sums(hour, one) for hour, one in zip(HOURS, maps, strict=True)]
        found["temporal", name] = parts[0] + parts[1] + parts[2]
    return found


@pytest.fixture(scope="module")
def samples(errors: Errors) -> pd.DataFrame:
    """Return the samples of the same maps, the truth being anything."""
    scorer = FrameScorer(LATITUDE, LONGITUDE)
    truth = np.random.default_rng(4).gamma(2.0, 5.0, (46, 61)).astype(np.float64)
    rows = []
    for name, maps in errors.items():
        for hour, one in zip(HOURS, maps, strict=True):
            about = {"task": "temporal", "method": name, "hour_start": hour, "hours": "inserted"}
            rows += [about | scores for scores in scorer.score(truth, {"": truth + one})[""]]
    return pd.DataFrame(rows)


def test_all_tiles_together_are_the_map(samples: pd.DataFrame, tiles: Tiles) -> None:
    for (method, weights), part in samples.groupby(["method", "weights"]):
        sums = tiles["temporal", str(method)]
        once = np.ones((1, ROWS * COLUMNS))
        for metric in ("rmse", "mae"):
            found = sums.scores(metric, str(weights), HOURS, once)[0]
            assert found == pytest.approx(part[metric].to_numpy(), rel=1e-6)


def test_drawn_tiles_are_the_cells_in_them(errors: Errors, tiles: Tiles) -> None:
    draws = np.random.default_rng(5).integers(0, 3, (20, ROWS * COLUMNS)).astype(float)
    found = tiles["temporal", "better"].scores("rmse", "none", HOURS, draws)
    masks = tile_masks()
    for place, draw in enumerate(draws):
        for hour, one in enumerate(errors["better"]):
            drawn = zip(masks, draw, strict=True)
            cells = np.concatenate([np.tile(one[mask], int(count)) for mask, count in drawn])
            cells = cells.astype(np.float64)
            expected = np.sqrt(np.nanmean(cells**2))
            assert found[place, hour] == pytest.approx(expected, rel=1e-6)


def test_an_hour_that_is_not_there_has_no_score(tiles: Tiles) -> None:
    hours = np.append(HOURS[:1], np.datetime64("2020-03-05T01", "ns"))
    found = tiles["temporal", "better"].scores("mae", "area", hours, np.ones((1, 12)))
    assert np.isfinite(found).tolist() == [[True, False]]


def test_with_few_days_the_interval_is_that_of_tiles(
    errors: Errors, samples: pd.DataFrame, tiles: Tiles
) -> None:
    table = skill(samples, BASELINES, tiles=tiles)
    row = table.query("weights == 'none' and metric == 'mae'").iloc[0]
    assert (row["resampled"], row["tiles"], row["days"]) == ("tiles", 12, 2)
    # February has one hour and March two: the mean over months is not the mean over hours.
    means = {name: np.nanmean(np.abs(one), axis=(1, 2)) for name, one in errors.items()}
    months = {name: (one[0] + one[1:].mean()) / 2 for name, one in means.items()}
    assert row["score"] == pytest.approx(months["better"], rel=1e-6)
    assert row["difference"] == pytest.approx(months["better"] - months["linear"], rel=1e-5)
    without = []
    for left_out in tile_masks():
        better, linear = (
            np.nanmean(np.abs(one[:, ~left_out]), axis=1)
            for one in (errors["better"], errors["linear"])
        )
        gaps = better - linear
        without.append((gaps[0] + (gaps[1] + gaps[2]) / 2) / 2)
    away = np.array(without) - row["difference"]
    # Tiles are of nearly one size here, so that this is the variance of the jackknife.
    reach = stats.t.ppf(0.975, 11) * np.sqrt(11 / 12 * np.sum(away**2))
    assert row["difference_hi"] - row["difference"] == pytest.approx(reach, rel=0.1)
    assert row["effective"] == pytest.approx(np.abs(away).sum() ** 2 / np.sum(away**2), rel=1e-3)
    assert row["largest_three"] == pytest.approx(
        np.sort(np.abs(away))[-3:].sum() / np.abs(away).sum(), rel=1e-3
    )
    assert row["difference_hi"] < 0


def test_without_sums_or_with_enough_days_tiles_are_not_resampled(
    samples: pd.DataFrame, tiles: Tiles
) -> None:
    alone = skill(samples, BASELINES)
    assert alone["skill_lo"].isna().all()
    assert set(alone["resampled"]) == {"days"}
    days = [
        samples.assign(hour_start=samples["hour_start"] + pd.Timedelta(days=7 * day))
        for day in range(5)
    ]
    many = pd.concat(days)
    many = skill(many, BASELINES, tiles=tiles)
    assert set(many["resampled"]) == {"days"}
    assert (many["tiles"] == 0).all()
    assert many["skill_lo"].notna().all()
