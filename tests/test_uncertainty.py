"""Blocks of days beside stations: lengths, draws, coverage, effective sample sizes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from deepcams_eval.core.pairs import Pairs
from deepcams_eval.evidence import published, uncertainty
from deepcams_eval.evidence.questions import Given
from deepcams_eval.evidence.uncertainty import COLUMNS
from deepcams_eval.report.evidence import Section
from deepcams_eval.score.day_blocks import block_length, politis_white, runs_of_days
from deepcams_eval.score.intervals import estimates
from deepcams_eval.score.metrics import METRICS
from deepcams_eval.score.moments import Moments
from deepcams_eval.score.tables import score_pairs
from tests.hourly_pairs import HOUR, by_station, pairs_of


def autoregressive(rng: np.random.Generator, keep: float, size: tuple[int, ...]) -> np.ndarray:
    """Return series of unit variance along the first axis."""
    series = np.empty(size)
    series[0] = rng.standard_normal(size[1:])
    for step in range(1, size[0]):
        noise = np.sqrt(1 - keep**2) * rng.standard_normal(size[1:])
        series[step] = keep * series[step - 1] + noise
    return series


def make_pairs(
    seed: int, *, stations: int = 8, days: int = 120, shared: float = 0.0, own: float = 0.0
) -> Pairs:
    """Return one pair a day whose error is shared by all stations, or a station's own."""
    rng = np.random.default_rng(seed)
    observed = rng.gamma(3, 8, (days, stations))
    error = (
        shared * autoregressive(rng, 0.9, (days, 1))
        + own * rng.standard_normal((1, stations))
        + rng.standard_normal((days, stations))
    )
    times = np.datetime64("2018-01-01T12", "us") + np.arange(days) * 24 * HOUR
    estimates = {"model": (observed + error).T, "other": (observed + 2 * error).T}
    return pairs_of(by_station(times, observed.T, **estimates), "model", "other")


def uncertainty_of(pairs: Pairs) -> pd.DataFrame:
    given = Given(pairs, all_rows(pairs), {}, "other")
    return uncertainty.answer(given)["uncertainty"]


def all_rows(pairs: Pairs) -> dict[str, np.ndarray]:
    return {name: np.ones(len(pairs), dtype=bool) for name in pairs.products}


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.9])
def test_the_length_of_blocks_is_that_of_the_theory(keep: float) -> None:
    # For an AR(1), Σ|k|R(k) / ΣR(k) = 2ρ/(1−ρ²), so b = (2 · (2ρ/(1−ρ²))² · 3/4 · n)^⅓.
    n = 1095
    rng = np.random.default_rng(8)
    made = [politis_white(np.arange(n), autoregressive(rng, keep, (n, 1))[:, 0]) for _ in range(30)]
    theory = (2 * (2 * keep / (1 - keep**2)) ** 2 * 0.75 * n) ** (1 / 3)
    assert np.median(made) == pytest.approx(theory, rel=0.35)


def test_white_noise_asks_for_short_blocks_and_a_constant_for_one_day() -> None:
    rng = np.random.default_rng(9)
    made = [politis_white(np.arange(365), rng.standard_normal(365)) for _ in range(30)]
    assert np.median(made) <= 3
    assert politis_white(np.arange(50), np.full(50, 3.2)) == 1


def test_gaps_are_not_closed_up() -> None:
    """Days of three, far apart, say nothing on lags in between, which must not count as memory."""
    rng = np.random.default_rng(10)
    place = (30 * np.arange(40)[:, None] + np.arange(3)).ravel()
    series = np.repeat(rng.standard_normal(40), 3) + 0.1 * rng.standard_normal(120)
    assert 2 <= politis_white(place, series) <= 12


def test_the_estimates_are_the_scores_and_the_columns_are_all_there() -> None:
    pairs = make_pairs(1)
    table = uncertainty_of(pairs)
    assert list(table.columns) == list(COLUMNS)
    o, m, x = pairs.table[["observed", "model", "other"]].to_numpy(dtype=float).T
    mine = table[(table["product"] == "model") & (table["value"] == "all")]
    by = mine.set_index(["baseline", "metric"])["estimate"]
    assert by["", "rmse"] == pytest.approx(np.sqrt(np.mean((m - o) ** 2)), rel=1e-9)
    assert by["", "r"] == pytest.approx(np.corrcoef(o, m)[0, 1], rel=1e-9)
    expected = np.abs(m - o).mean() - np.abs(x - o).mean()
    assert by["other", "mae"] == pytest.approx(expected, rel=1e-9)


def test_intervals_of_stations_are_those_of_the_scores() -> None:
    pairs = make_pairs(6)
    scored = score_pairs(
        pairs,
        years_with_data={name: [2018] for name in pairs.products},
        baseline="other",
    )
    table = uncertainty_of(pairs).set_index(["product", "baseline", "stratum", "value", "metric"])
    ours = table.loc["model", "", "year", "2018", "mae"]
    rows = scored.scores.query("product == 'model' and stratum == 'year' and sample == 'common'")
    assert ours["station_lo"] == pytest.approx(rows["mae_lo"].iloc[0], rel=1e-12)
    assert ours["station_hi"] == pytest.approx(rows["mae_hi"].iloc[0], rel=1e-12)
    ours = table.loc["model", "other", "all", "all", "r"]
    rows = scored.differences.query("product == 'model' and stratum == 'all'")
    assert ours["station_lo"] == pytest.approx(rows["d_r_lo"].iloc[0], rel=1e-9)


