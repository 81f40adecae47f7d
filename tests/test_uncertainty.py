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
from deepcams_eval.score import intervals
from deepcams_eval.score.intervals import draw_blocks, politis_white, resample
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


def uncertainty_of(pairs: Pairs, seed: int = 0, resamples: int = 400) -> pd.DataFrame:
    given = Given(pairs, all_rows(pairs), {}, "other", seed=seed, resamples=resamples)
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


def test_blocks_are_runs_of_days_and_rows_add_up() -> None:
    rng = np.random.default_rng(11)
    weights = draw_blocks(100, 7, 500, rng)
    assert (weights.sum(axis=1) == 100).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.25)
    # Neighbouring days are mostly drawn together; days 20 apart are not.
    together = [np.corrcoef(weights[:, 50], weights[:, 50 + lag])[0, 1] for lag in (1, 20)]
    assert together[0] > 0.6
    assert abs(together[1]) < 0.2


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
        rng=np.random.default_rng(5),
        resamples=300,
    )
    table = uncertainty_of(pairs, seed=5, resamples=300).set_index(
        ["product", "baseline", "stratum", "value", "metric"]
    )
    ours = table.loc["model", "", "year", "2018", "mae"]
    rows = scored.scores.query("product == 'model' and stratum == 'year' and sample == 'common'")
    assert ours["station_lo"] == pytest.approx(rows["mae_lo"].iloc[0], rel=1e-12)
    assert ours["station_hi"] == pytest.approx(rows["mae_hi"].iloc[0], rel=1e-12)
    ours = table.loc["model", "other", "all", "all", "r"]
    rows = scored.differences.query("product == 'model' and stratum == 'all'")
    assert ours["station_lo"] == pytest.approx(rows["d_r_lo"].iloc[0], rel=1e-9)


def test_each_resampling_sees_what_the_other_does_not() -> None:
    weather = uncertainty_of(make_pairs(2, shared=3.0))
    places = uncertainty_of(make_pairs(3, own=3.0))

    def bias(table: pd.DataFrame) -> pd.Series:
        chosen = table[(table["metric"] == "mb") & (table["baseline"] == "")]
        return chosen[(chosen["product"] == "model") & (chosen["value"] == "all")].iloc[0]

    assert bias(weather)["wider"] == "block"
    assert bias(places)["wider"] == "station"
    assert bias(weather)["n_eff_block"] < 60 < bias(weather)["n_eff_station"]
    assert bias(places)["n_eff_station"] < 20 < bias(places)["n_eff_block"]


def test_independent_pairs_are_worth_about_themselves() -> None:
    table = uncertainty_of(make_pairs(4, stations=40, days=80), resamples=1000)
    row = table[(table["metric"] == "mb") & (table["product"] == "model")].iloc[0]
    assert row["n_eff_station"] == pytest.approx(3200, rel=0.5)
    assert row["n_eff_block"] == pytest.approx(3200, rel=0.6)


def test_few_days_give_no_block_interval() -> None:
    table = uncertainty_of(make_pairs(5, days=8))
    assert table["block_lo"].isna().all()
    assert table["station_lo"].notna().all()
    assert (table["wider"] == "").all()


def test_blocks_cover_the_mean_of_a_process_with_memory_where_days_do_not() -> None:
    """The bias of a year of weather: intervals from single days are far too short."""
    inside = {"blocks": 0, "days": 0}
    repetitions = 100
    for seed in range(repetitions):
        rng = np.random.default_rng(1000 + seed)
        error = autoregressive(rng, 0.6, (365, 1))[:, 0]
        days = np.datetime64("2018-01-01") + np.arange(365)
        sums = Moments.of(np.zeros(365), error, np.arange(365), 365)
        for name, length in (("blocks", intervals.block_length(days, [sums])), ("days", 1)):
            weights = draw_blocks(365, length, 300, rng)
            drawn = resample(sums.reshape(-1, 1), weights, {"mb": METRICS["mb"]})["mb"]
            low, high = intervals.percentile_interval(drawn, np.array([10]))
            inside[name] += bool(low[0] <= 0 <= high[0])
    assert inside["blocks"] >= 0.83 * repetitions
    assert inside["days"] <= 0.80 * repetitions


def test_station_intervals_cover_the_score_of_the_population() -> None:
    """200 draws of 60 stations from a fixed population of 1,500, whose score is the truth."""
    rng = np.random.default_rng(12)
    stations, hours, drawn, repetitions = 1500, 24, 60, 200
    level = rng.lognormal(2.5, 0.4, (stations, 1))
    observed = level * rng.lognormal(0, 0.4, (stations, hours))
    bias = rng.normal(0, 0.15, (stations, 1))
    estimate = observed * np.exp(bias + rng.normal(0, 0.25, (stations, hours)))
    chosen_scores = {name: METRICS[name] for name in ("r", "rmse", "mae")}
    population = Moments.of(observed.ravel(), estimate.ravel())
    inside = dict.fromkeys(chosen_scores, 0)
    group = np.repeat(np.arange(drawn), hours)
    for seed in range(repetitions):
        mine = np.random.default_rng(seed)
        chosen = mine.choice(stations, drawn, replace=False)
        sums = Moments.of(observed[chosen].ravel(), estimate[chosen].ravel(), group, drawn)
        draws = intervals.draw_clusters(drawn, 400, mine)
        for name, drawn_scores in resample(sums.reshape(-1, 1), draws, chosen_scores).items():
            low, high = intervals.percentile_interval(drawn_scores, np.array([drawn]))
            inside[name] += bool(low[0] <= chosen_scores[name](population)[0] <= high[0])
    for name, count in inside.items():
        assert 0.90 * repetitions <= count <= 0.99 * repetitions, name


def test_what_does_not_vary_and_what_is_small_is_said_and_drawn() -> None:
    pairs = make_pairs(7)
    flat = Pairs(pairs.table.assign(model=np.float32(15)), pairs.products)
    shown = SimpleNamespace(products=flat.products, synthetic=True)

    def section_of(chosen: Pairs) -> Section:
        given = Given(chosen, all_rows(chosen), {}, "other", resamples=100)
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
