"""Sums and scores against definitions, NumPy and an independent package."""

from __future__ import annotations

from dataclasses import fields, replace
from unittest.mock import patch

import numpy as np
import pytest
import scores as independent
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcams_eval.score import metrics, moments
from deepcams_eval.score.moments import Moments, cross_deviation


def pairs(seed: int, n: int = 400, mean: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    observed = mean + rng.gamma(2.0, 8.0, n) - 3.0
    return observed, mean + 0.6 * (observed - mean) + rng.normal(2.0, 6.0, n)


def assert_same(left: Moments, right: Moments, rtol: float = 1e-9) -> None:
    for field in fields(Moments):
        a, b = getattr(left, field.name), getattr(right, field.name)
        scale = max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=field.name)


def test_scores_equal_their_definitions() -> None:
    o, m = pairs(1)
    sums = Moments.of(o, m)
    expected = {
        "r": np.corrcoef(o, m)[0, 1],
        "rmse": np.sqrt(np.mean((m - o) ** 2)),
        "mae": np.mean(np.abs(m - o)),
        "mb": np.mean(m - o),
        "nmb": np.sum(m - o) / np.sum(o),
        "mnmb": 2 * np.mean((m - o) / (m + o)),
        "fge": 2 * np.mean(np.abs(m - o) / (m + o)),
        "fac2": np.mean((m / o >= 0.5) & (m / o <= 2)),
        "kge": 1
        - np.sqrt(
            (np.corrcoef(o, m)[0, 1] - 1) ** 2
            + (m.mean() / o.mean() - 1) ** 2
            + (m.std() / m.mean() / (o.std() / o.mean()) - 1) ** 2
        ),
        "mse_bias": (m.mean() - o.mean()) ** 2,
        "mse_spread": (m.std() - o.std()) ** 2,
        "mse_correlation": 2 * m.std() * o.std() * (1 - np.corrcoef(o, m)[0, 1]),
        "slope": np.polyfit(o, m, 1)[0],
        "intercept": np.polyfit(o, m, 1)[1],
    }
    assert set(expected) == set(metrics.METRICS) - {"ioa"}
    for name, value in expected.items():
        assert metrics.METRICS[name](sums)[0] == pytest.approx(value, rel=1e-9), name
    parts = sum(
        metrics.METRICS[f"mse_{name}"](sums)[0] for name in ("bias", "spread", "correlation")
    )
    assert parts == pytest.approx(expected["rmse"] ** 2, rel=1e-12)


def test_scores_equal_an_independent_package() -> None:
    o, m = (xr.DataArray(values, dims="pair") for values in pairs(2))
    sums = Moments.of(o.values, m.values)
    theirs = {
        "r": independent.continuous.correlation.pearsonr(m, o),
        "rmse": independent.continuous.rmse(m, o),
        "mae": independent.continuous.mae(m, o),
        "mb": independent.continuous.additive_bias(m, o),
        "nmb": independent.continuous.pbias(m, o) / 100,
    }
    for name, value in theirs.items():
        assert metrics.METRICS[name](sums)[0] == pytest.approx(float(value), rel=1e-9), name


def test_willmott_1981_equals_its_definition() -> None:
    o, m = pairs(3)
    sums = Moments.of(o, m)
    with patch.object(moments, "_CHUNK", 37):
        cross = cross_deviation(o, m, np.zeros(len(o), dtype=int), sums.mean_o)
    potential = np.sum((np.abs(m - o.mean()) + np.abs(o - o.mean())) ** 2)
    sums = replace(sums, cross=cross)
    assert metrics.ioa(sums)[0] == pytest.approx(1 - np.sum((m - o) ** 2) / potential)


def test_shuffled_observations_score_worse() -> None:
    o, m = pairs(4, n=20_000)
    shuffled = np.random.default_rng(5).permutation(o)
    right, wrong = Moments.of(o, m), Moments.of(shuffled, m)
    assert abs(metrics.r(wrong)[0]) < 0.03
    assert metrics.r(right)[0] > 0.7
    assert metrics.rmse(wrong)[0] > 1.5 * metrics.rmse(right)[0]
    assert metrics.mae(wrong)[0] > 1.5 * metrics.mae(right)[0]


