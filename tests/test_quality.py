"""Exceedances, Taylor diagram, quantiles and cycles against plain computations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scores.categorical import probability_of_detection, probability_of_false_detection

from deepcams_eval.core.pairs import Pairs
from deepcams_eval.evidence import distributions, exceedances
from deepcams_eval.evidence.questions import Given, answers
from tests.hourly_pairs import HOUR, by_station, hourly, pairs_of, years


def all_rows(pairs: Pairs) -> dict[str, np.ndarray]:
    return {name: np.isfinite(pairs.table[name].to_numpy()) for name in pairs.products}


def daily_like(
    seed: int = 0, *, stations: int = 12, days: int = 90, shuffled: bool = False
) -> Pairs:
    rng = np.random.default_rng(seed)
    level = rng.uniform(8, 40, stations)
    observed = level[:, None] * rng.lognormal(0, 0.5, (stations, days))
    estimate = observed * rng.lognormal(0, 0.2, observed.size).reshape(observed.shape)
    if shuffled:
        estimate = rng.permutation(estimate.ravel()).reshape(estimate.shape)
    times = np.datetime64("2019-01-01", "us") + np.arange(days) * 24 * HOUR
    return pairs_of(by_station(times, observed, model=estimate), "model", lasting=24 * HOUR)


def distributed(pairs: Pairs, name: str, rows: np.ndarray | None = None) -> pd.DataFrame:
    sample = all_rows(pairs) if rows is None else dict.fromkeys(pairs.products, rows)
    return distributions.answer(Given(pairs, sample, {}, pairs.products[0]))[name]


def exceeding(daily: Pairs) -> pd.DataFrame:
    given = SimpleNamespace(daily=(daily, {}))
    return exceedances.answer(given)["exceedances"]


def test_exceedances_equal_those_of_another_package() -> None:
    pairs = daily_like()
    table = exceeding(pairs).set_index("limit")
    for limit, row in table.iterrows():
        observed = xr.DataArray((pairs.table["observed"] > limit).to_numpy().astype(float))
        estimate = xr.DataArray((pairs.table["model"] > limit).to_numpy().astype(float))
        found = float(probability_of_detection(estimate, observed))
        alarm = float(probability_of_false_detection(estimate, observed))
        assert row["hit_rate"] == pytest.approx(found, abs=1e-12)
        assert row["false_alarm_rate"] == pytest.approx(alarm, abs=1e-12)
        wrong = float((estimate * (1 - observed)).sum() / estimate.sum())
        assert row["false_alarm_ratio"] == pytest.approx(wrong, abs=1e-12)
        assert row["hit_rate_lo"] < row["hit_rate"] < row["hit_rate_hi"]


def test_shuffled_days_are_found_worse() -> None:
    good = exceeding(daily_like())
    bad = exceeding(daily_like(shuffled=True))
    assert (bad["hit_rate"] < good["hit_rate_lo"]).all()
    assert (bad["false_alarm_ratio"] > good["false_alarm_ratio_hi"]).all()


def test_ratios_without_a_case_are_undefined() -> None:
    made = exceedances.ratios(np.array([[0.0, 0.0, 0.0, 7.0], [3.0, 1.0, 2.0, 4.0]]))
    assert np.isnan(made["hit_rate"][0])
    assert np.isnan(made["false_alarm_ratio"][0])
    assert made["false_alarm_rate"][0] == 0
    assert made["csi"][1] == pytest.approx(3 / 6)
    assert made["frequency_bias"][1] == pytest.approx(5 / 4)


def test_taylor_equals_numpy_and_the_law_of_cosines() -> None:
    pairs = hourly(20)
    table = distributed(pairs, "taylor").set_index("product")
    for name, row in table.iterrows():
        o = pairs.table["observed"].to_numpy()
        m = pairs.table[name].to_numpy().astype(float)
        assert row["r"] == pytest.approx(np.corrcoef(o, m)[0, 1], abs=1e-9)
        assert row["sd_o"] == pytest.approx(o.std(), rel=1e-9)
        assert row["sd_ratio"] == pytest.approx(m.std() / o.std(), rel=1e-9)
        centred = np.sqrt(np.mean(((m - m.mean()) - (o - o.mean())) ** 2))
        assert row["crmse"] == pytest.approx(centred, rel=1e-9)
        law = row["sd_o"] ** 2 + row["sd_m"] ** 2 - 2 * row["sd_o"] * row["sd_m"] * row["r"]
        assert row["crmse"] ** 2 == pytest.approx(law, rel=1e-9)


def test_quantiles_stop_where_ten_pairs_lie_beyond() -> None:
    pairs = hourly(25, stations=2)  # 1,200 pairs: 99 % leaves 12 beyond, 99.5 % six
    table = distributed(pairs, "quantiles")
    mine = table[table["product"] == "fine"]
    assert mine["percentile"].max() == 99.0
    assert mine["percentile"].min() == 1.0
    row = mine[mine["percentile"] == 95].iloc[0]
    assert row["observed"] == pytest.approx(np.quantile(pairs.table["observed"], 0.95))


def test_a_planted_cycle_comes_out_at_its_local_hour_whatever_the_levels() -> None:
    pairs = hourly(14, stations=2)
    table = pairs.table.copy()
    east = (table["station_id"] == "s1").to_numpy()
    table.loc[east, "longitude"] = 120.0  # eight hours ahead of 4° E
    local = (table["time_start"].dt.hour.to_numpy() + np.where(east, 8, 0)) % 24
    planted = 10 * np.cos(2 * np.pi * (local - 7) / 24)
    table["observed"] = np.where(east, 300.0, 20.0) + planted
    table["fine"] = (np.where(east, 20.0, 300.0) + 0.5 * planted).astype(np.float32)
    # A sample of every third UTC hour: each local hour then holds one station only.
    third = (table["time_start"].dt.hour % 3 == 0).to_numpy()
    made = distributed(Pairs(table, ("fine",)), "cycles", third)
    daily = made[made["cycle"] == "hour_local"]
    expected = 10 * np.cos(2 * np.pi * (daily["value"] - 7) / 24)
    np.testing.assert_allclose(daily["departure_o"], expected, atol=1e-9)
    np.testing.assert_allclose(daily["departure_m"], 0.5 * expected, atol=1e-4)
    assert len(daily) == 16


def test_the_day_of_the_week_is_the_local_one() -> None:
    pairs = hourly(14, stations=1, start="2018-03-05")  # a Monday
    table = pairs.table.assign(longitude=-75.0)  # five hours behind
    local = table["time_start"] - 5 * HOUR
    weekend = local.dt.day_of_week.isin([5, 6]).to_numpy()
    table["observed"] = np.where(weekend, 4.0, 11.0)
    made = distributed(Pairs(table, ("fine",)), "cycles")
    week = made[made["cycle"] == "weekday"].set_index("value")["departure_o"]
    assert week[5] == pytest.approx(week[6])
    assert week[0] - week[5] == pytest.approx(7.0)
    assert week[0] == pytest.approx(week[4])


def test_without_a_complete_day_the_rest_is_still_there() -> None:
    pairs = hourly(3)
    early = (pairs.table["time_start"].dt.hour < 6).to_numpy()
    table = pd.concat([pairs.table[early], pairs.table[~early].iloc[::9]], ignore_index=True)
    few = Pairs(table.sort_values(["station_id", "time_start"], ignore_index=True), pairs.products)
    given = Given(few, all_rows(few), years(few), "coarse")
    made = {name: frame for one in answers(given) for name, frame in one.frames.items()}
    assert made["fairmode"].empty
    assert made["exceedances"].empty
    assert len(made["taylor"]) == 2
