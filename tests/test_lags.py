"""Time lags: planted ones are found, and none where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.errors import InputError
from deepcams_eval.evidence.lags import LAG_COLUMNS, LAGS_H, fewest_stations, lag_notes, lag_table
from deepcams_eval.pair.selection import shift_times
from tests.fields import observations
from tests.hourly_pairs import HOUR, by_station, pairs_of

HOURS = 120
START = np.datetime64("2018-01-01", "us")


def make_pairs(
    late: dict[str, int],
    *,
    stations: int = 10,
    seed: int = 0,
    step: int = 1,
    product_late: int = 0,
    shuffled: bool = False,
) -> tuple[Pairs, dict[str, str]]:
    """Return pairs and providers; the stamps of each provider are late by so many hours."""
    rng = np.random.default_rng(seed)
    names = [f"{provider}-{number:02d}" for provider in late for number in range(stations)]
    at = np.arange(HOURS) + 24
    observed, model = [], []
    for name in names:
        noise = rng.normal(size=HOURS + 48)
        truth = signal.lfilter([1], [1, -0.8], noise)
        mine = rng.uniform(0, 200) + 5 * truth[at - late[name[0]]] + rng.normal(0, 1, HOURS)
        observed.append(rng.permutation(mine) if shuffled else mine)
        model.append(20 + 4 * truth[at - product_late])
    times = START + np.arange(HOURS) * HOUR
    table = by_station(times, np.array(observed), model=np.array(model))
    table["station_id"] = np.repeat(names, HOURS)
    kept = (np.arange(len(table)) % HOURS) % step == 0
    return pairs_of(table[kept].reset_index(drop=True), "model"), {one: one[0] for one in names}


def lags(pairs: Pairs, providers: dict[str, str]) -> pd.DataFrame:
    return lag_table(pairs, providers)


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    columns = ["best_lag_h", "significant", "apart"]
    return table.groupby("provider")[columns].first()


@pytest.mark.parametrize(
    ("late", "product_late", "best", "significant", "apart", "said"),
    [
        ((0, 1, 0), 0, [0, -1, 0], [0, 1, 0], [0, 1, 0], ("1 h too late", "--shift 'B=-1h'")),
        ((0, -2, 0), 0, [0, 2, 0], [0, 1, 0], [0, 1, 0], ("B: ", "2 h too early")),
        # A late product is not held against its providers.
        ((0, 0, 0), 1, [1] * 3, [1] * 3, [0] * 3, ("model: providers", "a lag of +1 h (A, B, C)")),
        # The best lag of one is +2, that of the others +1: all differ from 0.
        ((0, -1, 0, 0), 1, [1, 2, 1, 1], [1] * 4, [0, 1, 0, 0], ("B: ",)),
        # One alone cannot tell who is off.
        ((1,), 0, [-1], [1], [0], ("nothing tells which",)),
    ],
)
def test_a_late_provider_is_told_from_the_others(
    late: tuple[int, ...],
    product_late: int,
    best: list[int],
    significant: list[int],
    apart: list[int],
    said: tuple[str, ...],
) -> None:
    table = lags(*make_pairs(dict(zip("ABCD", late, strict=False)), product_late=product_late))
    assert list(table.columns) == list(LAG_COLUMNS)
    assert list(table["lag_h"][:7]) == list(LAGS_H)
    found = verdicts(table)
    assert list(found["best_lag_h"]) == best
    assert list(found["significant"]) == significant
    assert list(found["apart"]) == apart
    assert table["others_best_lag_h"].isna().all() == (len(late) == 1)
    assert all(part in lag_notes(table)[0] for part in said)


def test_false_alarms_are_rare_where_time_means_nothing() -> None:
    # 80 verdicts on series without any order: 5 % of them are 4, and 12 would be 4 sigma more.
    alarms = 0
    for seed in range(20):
        shuffled = make_pairs(dict.fromkeys("ABCD", 0), stations=8, seed=seed, shuffled=True)
        alarms += int(verdicts(lags(*shuffled))["significant"].sum())
    assert alarms < 12


def test_without_a_shift_nothing_is_significant() -> None:
    for seed in range(10):
        table = lags(*make_pairs({"A": 0, "B": 0}, seed=seed))
        assert not table["significant"].any()
        assert lag_notes(table) == []


def test_correlations_equal_numpy() -> None:
    pairs, providers = make_pairs({"A": 0, "B": 1}, stations=6)
    rng = np.random.default_rng(5)
    gaps = pairs.table[rng.random(len(pairs)) > 0.2].copy()
    gaps.loc[gaps.index[rng.random(len(gaps)) < 0.1], "model"] = np.nan
    mixed = Pairs(gaps.sample(frac=1, random_state=3).reset_index(drop=True), ("model",))
    table = lags(mixed, providers).set_index(["provider", "lag_h"])
    for provider in ("A", "B"):
        for lag in LAGS_H:
            o_all, m_all, before = [], [], []
            for station in [one for one, of in providers.items() if of == provider]:
                mine = gaps[gaps["station_id"] == station].set_index("time_start")
                there = mine["model"].copy()
                there.index = there.index - pd.Timedelta(hours=lag)
                both = pd.DataFrame({"o": mine["observed"], "m0": mine["model"], "m": there})
                both = both.dropna().astype(float)
                both -= both.mean()
                o_all.append(both["o"])
                m_all.append(both["m"])
                before.append(both["m0"])
            o, m, m0 = (np.concatenate(one) for one in (o_all, m_all, before))
            row = table.loc[(provider, lag)]
            assert row["n"] == len(o)
            r, r0 = np.corrcoef(o, m)[0, 1], np.corrcoef(o, m0)[0, 1]
            assert row["r"] == pytest.approx(r, abs=1e-9)
            assert row["d_r"] == pytest.approx(r - r0, abs=1e-9)


def test_a_three_hourly_product_has_three_lags() -> None:
    table = lags(*make_pairs({"A": 0, "B": 0}, step=3))
    known = table["r"].notna()
    assert set(table["lag_h"][known]) == {-3, 0, 3}
    assert (table["n"][~known] == 0).all()
    assert table.loc[~known, ["r_lo", "r_hi", "d_r", "d_r_lo", "d_r_hi"]].isna().all(axis=None)
    late = lags(*make_pairs({"A": 0, "B": 3, "C": 0}, step=3))
    assert verdicts(late).loc["B", "best_lag_h"] == -3
    assert verdicts(late).loc["B", "apart"]


def test_a_three_hourly_product_among_hourly_pairs_has_three_lags_too() -> None:
    pairs, providers = make_pairs({"A": 0, "B": 0})
    off = pairs.table["time_start"].dt.hour % 3 != 0
    table = lags(
        Pairs(pairs.table.assign(model=pairs.table["model"].mask(off)), ("model",)), providers
    )
    assert set(table["lag_h"][table["r"].notna()]) == {-3, 0, 3}


@pytest.mark.parametrize("stations", [1, 4, 5, 7])
def test_few_stations_give_no_verdict(stations: int) -> None:
    table = lags(*make_pairs({"A": 0, "B": 1}, stations=stations))
    bounds = table.loc[table["lag_h"] != 0, ["r_lo", "r_hi", "d_r_lo", "d_r_hi"]]
    assert bounds.isna().all(axis=None) == (stations < 5)
    assert bounds.notna().all(axis=None) == (stations >= 5)
    assert verdicts(table).loc["B", "best_lag_h"] == -1
    assert not table["significant"].any()


def test_the_fewest_stations_follow_from_the_number_of_lags() -> None:
    assert [fewest_stations(lags) for lags in (1, 2, 6)] == [6, 7, 8]
    for number in (1, 2, 6):
        least = fewest_stations(number)
        assert 2.0**-least <= 0.025 / number < 2.0 ** -(least - 1)


@settings(max_examples=15)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=12, max_size=12),
    st.floats(0.1, 10),
)
def test_levels_of_stations_and_the_unit_change_nothing(levels: list[float], scale: float) -> None:
    pairs, providers = make_pairs({"A": 0, "B": 1}, stations=6)
    before = lag_table(pairs, providers)
    number = pairs.table["station_id"].cat.codes.to_numpy()
    moved = pairs.table.assign(observed=scale * pairs.table["observed"] + np.array(levels)[number])
    after = lag_table(Pairs(moved, ("model",)), providers)
    np.testing.assert_allclose(after["r"], before["r"], atol=1e-7)
    np.testing.assert_allclose(after["d_r"], before["d_r"], atol=1e-7)
    assert list(after["best_lag_h"]) == list(before["best_lag_h"])


def test_constant_stations_take_no_part_and_constant_data_have_no_best_lag() -> None:
    pairs, providers = make_pairs({"A": 0}, stations=6)
    stuck = pairs.table["station_id"] == "A-00"
    observed = pairs.table["observed"].mask(stuck, 0.1)
    table = lags(Pairs(pairs.table.assign(observed=observed), ("model",)), providers)
    assert set(table["stations"]) == {5}
    dead = lags(Pairs(pairs.table.assign(observed=0.1), ("model",)), providers)
    assert dead["r"].isna().all()
    assert dead["best_lag_h"].isna().all()
    assert not dead["significant"].any()
    assert lag_notes(dead) == []


def test_two_sensors_of_a_station_share_its_hours() -> None:
    pairs, providers = make_pairs({"A": 1, "B": 0})
    twice = pd.concat([pairs.table, pairs.table], ignore_index=True)
    once = lags(pairs, providers)
    both = lags(Pairs(twice, ("model",)), providers)
    assert list(both["n"]) == list(2 * once["n"])
    np.testing.assert_allclose(both["r"], once["r"], atol=1e-12)


def test_a_lag_never_reaches_into_the_next_station() -> None:
    # One hour a station: at every lag but 0 there is nothing to pair with.
    values = np.arange(12.0)
    frame = by_station(START + np.arange(1) * HOUR, values[:, None], model=values[:, None])
    frame["time_start"] += np.arange(12) * HOUR
    assert (lags(pairs_of(frame, "model"), {}).query("lag_h != 0")["n"] == 0).all()


def test_an_unknown_provider_is_called_unknown() -> None:
    pairs, providers = make_pairs({"A": 0})
    assert set(lags(pairs, {})["provider"]) == {"unknown"}
    assert set(lags(pairs, dict.fromkeys(providers, ""))["provider"]) == {"unknown"}


def two_providers() -> Observations:
    ends = ["2018-01-01T01:00", "2018-01-01T02:00"] * 2
    places = dict.fromkeys("abc", (50.0, 4.0))
    made = observations(ends, np.ones(4), ["b", "b", "a", "a"], places)
    return replace(made, stations=made.stations.assign(provider=["A", "B", ""]))


def test_times_are_shifted_by_provider_and_counted() -> None:
    before = two_providers()
    after = shift_times(before, {"B": -1.5})
    moved = after.table["time_start"] - before.table["time_start"]
    assert list(moved / pd.Timedelta(hours=1)) == [-1.5, -1.5, 0, 0]
    assert (after.table["time_end"] - after.table["time_start"] == pd.Timedelta(hours=1)).all()
    assert after.table["time_start"].dtype == "datetime64[us]"
    assert after.counts == {"records": 4, "assumed_time_shift": 2}
    assert before.counts == {"records": 4}
    assert shift_times(before, {}) is before


def test_an_unknown_provider_cannot_be_shifted() -> None:
    with pytest.raises(InputError, match=r"'Z'.*the providers are A, B"):
        shift_times(two_providers(), {"A": 1, "Z": 1})
