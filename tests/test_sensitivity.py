"""Other choices: each changes what it says, by what a plain computation gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepcams_eval.core.field import Product
from deepcams_eval.core.observations import Observations
from deepcams_eval.evidence.questions import Given
from deepcams_eval.evidence.sensitivity import AS_SET, COLUMNS, answer
from deepcams_eval.pair.colocate import colocate
from deepcams_eval.pair.qc import RULES, QcSettings, apply_rules
from tests.fields import observations, product

LATITUDE, LONGITUDE = np.arange(48.0, 53.0, 0.5), np.arange(2.0, 8.0, 0.5)
HOURS = 24 * 6


@pytest.fixture(scope="module")
def products() -> tuple[Product, ...]:
    rng = np.random.default_rng(1)
    hourly = rng.gamma(3, 6, (HOURS, len(LATITUDE), len(LONGITUDE)))
    fine = product(
        "fine", values=hourly, start="2018-01-01T01:00", hours=1, steps=HOURS,
        latitude=LATITUDE, longitude=LONGITUDE,
    )  # fmt: skip
    coarse = product(
        "cams", values=hourly[:, ::2, ::2] * 1.2, start="2018-01-01T01:00", hours=1, steps=HOURS,
        latitude=LATITUDE[::2], longitude=LONGITUDE[::2],
    )  # fmt: skip
    return coarse, fine


@pytest.fixture(scope="module")
def seen(products: tuple[Product, ...]) -> Observations:
    """Stations that report their own cell of ``fine`` with noise; one pair shares a cell."""
    rng = np.random.default_rng(2)
    places = {f"s{i}": (48.2 + 0.61 * i, 2.3 + 0.83 * i) for i in range(6)}
    places["twin"] = (places["s3"][0] + 0.01, places["s3"][1] + 0.01)
    ends = np.datetime64("2018-01-01T01:00", "us") + np.arange(HOURS) * np.timedelta64(1, "h")
    field = products[1].field.values
    parts, values = [], []
    for latitude, longitude in places.values():
        row = np.argmin(np.abs(LATITUDE - latitude))
        column = np.argmin(np.abs(LONGITUDE - longitude))
        values.append(field[:, row, column] + rng.normal(0, 2, HOURS))
        parts.append(ends)
    values[0][5], values[1][7] = -300.0, 5000.0  # one too low, one above the limit
    made = observations(
        np.concatenate(parts), np.concatenate(values), np.repeat(list(places), HOURS), places
    )
    flagged, _ = apply_rules(made, QcSettings(disabled=("duplicate_monitor",)))
    return flagged


@pytest.fixture(scope="module")
def table(seen: Observations, products: tuple[Product, ...]) -> pd.DataFrame:
    return choices(seen, products).set_index(["choice", "product"])


def choices(
    seen: Observations, products: tuple[Product, ...], years: tuple[int, ...] = (2018,)
) -> pd.DataFrame:
    pairs = colocate(seen, products).pairs
    given = Given(
        pairs,
        rows={},
        years={one.name: years for one in products},
        baseline="cams",
        observations=seen,
        products=products,
    )
    return answer(given)["sensitivity"]


def test_the_columns_and_what_is_set(table: pd.DataFrame) -> None:
    assert set(table.reset_index().columns) == set(COLUMNS)
    assert (table.loc[AS_SET, ["d_r", "d_rmse", "d_mae"]] == 0).all().all()


def test_a_rule_that_is_off_adds_its_rows_and_no_other(
    table: pd.DataFrame, seen: Observations
) -> None:
    flags = seen.table["flags"].to_numpy()
    for rule in ("negative", "above_limit"):
        alone = int((flags == RULES[rule].bit).sum())
        assert alone == 1
        row = table.loc[f"without the rule {rule.replace('_', ' ')}", "fine"]
        assert row["n"] == table.loc[(AS_SET, "fine"), "n"] + alone
        assert row["d_rmse"] > 0
    assert "without the rule stuck" not in table.index.get_level_values(0)


def test_records_of_another_length_pair_for_the_choice_of_their_rule_alone(
    seen: Observations, products: tuple[Product, ...]
) -> None:
    table = seen.table.copy()
    daily = np.arange(20, 30)
    table.loc[daily, "time_start"] -= pd.Timedelta(hours=23)
    table.loc[daily, "flags"] = RULES["averaging_period"].bit
    longer = seen.with_table(table)
    made = choices(longer, products, (2017, 2018))
    n = made[made["product"] == "fine"].set_index("choice")["n"]
    assert n["without the rule averaging period"] == n[AS_SET] + len(daily)
    assert n["without the rule negative"] == n[AS_SET] + 1

    # Where the rule is off in the run, they pair under no choice.
    table.loc[daily, "flags"] = 0
    longer = seen.with_table(table)
    made = choices(longer, products, (2017, 2018))
    again = made[made["product"] == "fine"].set_index("choice")["n"]
    assert again[AS_SET] == n[AS_SET]
    assert again["without the rule negative"] == n[AS_SET] + 1


def test_cells_and_weights_equal_plain_computations(
    table: pd.DataFrame, seen: Observations, products: tuple[Product, ...]
) -> None:
    pairs = colocate(seen, products).pairs.table
    error = np.abs(pairs["fine"].astype(float) - pairs["observed"])
    shared = pairs["station_id"].isin(["s3", "twin"])
    # By density: the two that share a cell weigh half each.
    weight = np.where(shared, 0.5, 1.0)
    expected = float((error * weight).sum() / weight.sum())
    assert table.loc[("weighted by density", "fine"), "mae"] == pytest.approx(expected, rel=1e-9)
    joined = pairs[shared].groupby("time_start")[["observed", "fine"]].mean()
    means = np.abs(joined["fine"] - joined["observed"])
    expected = (error[~shared].sum() + means.sum()) / ((~shared).sum() + len(means))
    row = table.loc[("mean of the stations of a cell", "fine")]
    assert row["mae"] == pytest.approx(expected, rel=1e-5)
    assert row["stations"] == 6
    alone = error[pairs["station_id"] != "twin"]
    row = table.loc[("the fullest station of each cell", "fine")]
    assert row["mae"] == pytest.approx(alone.mean(), rel=1e-9)


def test_the_middle_of_the_hour_is_the_mean_of_both_ends(
    table: pd.DataFrame, seen: Observations, products: tuple[Product, ...]
) -> None:
    pairs = colocate(seen, products).pairs.table
    earlier = pairs.assign(time_start=pairs["time_start"] + pd.Timedelta(hours=1))
    both = pairs.merge(earlier, on=["station_id", "time_start"], suffixes=("", "_before"))
    middle = (both["fine"].astype(float) + both["fine_before"]) / 2
    row = table.loc[("middle of the hour", "fine")]
    assert row["n"] == len(both)
    assert row["mae"] == pytest.approx(float(np.abs(middle - both["observed"]).mean()), rel=1e-6)
    assert row["d_mae"] > 0  # what the stations saw was the end of the hour


def test_interpolating_a_field_of_independent_cells_makes_it_worse(table: pd.DataFrame) -> None:
    assert table.loc[("bilinear between cell centres", "fine"), "d_mae"] > 1.0


def test_gains_are_those_of_the_same_pairs(table: pd.DataFrame) -> None:
    for choice in table.index.get_level_values(0).unique():
        ours, theirs = table.loc[(choice, "fine")], table.loc[(choice, "cams")]
        assert ours["gain_mae"] == pytest.approx(ours["mae"] - theirs["mae"], rel=1e-9)
        assert np.isnan(theirs["gain_mae"])
        assert ours["gain_mae"] < 0


def test_days_are_a_choice(table: pd.DataFrame) -> None:
    assert table.loc[("means of a day", "fine"), "n"] >= 7 * 5
    assert table.loc[("means of a day", "fine"), "d_mae"] < 0