def test_each_way_sees_what_the_other_does_not_and_both_see_all() -> None:
    weather = uncertainty_of(make_pairs(2, shared=3.0))
    places = uncertainty_of(make_pairs(3, own=3.0))

    def bias(table: pd.DataFrame) -> pd.Series:
        chosen = table[(table["metric"] == "mb") & (table["baseline"] == "")]
        return chosen[(chosen["product"] == "model") & (chosen["value"] == "all")].iloc[0]

    def width(row: pd.Series, kind: str) -> float:
        return row[f"{kind}_hi"] - row[f"{kind}_lo"]

    for row, wide, narrow in (
        (bias(weather), "block", "station"),
        (bias(places), "station", "block"),
    ):
        assert width(row, "both") >= width(row, wide) > 1.5 * width(row, narrow)
    assert bias(weather)["n_eff_block"] < 60 < bias(weather)["n_eff_station"]
    assert bias(places)["n_eff_station"] < 20 < bias(places)["n_eff_block"]


def test_independent_pairs_are_worth_about_themselves() -> None:
    table = uncertainty_of(make_pairs(4, stations=40, days=80))
    row = table[(table["metric"] == "mb") & (table["product"] == "model")].iloc[0]
    assert row["n_eff_station"] == pytest.approx(3200, rel=0.5)
    assert row["n_eff_block"] == pytest.approx(3200, rel=0.6)


def test_both_ways_cover_a_bias_that_stations_and_days_share() -> None:
    """Errors of places and of weather together: either interval alone is too short."""
    inside = dict.fromkeys(("station", "block", "both"), 0)
    for seed in range(60):
        table = uncertainty_of(make_pairs(100 + seed, stations=12, days=600, shared=1.0, own=0.9))
        row = table[(table["metric"] == "mb") & (table["product"] == "model")].iloc[0]
        for kind in inside:
            inside[kind] += bool(row[f"{kind}_lo"] <= 0 <= row[f"{kind}_hi"])
    assert inside["both"] >= 53 > inside["block"]


def test_few_days_give_no_block_interval() -> None:
    table = uncertainty_of(make_pairs(5, days=8))
    assert table["block_lo"].isna().all()
    assert table["station_lo"].notna().all()
    assert table["both_lo"].isna().all()


def test_blocks_cover_the_mean_of_a_process_with_memory_where_days_do_not() -> None:
    """The bias of a year of weather: intervals from single days are far too short."""
    inside = {"blocks": 0, "days": 0}
    repetitions = 100
    for seed in range(repetitions):
        rng = np.random.default_rng(1000 + seed)
        error = autoregressive(rng, 0.6, (365, 1))[:, 0]
        days = np.datetime64("2018-01-01") + np.arange(365)
        sums = Moments.of(np.zeros(365), error, np.arange(365), 365)
        for name, length in (("blocks", block_length(days, [sums])), ("days", 1)):
            block = runs_of_days(days, length)
            by_block = sums.pool(block, int(block[-1]) + 1).reshape(-1, 1)
            low, high = estimates(by_block, {"mb": METRICS["mb"]})["mb"].interval()
            inside[name] += bool(low[0] <= 0 <= high[0])
    assert inside["blocks"] >= 0.87 * repetitions
    assert inside["days"] <= 0.80 * repetitions


def test_what_does_not_vary_and_what_is_small_is_said_and_drawn() -> None:
    pairs = make_pairs(7)
    flat = Pairs(pairs.table.assign(model=np.float32(15)), pairs.products)
    shown = SimpleNamespace(products=flat.products, synthetic=True)

    def section_of(chosen: Pairs) -> Section:
        given = Given(chosen, all_rows(chosen), {}, "other")
        return uncertainty.section(uncertainty.answer(given), shown)

    made = section_of(flat)
    assert len(made.drawings) == 1
    assert "undefined, since one of the two does not vary" in made.sentences[0]
    table = flat.table[flat.table["station_id"] == "s00"].head(5)
    table = table.assign(station_id=table["station_id"].cat.remove_unused_categories())
    one = Pairs(table, flat.products)
    alone = section_of(one)
    assert "too small a sample for an interval (1 station, 5 days)" in alone.sentences[1]
    assert not any("independent ones" in sentence for sentence in alone.sentences)
    assert uncertainty_of(one)[["n_eff_station", "n_eff_block"]].isna().all().all()


def test_the_published_gain_in_r_is_smaller_than_its_rounding() -> None:
    r = {"r": [0.615, 0.70], "r_lo": [0.612, 0.68], "r_hi": [0.640, 0.72]}
    scores = pd.DataFrame(
        {"product": ["cams", "deepcams"], "stratum": "year", "value": "2017", **r}
    )
    pairs = make_pairs(1)
    given = Given(pairs, {}, {}, "cams", scores=scores)
    table = published.answer(given)["published"]
    table = table.set_index(["product", "baseline", "value", "metric"])
    gain = table.loc["deepcams", "cams", "mean of years", "r"]
    assert gain["published_lo"] < 0 < gain["published_hi"]
    assert table.loc[("cams", "", "2017", "r"), "agrees"]  # 0.61 stands for up to 0.615
    assert not table.loc[("deepcams", "", "2017", "r"), "agrees"]
    assert pd.isna(table.loc[("cams", "", "2018", "r"), "agrees"])
    # Other months or stations than the published ones neither agree nor disagree.
    restricted = published.answer(replace(given, restricted=True))["published"]
    assert restricted["agrees"].isna().all()
    assert restricted["ours"].notna().sum() == 2
