"""Daily, monthly and yearly means: completeness, and the same hours for all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcams_eval.core.pairs import Pairs
from deepcams_eval.errors import NoDataError
from deepcams_eval.pair.averages import average_pairs, one_a_station
from tests.hourly_pairs import hourly, years


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    keep=st.sampled_from([1.0, 0.85, 0.75, 0.6]),
    step=st.sampled_from([1, 3]),
)
def test_days_equal_those_of_a_plain_grouping(seed: int, keep: float, step: int) -> None:
    pairs = hourly(4, seed=seed, keep=keep, coarse_step=step)
    table = pairs.table[pairs.table["coarse"].notna()]
    grouped = table.assign(day=table["time_start"].dt.floor("D")).groupby(
        ["station_id", "day"], observed=True
    )
    expected = grouped[["observed", "fine", "coarse"]].mean()
    possible = 24 // step
    expected = expected[grouped["time_start"].nunique() >= 0.75 * possible]
    if expected.empty:
        with pytest.raises(NoDataError, match="no day"):
            average_pairs(pairs, years(pairs), "day")
        return
    made = average_pairs(pairs, years(pairs), "day")
    ours = made.pairs.table.set_index(["station_id", "time_start"])
    assert list(ours.index) == [(one, day) for one, day in expected.index]
    for name in ("observed", "fine", "coarse"):
        np.testing.assert_allclose(ours[name], expected[name], rtol=1e-6)
    assert made.counts["days_complete"] == len(expected)
    assert made.counts["days_complete"] + made.counts["days_incomplete"] == grouped.ngroups
    assert made.counts["hours"] + made.counts["hours_not_common"] == len(pairs)


@pytest.mark.parametrize(("hours", "complete"), [(18, True), (17, False)])
def test_a_day_needs_eighteen_hours(hours: int, complete: bool) -> None:
    table = hourly(2).table
    first = (table["station_id"] == "s0") & (table["time_start"] < pd.Timestamp("2018-03-02"))
    cut = table[~(first & (table["time_start"].dt.hour >= hours))].reset_index(drop=True)
    pairs = Pairs(cut, ("fine", "coarse"))
    made = average_pairs(pairs, years(pairs), "day")
    assert made.counts["days_complete"] == (4 if complete else 3)


def test_a_second_instrument_in_the_same_hours_does_not_complete_a_day() -> None:
    table = hourly(1, stations=1).table
    half = table[table["time_start"].dt.hour < 12]
    other = hourly(1, stations=2, seed=4).table
    other = other[other["station_id"] == "s1"]
    both = pd.concat([half, half, other], ignore_index=True)
    for name in ("station_id", "station_kind", "country"):
        both[name] = both[name].astype("category")
    pairs = Pairs(both, ("fine", "coarse"))
    made = average_pairs(pairs, years(pairs), "day")
    assert list(made.pairs.table["station_id"]) == ["s1"]


def test_months_are_means_of_complete_days_and_need_three_quarters_of_the_calendar() -> None:
    whole = hourly(59, start="2018-02-01", stations=1)

    def without(days: int) -> Pairs:
        kept = whole.table[whole.table["time_start"].dt.day > days]
        return Pairs(kept.reset_index(drop=True), whole.products)

    with pytest.raises(NoDataError, match="no month"):
        average_pairs(without(9), years(whole), "month")  # 19 of 28 and 22 of 31 days
    days = average_pairs(without(7), years(whole), "day").pairs.table
    made = average_pairs(without(7), years(whole), "month")
    assert made.counts["months_complete"] == 2  # 21 of 28 and 24 of 31 days
    expected = days.groupby(days["time_start"].dt.month)["observed"].mean()
    np.testing.assert_allclose(made.pairs.table["observed"], expected, rtol=1e-12)
    assert [str(one)[:10] for one in made.pairs.table["time_end"]] == ["2018-03-01", "2018-04-01"]


@pytest.mark.parametrize(
    ("days", "hours", "incomplete"), [(3, range(6), 6), (4, [14], 8)], ids=["six in a row", "one"]
)
def test_a_few_hours_a_day_are_no_day(days: int, hours: list[int], incomplete: int) -> None:
    table = hourly(days).table
    few = table[table["time_start"].dt.hour.isin(hours)].reset_index(drop=True)
    pairs = Pairs(few, ("fine", "coarse"))
    with pytest.raises(NoDataError, match=f"{incomplete} incomplete ones"):
        average_pairs(pairs, years(pairs), "day")


def test_two_kinds_of_instrument_make_one_day_of_a_station() -> None:
    table = hourly(3, stations=2).table.assign(station_id="both")
    table["station_id"] = table["station_id"].astype("category")
    pairs = Pairs(table, ("fine", "coarse"))
    days = average_pairs(pairs, years(pairs), "day").pairs
    assert len(days) == 6
    merged = one_a_station(days).table
    assert len(merged) == 3
    expected = days.table.groupby("time_start")["observed"].mean()
    np.testing.assert_allclose(merged["observed"], expected, rtol=1e-12)
    assert list(merged.columns) == list(days.table.columns)


def test_a_product_that_does_not_exist_in_a_year_is_missing_there() -> None:
    pairs = hourly(2, start="2018-12-31")
    made = average_pairs(pairs, {"fine": [2018, 2019], "coarse": [2019]}, "day").pairs.table
    assert made.loc[made["time_start"].dt.year == 2018, "coarse"].isna().all()
    assert made.loc[made["time_start"].dt.year == 2019, "coarse"].notna().all()