def test_factor_of_two_at_and_around_zero() -> None:
    o = np.array([0.0, 0.0, 4.0, 4.0, 4.0, -2.0, -2.0])
    m = np.array([0.0, 0.1, 8.0, 2.0, 8.1, -3.0, 1.0])
    assert metrics.fac2(Moments.of(o, m))[0] == pytest.approx(4 / 7)


def test_fractional_scores_leave_out_pairs_without_a_positive_sum() -> None:
    o, m = np.array([10.0, -3.0, 0.0, 6.0]), np.array([30.0, 3.0, 0.0, 2.0])
    sums = Moments.of(o, m)
    assert sums.n_fractional[0] == 2
    assert metrics.mnmb(sums)[0] == pytest.approx(2 * (20 / 40 - 4 / 8) / 2)
    assert metrics.fge(sums)[0] == pytest.approx(2 * (20 / 40 + 4 / 8) / 2)


@pytest.mark.parametrize(
    ("o", "m"),
    [([], []), ([7.0], [9.0]), ([7.1, 7.1, 7.1], [1.0, 2.0, 3.0]), ([1.0, 2.0], [0.3, 0.3])],
)
def test_correlation_is_undefined_without_variance(o: list[float], m: list[float]) -> None:
    assert np.isnan(metrics.r(Moments.of(np.array(o), np.array(m)))[0])


def test_an_empty_group_has_no_score() -> None:
    sums = Moments.of([3.0, 5.0], [4.0, 4.5], [2, 2], 3)
    for name, score in metrics.METRICS.items():
        assert np.isnan(score(sums)[:2]).all(), name
    assert metrics.mb(sums)[2] == pytest.approx(0.25)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Moments.of([1.0, np.nan], [1.0, 2.0])


def test_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 observed, 3 estimated"):
        Moments.of([1.0, 2.0], [1.0, 2.0, 3.0])


@given(seed=st.integers(0, 10_000), cut=st.integers(0, 400), chunk=st.integers(1, 500))
def test_merging_parts_equals_the_whole(seed: int, cut: int, chunk: int) -> None:
    o, m = pairs(seed)
    group = np.random.default_rng(seed).integers(0, 5, len(o))
    whole = Moments.of(o, m, group, 5)
    parts = Moments.of(o[:cut], m[:cut], group[:cut], 5) + Moments.of(
        o[cut:], m[cut:], group[cut:], 5
    )
    assert_same(parts, whole)
    with patch.object(moments, "_CHUNK", chunk):
        assert_same(Moments.of(o, m, group, 5), whole)


@given(seed=st.integers(0, 10_000))
def test_pooling_groups_equals_summing_at_once(seed: int) -> None:
    o, m = pairs(seed)
    rng = np.random.default_rng(seed)
    fine, label = rng.integers(0, 12, len(o)), rng.integers(0, 4, 12)
    assert_same(Moments.of(o, m, fine, 12).pool(label, 4), Moments.of(o, m, label[fine], 4))


def test_a_large_mean_does_not_cancel() -> None:
    o, m = pairs(6)
    near, far = Moments.of(o, m), Moments.of(o + 1e7, m + 1e7)
    assert metrics.r(far)[0] == pytest.approx(metrics.r(near)[0], rel=1e-7)
    halves = Moments.of(o[:200] + 1e7, m[:200] + 1e7) + Moments.of(o[200:] + 1e7, m[200:] + 1e7)
    assert metrics.r(halves)[0] == pytest.approx(metrics.r(near)[0], rel=1e-7)
    # The naive sum of squares loses every digit at this mean: this is what the test guards.
    naive = np.sum((o + 1e7).astype(np.float32) ** 2) - len(o) * np.mean(o + 1e7) ** 2
    assert abs(naive / near.ss_o[0] - 1) > 0.1


