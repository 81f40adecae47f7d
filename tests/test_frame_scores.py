"""Scores and spectra of one map against plain loops, definitions and an independent package."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scores as independent
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat
from scipy.ndimage import uniform_filter1d

from deepcams_eval.bench.frame_scores import FrameScorer
from deepcams_eval.bench.spectra import SpectralSums, ZonalSpectrum
from deepcams_eval.core.sphere import row_weights
from deepcams_eval.errors import InputError

GLOBAL_LATITUDE = np.linspace(-90.0, 90.0, 721)
GLOBAL_LONGITUDE = -180.0 + 0.25 * np.arange(1440)


def region(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return latitude, longitude, truth and estimate of a small region, with gaps in both."""
    rng = np.random.default_rng(seed)
    latitude, longitude = 58.0 + 1.5 * np.arange(21), -20.0 + 1.5 * np.arange(40)
    truth = rng.gamma(1.5, 12.0, (21, 40)).astype(np.float32)
    estimate = (0.8 * truth + rng.normal(4.0, 5.0, truth.shape)).astype(np.float32)
    truth[rng.random(truth.shape) < 0.05] = np.nan
    estimate[rng.random(truth.shape) < 0.05] = np.nan
    return latitude, longitude, truth, estimate


def by_hand(truth: np.ndarray, estimate: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Return the scores from their definitions, cell by cell."""
    limit = np.percentile(truth[np.isfinite(truth)].astype(float), 99)
    cells = [
        (float(o), float(m), float(weights[row]))
        for row, (ours, theirs) in enumerate(zip(truth, estimate, strict=True))
        for o, m in zip(ours, theirs, strict=True)
        if math.isfinite(o) and math.isfinite(m)
    ]

    def mean(values: list[tuple[float, float]]) -> float:
        return math.fsum(v * w for v, w in values) / math.fsum(w for _, w in values)

    mean_o, mean_m = mean([(o, w) for o, _, w in cells]), mean([(m, w) for _, m, w in cells])
    var_o = mean([((o - mean_o) ** 2, w) for o, _, w in cells])
    var_m = mean([((m - mean_m) ** 2, w) for _, m, w in cells])
    both = mean([((o - mean_o) * (m - mean_m), w) for o, m, w in cells])
    square = mean([((m - o) ** 2, w) for o, m, w in cells])
    return {
        "n": len(cells),
        "weight": math.fsum(w for *_, w in cells),
        "r": both / math.sqrt(var_o * var_m),
        "rmse": math.sqrt(square),
        "mae": mean([(abs(m - o), w) for o, m, w in cells]),
        "mb": mean_m - mean_o,
        "p99_error": math.sqrt(mean([((m - o) ** 2, w) for o, m, w in cells if o > limit])),
        "weight_p99": math.fsum(w for o, _, w in cells if o > limit),
        "mean_truth": mean_o,
        "mean_estimate": mean_m,
        "var_truth": var_o,
        "var_estimate": var_m,
        "covariance": both,
        "square_error": square,
        "absolute_error": mean([(abs(m - o), w) for o, m, w in cells]),
    }


def score(
    latitude: np.ndarray, longitude: np.ndarray, truth: np.ndarray, estimate: np.ndarray
) -> dict[str, dict[str, float]]:
    scorer = FrameScorer(latitude, longitude)
    found = scorer.score(truth, {"one": estimate})["one"]
    return {str(one.pop("weights")): one for one in found}


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_scores_equal_loops_over_cells(seed: int) -> None:
    latitude, longitude, truth, estimate = region(seed)
    found = score(latitude, longitude, truth, estimate)
    # Rows of this region differ in area by the cosine; the row on the pole has half a cell.
    edges = np.clip(np.append(latitude - 0.75, latitude[-1] + 0.75), -90, 90)
    area = np.diff(np.sin(np.radians(edges)))
    for name, weights in (("none", np.ones(21)), ("area", area / area.mean())):
        expected = by_hand(truth, estimate, weights)
        assert found[name].keys() == expected.keys()
        for key, value in expected.items():
            assert found[name][key] == pytest.approx(value, rel=1e-9, abs=1e-9), (name, key)


def test_a_map_computed_by_hand() -> None:
    # Rows at 0 and 60 degrees, 60 degrees apart: edges -30, 30 and 90, so areas 1 and 1/2.
    truth = np.array([[2.0, 4.0, 6.0], [8.0, np.nan, 10.0]])
    estimate = np.array([[3.0, 4.0, 3.0], [8.0, 1.0, 4.0]])
    found = score(np.array([0.0, 60.0]), np.array([0.0, 60.0, 120.0]), truth, estimate)
    plain, area = found["none"], found["area"]
    assert plain["n"] == area["n"] == 5
    # Errors 1, 0, -3, 0, -6 with weights 2, 2, 2, 1, 1 (in half cells).
    assert plain["mb"] == pytest.approx(-8 / 5)
    assert plain["mae"] == pytest.approx(2.0)
    assert plain["rmse"] == pytest.approx(math.sqrt(46 / 5))
    assert area["mb"] == pytest.approx(-10 / 8)
    assert area["mae"] == pytest.approx(14 / 8)
    assert area["rmse"] == pytest.approx(math.sqrt((2 + 18 + 36) / 8))
    assert area["mean_truth"] == pytest.approx((24 + 18) / 8)
    assert area["weight"] == pytest.approx(4 * 4 / 3)
    # The 99th percentile is 9.92: one cell above it.
    assert plain["p99_error"] == area["p99_error"] == pytest.approx(6.0)
    assert plain["weight_p99"] == 1


def test_scores_equal_an_independent_package() -> None:
    latitude, longitude, truth, estimate = region(3)
    found = score(latitude, longitude, truth, estimate)
    o, m = (
        xr.DataArray(one.astype(float), dims=("y", "x"), coords={"y": latitude})
        for one in (truth, estimate)
    )
    weights = xr.DataArray(row_weights(latitude), dims="y", coords={"y": latitude})
    theirs = independent.continuous
    for weighting, name, value in (
        ("none", "r", theirs.correlation.pearsonr(m, o)),
        ("none", "rmse", theirs.rmse(m, o)),
        ("area", "mae", theirs.mae(m, o, weights=weights)),
        ("area", "rmse", theirs.rmse(m, o, weights=weights)),
    ):
        assert found[weighting][name] == pytest.approx(float(value))


def test_shuffled_truth_scores_worse() -> None:
    latitude, longitude, truth, estimate = region(4)
    shuffled = np.random.default_rng(5).permutation(truth.ravel()).reshape(truth.shape)
    right = score(latitude, longitude, truth, estimate)
    wrong = score(latitude, longitude, shuffled, estimate)
    for weights in ("none", "area"):
        assert wrong[weights]["r"] < 0.3 < 0.9 < right[weights]["r"]
        for name in ("rmse", "mae", "p99_error"):
            assert wrong[weights][name] > 1.5 * right[weights][name]


def test_an_estimate_without_values_has_no_score() -> None:
    latitude, longitude, truth, estimate = region(6)
    for one, other in ((truth, estimate * np.nan), (truth * np.nan, estimate)):
        for found in score(latitude, longitude, one, other).values():
            assert found.pop("n") == 0
            assert found.pop("weight") == found.pop("weight_p99") == 0
            assert np.isnan(list(found.values())).all()


def test_high_cells_that_the_estimate_lacks_are_left_out() -> None:
    latitude, longitude, truth, estimate = region(7)
    highest = np.unravel_index(np.nanargmax(truth), truth.shape)
    estimate[:] = np.where(np.isfinite(truth), truth + 2.0, np.nan)
    estimate[highest] = np.nan
    before = score(latitude, longitude, truth, np.nan_to_num(estimate, nan=1e6))
    after = score(latitude, longitude, truth, estimate)
    assert after["none"]["p99_error"] == pytest.approx(2.0, rel=1e-6)
    assert after["none"]["weight_p99"] == before["none"]["weight_p99"] - 1


def test_two_cells_on_a_pole_are_two_cells() -> None:
    # By area alone they weigh less than one cell, and R would be undefined.
    truth = np.full((721, 8), np.nan)
    truth[0, :3] = 1.0, 2.0, 4.0
    found = score(GLOBAL_LATITUDE, np.arange(8) * 45.0 - 180, truth, 3 * truth + 1)
    assert found["area"]["weight"] < 0.01
    assert found["area"]["n"] == 3
    assert found["area"]["r"] == pytest.approx(1.0)


def test_a_map_on_another_grid_is_refused() -> None:
    latitude, longitude, truth, estimate = region(8)
    scorer = FrameScorer(latitude, longitude)
    with pytest.raises(InputError, match=r"\(40, 21\) is not on the grid of \(21, 40\)"):
        scorer.score(truth.T, {})
    with pytest.raises(InputError, match="not on the grid"):
        scorer.score(truth, {"one": estimate[:, 1:]})


def test_area_weights_of_the_globe() -> None:
    weights = row_weights(GLOBAL_LATITUDE)
    assert weights.mean() == pytest.approx(1.0, abs=1e-13)
    # sin(90) − sin(89.875) for the half cell on the pole; all rows together span 2.
    pole = 1 - math.sin(math.radians(89.875))
    assert weights[0] == pytest.approx(pole / 2 * 721, rel=1e-9)
    assert weights[0] == pytest.approx(weights[-1], rel=1e-9)
    cosine = np.cos(np.radians(GLOBAL_LATITUDE))[1:-1]
    ratio = weights[1:-1] / cosine
    np.testing.assert_allclose(ratio, ratio[360], rtol=1e-9)
    assert row_weights(np.array([35.0])).tolist() == [1.0]


def test_real_maps_by_cell_area(real_data: Path) -> None:
    first, second = (
        loadmat(real_data / "geoscf" / name)["data"][::-1] for name in ("01.mat", "02.mat")
    )
    found = score(GLOBAL_LATITUDE, GLOBAL_LONGITUDE, first, second)
    assert found["none"]["r"] == pytest.approx(
        np.corrcoef(first.ravel(), second.ravel())[0, 1], rel=1e-9
    )
    assert found["none"]["mae"] == pytest.approx(np.abs(second - first).mean(), rel=1e-9)
    # Plumes lie away from the poles, whose cells are small.
    assert found["area"]["mae"] > 1.2 * found["none"]["mae"]


def spectrum_of(
    longitude: np.ndarray, truth: np.ndarray, estimate: np.ndarray
) -> tuple[ZonalSpectrum, SpectralSums]:
    spectrum = ZonalSpectrum(longitude)
    return spectrum, SpectralSums.of(spectrum.by_row(truth), spectrum.by_row(estimate))


def test_power_of_a_row_is_its_variance() -> None:
    rng = np.random.default_rng(12)
    for columns in (360, 361, 9):
        longitude = -180.0 + 360.0 / columns * np.arange(columns)
        frame = 40 + 7 * rng.normal(size=(30, columns))
        power = ZonalSpectrum(longitude).by_row(frame)
        np.testing.assert_allclose(power.sum(axis=1), frame.var(axis=1), rtol=1e-5)


def test_power_of_a_regional_row_is_its_variance_on_average() -> None:
    longitude = -20.0 + 0.25 * np.arange(200)
    trend = 3.0 * np.arange(200)
    frame = np.random.default_rng(13).normal(size=(600, 200)) + trend
    assert ZonalSpectrum(longitude).by_row(frame).sum(axis=1).mean() == pytest.approx(1, abs=0.03)
    # The trend alone has next to no power, where a cyclic transform would see a jump.
    assert ZonalSpectrum(longitude).by_row(trend[None, :] + 5.0).sum() < 1e-6


@pytest.mark.parametrize("columns", [1440, 600])
def test_white_noise_of_one_strength_has_ratio_one(columns: int) -> None:
    longitude = -180.0 + 0.25 * np.arange(columns)
    rng = np.random.default_rng(14)
    spectrum, sums = spectrum_of(longitude, *rng.normal(size=(2, 200, columns)))
    table = spectrum.table(sums)
    assert table["ratio"].iloc[:6].to_numpy() == pytest.approx(np.ones(6), abs=0.06)
    # Twice the amplitude is four times the power.
    frame = rng.normal(size=(5, columns))
    ratio = spectrum.table(spectrum_of(longitude, frame, 2 * frame)[1])["ratio"]
    assert ratio.to_numpy() == pytest.approx(np.full(len(ratio), 4.0), rel=1e-5)


def test_smoothing_takes_power_from_the_smallest_scales() -> None:
    frame = np.random.default_rng(15).normal(size=(60, 1440))
    smooth = uniform_filter1d(frame, 3, axis=1, mode="wrap")
    spectrum, sums = spectrum_of(GLOBAL_LONGITUDE, frame, smooth)
    table = spectrum.table(sums)
    assert (table.loc[table["wavelength_hi_deg"] <= 1.0, "ratio"] < 0.3).all()
    assert table["ratio"].iloc[-1] == pytest.approx(1.0, abs=0.01)
    # The response of a mean of three at a wavelength of L steps is (1 + 2 cos(2π/L)) / 3.
    at_four, at_six = ((1 + 2 * math.cos(2 * math.pi / steps)) ** 2 / 9 for steps in (4, 6))
    four_to_six = table[table["wavelength_lo_deg"] == 1.0].iloc[0]
    assert at_four < four_to_six["ratio"] < at_six


@pytest.mark.parametrize(
    ("columns", "waves"), [(1440, 720), (1440, 480), (1440, 360), (1440, 240), (1440, 1), (600, 75)]
)
def test_a_pure_wave_falls_in_its_bin(columns: int, waves: int) -> None:
    longitude = -180.0 + 0.25 * np.arange(columns)
    wave = 3 * np.cos(2 * np.pi * waves * np.arange(columns) / columns)
    spectrum = ZonalSpectrum(longitude)
    power = spectrum.by_row(wave[None, :])[0]
    length = columns / waves
    inside = (spectrum.lower_steps <= length) & (length < spectrum.upper_steps)
    inside[-1] |= length == columns
    assert inside.sum() == 1
    # A Hann window spreads a wave over three wave numbers, some of them across an edge.
    share = 0.999 if columns == 1440 else 0.6
    assert power[inside][0] > share * wave.var()
    assert power.sum() == pytest.approx(wave.var(), rel=1e-3 if columns == 1440 else 0.1)


@settings(deadline=None, max_examples=30)
@given(columns=st.integers(4, 1500))
def test_every_wavelength_is_in_one_bin(columns: int) -> None:
    spectrum = ZonalSpectrum(np.arange(columns) * 0.1)
    lower, upper = spectrum.lower_steps, spectrum.upper_steps
    assert (lower[1:] >= upper[:-1]).all()
    for number in range(1, columns // 2 + 1):
        length = columns / number
        last = length == columns
        assert ((lower <= length) & ((length < upper) | last & (upper == columns))).sum() == 1


def test_rows_with_a_gap_in_either_are_left_out_of_both() -> None:
    truth, estimate = np.random.default_rng(16).normal(size=(2, 40, 360))
    longitude = np.arange(360) - 180.0
    whole = spectrum_of(longitude, truth[5:37], estimate[5:37])[1]
    truth[:5, 3], estimate[37:, 7] = np.nan, np.inf
    spectrum, sums = spectrum_of(longitude, truth, estimate)
    assert (sums.rows, sums.left_out) == (32, 8)
    np.testing.assert_allclose(sums.truth, whole.truth)
    np.testing.assert_allclose(sums.estimate, whole.estimate)
    nothing = spectrum_of(longitude, truth * np.nan, estimate)[1]
    assert spectrum.table(nothing)[["power_truth", "ratio"]].isna().all(axis=None)


def test_spectra_of_parts_add_up_to_the_whole() -> None:
    truth, estimate = np.random.default_rng(17).normal(size=(2, 40, 100))
    longitude = np.arange(100) * 0.5
    spectrum, whole = spectrum_of(longitude, truth, estimate)
    parts = [spectrum_of(longitude, truth[i : i + 10], estimate[i : i + 10])[1] for i in (30, 0)]
    middle = spectrum_of(longitude, truth[10:30], estimate[10:30])[1]
    left, right = spectrum.table(whole), spectrum.table(parts[0] + (parts[1] + middle))
    np.testing.assert_allclose(left.to_numpy(float), right.to_numpy(float), rtol=1e-6)


def test_a_frame_of_other_columns_is_refused() -> None:
    with pytest.raises(InputError, match="too few for a spectrum"):
        ZonalSpectrum(np.arange(3.0))
    with pytest.raises(InputError, match="has not the 8 columns"):
        ZonalSpectrum(np.arange(8.0)).by_row(np.zeros((2, 9)))
