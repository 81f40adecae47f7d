"""The FAIRMODE indicator against a case computed by hand, and its target diagram."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deepcams_eval.core.pairs import Pairs
from deepcams_eval.evidence.fairmode import (
    percentile_90,
    quality_objective,
    station_indicators,
)
from tests.hourly_pairs import pairs_of

DAY = np.timedelta64(86_400_000_000, "us")


def daily(observed: dict[str, list[float]], estimate: dict[str, list[float]]) -> Pairs:
    parts = []
    for station, values in observed.items():
        times = np.datetime64("2019-01-01", "us") + np.arange(len(values)) * DAY
        columns = {"observed": values, "model": estimate[station]}
        parts.append(pd.DataFrame({"station_id": station, "time_start": times, **columns}))
    return pairs_of(pd.concat(parts, ignore_index=True), "model", lasting=DAY)


def test_a_case_by_hand() -> None:
    # u² = 0.36² (0.75 O² + 0.25 · 25²) = 0.1296 (0.75 O² + 156.25)
    #   O = 10: 29.97;  O = 20: 59.13;  O = 30: 107.73;  mean 65.61, so RMSU = 8.1
    # errors 3, −6, 9: mean square 42, so MQI = √42 / 16.2 = 0.40005
    row = station_indicators(daily({"a": [10, 20, 30]}, {"a": [13, 14, 39]})).iloc[0]
    assert row["rmsu"] == pytest.approx(8.1, abs=1e-12)
    assert row["mqi"] == pytest.approx(math.sqrt(42) / 16.2, abs=1e-12)
    assert row["mb"] == pytest.approx(2.0, abs=1e-12)
    # centred errors 1, −8, 7: mean square 38
    assert row["crmse"] == pytest.approx(math.sqrt(38), abs=1e-12)
    assert row["target_y"] == pytest.approx(2 / 16.2, abs=1e-12)
    # σ_O = 8.165, σ_M = 12.028, R = 0.8825: 3.863 / 8.165 = 0.473 < √(2 · 0.1175) = 0.485: left
    assert row["target_x"] == pytest.approx(-math.sqrt(38) / 16.2, abs=1e-12)


@pytest.mark.parametrize(
    ("estimate", "side"), [([28, 12, 21], -1), ([20, 20, 20.5], 1)], ids=["phase", "amplitude"]
)
def test_the_side_says_which_error_is_the_larger(estimate: list[float], side: int) -> None:
    row = station_indicators(daily({"a": [10, 20, 30]}, {"a": estimate})).iloc[0]
    assert np.sign(row["target_x"]) == side


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), min_size=2, max_size=60))
@example([(0.0, 0.0), (1.6272997268863492, 1.6272997268863492)])  # both 0 but for rounding
def test_the_distance_from_the_origin_is_the_indicator(values: list[tuple[float, float]]) -> None:
    observed, estimate = ([one[i] for one in values] for i in (0, 1))
    row = station_indicators(daily({"a": observed}, {"a": estimate})).iloc[0]
    assert math.hypot(row["target_x"], row["target_y"]) == pytest.approx(
        row["mqi"], rel=1e-6, abs=1e-6
    )
    u = [0.36 * math.sqrt(0.75 * one**2 + 0.25 * 25**2) for one in observed]
    error = [(float(np.float32(m)) - o) ** 2 for o, m in zip(observed, estimate, strict=True)]
    expected = math.sqrt(sum(error) / sum(one**2 for one in u)) / 2
    assert row["mqi"] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_percentile_of_the_guidance() -> None:
    # N = 12: 0.9 N = 10.8, S = 10, MQI(10) + 0.8 (MQI(11) − MQI(10))
    ordered = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 1.4, 2.0])
    assert percentile_90(ordered) == pytest.approx(0.9 + 0.8 * 0.5)
    assert percentile_90(np.array([0.7])) == pytest.approx(0.7)
    assert np.isnan(percentile_90(np.array([])))


def test_the_objective_leaves_short_stations_out_and_counts_them() -> None:
    rng = np.random.default_rng(5)
    observed = {f"s{i:02d}": list(rng.gamma(3, 6, 20)) for i in range(11)}
    estimate = {name: [one + 1 for one in values] for name, values in observed.items()}
    observed["short"], estimate["short"] = [10.0] * 14, [90.0] * 14  # 14 of 20 days, and far off
    stations = station_indicators(daily(observed, estimate))
    row = quality_objective(stations).iloc[0]
    assert (row["stations"], row["stations_left_out"]) == (11, 1)
    assert bool(row["fulfilled"])
    enough = {**observed, "short": [10.0] * 15}
    worse = station_indicators(daily(enough, {**estimate, "short": [90.0] * 15}))
    assert quality_objective(worse)["mqi_90"].iloc[0] > row["mqi_90"]


def test_few_days_give_no_verdict() -> None:
    observed = {f"s{i:02d}": [10.0 + i, 20.0, 30.0] for i in range(12)}
    made = quality_objective(station_indicators(daily(observed, observed)))
    assert made["stations"].iloc[0] == 12
    assert made["fulfilled"].isna().all()


def test_few_stations_give_no_verdict_and_shuffled_truth_a_worse_indicator() -> None:
    rng = np.random.default_rng(6)
    observed = {f"s{i}": list(rng.gamma(3, 9, 60)) for i in range(4)}
    close = {name: [one * 1.05 for one in values] for name, values in observed.items()}
    mixed = {name: list(rng.permutation(values)) for name, values in close.items()}
    good = station_indicators(daily(observed, close))
    assert quality_objective(good)["fulfilled"].isna().all()
    assert (station_indicators(daily(observed, mixed))["mqi"] > 2 * good["mqi"]).all()