def maps(seed: int, rows: int = 23, columns: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return two float32 maps with gaps, of which one row is a gap throughout."""
    rng = np.random.default_rng(seed)
    observed = rng.gamma(2.0, 8.0, (rows, columns)).astype(np.float32)
    estimate = (observed * 0.7 + rng.normal(3.0, 4.0, observed.shape)).astype(np.float32)
    observed[rng.random(observed.shape) < 0.2] = np.nan
    estimate[rng.random(observed.shape) < 0.1] = np.nan
    estimate[4] = np.nan
    return observed, estimate


COMPUTED_BY_ROW = [field.name for field in fields(Moments)][:8]
NOT_COMPUTED_BY_ROW = [field.name for field in fields(Moments)][8:]


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), columns=st.integers(1, 60))
def test_rows_of_a_map_equal_groups_of_pairs(seed: int, columns: int) -> None:
    o, m = maps(seed, columns=columns)
    both = np.isfinite(o) & np.isfinite(m)
    by_row, by_group = Moments.of_rows(o, m), Moments.of(o[both], m[both], np.nonzero(both)[0], 23)
    for name in COMPUTED_BY_ROW:
        mine, other = getattr(by_row, name), getattr(by_group, name)
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-9, err_msg=name)
    assert by_row.n[4] == 0
    for name in NOT_COMPUTED_BY_ROW:
        assert np.isnan(getattr(by_row, name)).all(), name


def test_rows_are_summed_across_chunks() -> None:
    o, m = maps(8, rows=300, columns=700)
    sums = Moments.of_rows(o, m).pool(np.zeros(300, dtype=int), 1)
    both = np.isfinite(o) & np.isfinite(m)
    truth, guess = o[both].astype(float), m[both].astype(float)
    assert sums.n[0] == both.sum()
    assert metrics.r(sums)[0] == pytest.approx(np.corrcoef(truth, guess)[0, 1], rel=1e-12)
    assert metrics.rmse(sums)[0] == pytest.approx(np.sqrt(np.mean((guess - truth) ** 2)), rel=1e-12)
    assert np.isnan(metrics.fac2(sums)[0])
    assert np.isnan(metrics.mnmb(sums)[0])


def test_rows_leave_out_infinities_and_do_not_change_their_input() -> None:
    o = np.array([[3.0, np.inf, 5.0, np.inf], [1.0, 2.0, 4.0, 8.0]])
    m = np.array([[4.0, 1.0, -np.inf, np.inf], [1.5, 2.5, 3.5, 9.0]])
    before = o.copy(), m.copy()
    sums = Moments.of_rows(o, m)
    assert sums.n.tolist() == [1, 4]
    assert sums.absolute_error.tolist() == [1.0, 2.5]
    np.testing.assert_array_equal(o, before[0])
    np.testing.assert_array_equal(m, before[1])


@pytest.mark.parametrize(("one", "other"), [((3, 4), (4, 3)), ((5,), (5,))])
def test_rows_of_other_shapes_are_refused(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two maps of one shape"):
        Moments.of_rows(np.zeros(one), np.zeros(other))


def test_rows_with_a_large_mean_do_not_cancel() -> None:
    o, m = (values.astype(float) for values in maps(9))
    near, far = Moments.of_rows(o, m), Moments.of_rows(o + 1e7, m + 1e7)
    np.testing.assert_allclose(metrics.r(far), metrics.r(near), rtol=1e-7)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scaling_equals_repeating_the_pairs_of_a_group(seed: int) -> None:
    o, m = pairs(seed, n=60)
    rng = np.random.default_rng(seed)
    group, times = rng.integers(0, 4, len(o)), rng.integers(1, 5, 4)
    scaled = Moments.of(o, m, group, 4).scaled(times)
    again = times[group]
    assert_same(
        scaled, Moments.of(np.repeat(o, again), np.repeat(m, again), np.repeat(group, again), 4)
    )


def test_pooling_scaled_rows_gives_weighted_scores() -> None:
    o, m = maps(10)
    weights = np.random.default_rng(11).uniform(0.2, 1.8, len(o))
    sums = Moments.of_rows(o, m).scaled(weights).pool(np.zeros(len(o), dtype=int), 1)
    each = np.broadcast_to(weights[:, None], o.shape)
    both = np.isfinite(o) & np.isfinite(m)
    covariance = np.cov(o[both].astype(float), m[both].astype(float), aweights=each[both])
    expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert metrics.r(sums)[0] == pytest.approx(expected, rel=1e-10)
    error = np.abs(m[both].astype(float) - o[both])
    assert metrics.mae(sums)[0] == pytest.approx(np.average(error, weights=each[both]), rel=1e-10)
