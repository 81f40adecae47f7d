"""Intervals by leaving out clusters, against the definition and against known populations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepcams_eval.score import metrics
from deepcams_eval.score.day_blocks import runs_of_days
from deepcams_eval.score.intervals import Clusters, Estimate, estimates, holm
from deepcams_eval.score.metrics import HEADLINE_METRICS, METRICS, Metric
from deepcams_eval.score.moments import Moments


def stations(
    seed: int, count: int, *, hours: int = 40, unequal: bool = False, bias: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return observed, estimate and station of a sample whose stations have levels of their own."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 4 * hours, count) if unequal else np.full(count, hours)
    station = np.repeat(np.arange(count), sizes)
    observed = rng.gamma(4.0, 5.0, len(station)) + rng.normal(0, 3, count)[station]
    estimate = observed + bias + rng.normal(0, 2, count)[station] + rng.normal(0, 4, len(station))
    return observed, estimate, station


def differences(ours: Moments, theirs: Moments, scores: dict[str, Metric]) -> dict[str, np.ndarray]:
    """Return those of stations that each stand in a box of their own."""
    return Clusters(np.arange(len(ours.n))).differences(ours, theirs, scores)


def sums_of(observed: np.ndarray, estimate: np.ndarray, station: np.ndarray) -> Moments:
    return Moments.of(observed, estimate, station, int(station.max()) + 1).reshape(-1, 1)


@given(seed=st.integers(0, 10_000))
def test_each_station_is_left_out_in_turn(seed: int) -> None:
    o, m, station = stations(seed, 7, unequal=True)
    found = estimates(sums_of(o, m, station), METRICS)
    for name, score in METRICS.items():
        if "cross" in score.needs:
            continue
        for one in range(7):
            kept = station != one
            expected = score(Moments.of(o[kept], m[kept]))[0]
            assert found[name].without[one, 0] == pytest.approx(expected, rel=1e-7), name


def test_a_large_mean_does_not_cancel() -> None:
    o, m, station = stations(1, 6)
    near, far = (
        estimates(sums_of(o + shift, m + shift, station), HEADLINE_METRICS)["r"]
        for shift in (0.0, 1e7)
    )
    np.testing.assert_allclose(far.without, near.without, rtol=1e-6)


def test_stations_of_one_length_give_the_t_interval_of_their_means() -> None:
    o, m, station = stations(2, 12)
    found = estimates(sums_of(o, m, station), {"mb": METRICS["mb"]})["mb"]
    means = (m - o).reshape(12, -1).mean(axis=1)
    expected = stats.t.interval(0.95, 11, means.mean(), stats.sem(means))
    np.testing.assert_allclose(np.ravel(found.interval()), expected, rtol=1e-9)
    assert found.freedom == pytest.approx([11])


@pytest.mark.parametrize("seed", range(3))
def test_the_degrees_of_freedom_are_those_of_bell_and_mccaffrey(seed: int) -> None:
    size = np.random.default_rng(seed).integers(1, 500, 9).astype(float)
    share = size / size.sum()
    rows = (np.eye(9) - share) * (share / np.sqrt(1 - share))[:, None]
    form = rows @ rows.T
    expected = np.trace(form) ** 2 / np.sum(form * form)
    one = Estimate(np.zeros(1), np.zeros((9, 1)), size[:, None])
    assert one.freedom == pytest.approx([expected])
    assert (one - one).freedom == pytest.approx([size.sum() ** 2 / np.sum(size**2) - 1])


def test_an_absent_station_changes_nothing() -> None:
    o, m, station = stations(3, 8)
    sums = sums_of(o, m, station)
    more = Moments.joined([sums.reshape(-1), Moments.empty(4)]).reshape(-1, 1)
    for name, one in estimates(sums, HEADLINE_METRICS).items():
        other = estimates(more, HEADLINE_METRICS)[name]
        np.testing.assert_allclose(one.interval(), other.interval(), rtol=1e-9)
        assert other.clusters == 8


def test_few_stations_give_no_interval() -> None:
    for count, known in ((4, False), (5, True)):
        o, m, station = stations(4, count)
        low, high = estimates(sums_of(o, m, station), HEADLINE_METRICS)["mae"].interval()
        assert np.isfinite(low[0]) == np.isfinite(high[0]) == known


def test_a_perfect_product_has_an_interval_of_no_width() -> None:
    o, _, station = stations(5, 9)
    found = estimates(sums_of(o, o, station), HEADLINE_METRICS)
    for name, value in (("r", 1.0), ("rmse", 0.0), ("mae", 0.0)):
        np.testing.assert_allclose(np.ravel(found[name].interval()), value, atol=1e-12)


def test_the_ends_stay_in_the_range_of_the_score() -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        o, m, station = stations(int(rng.integers(1 << 30)), 5, hours=3)
        found = estimates(sums_of(o, m, station), HEADLINE_METRICS)
        assert found["rmse"].interval()[0][0] > 0
        assert np.all(np.abs(found["r"].interval()) <= 1)


def test_differences_are_paired() -> None:
    o, m, station = stations(7, 15)
    other = m + 0.2
    step = differences(sums_of(o, other, station), sums_of(o, m, station), HEADLINE_METRICS)
    assert step["n"] == len(o)
    assert step["stations"] == 15
    for name in HEADLINE_METRICS:
        assert step[f"d_{name}"] == step[name] - step[f"reference_{name}"]
    alone = np.ptp(estimates(sums_of(o, m, station), HEADLINE_METRICS)["mae"].interval())
    assert step["d_mae_hi"] - step["d_mae_lo"] < 0.2 * alone


def test_exchanging_the_products_turns_the_interval_round() -> None:
    o, m, station = stations(8, 9, unequal=True)
    ours, theirs = sums_of(o, m, station), sums_of(o, 0.8 * m + 3, station)
    one, other = (differences(*pair, HEADLINE_METRICS) for pair in ((ours, theirs), (theirs, ours)))
    for name in HEADLINE_METRICS:
        assert one[f"d_{name}_lo"] == pytest.approx(-other[f"d_{name}_hi"])


@pytest.mark.parametrize("count", [5, 10, 40])
@pytest.mark.parametrize("unequal", [False, True])
def test_intervals_cover_the_score_of_the_population(count: int, unequal: bool) -> None:
    o, m, station = stations(9, 4000, unequal=unequal)
    sums = sums_of(o, m, station)
    other = sums_of(o, 2 * o + 2 - m, station)
    rng = np.random.default_rng(count)
    drawn = rng.integers(0, 4000, (count, 6000))
    ours, theirs = (one.map(lambda values: values[drawn, 0]) for one in (sums, other))
    found, against = (estimates(one, HEADLINE_METRICS) for one in (ours, theirs))
    for name, score in HEADLINE_METRICS.items():
        low, high = found[name].interval()
        truth = score(sums.merged())[0]
        # The mean of squares is skew: with few stations its interval is too short, which is told.
        least = 0.88 if name == "rmse" else 0.92
        assert np.mean((low <= truth) & (truth <= high)) >= least, name
        low, high = (found[name] - against[name]).interval()
        truth -= score(other.merged())[0]
        assert np.mean((low <= truth) & (truth <= high)) >= 0.92, name


def test_a_probability_agrees_with_its_interval() -> None:
    o, m, station = stations(10, 11)
    one = estimates(sums_of(o, m, station), {"mb": METRICS["mb"]})["mb"]
    low, _ = one.interval()
    assert one.p_above(float(low[0])) == pytest.approx([0.025])
    assert one.p_above(float(one.value[0])) == pytest.approx([0.5])


def test_holm_by_hand() -> None:
    found = holm([0.01, 0.04, np.nan, 0.03, 0.5])
    np.testing.assert_allclose(found, [0.04, 0.09, np.nan, 0.09, 0.5])
    assert holm([0.4, 0.9, 0.8]).max() == 1.0


def test_sums_of_any_kind_are_left_out_alike() -> None:
    rng = np.random.default_rng(11)
    counts = rng.integers(1, 9, (6, 2)).astype(float)
    box = np.array([0, 0, 1, 2, 2, 2])
    made = Clusters(box).of_sums(
        lambda sums: {"ratio": sums[:, :1] / sums[:, 1:]}, counts, counts.sum(axis=1), {}
    )
    by_station, by_box = made["ratio"].ways
    for way, label in ((by_station, np.arange(6)), (by_box, box)):
        for place in np.unique(label):
            rest = counts[label != place].sum(axis=0)
            assert way.without[place, 0] == pytest.approx(rest[0] / rest[1])


class TestRunsOfDays:
    def test_a_gap_ends_a_block(self) -> None:
        days = np.array(["2019-01-14", "2019-01-15", "2019-01-16", "2019-02-14"], "datetime64[D]")
        assert runs_of_days(days, 7).tolist() == [0, 0, 0, 1]

    @given(length=st.integers(1, 40), missing=st.sets(st.integers(0, 199), max_size=60))
    def test_blocks_are_runs_of_about_that_length(self, length: int, missing: set[int]) -> None:
        all_days = np.datetime64("2020-01-01") + np.arange(200)
        days = np.delete(all_days, sorted(missing))
        block = runs_of_days(days, length)
        assert set(np.diff(block)) <= {0, 1}
        for one in np.unique(block):
            mine = days[block == one]
            assert np.all(np.diff(mine) == np.timedelta64(1, "D"))
            assert len(mine) <= 1.5 * length + 1


def test_shuffled_truth_is_covered_no_better() -> None:
    o, m, station = stations(12, 60)
    rng = np.random.default_rng(13)
    own = estimates(sums_of(o, m, station), HEADLINE_METRICS)["r"]
    lost = estimates(sums_of(rng.permutation(o), m, station), HEADLINE_METRICS)["r"]
    assert lost.interval()[1] < own.interval()[0]
    assert metrics.r(sums_of(o, m, station).merged()) == own.value
