"""Score tables against an independent computation from the table of pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepcams_eval.core.pairs import Pairs
from deepcams_eval.errors import NoDataError
from deepcams_eval.pair.colocate import colocate
from deepcams_eval.pair.samples import sample_rows
from deepcams_eval.pair.selection import years_of
from deepcams_eval.score.strata import STRATA
from deepcams_eval.score.tables import ScoreTables, baseline_of, score_pairs
from tests.fields import observations, product

COUNTRY = {f"s{i:02d}": ("BE", "FR", "")[i % 3] for i in range(24)}


def make_pairs(seed: int = 0, hours: int = 300) -> Pairs:
    rng = np.random.default_rng(seed)
    station = np.repeat(np.arange(24), hours)
    start = np.datetime64("2017-11-20T00:00", "us") + np.tile(
        np.arange(hours) * np.timedelta64(7, "h"), 24
    )
    observed = rng.gamma(2, 7, len(station))
    shared = rng.normal(0, 4, 24)[station]
    table = pd.DataFrame(
        {
            "station_id": pd.Categorical([f"s{i:02d}" for i in station]),
            "time_start": start,
            "time_end": start + np.timedelta64(1, "h"),
            "latitude": 45.0,
            "longitude": np.linspace(-178, 179, 24)[station],
            "observed": observed,
            "station_kind": pd.Categorical(
                np.array(["reference", "sensor", "unknown"])[rng.integers(0, 3, 24)][station],
                categories=["reference", "sensor", "unknown"],
            ),
            "country": pd.Categorical([COUNTRY[f"s{i:02d}"] for i in station]),
            "cams": np.float32(5 + 0.5 * observed + shared + rng.normal(0, 6, len(station))),
            "fine": np.float32(2 + 0.8 * observed + shared + rng.normal(0, 5, len(station))),
        }
    )
    table.loc[rng.random(len(table)) < 0.2, "cams"] = np.nan
    table.loc[(rng.random(len(table)) < 0.3) | (start < np.datetime64("2018-01-01")), "fine"] = (
        np.nan
    )
    return Pairs(table, ("cams", "fine"))


YEARS = {"cams": (2017, 2018), "fine": (2018,)}


def scored(pairs: Pairs, years: dict[str, tuple[int, ...]] = YEARS) -> ScoreTables:
    return score_pairs(pairs, years_with_data=years, baseline="cams")


@pytest.fixture(scope="module")
def result() -> ScoreTables:
    return scored(make_pairs())


def by_hand(table: pd.DataFrame, stratum: str) -> pd.Series:
    """Return the label of each pair, written the plain way."""
    start = table["time_start"]
    local = start + pd.to_timedelta((table["longitude"] / 15).round(), unit="h")
    season = start.dt.month.map(lambda m: ["DJF", "MAM", "JJA", "SON"][m % 12 // 3])
    return {
        "all": pd.Series("all", index=table.index),
        "year": start.dt.year.astype(str),
        "month": start.dt.strftime("%Y-%m"),
        "season": season,
        "hour": start.dt.strftime("%H"),
        "hour_local": local.dt.strftime("%H"),
        "country": table["station_id"].astype(str).map(COUNTRY).replace("", "unknown"),
        "station_kind": table["station_kind"].astype(str),
    }[stratum]


@pytest.mark.parametrize("stratum", STRATA)
@pytest.mark.parametrize("sample", ["common", "own"])
def test_scores_equal_an_independent_computation(result, stratum: str, sample: str) -> None:
    table = make_pairs().table
    shared = table["cams"].notna() & (table["fine"].notna() | (table["time_start"].dt.year == 2017))
    for name in ("cams", "fine"):
        rows = table[name].notna() & (shared if sample == "common" else True)
        part = table[rows].assign(label=by_hand(table, stratum)[rows])
        ours = result.scores.query(
            "product == @name and stratum == @stratum and sample == @sample"
        ).set_index("value")
        assert set(ours.index) == set(part["label"])
        for label, group in part.groupby("label"):
            o, m = group["observed"].to_numpy(), group[name].to_numpy(dtype=float)
            row, error = ours.loc[label], m - o
            assert row["n"] == len(group)
            assert row["stations"] == group["station_id"].nunique()
            assert row["r"] == pytest.approx(np.corrcoef(o, m)[0, 1], abs=1e-9)
            assert row["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
            assert row["mae"] == pytest.approx(np.mean(np.abs(error)))
            assert row["mb"] == pytest.approx(np.mean(error), abs=1e-9)
            potential = np.sum((np.abs(m - o.mean()) + np.abs(o - o.mean())) ** 2)
            assert row["ioa"] == pytest.approx(1 - np.sum(error**2) / potential)
            sizes = group.groupby("station_id", observed=True).size()
            by_station = pd.Series(np.abs(error), index=group["station_id"]).groupby(
                level=0, observed=True
            )
            median = by_station.mean()[sizes >= 10].median()  # NaN of none
            assert row["station_median_mae"] == pytest.approx(median, nan_ok=True)


def test_an_absent_year_does_not_empty_the_common_sample(result) -> None:
    n = result.scores.query("stratum == 'year' and product == 'cams'").set_index(
        ["value", "sample"]
    )["n"]
    assert n["2017", "common"] == n["2017", "own"] > 0
    assert 0 < n["2018", "common"] < n["2018", "own"]


def test_the_common_sample_is_the_same_for_all_products_of_a_year() -> None:
    pairs = make_pairs()
    rows = sample_rows(pairs, YEARS)["common"]
    late = (pairs.table["time_start"].dt.year == 2018).to_numpy()
    np.testing.assert_array_equal(rows["cams"][late], rows["fine"][late])


def test_a_product_that_begins_at_new_year_does_not_exist_in_the_old_year() -> None:
    whole = product(start="2017-12-31T00:00", steps=16)
    late = product("late", start="2018-01-01T00:00", steps=8)
    ends = np.datetime64("2017-12-31T03:00") + np.arange(15) * np.timedelta64(3, "h")
    seen = observations(ends, np.arange(15) + 3.0, ["a"] * 15, {"a": (51.1, 4.4)})
    years = {one.name: years_of(one) for one in (whole, late)}
    assert years == {"cams": (2017, 2018), "late": (2018,)}
    pairs = colocate(seen, [whole, late]).pairs
    n = {name: int(rows.sum()) for name, rows in sample_rows(pairs, years)["common"].items()}
    # Eight hours end in 2017 or at its very end, when `late` has its first value.
    assert n == {"cams": 15, "late": 7}


def test_differences_are_taken_pair_by_pair(result) -> None:
    table = make_pairs().table.dropna(subset=["cams", "fine"])
    row = result.differences.query("stratum == 'all'").iloc[0]
    assert (row["product"], row["baseline"], row["n"]) == ("fine", "cams", len(table))

    def mae(name: str) -> float:
        return float(np.mean(np.abs(table[name] - table["observed"])))

    assert row["d_mae"] == pytest.approx(mae("fine") - mae("cams"))
    assert row["d_mae_lo"] < row["d_mae"] < row["d_mae_hi"]


def test_a_paired_interval_is_narrower_than_the_two_alone(result) -> None:
    both = result.scores.query("stratum == 'all' and sample == 'common'").set_index("product")
    row = result.differences.query("stratum == 'all'").iloc[0]
    apart = np.hypot(*(both["rmse_hi"] - both["rmse_lo"]))
    assert row["d_rmse_hi"] - row["d_rmse_lo"] < apart


def test_the_tables_are_repeated(result) -> None:
    again = scored(make_pairs())
    pd.testing.assert_frame_equal(again.scores, result.scores)
    pd.testing.assert_frame_equal(again.differences, result.differences)


def test_shuffled_observations_score_worse(result) -> None:
    pairs = make_pairs()
    permuted = np.random.default_rng(3).permutation(pairs.table["observed"])
    wrong = scored(Pairs(pairs.table.assign(observed=permuted), pairs.products))
    chosen = "stratum == 'all' and product == 'fine' and sample == 'own'"
    row, right = (tables.scores.query(chosen).iloc[0] for tables in (wrong, result))
    assert abs(row["r"]) < 0.05
    assert row["rmse"] > right["rmse"] * 1.3


def test_products_without_a_common_row_are_an_error() -> None:
    pairs = make_pairs()
    even = np.arange(len(pairs)) % 2 == 0
    table = pairs.table.assign(
        cams=pairs.table["cams"].where(even), fine=pairs.table["fine"].where(~even)
    )
    with pytest.raises(NoDataError, match="no observation in common"):
        scored(Pairs(table, pairs.products), years={"cams": (2018,), "fine": (2017, 2018)})


def test_the_baseline_is_cams_unless_asked_otherwise() -> None:
    assert baseline_of(["fine", "cams"], None) == "cams"
    assert baseline_of(["fine", "other"], None) == "fine"
    assert baseline_of(["fine", "cams"], "fine") == "fine"
    with pytest.raises(NoDataError, match="choose one of fine"):
        baseline_of(["fine"], "cams")
