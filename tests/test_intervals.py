"""Intervals against a plain resampling of the pairs themselves."""

from __future__ import annotations

import numpy as np
import pytest

from deepcams_eval.score import intervals, metrics
from deepcams_eval.score.moments import Moments


def clustered(seed: int, stations: int = 30, hours: int = 50):
    rng = np.random.default_rng(seed)
    station = np.repeat(np.arange(stations), hours)
    observed = 15 + rng.normal(0, 4, stations)[station] + rng.gamma(2, 3, len(station))
    estimate = 4 + 0.7 * observed + rng.normal(0, 3, stations)[station]
    return station, observed, estimate + rng.normal(0, 2, len(station))


def test_each_resample_equals_scoring_the_drawn_pairs() -> None:
    station, o, m = clustered(1)
    sums = Moments.of(o, m, station, 30).reshape(30, 1)
    draws = intervals.draw_clusters(30, 20, np.random.default_rng(2))
    resampled = intervals.resample(sums, draws, metrics.HEADLINE_METRICS)
    for which, draw in enumerate(draws):
        rows = np.concatenate(
            [np.flatnonzero(station == one) for one in np.repeat(np.arange(30), draw.astype(int))]
        )
        error = m[rows] - o[rows]
        assert resampled["r"][which, 0] == pytest.approx(np.corrcoef(o[rows], m[rows])[0, 1])
        assert resampled["rmse"][which, 0] == pytest.approx(np.sqrt(np.mean(error**2)))
        assert resampled["mae"][which, 0] == pytest.approx(np.mean(np.abs(error)))


def test_stations_are_drawn_whole_and_as_many_as_there_are() -> None:
    draws = intervals.draw_clusters(17, 300, np.random.default_rng(3))
    assert (draws.sum(axis=1) == 17).all()
    assert draws.mean() == pytest.approx(1.0)
    assert (draws == 0).any()


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(120):
        station, o, m = clustered(seed, stations=40, hours=10)
        sums = Moments.of(o, m, station, 40).reshape(40, 1)
        draws = intervals.draw_clusters(40, 300, np.random.default_rng(seed))
        low, high = intervals.percentile_interval(
            intervals.resample(sums, draws, {"mb": metrics.mb})["mb"], np.array([40])
        )
        # E[M − O] = 4 − 0.3 E[O] with E[O] = 15 + 6.
        covered += bool(low[0] <= 4 - 0.3 * 21 <= high[0])
    assert 0.88 <= covered / 120 <= 0.99


def test_hours_of_one_station_do_not_narrow_the_interval() -> None:
    station, o, m = clustered(7, stations=25, hours=40)
    draws = intervals.draw_clusters(25, 800, np.random.default_rng(8))

    def width(times: int) -> float:
        sums = Moments.of(
            np.repeat(o, times), np.repeat(m, times), np.repeat(station, times), 25
        ).reshape(25, 1)
        resampled = intervals.resample(sums, draws, metrics.HEADLINE_METRICS)["rmse"]
        low, high = intervals.percentile_interval(resampled, np.array([25]))
        return float(high[0] - low[0])

    assert width(9) == pytest.approx(width(1))


def test_few_stations_or_scores_that_most_resamples_lack_give_no_interval() -> None:
    resampled = np.random.default_rng(9).normal(size=(200, 3))
    resampled[:30, 2] = np.nan
    low, high = intervals.percentile_interval(resampled, np.array([4, 5, 50]))
    assert np.isnan([low[0], high[0], low[2], high[2]]).all()
    assert low[1] < 0 < high[1]
